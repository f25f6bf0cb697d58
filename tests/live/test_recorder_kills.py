"""SIGKILL of the real recorder at random moments under the mixed load: 110 MB/s of frames and 5000 small messages a second."""

import logging
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zmq

from protocol.control import ask
from protocol.errors import ControlError
from protocol.messages import Committed
from protocol.tap import Tap
from protocol.wiring import Endpoints, Peer, Subscriber, Wiring
from storage.lock import writer_pid
from storage.reader import SessionReader
from storage.verify import verify

from .conftest import wait_for
from .numbered_publisher import is_right

LOAD = {"cam": ("robot", "block", 64 << 20, 120.0), "talk": ("trainer", "count", 64 << 10, 5000.0)}
"""Kind, what it does when the recorder is away for long, ring in bytes, rate; the small messages are then lost, and known to be."""
SYNC_S = 0.1


class Recording:
    """Two publishers and a recorder that is started as often as it dies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session = folder / "sessions" / "kills"
        peers = [Peer(name, kind, self.ends(name)) for name, (kind, *_) in LOAD.items()]
        params = {"root": str(folder / "sessions"), "session": "kills", "codec": "raw", "max_gb": 0, "min_free_gb": 0}
        params |= {"map_gb": 0.05, "sync_interval_s": SYNC_S, "commit_events": 300}
        self.wiring(name="recorder", kind="recorder", inputs=peers, params=params)
        self.publishers = {name: self.publisher(name) for name in LOAD}
        self.recorder = self.start()
        self.seen: dict[str, list[int]] = {"frame/cam": [], "metrics/talk": []}
        self.read = 0

    def ends(self, name: str) -> Endpoints:
        return Endpoints(*(f"ipc://{self.folder}/{name}.{lane}" for lane in "lrc"))

    def wiring(self, name: str, **fields: object) -> str:
        path = self.folder / f"{name}.json"
        Wiring(run="kills", run_dir=str(self.folder), name=name, endpoints=self.ends(name), **fields).write(path)
        return str(path)

    def publisher(self, name: str) -> subprocess.Popen[str]:
        kind, on_full, ring, rate_hz = LOAD[name]
        wiring = self.wiring(name=name, kind=kind, subscribers=[Subscriber("recorder", "recorder")], ring_bytes=ring, on_full=on_full)
        command = [sys.executable, str(Path(__file__).with_name("numbered_publisher.py")), wiring, str(rate_hz)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-m", "nodes.recorder", str(self.folder / "recorder.json")], text=True)

    def ask(self, command: str) -> bool:
        with zmq.Context() as context:
            try:
                ask(context, self.ends("recorder").control, command, {}, "a test", 10.0)
            except ControlError:
                return False
        return True

    def look(self, announced: Committed | None) -> None:
        """What was announced is there, everything is what its number says, and the gaps are exactly what is missing."""
        assert writer_pid(self.session) is None
        with SessionReader(self.session) as reader:
            for event in reader.numbered(self.read):
                message = event.message
                self.read = event.number + 1
                if message.topic in self.seen:
                    assert is_right(message), message.envelope
                    self.seen[message.topic].append(message.envelope.seq)
            assert len(reader) == self.read
            assert announced is None or self.read >= announced.events
            listed = {topic: [(gap.first, gap.last) for gap in reader.gaps() if gap.topic == topic] for topic in self.seen}
            ends = {stream.topic: stream.last_seq for stream in reader.books().streams.values()}
        for topic, numbers in self.seen.items():
            assert announced is None or ends.get(topic, -1) >= announced.last_seq.get(topic, -1)
            assert missing(numbers, ends.get(topic, -1)) == listed[topic], f"the gaps of {topic}"

    def end(self) -> None:
        for process in (*self.publishers.values(), self.recorder):
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream:
                    stream.close()


def missing(numbers: list[int], last: int) -> list[tuple[int, int]]:
    """The spans that are not among numbers from 0 to `last`."""
    there = sorted(numbers)
    assert len(set(there)) == len(there), "nothing is stored twice"
    bounds = zip([-1, *there], [*there, last + 1], strict=True)
    return [(before + 1, after - 1) for before, after in bounds if after > before + 1]


@pytest.fixture
def recording() -> Iterator[Recording]:
    folder = Path(tempfile.mkdtemp(prefix="tk"))  # sockets have short names
    made = Recording(folder)
    yield made
    made.end()
    shutil.rmtree(folder)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))])
def test_ten_kills_of_the_recorder_under_load(recording: Recording, seed: int) -> None:
    """No message that was announced is lost, and of the others exactly what the gaps say."""
    chance, pause = random.Random(seed), threading.Event()
    announced: Committed | None = None
    heard = 0
    with closing(Tap([Peer("recorder", "recorder", recording.ends("recorder"))], ["committed/recorder"])) as tap:
        for kill in range(10):
            wait_for(lambda: recording.ask("go"), "the recorder has started")
            for _ in range(chance.randrange(5) if kill else 4):  # sometimes while it still catches up
                told = wait_for(lambda: tap.next(1.0), "a commit")
                announced, heard = told.message.body, heard + 1
            pause.wait(chance.uniform(0.0, SYNC_S))
            recording.recorder.kill()
            assert recording.recorder.wait() == -signal.SIGKILL, "it must have died of the kill, not of itself"
            while told := tap.next(0.1):
                announced = told.message.body
            recording.look(announced)
            recording.recorder = recording.start()
    assert heard > 10 and announced is not None and announced.events > 100
    wait_for(lambda: recording.ask("go"), "the recorder has started")
    sent = {}
    for topic, process in zip(recording.seen, recording.publishers.values(), strict=True):
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        sent[topic] = int(process.stdout.readline())
    codes = [process.wait(60) for process in recording.publishers.values()]
    recording.ask("stop")
    assert recording.recorder.wait(60) in (0, 3) and set(codes) <= {0, 1}, codes
    recording.look(None)
    report = verify(recording.session)
    assert report.verdict == "ok"
    for topic, numbers in recording.seen.items():
        lost = sum(gap.last - gap.first + 1 for gap in report.gaps if gap.topic == topic)
        assert len(numbers) + lost == sent[topic], f"{topic}: what was published is there, or a gap"
    assert any(gap.topic == "metrics/talk" for gap in report.gaps), "some were lost while it was dead"
    there = {topic: f"{len(numbers)} of {sent[topic]}" for topic, numbers in recording.seen.items()}
    logging.getLogger(__name__).info(
        "10 kills, %d commits heard, %s events of %s, %d gaps", heard, announced.events, there, len(report.gaps)
    )
