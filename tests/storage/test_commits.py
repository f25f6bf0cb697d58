"""When data goes to disk, what is said of it, and reading while it is written."""

import subprocess
import sys
from itertools import pairwise

import pytest

import storage.writer as writer_module
from protocol.messages import Gap
from storage.errors import SessionExists, SessionLocked
from storage.lock import writer_pid
from storage.reader import SessionReader
from storage.segment import Segment, next_segment
from storage.verify import check
from storage.writer import SessionWriter


def test_commits_come_by_count_bytes_and_time(tmp_path, frame, clock):
    with SessionWriter.create(tmp_path / "s", commit_events=5, commit_bytes=12_000, sync_interval_s=1.0) as writer:
        writer.clock = clock
        for seq in range(4):
            writer.append(frame(seq))
        assert writer.committed.events == 0
        assert writer.events == 4
        # noise of 24 x 32 x 3 takes 2304 bytes and more: the fifth is the count, and the bytes
        writer.append(frame(4))
        assert writer.committed.events == 5
        assert writer.commits == 1
        clock.now_ns = 5 * 10**9
        writer.append(frame(5))
        assert writer.tick(clock.now_ns + 10**9 - 1) is None
        told = writer.tick(clock.now_ns + 10**9)
        assert told is not None
        assert told.events == 6
        assert told.last_seq == {"frame/robot": 5}
        assert told.session == "s"
        assert writer.tick(clock.now_ns + 10**10) is None, "nothing waits, nothing is due"
        for seq in range(6, 9):
            writer.append(frame(seq, size=(40, 40)))
        assert writer.committed.events == 9, "by bytes"


def test_a_session_is_read_while_it_is_written(tmp_path, frame, same):
    with SessionWriter.create(tmp_path / "s", commit_events=100) as writer, SessionReader(tmp_path / "s") as reader:
        assert len(reader) == 0
        assert list(reader.events()) == []
        assert reader.info().state == "open"
        for seq in range(12):
            writer.append(frame(seq))
        assert len(reader) == 0, "what is not committed is not seen"
        writer.flush()
        assert len(reader) == 12
        assert same(reader.frame(1, 1), frame(11))
        assert check(tmp_path / "s").verdict == "ok"
    with SessionReader(tmp_path / "s") as reader:
        assert reader.info().state == "closed"


def test_follow_goes_on_until_the_writer_leaves(tmp_path, frame):
    writer = SessionWriter.create(tmp_path / "s", map_bytes=1 << 17)
    coming = iter(range(40))

    def wait(seconds: float) -> None:  # in place of time that passes: the writer goes on, and leaves in the end
        for seq in [seq for _, seq in zip(range(7), coming, strict=False)]:
            writer.append(frame(seq, size=(60, 80)))
        writer.flush() if writer.events < 40 else writer.close()

    with SessionReader(tmp_path / "s") as reader:
        assert [message.envelope.seq for message in reader.follow(kinds=["frame"], wait=wait)] == list(range(40))
        assert reader.info().segments > 1
        assert list(reader.follow(stop=lambda: True)) == []


FOLLOWER = """
import sys
from pathlib import Path
import numpy as np
from storage.reader import SessionReader

print("in", flush=True)
with SessionReader(Path(sys.argv[1])) as reader:
    for seq, message in enumerate(reader.follow(poll_s=0.001)):
        image = np.random.default_rng(seq).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        assert message.envelope.seq == seq and np.array_equal(message.arrays["image/front"], image), seq
print(seq + 1)
"""


