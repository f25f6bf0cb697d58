"""Facts from made-up machines: devices, mounts, containers, packages, a torch that crashes or hangs."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from toddle.doctor import clock, devices, disk, display, machine, own, python, simulation, sockets, torch
from toddle.doctor.probe import ProbeFailed, ask


@pytest.fixture
def fake_module(tmp_path):
    """A module of this name and code, before all others in the environment that comes back."""

    def make(name: str, code: str) -> dict[str, str]:
        (tmp_path / "path").mkdir(exist_ok=True)
        (tmp_path / "path" / f"{name}.py").write_text(code)
        return {**os.environ, "PYTHONPATH": str(tmp_path / "path")}

    return make


def living(word: str) -> list[int]:
    """Processes with this word in their command line or their PYTHONPATH."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if word in " ".join(process.cmdline()) or word in process.environ().get("PYTHONPATH", ""):
                found.append(process.pid)
    return found


def test_a_torch_that_hangs(fake_module, tmp_path):
    facts = torch.gather(timeout_s=1.5, env=fake_module("torch", "import threading\nthreading.Event().wait()"))
    assert facts.failed == "it took longer than 1.5 s"
    assert torch.pytorch(facts).verdict == "problem"
    assert living(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "Python was ended by SIGSEGV"),
        (
            "raise ImportError('libcudart.so.12: cannot open shared object file')",
            "ImportError: libcudart.so.12: cannot open shared object file",
        ),
        ("import os; os._exit(9)", "exit code 9"),
        ("import module_that_is_not_there", "ModuleNotFoundError: No module named 'module_that_is_not_there'"),
    ],
)
def test_a_torch_that_breaks(fake_module, code, why):
    facts = torch.gather(env=fake_module("torch", code))
    assert facts.failed == why
    assert torch.pytorch(facts).found == f"cannot be imported: {why}"


def test_no_torch_at_all(fake_module):
    facts = torch.gather(env=fake_module("torch", "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"))
    assert [check(facts).verdict for check in torch.CHECKS] == ["note"] * 4


TWO_GPUS = """
from types import SimpleNamespace as Some
__version__, version, device, get_num_threads = "9.9", Some(cuda="13.0", hip=None), lambda name: Some(type=name, index=None), lambda: 4
properties = lambda index: Some(name=f"GPU {index}", total_memory=80 * 2**30)
cuda = Some(is_available=lambda: True, device_count=lambda: 2, get_device_properties=properties, is_bf16_supported=lambda: True)
backends = Some(mps=Some(is_available=lambda: False))
"""


def test_two_gpus(fake_module):
    facts = torch.gather(env=fake_module("torch", TWO_GPUS))
    assert (facts.version, facts.built_for, facts.threads) == ("9.9", "13.0", 4)
    assert torch.gpu(facts).found == "GPU 0, 80 GB; GPU 1, 80 GB"
    assert torch.bf16(facts).found == "by the GPU: training uses it"


def test_an_nvidia_driver_without_a_torch_that_uses_it(fake_module, tmp_path):
    (tmp_path / "nvidia0").touch()
    facts = torch.gather(env=fake_module("torch", "raise ModuleNotFoundError(name='torch')"), dev=tmp_path)
    assert facts.driver


def test_what_a_child_prints_is_not_its_answer():
    assert ask("print('hello'); os.write(1, b'x' * 100_000); answer = {'n': 1}", 30.0) == {"n": 1}


def test_what_a_child_started_ends_with_it(tmp_path):
    forever = "import threading; threading.Event().wait()"
    with pytest.raises(ProbeFailed, match=r"longer than 1.5 s"):
        ask(f"import subprocess\nsubprocess.run([sys.executable, '-c', {forever!r}, {str(tmp_path)!r}])", 1.5)
    assert living(str(tmp_path)) == []


def test_an_opencv_that_does_not_load(fake_module):
    facts = display.gather(env=fake_module("cv2", "raise ImportError('libGL.so.1: cannot open shared object file')"))
    assert "apt-get install libgl1" in display.opencv(facts).fix
    assert display.window(facts).verdict == "note"


def test_the_opencv_of_this_machine(monkeypatch):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":31999")
    facts = display.gather()
    assert facts.version and not facts.failed
    assert display.window(facts).verdict == "warning"
    assert "nothing answers at DISPLAY :31999" in display.window(facts).found


