"""What the recorder keeps, says and refuses, without sockets."""

import msgspec
import numpy as np
import pytest

from nodes.recorder.config import RecorderConfig
from nodes.recorder.core import GIB, RecorderCore, open_writer
from protocol import messages as m
from storage.errors import DiskFull
from storage.header import change_header
from storage.paths import disk_bytes, session_names
from storage.reader import SessionReader
from storage.verify import check


@pytest.fixture
def core(tmp_path, clock):
    config = RecorderConfig(commit_events=3, min_free_gb=0.001)
    core = RecorderCore(open_writer(tmp_path / "s", config), config)
    core.writer.clock = clock
    yield core
    core.writer.close()


def test_what_the_topic_table_says_is_recorded(core, one_of_each, make, tmp_path):
    assert all(core.handle(message) is not None for message in one_of_each)
    assert core.handle(make("committed/recorder", 0, m.Committed(session="s", last_seq={}, events=0, bytes=0))) is None
    assert core.ignored == {"committed/recorder": 1}
    assert sum(core.recorded.values()) == len(one_of_each)
    core.finish()
    with SessionReader(tmp_path / "s") as reader:
        left_out = {event.message.kind: event.left_out for event in reader.numbered() if event.left_out}
    assert left_out == {"prediction": ("next/front",), "weights": ("safetensors",)}
    assert check(tmp_path / "s").exit_code == 0


def test_predicted_images_are_kept_when_wanted(tmp_path, one_of_each):
    config = RecorderConfig(record_predictions=True, min_free_gb=0.0)
    core = RecorderCore(open_writer(tmp_path / "s", config), config)
    for message in one_of_each:
        core.handle(message)
    core.finish()
    with SessionReader(tmp_path / "s") as reader:
        assert "next/front" in next(reader.topic_messages("prediction")).arrays
        assert next(reader.topic_messages("weights")).arrays == {}


def test_committed_is_told_after_commits_and_only_then(core, frame, clock):
    for seq in range(2):
        core.handle(frame(seq))
    assert core.tick(clock.now_ns) == []
    core.handle(frame(2))
    (told,) = core.tick(clock.now_ns)
    assert told.events == 3
    assert told.last_seq == {"frame/robot": 2}
    core.handle(frame(5))
    assert core.tick(clock.now_ns) == []
    assert not core.lossless
    (told,) = core.tick(clock.now_ns + 10**9)
    assert told.gaps == [m.Gap(topic="frame/robot", run="run-1", first=3, last=4)]
    core.note_gap(m.Gap(topic="committed/recorder", run="x", first=0, last=1))
    core.note_gap(m.Gap(topic="metrics/robot", run="x", first=0, last=1))
    (told,) = core.finish()
    assert len(told.gaps) == 2


def test_duplicates_and_refused_messages_are_counted(core, frame, make):
    for seq in (0, 1, 1, 0):
        core.handle(frame(seq))
    core.handle(make("frame/robot", 2, m.Frame(), {"a": np.zeros(1, complex)}))
    assert core.recorded == {"frame/robot": 2}
    assert core.duplicates == {"frame/robot": 2}
    assert core.refused == {"frame/robot": 1}
    assert not core.lossless


def test_low_disk_is_an_alarm_first_then_the_end(core, frame, clock, tmp_path):
    free = [10 * GIB]
    core.writer.disk_free = lambda path: free[0]
    floor = int(core.config.min_free_gb * GIB)
    assert core.tick(clock.now_ns) == []
    free[0] = int(1.5 * floor)
    (alarm,) = core.tick(clock.now_ns)
    assert alarm.name == "disk_low"
    assert alarm.active
    assert core.tick(clock.now_ns) == []
    free[0] = int(2.1 * floor)
    assert core.tick(clock.now_ns) == [], "not well enough yet"
    free[0] = 3 * floor
    (alarm,) = core.tick(clock.now_ns)
    assert not alarm.active
    core.handle(frame(0))
    free[0] = floor - 1
    core.tick(clock.now_ns)
    with pytest.raises(DiskFull, match="all events taken so far are on disk") as caught:
        core.handle(frame(1))
    assert caught.value.exit_code == 4
    assert core.writer.committed.events == 1
    core.finish()
    assert check(tmp_path / "s").exit_code == 0


