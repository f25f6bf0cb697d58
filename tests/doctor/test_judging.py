"""Every check on made-up facts: each verdict it can give, and the words that matter in it."""

from dataclasses import replace

import pytest

from toddle.doctor import clock, devices, disk, display, machine, own, python, simulation, sockets, torch

ALL = (clock, devices, disk, display, machine, own, python, simulation, sockets, torch)
GIB = 2**30

PYTHON = python.PythonFacts(
    version="3.12.1", wanted=">=3.12", fits=True, in_venv=True, prefix="/home/me/toddle/.venv", machine="x86_64", bits=64,
    needs={"": [python.Need("numpy", "", "2.2.6", True)], "train": [python.Need("torch", ">=2", "2.11.0", True)]}, tested={},
)  # fmt: skip
TORCH = torch.TorchFacts(version="2.11.0", built_for="13.0", gpus=["NVIDIA X, 80 GB"], bf16=True, threads=8, cores=16.0, driver=True)
CPU = replace(TORCH, gpus=(), driver=False)
BOTH = {"opencv-python": "4.13.0.92", "opencv-python-headless": "4.13.0.92"}
DISPLAY = display.DisplayFacts(version="4.13.0", file="/v/cv2/__init__.py", gui="QT5", packages=BOTH, display=":0", ssh=False)
NO_OPENCV = replace(DISPLAY, version="", file="", gui="", packages={})
MACHINE = machine.MachineFacts(cores=8, memory_total=16 * GIB, memory_available=9 * GIB, files=1024, files_hard=4096, buffer_mb=1024)
PLACE = disk.Place(path="/home/me/sessions", writable=True, mount="/home", file_system="ext4", free=100 * GIB)
DISK = disk.DiskFacts(sessions=PLACE, runs=PLACE, speed=disk.Speed([1.0] * 99 + [50.0], 200.0), min_free_gb=1.0, max_gb=10.0)
SOCKETS = sockets.SocketFacts(
    port_error="",
    ports=(32768, 60999),
    folder="/run/user/1000/toddle-1000",
    folder_error="",
    path_bytes=60,
    path_limit=107,
    dead=0,
    strange={},
)
CLOCK = clock.ClockFacts(now_s=2e9, built_s=1e9, synchronised=True, error_ms=12.0, resolution_s=1e-9, drift_ms=0.01)
CAMERA = devices.Device("/dev/video0", usable=True, group="video", member=True, listed=True)
PORT = devices.Device("/dev/ttyUSB0", usable=True, group="dialout", member=True, listed=True)
BARRED = replace(PORT, usable=False, member=False, listed=False)
DEVICES = devices.DeviceFacts(looked=True, cameras=[CAMERA], serial=[PORT], grabbers=())
OWN = own.OwnFacts(version="0.1.0", commit="abc", foreign="", python_path="", ros="", running={}, keys="", open_keys=())


def sessions_on(kind: str, **more: object) -> disk.DiskFacts:
    return replace(DISK, sessions=replace(PLACE, file_system=kind, **more))


def runs_on(kind: str) -> disk.DiskFacts:
    return replace(DISK, runs=replace(PLACE, file_system=kind))


def speed(sync_ms: float, mb_s: float = 200.0) -> disk.DiskFacts:
    return replace(DISK, speed=disk.Speed([sync_ms] * 50, mb_s))


MISSING = python.Need("torch", "", "", False)
OLD = python.Need("torch", ">=2", "1.0", False)

