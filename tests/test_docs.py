"""Every command that the documentation prints is run as printed, in order, in a fresh folder."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import zmq

PROJECT = Path(__file__).resolve().parents[1]
GUIDES = (
    "launch-files",
    "sessions",
    "reliability",
    "replay",
    "editing",
    "quality",
    "exchange",
    "watching",
    "doctor",
    "security",
    "emulators",
    "arm",
    "jetbot",
    "add-a-robot",
    "hosts",
    "recording",
    "training",
    "models",
    "simulators",
    "evaluation",
    "checkpoints",
    "attention",
)
LONG = (
    "exchange", "sessions", "watching", "replay", "arm", "jetbot", "hosts",
    "training", "models", "simulators", "evaluation", "checkpoints", "attention",
)  # fmt: skip
"""They take a quarter of a minute or more each: left to `make test-all`."""
PAGES = ["README.md", *(f"docs/{page}.md" for page in GUIDES)]
TRIES = re.findall(r"^toddle [a-z]+ .*\btries\b.*$", (PROJECT / "docs/recording.md").read_text(), re.MULTILINE)
ELSEWHERE = (
    "toddle sessions import decisions arm meta/discrete_action_logs --name arm-decisions --stack vertical",  # needs its logs
    "toddle view graph.json", "toddle view graph.json --key laptop", "toddle top --run graph.json",  # need a second machine
    "toddle ask robot seek to=3/0",  # needs a replay that runs; this and the two below are tried in tests/live/test_replays.py
    "toddle launch launch/hosts.yaml --set robot_pc=127.0.0.1 --set gpu_pc=127.0.0.2 --on robot-pc",  # two that wait for each other
    "toddle launch launch/hosts.yaml --set robot_pc=127.0.0.1 --set gpu_pc=127.0.0.2 --on gpu-pc",
    "toddle launch launch/jetbot.yaml --set host=jetbot.local",  # needs a JetBot
    "toddle replay mine",  # as the page on replays does with others
    "toddle launch launch/online.yaml --set train_ratio=1 --set train='{threads: 1}' --name first",
    "toddle replay first --rate 0 --set train_ratio=1 --set train='{threads: 1}' --name second",
    "toddle sessions import mcap drive.mcap --name drive --camera front=/camera/front/image_raw --action /cmd_vel",  # somebody else's file
    *(f"{command} --set host=jetbot.local --set key_file=jetbot.key" for command in (  # needs a JetBot
        "toddle robot try jetbot", "toddle launch launch/jetbot-view.yaml", "toddle launch launch/jetbot.yaml")),
    *TRIES,  # a recording with a person's word: tried in tests/robots/record/test_recording.py
)  # fmt: skip
JETBOT = "toddle jetbot-server --camera test"
"""Runs beside the commands of its page, on a port that is free."""
LISTENING = ("toddle top", "toddle topic ", "toddle graph", "toddle ask")
EMULATED = "toddle emulate "
LIVE = "toddle launch launch/run.yaml --set rate_hz=50 --name live --time-limit 120"
PREPARE = "toddle launch launch/online.yaml --set size=32 --set radius=2 --set step=5 --name demo --time-limit 6"
SHORT_S, USED_S = "2", "6"
"""How long a run lasts here; one whose session a later command of the page opens, so that a busy machine has frames by then."""
NOT_INHERITED = ("DISPLAY", "WAYLAND_DISPLAY", "TODDLE_RUNS", "TODDLE_SESSIONS")


def commands(page: str) -> list[str]:
    """The `toddle` commands of a page's code blocks, without comments."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", (PROJECT / page).read_text(), re.DOTALL | re.MULTILINE)
    lines = [line.split("  #")[0].strip() for language, block in blocks if not language for line in block.splitlines()]
    return [line for line in lines if line.startswith("toddle ") and line not in ELSEWHERE]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user has it after `make demo`, but for a smaller and shorter one."""
    folder = tmp_path_factory.mktemp("user") / "user"
    shutil.copytree(PROJECT / "launch", folder / "launch", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (folder / "docs").mkdir()
    assert run(PREPARE, folder, USED_S).returncode == 0
    for name in ("laptop", "robot-pc", "gpu-pc"):
        (folder / f"{name}.pub").write_text(zmq.curve_keypair()[0].decode())  # as scp brings it
    return folder


@pytest.fixture(scope="module")
def pages(request: pytest.FixtureRequest, workplace: Path, recordings: Path) -> Iterator[dict[str, Future[None]]]:
    """What becomes of each page that is asked for, in a folder of its own. Two at a time: much of it is waiting."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and "pages" in item.fixturenames]
    wanted = [item.callspec.params["page"] for item in items]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setenv("TODDLE_DATA", str(recordings))
        for name, address in (("ADDRESS", "127.0.0.1"), ("ROBOT", "127.0.0.1"), ("GPU", "127.0.0.2")):
            patch.setenv(name, address)
        yield {page: pool.submit(follow, page, workplace) for page in wanted}
        pool.shutdown(cancel_futures=True)


