"""The benchmarks run, at a size that says nothing about speed."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench import bus, codecs, dora_bus, overhead, read, read_cold, recorder
from bench.recordings import write_session

SIZE = (32, 48)
LOOPS_IN_ORDER = (("", ""), ("", ", ahead"), ("mcap ", ""), ("mcap ", ", checked"))


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


def test_codecs(tmp_path: Path) -> None:
    said: list[str] = []
    codecs.measure(tmp_path / "nothing", said.append)
    assert [line.split(" | ")[1] for line in said[1:]] == list(codecs.CODECS)


def test_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "BATCH", 4)
    monkeypatch.setattr(read_cold, "READS", 4)
    frames = list(np.random.default_rng(0).integers(0, 9, (8, *SIZE, 3), dtype=np.uint8))
    sessions = read.Sessions(tmp_path, frames)
    try:
        files = {name: read.read_peers.write_mcap(tmp_path / f"{name}.mcap", frames, name == "zstd") for name in ("raw", "zstd")}
        rates = read.in_order(sessions, files, 1)
        assert set(rates) == {f"{peer}{codec}{how}" for codec in ("raw", "zstd") for peer, how in LOOPS_IN_ORDER}
        assert np.array_equal(sessions.room[0]["front"], frames[4:])  # MCAP was last
        assert len(read.random_batches(sessions, {}, 1)) == 8
        assert len(read.codec_alone(sessions, frames, 1)) == 6
    finally:
        sessions.close()
    raw = tmp_path / "frames.raw"
    raw.write_bytes(np.stack(frames).tobytes())
    session = write_session(tmp_path / "cold", frames, "raw")
    for way in read_cold.WAYS:
        assert read_cold.main(way, raw, session, 0)["fps"] > 0