CASES = [
    (python.python_version, PYTHON, "ok", "3.12.1"),
    (python.python_version, replace(PYTHON, version="3.11.2", fits=False), "problem", "3.11.2; toddle wants >=3.12 | newer Python"),
    (python.virtual_environment, PYTHON, "ok", ".venv"),
    (python.virtual_environment, replace(PYTHON, in_venv=False, prefix="/usr"), "warning", "/usr | -m venv"),
    (python.architecture, PYTHON, "ok", "x86_64, 64 bit"),
    (python.architecture, replace(PYTHON, machine="riscv64"), "note", "nobody has tried"),
    (python.architecture, replace(PYTHON, machine="armv7l", bits=32), "problem", "too few addresses"),
    (python.required_packages, PYTHON, "ok", "all 1"),
    (python.required_packages, replace(PYTHON, needs={"": [replace(MISSING, name="lmdb")]}), "problem", "lmdb is missing | pip install"),
    (python.required_packages, replace(PYTHON, needs={"": [OLD]}), "problem", "torch 1.0 does not fit >=2"),
    (python.optional_packages, PYTHON, "ok", "train"),
    (python.optional_packages, replace(PYTHON, needs={"": [], "train": [MISSING]}), "note", "train: torch is missing | -e '.[train]'"),
    (python.optional_packages, replace(PYTHON, needs={"": [], "train": [OLD]}), "warning", "does not fit"),
    (python.tested_versions, PYTHON, "ok", ""),
    (python.tested_versions, replace(PYTHON, tested={"torch": ("2.12.0", "2.11.0")}), "note", "torch 2.12.0 (tested: 2.11.0)"),
    (torch.pytorch, TORCH, "ok", "2.11.0, built for CUDA or ROCm 13.0"),
    (torch.pytorch, torch.TorchFacts(), "note", "not installed | '.[train]'"),
    (torch.pytorch, torch.TorchFacts(failed="Python was ended by SIGSEGV"), "problem", "SIGSEGV | reinstall"),
    (torch.gpu, TORCH, "ok", "NVIDIA X, 80 GB"),
    (torch.gpu, CPU, "note", "two minutes"),
    (torch.gpu, replace(CPU, mps=True), "note", "Mac | device: mps"),
    (torch.gpu, replace(CPU, driver=True), "warning", "driver and PyTorch do not fit | nvidia-smi"),
    (torch.gpu, replace(CPU, driver=True, built_for=""), "warning", "for the CPU only"),
    (torch.gpu, torch.TorchFacts(), "note", "not installed"),
    (torch.bf16, TORCH, "ok", "by the GPU"),
    (torch.bf16, replace(CPU, bf16=False), "note", "not by the CPU"),
    (torch.bf16, torch.TorchFacts(failed="x"), "note", "cannot be imported"),
    (torch.threads, TORCH, "ok", "8 on 16 cores"),
    (torch.threads, replace(TORCH, threads=64, cores=2.5), "warning", "64 on 2.5 | OMP_NUM_THREADS=2"),
    (torch.threads, replace(TORCH, threads=1), "note", "OMP_NUM_THREADS"),
    (torch.threads, torch.TorchFacts(), "note", "unknown"),
    (display.opencv, DISPLAY, "ok", "windows by QT5"),
    (display.opencv, NO_OPENCV, "note", "no viewer | '.[viewer]'"),
    (display.opencv, replace(DISPLAY, gui=""), "warning", "without windows | opencv-python==4.13.0.92"),
    (display.opencv, replace(NO_OPENCV, failed="ImportError: libGL.so.1: cannot open"), "problem", "libGL | apt-get install libgl1"),
    (display.opencv, replace(NO_OPENCV, failed="ImportError: numpy"), "problem", "numpy | --force-reinstall"),
    (display.opencv_packages, DISPLAY, "ok", "one version"),
    (display.opencv_packages, replace(DISPLAY, packages={"opencv-python": "5"}), "ok", "opencv-python 5"),
    (display.opencv_packages, replace(DISPLAY, packages={}), "ok", "/v/cv2"),
    (display.opencv_packages, replace(DISPLAY, gui=""), "warning", "without windows are in effect | opencv-python==4.13.0.92"),
    (
        display.opencv_packages,
        replace(DISPLAY, packages={**BOTH, "opencv-python": "5.0.0.93"}),
        "problem",
        "different versions | ==4.13.0.92",
    ),
    (display.window, DISPLAY, "ok", "opens on :0"),
    (display.window, NO_OPENCV, "note", "without OpenCV"),
    (display.window, replace(DISPLAY, window="nothing answers at DISPLAY :9"), "warning", "nothing answers; latest.png | unset DISPLAY"),
    (display.window, replace(DISPLAY, window="not set", display="", ssh=True), "note", "over this ssh; latest.png | ssh -X"),
    (display.window, replace(DISPLAY, window="not set", display=""), "note", "latest.png"),
    (simulation.mujoco, simulation.SimulationFacts("3.3", "egl"), "ok", "draws by egl"),
    (simulation.mujoco, simulation.SimulationFacts("3.3"), "ok", "3.3 draws"),
    (simulation.mujoco, simulation.SimulationFacts(), "note", "not installed | '.[sim]'"),
    (simulation.mujoco, simulation.SimulationFacts("3.3", problem="nothing; apt"), "warning", "nothing: no simulated arm | apt"),
    (machine.cores, MACHINE, "ok", "8"),
    (machine.cores, replace(MACHINE, cores=0.5), "warning", "0.5"),
    (machine.memory, MACHINE, "ok", "9.0 GB free of 16.0 GB"),
    (machine.memory, replace(MACHINE, memory_available=GIB), "warning", "1024 MB of frames | buffer_mb"),
    (machine.open_files, MACHINE, "ok", "1024"),
    (machine.open_files, replace(MACHINE, files=0), "note", "unknown"),
    (machine.open_files, replace(MACHINE, files=256), "warning", "only 256 | ulimit -n 1024"),
    (machine.open_files, replace(MACHINE, files=256, files_hard=512), "warning", "only 256 | limits.conf"),
    (disk.sessions_folder, DISK, "ok", "/home/me/sessions"),
    (disk.sessions_folder, sessions_on("ext4", writable=False), "problem", "nothing can be written to /home/me/sessions | TODDLE_SESSIONS"),
    (disk.sessions_folder, replace(DISK, failed="Input/output error"), "problem", "Input/output error | cd to a folder of yours"),
    (disk.runs_folder, DISK, "ok", "/home/me/sessions"),
    (disk.runs_folder, replace(DISK, runs=replace(PLACE, writable=False)), "problem", "nothing can be written | TODDLE_RUNS"),
    (disk.sessions_file_system, DISK, "ok", "ext4 on /home"),
    (disk.sessions_file_system, sessions_on(""), "note", "unknown"),
    *(
        (disk.sessions_file_system, sessions_on(kind), "problem", "LMDB | TODDLE_SESSIONS")
        for kind in ("nfs4", "cifs", "smb3", "fuse.sshfs", "9p")
    ),
    (disk.sessions_file_system, sessions_on("tmpfs"), "warning", "gone after a restart"),
    (disk.sessions_file_system, sessions_on("overlay"), "warning", "container | volume"),
    (disk.sessions_file_system, sessions_on("vfat"), "warning", "4 GB | map_gb: 2"),
    (disk.sessions_file_system, sessions_on("fuseblk"), "warning", "unknown"),
    (disk.runs_file_system, DISK, "ok", "ext4"),
    (disk.runs_file_system, runs_on("tmpfs"), "note", "gone | TODDLE_RUNS"),
    (disk.runs_file_system, runs_on("nfs"), "warning", "checkpoints | TODDLE_RUNS"),
    (disk.free_space, DISK, "ok", "100.0 GB"),
    (disk.free_space, sessions_on("ext4", free=5 * GIB), "note", "may take 10 GB"),
    (disk.free_space, sessions_on("ext4", free=3 * GIB // 2), "warning", "stops soon"),
    (disk.free_space, replace(DISK, runs=replace(PLACE, free=GIB // 2)), "warning", "0.5 GB for runs"),
    (disk.free_space, sessions_on("ext4", free=GIB // 2), "problem", "stops below 1 GB"),
    (disk.sync_speed, DISK, "ok", "median 1.00 ms, 99 % within 1.00 ms (100 writes)"),
    (disk.sync_speed, replace(DISK, speed=None), "note", "not measured"),
    (disk.sync_speed, speed(40.0), "note", "median 40.00 ms"),
    (disk.sync_speed, speed(300.0), "warning", "waits that long | SSD"),
    (disk.sync_speed, speed(1500.0), "problem", "longer than the second"),
    (disk.write_speed, DISK, "ok", "200 MB/s; 7 times"),
    (disk.write_speed, replace(DISK, speed=None), "note", "not measured"),
    (disk.write_speed, speed(1.0, 10.0), "note", "enough for the demo | delta-zstd"),
    (disk.write_speed, speed(1.0, 1.0), "problem", "less than the demo"),
    (sockets.loopback_port, SOCKETS, "ok", "127.0.0.1"),
    (sockets.loopback_port, replace(SOCKETS, port_error="Permission denied"), "problem", "Permission denied | lo up"),
    (sockets.port_range, SOCKETS, "ok", "32768 to 60999"),
    (sockets.port_range, replace(SOCKETS, ports=None), "ok", ""),
    (sockets.port_range, replace(SOCKETS, ports=(60000, 60100)), "warning", "few free ports | sysctl"),
    (sockets.socket_folder, SOCKETS, "ok", "47 bytes left"),
    (sockets.socket_folder, replace(SOCKETS, folder_error="no place for sockets"), "problem", "no place | --tcp"),
    (sockets.socket_folder, replace(SOCKETS, path_bytes=130), "problem", "130 bytes, the limit is 107 | TMPDIR=/tmp"),
    (sockets.dead_runs, SOCKETS, "ok", ""),
    (sockets.dead_runs, replace(SOCKETS, dead=3), "note", "3 socket folders"),
    (sockets.temporary_folders, SOCKETS, "ok", ""),
    (sockets.temporary_folders, replace(SOCKETS, strange={"TMPDIR": "tmp is no absolute path"}), "warning", "TMPDIR tmp | unset TMPDIR"),
    (clock.system_clock, CLOCK, "ok", "2033-05-1"),
    (clock.system_clock, replace(CLOCK, now_s=10.0**8), "problem", "before toddle was installed | set-ntp"),
    (clock.time_synchronisation, CLOCK, "ok", "within 12 ms"),
    (clock.time_synchronisation, replace(CLOCK, synchronised=None), "note", "unknown"),
    (clock.time_synchronisation, replace(CLOCK, synchronised=False), "note", "nobody tells | chrony"),
    (clock.monotonic_clock, CLOCK, "ok", "1 ns"),
    (clock.monotonic_clock, replace(CLOCK, resolution_s=0.0156), "warning", "too coarse"),
    (clock.clock_steps, CLOCK, "ok", "+0.01 ms"),
    (clock.clock_steps, replace(CLOCK, drift_ms=-3600.0), "warning", "setting the clock | one service"),
    (devices.cameras, DEVICES, "ok", "/dev/video0"),
    (devices.cameras, replace(DEVICES, cameras=()), "note", "none at /dev/video*"),
    (devices.cameras, replace(DEVICES, looked=False), "note", "not looked at"),
    (devices.cameras, replace(DEVICES, cameras=[replace(BARRED, group="video")]), "warning", "cannot be read | usermod -aG video"),
    (devices.serial_ports, DEVICES, "ok", "/dev/ttyUSB0"),
    (devices.serial_ports, replace(DEVICES, serial=()), "note", "none at"),
    (
        devices.serial_ports,
        replace(DEVICES, serial=[BARRED]),
        "warning",
        "group dialout | sudo usermod -aG dialout $USER, then log out and in",
    ),
    (devices.serial_ports, replace(DEVICES, serial=[replace(BARRED, listed=True)]), "warning", "ttyUSB0 | next login on"),
    (devices.serial_ports, replace(DEVICES, serial=[replace(BARRED, group="root")]), "warning", "group root | udev"),
    (devices.serial_grabbers, DEVICES, "ok", ""),
    (devices.serial_grabbers, replace(DEVICES, grabbers=["ModemManager"]), "note", "ModemManager | systemctl disable --now ModemManager"),
    (own.version, OWN, "ok", "0.1.0, checkout abc"),
    (own.version, replace(OWN, version=""), "warning", "without being installed"),
    (own.launch_package, OWN, "ok", "ours"),
    (own.launch_package, replace(OWN, ros="jazzy"), "note", "jazzy"),
    (own.launch_package, replace(OWN, foreign="/opt/ros/x", python_path="/opt/ros/x"), "problem", "(ROS 2); refuses | env -u PYTHONPATH"),
    (own.launch_package, replace(OWN, foreign="nowhere"), "problem", "missing | pip install"),
    (own.running_graphs, OWN, "ok", "none"),
    (own.running_graphs, replace(OWN, running={"demo": 7}), "note", "demo (process 7)"),
    (own.keys, OWN, "ok", "none"),
    (own.keys, replace(OWN, keys="/k"), "ok", "/k, yours alone"),
    (own.keys, replace(OWN, keys="/k", open_keys=["/k/a", "/k/b"]), "problem", "/k/a, /k/b | chmod -R go= /k"),
]


@pytest.mark.parametrize(("check", "facts", "verdict", "words"), CASES)
def test_a_check_judges(check, facts, verdict, words):
    """Words after `|` are in the fix, those before in what was found; `;` separates them."""
    finding = check(facts)
    assert finding.verdict == verdict, finding
    assert finding.name == check.__name__.replace("_", " ")
    assert finding.found and "\n" not in finding.found + finding.fix
    found, _, fix = words.partition(" | ")
    for part in found.split("; "):
        assert part in finding.found
    assert fix in finding.fix
    assert finding.fix or verdict in ("ok", "note"), "bad news comes with something to do"


def test_every_check_is_judged_here():
    assert {check for module in ALL for check in module.CHECKS} == {case[0] for case in CASES}
    names = [check.__name__ for module in ALL for check in module.CHECKS]
    assert len(names) == len(set(names))
