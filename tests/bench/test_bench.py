"""The benchmarks run, at a size that says nothing about speed."""

import json
from pathlib import Path

import pytest

from bench import bus, dora_bus, overhead, recorder, replay

SIZE = (32, 48)


def test_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "TURN_S", 0.1)
    monkeypatch.setattr(dora_bus, "installed", lambda: False)
    said: list[str] = []
    bus.bench(said.append, tmp_path, [(SIZE, 1)], frames=20, rounds=1)
    assert any(dora_bus.MISSING in line for line in said)
    (cell,) = json.loads((tmp_path / "bus.json").read_bytes())
    assert {name: (one["frames"], one["lost"]) for name, one in cell["at_30_hz"].items()} == dict.fromkeys(bus.LOOPS, (20, 0))
    assert [one["lost"] for one in cell["saturated"].values()] == [0, 0, 0]


def test_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "SYNC_S", 0.0)
    both = recorder.mixed(0.5, rate_hz=30, small_hz=100, size=SIZE)
    assert (both["recorded"], both["lost"], both["missing"]) == (15 + 50 + 2, 0, 0)
    full = recorder.saturated(0.1, 1, SIZE)
    assert (full["lost"], full["missing"]) == (0, 0)
    assert full["bare"]["mb_s"] > 0


def test_overhead() -> None:
    found = overhead.measure(0.5, 1)
    assert found.keys() == {"all", "none", "told"}
    assert found["all"].keys() == {"source", "sink"}


def test_replay(tmp_path: Path) -> None:
    place = replay.Place(tmp_path)
    even = replay.punctual(place, 60, SIZE)
    assert even["replay"]["frames"] > 0 and even["bare sleep loop"]["p99"] > 0
    full = replay.full_speed(place, 2)
    assert (full["whole"], full["frames"]) == (2, replay.FULL_FRAMES)