def test_what_draws_the_simulated_arm_here(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    told = simulation.mujoco(simulation.gather())
    assert told.verdict == "ok" and "by egl" in told.found


def test_a_mujoco_that_cannot_draw(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glass")
    told = simulation.mujoco(simulation.gather())
    assert told.verdict == "warning"
    assert "glass" in told.found and "MUJOCO_GL" in told.fix


def test_cameras_and_serial_ports(tmp_path, monkeypatch):
    for name in ("video0", "video1", "ttyUSB0", "ttyACM0", "tty0", "null"):
        (tmp_path / name).touch()
    facts = devices.gather(tmp_path, linux=True)
    assert [Path(one.path).name for one in facts.cameras] == ["video0", "video1"]
    assert [Path(one.path).name for one in facts.serial] == ["ttyUSB0", "ttyACM0"]
    assert all(one.usable and one.member for one in (*facts.cameras, *facts.serial))
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK)  # permissions do not bind root
    facts = devices.gather(tmp_path, linux=True)
    assert devices.cameras(facts).verdict == "ok"
    assert devices.serial_ports(facts).verdict == "warning"


def test_a_program_that_grabs_serial_ports(tmp_path, monkeypatch):
    (tmp_path / "ttyUSB0").touch()
    monkeypatch.setattr(devices, "GRABBERS", (psutil.Process().name(),))
    assert devices.gather(tmp_path, linux=True).grabbers == [psutil.Process().name()]


def test_no_devices(tmp_path):
    assert devices.gather(tmp_path, linux=True) == devices.DeviceFacts(True, [], [], [])
    assert not devices.gather(tmp_path, linux=False).looked


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    """A machine with these lines in /proc/mounts."""

    def make(*lines: str) -> None:
        folder = tmp_path / "proc" / "self"
        folder.mkdir(parents=True)
        (folder / "mounts").write_text("".join(f"{line} rw 0 0\n" for line in lines))
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"), raising=False)

    return make


def test_sessions_on_nfs_are_a_problem_and_runs_beside_them_are_not(mounts, tmp_path, monkeypatch):
    (tmp_path / "two words").mkdir()
    mounts("/dev/vda / ext4", f"nas:/x {tmp_path}/two\\040words nfs4", "tmpfs /tmp/other tmpfs")
    monkeypatch.setenv("TODDLE_SESSIONS", str(tmp_path / "two words" / "not" / "yet"))
    monkeypatch.setenv("TODDLE_RUNS", str(tmp_path / "runs"))
    facts = disk.gather()
    assert (facts.sessions.mount, facts.sessions.file_system) == (f"{tmp_path}/two words", "nfs4")
    assert disk.sessions_file_system(facts).verdict == "problem"
    assert (facts.runs.mount, facts.runs.file_system) == ("/", "ext4")
    assert facts.speed is not None and len(facts.speed.sync_ms) > 0 and facts.speed.mb_s > 0
    assert list((tmp_path / "two words").iterdir()) == [], "measuring leaves nothing"


def test_the_later_of_two_mounts_counts(mounts, tmp_path):
    mounts("/dev/vda / ext4", f"a {tmp_path} ext4", f"b {tmp_path} tmpfs")
    assert disk.place(tmp_path / "sessions").file_system == "tmpfs"


def test_a_sessions_folder_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TODDLE_SESSIONS", str(tmp_path / "file" / "sessions"))
    facts = disk.gather()
    assert disk.sessions_folder(facts).verdict == "problem"
    assert facts.speed is None
    monkeypatch.setenv("TODDLE_SESSIONS", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert not disk.gather().sessions.writable


def test_a_disk_that_fails_when_it_is_written_to(monkeypatch, tmp_path):
    def measure(folder: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk, "measure", measure)
    monkeypatch.setenv("TODDLE_SESSIONS", str(tmp_path))
    facts = disk.gather()
    assert facts.failed == "Input/output error"
    assert [disk.sessions_folder(facts).verdict, disk.sync_speed(facts).verdict] == ["problem", "note"]


def test_a_container_has_less_than_its_machine(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text(f"{2**20}\n")
    (tmp_path / "memory.current").write_text(f"{2**19}\n")
    facts = machine.gather(tmp_path)
    assert (facts.cores, facts.memory_total, facts.memory_available) == (0.5, 2**20, 2**19)
    assert [machine.cores(facts).verdict, machine.memory(facts).verdict] == ["warning", "warning"]


def test_a_container_without_limits(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    facts = machine.gather(tmp_path)
    assert facts.cores >= 1
    assert facts.memory_total == psutil.virtual_memory().total
    assert facts.files > 0


def test_sockets(monkeypatch, tmp_path):
    runtime = tmp_path / "r"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(runtime))
    dead = runtime / f"toddle-{os.getuid()}" / "dead"
    dead.mkdir(parents=True, mode=0o700)
    dead.parent.chmod(0o700)
    (dead / "pid").write_text(str(2**22 + 1))  # above every pid
    (tmp_path / "ports").write_text("1000\t1010\n")
    facts = sockets.gather(tmp_path / "ports")
    assert (facts.port_error, facts.folder_error, facts.dead, facts.ports) == ("", "", 1, (1000, 1010))
    assert list(dead.parent.iterdir()) == [], "looking leaves nothing"
    dead.parent.chmod(0o755)
    assert "mode 0700" in sockets.gather(tmp_path / "ports").folder_error


def test_a_socket_folder_with_a_long_path(monkeypatch, tmp_path):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    facts = sockets.gather()
    assert facts.path_bytes > facts.path_limit
    assert sockets.socket_folder(facts).verdict == "problem"


@pytest.mark.parametrize(("value", "odd"), [("tmp", "no absolute path"), ("/not/there", "No such file"), ("", "")])
def test_temporary_folders(monkeypatch, value, odd):
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    facts = sockets.gather()
    assert odd in facts.strange.get("XDG_RUNTIME_DIR", "") and bool(odd) == bool(facts.strange)


def test_the_clock(tmp_path, monkeypatch):
    facts = clock.gather(tmp_path)  # a path that exists: somebody keeps the time
    assert facts.synchronised is True
    assert clock.system_clock(facts).verdict == "ok"
    monkeypatch.setattr(clock, "_kernel", lambda: (None, None))
    assert clock.gather(tmp_path / "none").synchronised is None


def test_a_clock_that_is_set_meanwhile(monkeypatch):
    hour_ns = 3600 * 10**9
    readings = iter([(0, 0), (hour_ns, 10**9)])
    monkeypatch.setattr(clock, "_both", lambda: next(readings))
    assert clock.clock_steps(clock.gather()).verdict == "warning"


def test_packages_of_a_checkout(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[project]\nrequires-python = '>=3.99'\ndependencies = ['msgspec>=99', 'no-such-package']\n"
        "optional-dependencies = {dev = ['nothing'], sim = ['psutil']}\n"
    )
    (tmp_path / "constraints.txt").write_text("psutil==0.1\nmsgspec==99.0\n")
    facts = python.gather(tmp_path)
    assert not facts.fits
    assert [(need.name, need.fits, bool(need.installed)) for need in facts.needs[""]] == [
        ("msgspec", False, True),
        ("no-such-package", False, False),
    ]
    assert list(facts.needs) == ["", "sim"]
    assert set(facts.tested) == {"psutil", "msgspec"}


def test_packages_without_a_checkout(tmp_path):
    facts = python.gather(tmp_path)
    assert facts.fits and not facts.tested
    assert {"click", "lmdb", "numpy"} <= {need.name for need in facts.needs[""]}
    assert "torch" in {need.name for need in facts.needs["train"]}


def test_keys_that_others_may_read(tmp_path, monkeypatch):
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    (keys / "mine.key").touch(mode=0o600)
    (keys / "mine.pub").touch()
    (keys / "mine.pub").chmod(0o644)
    monkeypatch.setenv("TODDLE_KEYS", str(keys))
    monkeypatch.setenv("TODDLE_RUNS", str(tmp_path / "runs"))
    assert own.keys(own.gather("")).verdict == "ok"
    (keys / "mine.key").chmod(0o640)
    facts = own.gather("")
    assert facts.open_keys == [str(keys / "mine.key")]
    assert stat.S_IMODE((keys / "mine.key").stat().st_mode) == 0o640, "looked at, not changed"


def test_a_run_that_goes_on(tmp_path, monkeypatch):
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    monkeypatch.setenv("TODDLE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr("launch.rundir.still_running", lambda path: 7 if path.name == "demo" else None)
    assert own.gather("").running == {"demo": 7}