def test_a_late_commit_is_an_alarm_until_the_next_one_is_not(core, frame, clock):
    core.writer.timed = lambda seconds: setattr(clock, "now_ns", clock.now_ns + took_ns)
    told = []
    for seq, took_s in enumerate((8, 8, 5, 1)):
        took_ns = int(took_s * 1e9)
        core.handle(frame(seq))
        clock.now_ns += 10**9
        told.append([alarm for alarm in core.tick(clock.now_ns) if isinstance(alarm, m.Alarm)])
    ((first,), again, (over,), last) = told
    assert (first.name, first.active) == ("commit_lag", True) and "9.0 s" in first.text
    assert again == [] and last == [], "told once"
    assert not over.active


@pytest.fixture
def grown(tmp_path, robot, make, frame):
    """Makes a core that records a session of a driver and has taken some frames; all sessions are closed at the end."""
    cores = []

    def begin(name: str, driver: str = "toroidal_dot", **limits: float) -> RecorderCore:
        config = RecorderConfig(commit_events=1, min_free_gb=0.0, codec="raw", **limits)
        core = RecorderCore(open_writer(tmp_path / name, config), config)
        cores.append(core)
        if "max_total_gb" not in limits:
            assert not core.may_retain and core.retain() == {}, "it is not known yet which robot this is"
        core.handle(make("robot/robot", 0, msgspec.structs.replace(robot, driver=driver)))
        for seq in range(100):
            core.handle(frame(seq))
        return core

    yield begin
    for core in cores:
        core.finish()


def test_a_run_makes_room_as_it_grows(tmp_path, grown, frame):
    for name in ("first", "second"):
        grown(name).finish()
    one_gb = disk_bytes(tmp_path / "first") / GIB
    core = grown("now", max_gb=3.5 * one_gb)
    assert core.tell(core.retain()) == [], "all three fit"
    for seq in range(100, 200):
        core.handle(frame(seq))
    (alarm,) = core.tell(core.retain())
    assert (alarm.name, alarm.active) == ("retention", True) and "first" in alarm.text and "second" not in alarm.text
    (over,) = core.tell(core.retain())
    assert (over.name, over.active) == ("retention", False)
    assert session_names(tmp_path) == ["now", "second"]


def test_a_limit_over_all_robots_and_one_that_cannot_be_kept(tmp_path, grown):
    grown("jet", "jetbot").finish()
    pinned = grown("pinned", "jetbot")
    pinned.finish()
    change_header(pinned.writer.path, pinned=True)
    one_gb = disk_bytes(tmp_path / "jet") / GIB
    core = grown("now", max_gb=3 * one_gb, max_total_gb=1.5 * one_gb)
    news = {alarm.name: alarm for alarm in core.tell(core.retain())}
    assert "jet" in news["retention"].text and "max_total_gb" in news["retention"].text
    assert news["over_limit"].active and "max_total_gb" in news["over_limit"].text
    assert session_names(tmp_path) == ["now", "pinned"]
    assert [alarm.name for alarm in core.tell(core.retain())] == ["retention"], "the second is over, the first goes on"


def test_the_first_frames_tell_what_a_minute_takes(core, robot, make, frame):
    core.handle(make("robot/robot", 0, msgspec.structs.replace(robot, rate_hz=50.0)))
    for seq in range(20):
        core.handle(frame(seq))
        assert core.estimate() is None, "nine tenths of the least time"
    core.writer.free_bytes = 3 * GIB
    core.handle(frame(20))
    use = core.estimate()
    stored = core.writer.bytes / 21
    assert use.bytes_per_minute == pytest.approx(stored * 50 * 60, rel=0.05), (
        "at the rate that the robot says, not at that of its first frames"
    )
    assert use.room_bytes == pytest.approx(3 * GIB, rel=0.01)
    assert core.estimate() is None, "said once"
    assert core.numbers()["disk_bytes_per_minute"] == use.bytes_per_minute


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"codec": "png"}, "Invalid enum value 'png'"), ({"sync_interval_s": 0}, "more than 0"), ({"commit_events": 0}, "at least 1"),
        ({"map_gb": 0}, "expected 0.001 to 1024"), ({"max_gb": -1}, "0 or more"),
        ({"max_total_gb": float("inf")}, "0 or more"), ({"comit_events": 3}, "unknown field `comit_events`"),
    ],
)  # fmt: skip
def test_a_config_is_checked_at_the_edge(fields, words):
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(fields, RecorderConfig)