def follow(page: str, workplace: Path) -> None:
    """Run the commands of a page in a copy of the folder."""
    folder = workplace.with_name(Path(page).stem)
    shutil.copytree(workplace, folder)
    found = commands(page)
    assert found, f"{page} prints no command"
    listening = any(command.startswith(LISTENING) for command in found)
    with live(folder, listening), emulated(folder, found), jetbot(JETBOT in found) as port:
        for number, command in enumerate(found, 1):
            if command.startswith(EMULATED) or command == JETBOT:
                continue
            made = re.search(r"--name (\S+)", command)
            used = made is not None and any(re.search(rf"\b{made[1]}\b", later) for later in found[number:])
            done = run(command.replace("host=127.0.0.1", f"host=127.0.0.1 --set port={port}"), folder, USED_S if used else SHORT_S)
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def run(command: str, folder: Path, limit_s: str) -> subprocess.CompletedProcess[str]:
    words = shlex.split(os.path.expandvars(command))
    if words[1] in ("launch", "replay") and "--dry-run" not in words and "--time-limit" not in words:
        words += ["--time-limit", limit_s]
    if words[1] == "topic" and words[2] != "list":
        words += ["--count", "2"]
    if words[1] == "train" and "--seconds" in words:
        words[words.index("--seconds") + 1] = limit_s
    if "--time-limit" in words:
        words[words.index("--time-limit") + 1] = limit_s
    return subprocess.run(argv(words), cwd=folder, env=env(folder), capture_output=True, text=True, timeout=120, check=False)


def argv(words: list[str]) -> list[str]:
    return [str(Path(sys.executable).with_name("toddle")), *words[1:]]


def env(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}
    return {**kept, "TODDLE_KEYS": str(folder / "keys")}


@contextmanager
def live(folder: Path, needed: bool) -> Iterator[None]:
    """A graph that runs, for the commands that look at one."""
    if not needed:
        yield
        return
    graph = subprocess.Popen(argv(shlex.split(LIVE)), cwd=folder, env=env(folder), stdout=subprocess.PIPE, text=True)
    try:
        assert graph.stdout is not None
        assert any(line.startswith("running ") for line in graph.stdout)
        yield
        graph.send_signal(signal.SIGINT)
        graph.communicate(timeout=60)
        assert graph.returncode == 0
    finally:
        graph.kill()
        graph.communicate()


@contextmanager
def jetbot(needed: bool) -> Iterator[int]:
    """A simulated JetBot, and its port; 0 where none is needed."""
    if not needed:
        yield 0
        return
    words = [*shlex.split(JETBOT), "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(argv(words), stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            yield next(int(found[1]) for line in server.stderr if (found := re.search(r"listening on \S*:(\d+)", line)))
        finally:
            server.terminate()
    assert server.returncode == 0


@contextmanager
def emulated(folder: Path, found: list[str]) -> Iterator[None]:
    """The robots that a page emulates are there while its other commands run."""
    with ExitStack() as stack:
        for command in found:
            if command.startswith(EMULATED):
                stack.enter_context(emulator(folder, command))
        yield


@contextmanager
def emulator(folder: Path, command: str) -> Iterator[None]:
    robot = subprocess.Popen(
        argv(shlex.split(command)), cwd=folder, env=env(folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        assert robot.stdout is not None
        assert any(line.startswith("ready: ") for line in robot.stdout), command
        yield
        robot.send_signal(signal.SIGINT)
        robot.communicate(timeout=60)
        assert robot.returncode == 0
    finally:
        robot.kill()
        robot.communicate()


@pytest.mark.parametrize("page", [pytest.param(page, marks=[pytest.mark.slow] if Path(page).stem in LONG else []) for page in PAGES])
def test_the_commands_of_a_page_work_as_printed(page: str, pages: dict[str, Future[None]]) -> None:
    pages[page].result()


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/benchmarks.md", "docs/safety.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (PROJECT / page).read_text()):
            assert ((PROJECT / page).parent / target).exists(), f"{page} links to {target}, which is not there"
