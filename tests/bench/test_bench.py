"""The benchmarks run, at a size that says nothing about speed."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench import arm, bus, codecs, dora_bus, jetbot, memory, overhead, read, read_cold, recorder, replay, write, writers
from bench.recordings import write_session

SIZE = (32, 48)
LOOPS_IN_ORDER = (("", ""), ("", ", ahead"), ("", ", unchecked"), ("mcap ", ""), ("mcap ", ", checked"))


@pytest.mark.slow
def test_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "TURN_S", 0.1)
    monkeypatch.setattr(dora_bus, "installed", lambda: False)
    said: list[str] = []
    bus.bench(said.append, tmp_path, [(SIZE, 1)], frames=20, rounds=1)
    assert any(dora_bus.MISSING in line for line in said)
    (cell,) = json.loads((tmp_path / "bus.json").read_bytes())
    assert {name: (one["frames"], one["lost"]) for name, one in cell["at_30_hz"].items()} == dict.fromkeys(bus.LOOPS, (20, 0))
    assert [one["lost"] for one in cell["saturated"].values()] == [0, 0, 0]


@pytest.mark.slow
def test_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "SYNC_S", 0.0)
    both = recorder.mixed(0.5, rate_hz=30, small_hz=100, size=SIZE)
    assert (both["recorded"], both["lost"], both["missing"]) == (15 + 50 + 2, 0, 0)
    full = recorder.saturated(0.1, 1, SIZE)
    assert (full["lost"], full["missing"]) == (0, 0)
    assert full["bare"]["mb_s"] > 0


@pytest.mark.slow
def test_overhead() -> None:
    found = overhead.measure(0.5, 1)
    assert found.keys() == {"all", "none", "told"}
    assert found["all"].keys() == {"source", "sink"}


@pytest.mark.slow
def test_replay(tmp_path: Path) -> None:
    place = replay.Place(tmp_path)
    even = replay.punctual(place, 60, SIZE, 1)
    assert even["turns"][0]["replay"]["frames"] > 0 and even[replay.BARE]["p99"] > 0
    full = replay.full_speed(place, 2)
    assert (full["whole"], full["frames"]) == (2, replay.FULL_FRAMES)


@pytest.mark.slow
def test_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed, kills and what is missing, of toddle and of who is always there."""
    file = tmp_path / "pictures.npy"
    np.save(file, np.random.default_rng(0).integers(0, 255, (5, *SIZE, 3), np.uint8))
    some = {name: writers.WRITERS[name] for name in ("bare file", "toddle raw", "toddle raw, each one", "mcap none", "rerun")}
    monkeypatch.setattr(write, "WRITERS", some)
    monkeypatch.setattr(write, "KILLED_AFTER_S", (0.3, 0.5))
    monkeypatch.setattr(write, "missing", lambda name: "a package" if name == "rerun" else "")
    said: list[str] = []
    turns = write.writers(said.append, file, 20, 1)
    assert "| rerun | not installed: a package | | | | |" in said
    assert turns.keys() == {"bare file", "toddle raw", "mcap none", "rerun"}
    assert all(row["fps"] > 0 and row["size"] >= 1 for rows in turns.values() for row in rows)
    killed = {row["writer"]: row for row in write.kills(said.append, file, 1)}
    assert killed["toddle raw, each one"]["committed"] >= 8
    assert all(row["found"] >= row["committed"] for name, row in killed.items() if name.startswith("toddle"))
    assert killed["toddle raw, each one"]["found"] >= killed["toddle raw, each one"]["accepted"]
    assert list(write._misses({"loads": [], "kills": list(killed.values())})) == []
    lie = {**killed["toddle raw"], "committed": killed["toddle raw"]["found"] + 1}
    assert list(write._misses({"loads": [], "kills": [lie]})) == ["toddle raw: 1 frames lost that were announced as committed"]


@pytest.mark.parametrize("name", [name for name in writers.WRITERS if not writers.WRITERS[name].slow and not writers.missing(name)])
def test_each_format_gives_back_what_was_written(name: str, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (5, *SIZE, 3), np.uint8)
    writer = writers.WRITERS[name](tmp_path, pictures.shape[1:])
    for index in range(12):
        writer.write(index, pictures[index % 5])
    writer.close()
    assert writers.found_again(name, tmp_path, pictures) == (12, "")
    assert writers.found_again(name, tmp_path, pictures[::-1].copy())[0] < 12, "other pictures are told apart"


@pytest.mark.slow
def test_memory_of_recorder_and_reader_is_flat() -> None:
    found = memory.record(6 * 60 * memory.FPS)
    assert (found["lost"], found["missing"]) == (0, 0)
    assert found["segments"] > 1 and found["deleted"] > 0
    for name in ("recorder", "reader"):
        assert memory.flat(found[name]), memory.curve(found[name])


def test_what_is_flat() -> None:
    level = [30.0] * 10 + [50.0] * 90
    assert memory.flat(level)
    assert memory.curve(level) == memory.BARS[4] * 6 + memory.BARS[-1] * 54
    assert not memory.flat([50.0 + number / 10 for number in range(200)])


def test_codecs(tmp_path: Path) -> None:
    said: list[str] = []
    codecs.measure(tmp_path / "nothing", said.append)
    assert [line.split(" | ")[1] for line in said[1:]] == list(codecs.CODECS)


@pytest.mark.slow
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


@pytest.mark.slow
def test_jetbot(tmp_path: Path) -> None:
    jetbot.bench(lambda _: None, tmp_path, actions=1, trials=1)
    found = json.loads((tmp_path / "jetbot.json").read_bytes())
    assert [len(times) for times in found["times_s"].values()] == [1, 1]
    assert {how: len(times) for how, times in found["stops_s"].items()} == {"cut": 1, "stall": 1}


@pytest.mark.slow
def test_arm(tmp_path: Path) -> None:
    """The whole graph on an emulated arm: enough of it to count, not to judge."""
    desk = arm.Desk(tmp_path)
    cell = arm.even(desk, 8.0)
    assert cell["lost"] == 0 and cell["steps"] > 30 and cell["ratio"] > 0
    taught = arm.learned(desk, 15.0, 8.0, 1)
    assert taught["lost"] == 0 and set(arm.SKILLS) <= set(taught["scores"][0])