def test_another_process_follows_a_writer_through_commits_and_segments(tmp_path, frame):
    with SessionWriter.create(tmp_path / "s", map_bytes=1 << 19, commit_events=3) as writer:
        follower = subprocess.Popen([sys.executable, "-c", FOLLOWER, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True)
        assert follower.stdout.readline() == "in\n"
        for seq in range(600):
            writer.append(frame(seq, size=(48, 64)))
    assert follower.communicate()[0] == "600\n"
    assert follower.returncode == 0


def test_one_writer_at_a_time_any_number_of_readers(tmp_path, frame):
    path = tmp_path / "s"
    with SessionWriter.create(path) as writer:
        writer.append(frame(0))
        writer.flush()
        with pytest.raises(SessionLocked, match=f"s is being written by process {writer_pid(path)}"):
            SessionWriter.create(path, resume=True)
        with SessionReader(path) as one, SessionReader(path) as two:
            assert len(one) == len(two) == 1
    assert writer_pid(path) is None
    with pytest.raises(SessionExists, match="choose another name"):
        SessionWriter.create(path)


def test_a_resumed_session_goes_on_where_it_stopped(tmp_path, frame, same):
    path = tmp_path / "s"
    with SessionWriter.create(path, codec="zstd") as writer:
        writer.append(frame(0))
    for turn in range(1, 4):
        with SessionWriter.create(path, resume=True) as writer:
            assert writer.ends() == {"frame/robot": ("run-1", turn - 1)}
            assert writer.last_seq("frame/robot", "run-1") == turn - 1
            assert writer.append(frame(turn)) == turn
            assert [writer.append(frame(seq)) for seq in (0, turn)] == [0, turn], "known numbers are not stored twice"
    with SessionReader(path) as reader:
        assert all(same(stored, frame(seq)) for seq, stored in enumerate(reader.events()))
        assert len(reader) == 4
        assert reader.info().segments == 4
        assert reader.header.codecs["frame"] == "zstd"
    assert check(path).exit_code == 0


def test_small_maps_roll_into_segments_without_loss(tmp_path, frame, action, same):
    path = tmp_path / "s"
    with SessionWriter.create(path, map_bytes=1 << 17, commit_events=7) as writer:
        for seq in range(200):
            writer.append(frame(seq, size=(48, 64)))
            writer.append(action(seq))
    with SessionReader(path) as reader:
        assert reader.info().segments > 5
        assert len(reader) == 400
        for seq, stored in enumerate(reader.events(kinds=["frame"])):
            assert same(stored, frame(seq, size=(48, 64)))
        assert [message.envelope.seq for message in reader.events(100, ["action"])] == list(range(50, 200))
        assert same(reader.frame(13, 4), frame(134, size=(48, 64)))
        assert len(reader.episodes()) == 20
        assert all(row.frames == 10 for row in reader.episodes())
    assert check(path).exit_code == 0


def test_a_message_larger_than_the_map_gets_a_segment_of_its_own(tmp_path, frame, same):
    with SessionWriter.create(tmp_path / "s", map_bytes=1 << 17, commit_events=1) as writer:
        for seq in range(6):
            writer.append(frame(seq, size=(24, 32) if seq % 2 else (600, 800)))
    with SessionReader(tmp_path / "s") as reader:
        assert same(reader.event(4).message, frame(4, size=(600, 800)))
        assert len(reader) == 6


def test_gaps_are_noticed_noted_once_and_filled(tmp_path, frame):
    path = tmp_path / "s"
    with SessionWriter.create(path) as writer:
        for seq in (3, 4, 7, 8):
            writer.append(frame(seq))
        assert writer.gaps() == [Gap(topic="frame/robot", run="run-1", first=5, last=6)]
        writer.note_gap(Gap(topic="frame/robot", run="run-1", first=5, last=6))
        writer.note_gap(Gap(topic="frame/robot", run="run-1", first=9, last=11))
        writer.append(frame(12))
        writer.append(frame(0, run="run-2"))
        writer.note_gap(Gap(topic="metrics/trainer", run="t", first=0, last=2))
        told = writer.flush()
        assert [(gap.topic, gap.first, gap.last) for gap in told.gaps] == [
            ("frame/robot", 5, 6),
            ("frame/robot", 9, 11),
            ("metrics/trainer", 0, 2),
        ]
        assert told.last_seq == {"frame/robot": 0, "metrics/trainer": 2}
    assert check(path).exit_code == 3
    assert check(path).holes == []
    with SessionWriter.create(path, resume=True) as writer:
        writer.append(frame(5))  # late, and still welcome
        writer.append(frame(1))
    with SessionReader(path) as reader:
        spans = [(gap.first, gap.last) for gap in reader.gaps() if gap.run == "run-1"]
        assert spans == [(2, 2), (6, 6), (9, 11)]
        assert reader.info().topics["frame/robot"].missing == 5
    assert check(path).holes == []


def test_what_comes_fast_does_not_stay_in_the_cache_and_is_read_all_the_same(tmp_path, frame, same, monkeypatch):
    dropped = []
    real = writer_module.forget_cached
    monkeypatch.setattr(writer_module, "forget_cached", lambda *part: (dropped.append(part), real(*part)))
    with SessionWriter.create(tmp_path / "s", commit_bytes=100_000, map_bytes=1 << 20) as writer, SessionReader(tmp_path / "s") as reader:
        for seq in range(200):
            writer.append(frame(seq, size=(48, 64)))
            if writer.commits and seq % 50 == 49:
                assert [same(message, frame(at, size=(48, 64))) for at, message in enumerate(reader.events())] == [True] * len(reader)
        assert len({file.parent for file, _, _ in dropped}) > 1, "in each segment"
        assert all(a[2] == b[1] for a, b in pairwise(dropped) if a[0] == b[0]), "each part once"
        before = len(dropped)
        writer.flush()
        writer.append(frame(200))
        writer.flush()
        assert len(dropped) == before, "what comes slowly stays"
    assert check(tmp_path / "s").exit_code == 0


def test_writers_that_died_before_their_first_commit_leave_the_length_as_it_was(tmp_path, frame):
    with SessionWriter.create(tmp_path / "s") as writer:
        writer.append(frame(0))
    for _ in range(3):
        Segment(next_segment(tmp_path / "s"), map_bytes=1 << 20).close()
    with SessionReader(tmp_path / "s") as reader:
        assert len(reader) == len(list(reader.events())) == 1
    with SessionWriter.create(tmp_path / "s", resume=True) as writer:
        writer.append(frame(1))
    assert check(tmp_path / "s").exit_code == 0
