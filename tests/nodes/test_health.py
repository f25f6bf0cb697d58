"""Everything is told once, and once more when it is over."""

import logging
from types import SimpleNamespace

import pytest

from nodes.health import Health, tell_gap, tell_tails
from protocol.messages import Gap, Tail


class Bus:
    """What a bus has noticed, as the test says."""

    def __init__(self) -> None:
        self.clock_jumps, self.clock_jump_s = 0, 0.0
        self.seen: dict[str, list] = {"warnings": [], "gaps": [], "tails": [], "silent": []}

    def warnings(self) -> list[str]:
        said, self.seen["warnings"] = self.seen["warnings"], []
        return said

    def gaps(self, since: int = 0) -> list[Gap]:
        return self.seen["gaps"][since:]

    def tails(self) -> list[Tail]:
        return list(self.seen["tails"])

    def silent(self) -> list[str]:
        return list(self.seen["silent"])


class Watched:
    """A health and its fake node; `look` returns the alarms of that look."""

    def __init__(self, kind: str) -> None:
        self.bus, self.alarms, self.now_s = Bus(), [], 0.0
        self.node = SimpleNamespace(bus=self.bus, wiring=SimpleNamespace(kind=kind), log=logging.getLogger("watched"), alarm=self._alarm)
        self.health = Health(self.node)

    def _alarm(self, name: str, text: str, active: bool = True) -> None:
        self.alarms.append((name, text, active))

    def look(self, after_s: float = 1.0) -> list[tuple[str, str, bool]]:
        self.now_s += after_s
        self.alarms = []
        self.health.look(self.now_s)
        return self.alarms


@pytest.fixture
def watched() -> Watched:
    return Watched("recorder")


def test_an_input_that_falls_silent_and_comes_back(watched: Watched) -> None:
    assert watched.look() == []
    watched.bus.seen["silent"] = ["robot", "predictor"]
    assert watched.look() == [
        ("silent_predictor", "predictor has not been heard for three heartbeats", True),
        ("silent_robot", "robot has not been heard for three heartbeats", True),
    ]
    assert watched.look() == []
    watched.bus.seen["silent"] = ["predictor"]
    assert watched.look() == [("silent_robot", "robot is heard again", False)]
    watched.bus.seen["silent"] = ["predictor", "robot"]
    assert [name for name, _, _ in watched.look()] == ["silent_robot"], "a second time is told as well"


def test_it_looks_twice_a_second(watched: Watched) -> None:
    watched.look()
    watched.bus.seen["silent"] = ["robot"]
    assert watched.look(0.1) == []
    assert len(watched.look(0.5)) == 1


def test_every_gap_is_told_once(watched: Watched) -> None:
    gap = Gap(topic="frame/robot", run="q", first=3, last=5)
    watched.bus.seen["gaps"] = [gap, Gap(topic="action/robot", run="q", first=3, last=3)]
    assert watched.look() == [("data_lost", "3 of frame/robot never came: 3 to 5; 1 of action/robot never came: 3 to 3", True)]
    assert watched.look() == []
    watched.bus.seen["gaps"].append(Gap(topic="frame/robot", run="q", first=9, last=9))
    assert [text for _, text, _ in watched.look()] == ["1 of frame/robot never came: 9 to 9"]


def test_a_dead_publisher_is_logged_once_for_each_of_its_runs(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.bus.seen["tails"] = [Tail(topic="frame/robot", run="q", last=7)]
    assert watched.look() == []
    watched.bus.seen["tails"].append(Tail(topic="action/robot", run="q", last=6))
    assert watched.look() == []
    assert caplog.messages == [], "more may come: those of one death are told together"
    watched.look()
    assert caplog.messages == ["robot has ended without a last word; end unknown: frame/robot after 7, action/robot after 6"]
    watched.look()
    assert len(caplog.messages) == 1
    watched.bus.seen["tails"].append(Tail(topic="frame/robot", run="p", last=0))
    watched.look()
    watched.look()
    assert caplog.messages[1:] == ["robot has ended without a last word; end unknown: frame/robot after 0"]


@pytest.mark.parametrize(("kind", "told"), [("robot", 1), ("recorder", 1), ("trainer", 0), ("viewer", 0)])
def test_a_jump_of_the_clock_is_told_by_few(kind: str, told: int) -> None:
    watched = Watched(kind)
    watched.bus.clock_jumps, watched.bus.clock_jump_s = 1, -3600.0
    alarms = watched.look()
    assert len(alarms) == told
    for name, text, active in alarms:
        assert (name, active) == ("clock_jump", True) and "jumped by -3600.0 s" in text
    assert watched.look() == []


def test_who_was_turned_away_is_logged(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.bus.seen["warnings"] = ["100% a stranger"]
    watched.look()
    watched.look()
    assert caplog.messages == ["100% a stranger"]


def test_words() -> None:
    gap = Gap(topic="frame/robot", run="q", first=0, last=9, after_ns=10**18 + 123_000_000, before_ns=10**18 + 2 * 10**9)
    assert tell_gap(gap).startswith("10 of frame/robot never came: 0 to 9, between ") and ".123 and " in tell_gap(gap)
    near = Gap(topic="frame/robot", run="q", first=0, last=0, before_ns=10**18)
    assert ", near " in tell_gap(near)
    assert tell_tails([Tail(topic="frame/robot", run="q", last=-1)]).endswith("end unknown: frame/robot after -1")
