"""Splits: they read as a copy of the same events would, hold no frames, and keep their source from going."""

import json
import shutil

import numpy as np
import pytest

from protocol import messages as m
from storage.editing.edit import trim
from storage.editing.source import Source
from storage.editing.splits import by_episodes, by_unit, in_stages, in_two
from storage.editing.wanted import Guard
from storage.errors import (
    CorruptSession,
    EditRefused,
    EventNotFound,
    SessionExists,
    SessionLocked,
    SessionPinned,
    SourceChanged,
    StorageError,
)
from storage.header import change_header, read_header
from storage.paths import disk_bytes, session_names
from storage.reader import SessionReader
from storage.retention import delete_session, retain
from storage.verify import check, verify
from storage.views import SplitReader, open_session
from storage.writer import SessionWriter

READ_BY_SPLITS = {
    "books", "close", "episodes", "event", "event_at", "events", "follow", "frame",
    "frame_at", "frame_from", "gaps", "info", "numbered", "numbers", "places", "probe", "read", "records",
    "refresh", "robot", "topic_messages",
}  # fmt: skip


@pytest.fixture
def parts(drive):
    """The two splits of `drive` by time, half and half, and the copies that a trim makes of the same."""
    with Source(drive) as source:
        in_two(source, "half", "time", percent=50).write()
        frames = source.table().frames
        border = f"{frames.episode[19]}:{frames.step[19]}"
        trim(source, until=border).write(drive.with_name("first"))
        trim(source, border).write(drive.with_name("second"))
    return [(drive.with_name("half_train_19"), drive.with_name("first")), (drive.with_name("half_validate_19"), drive.with_name("second"))]


def test_every_way_of_reading_is_thought_of():
    """A new one must be made to hold for splits too: see SplitReader."""
    public = {name for name in vars(SessionReader) if not name.startswith("_")}
    assert public <= READ_BY_SPLITS, f"does {public - READ_BY_SPLITS} read only what the split holds?"


def test_a_split_reads_as_a_copy_does(parts, same):  # noqa: C901 - every way of reading
    for split, copy in parts:
        with open_session(split) as ours, SessionReader(copy) as theirs:
            assert isinstance(ours, SplitReader)
            assert len(ours) == len(theirs)
            for kinds in (None, ["frame", "action"], ["status"], ["nothing"]):
                for start in (0, 1, 30, len(ours), 10**6):
                    mine, copied = list(ours.numbered(start, kinds)), list(theirs.numbered(start, kinds))
                    assert [event.number for event in mine] == [event.number for event in copied]
                    assert all(same(a.message, b.message) for a, b in zip(mine, copied, strict=True))
                    assert list(ours.numbers(start, kinds)) == list(theirs.numbers(start, kinds))
            assert [message.envelope for message in ours.follow()] == [message.envelope for message in theirs.events()]
            assert [message.envelope for message in ours.topic_messages("episode")] == [
                message.envelope for message in theirs.topic_messages("episode")
            ]
            for number in range(len(ours)):
                assert same(ours.event(number).message, theirs.event(number).message) and ours.event(number).number == number
            for number in (-1, len(ours)):
                with pytest.raises(EventNotFound):
                    ours.event(number)
            for episode in range(4):
                for step in range(11):
                    assert ours.frame_from(episode, step) == theirs.frame_from(episode, step)
                for step in (*range(11), None):
                    for topic in ("frame", "action", "prediction/predictor", "episode", "status"):
                        a, b = ours.read(topic, episode, step), theirs.read(topic, episode, step)
                        assert (a is None) == (b is None) and (a is None or same(a, b)), (topic, episode, step)
            for t_ns in (0, *range(10**18, 10**18 + 42 * 10**8, 10**8 // 2)):
                assert ours.event_at(t_ns) == theirs.event_at(t_ns), t_ns
                assert ours.frame_at(t_ns) == theirs.frame_at(t_ns), t_ns
            for kind in ("frame", "action"):
                mine, copied = ours.places(kind), theirs.places(kind)
                assert [ours.numbering.place_of(number) for number in mine.event.tolist()] == copied.event.tolist()
                assert (mine.step.tolist(), mine.episode.tolist()) == (copied.step.tolist(), copied.episode.tolist())
            assert same(ours.probe(), theirs.probe())
            assert ours.episodes() == theirs.episodes()
            assert ours.robot == theirs.robot
            assert [(gap.topic, gap.first, gap.last) for gap in ours.gaps()] == [(gap.topic, gap.first, gap.last) for gap in theirs.gaps()]
            with SessionReader(split.with_name("drive")) as whole:  # with the times of the messages around each
                assert all(gap in whole.gaps() for gap in ours.gaps())
            a, b = ours.info(), theirs.info()
            for name in ("events", "bytes", "frames", "duration_s", "episodes", "tails", "clock_jumps", "robot", "codecs", "topics"):
                assert getattr(a, name) == getattr(b, name), name
            assert (a.name, a.derived_from, a.path) == (split.name, ["drive"], str(split))
        assert check(split).exit_code == check(copy).exit_code
        assert verify(split).events_checked == check(copy).events_checked


def test_a_frame_that_the_split_does_not_hold_is_not_there(parts):
    with open_session(parts[0][0]) as train, open_session(parts[1][0]) as validation:
        assert train.frame(0, 3).envelope.seq == 3
        with pytest.raises(EventNotFound, match="half_validate_19 has no frame of episode 0, step 3"):
            validation.frame(0, 3)


def test_both_parts_hold_every_frame_once_and_copy_none(drive, parts):
    seen = []
    for split, _ in parts:
        assert disk_bytes(split) < 20_000 < disk_bytes(drive)
        with open_session(split) as reader:
            seen += [message.envelope.seq for message in reader.topic_messages("frame")]
    assert sorted(seen) == [*range(13), *range(15, 40)]


def test_by_episode_with_a_guard(drive):
    with Source(drive) as source:
        made = in_two(source, "e", "episode", percent=60, guard=Guard(frames=2)).write()
        assert [(one.name, one.frames, one.episodes) for one in made] == [("e_train_28", 28, 3), ("e_validate_8", 8, 1)]
        made = by_episodes(source, "chosen", "1", Guard(seconds=0.25)).write()
        assert [one.name for one in made] == ["chosen_train_30", "chosen_validate_4"]
    with open_session(drive.with_name("chosen_validate_4")) as reader:
        assert [(message.envelope.episode, message.envelope.step) for message in reader.topic_messages("frame")] == [
            (1, 2), (1, 5), (1, 6), (1, 7)
        ]  # fmt: skip


def test_a_part_for_each(drive):
    with Source(drive) as source:
        names = [one.name for one in by_unit(source, "one", "episode").write()]
        assert names == [f"one_episode{number}" for number in range(4)]
        assert [one.frames for one in by_unit(source, "t", "time", 1.5).preview()] == [13, 15, 10]
        with pytest.raises(EditRefused, match="wants --every"):
            by_unit(source, "t", "time")
        with pytest.raises(EditRefused, match="session drive holds only one session"):
            in_two(source, "s", "session")
    with open_session(drive.with_name("one_episode2")) as reader:
        assert [row.episode for row in reader.episodes()] == [2]
        assert {message.envelope.episode for message in reader.events(kinds=["prediction", "episode", "action"])} == {2}


def test_what_has_an_episode_and_no_step_goes_with_its_episode(tmp_path, robot, make, frame):
    """Wherever it arrived: before its first frame, or after frames of the next."""
    with SessionWriter.create(tmp_path / "walk", robot=robot) as writer:
        for seq in range(20):
            if seq == 10:
                writer.append(make("episode/robot", 0, m.EpisodeMark(mark="start"), episode=1))
            writer.append(frame(seq))
            if seq == 12:
                writer.append(make("episode/robot", 1, m.EpisodeMark(mark="success"), episode=0))
    with Source(tmp_path / "walk") as source:
        by_unit(source, "e", "episode").write()
    for episode, mark in ((0, "success"), (1, "start")):
        with open_session(tmp_path / f"e_episode{episode}") as reader:
            assert [message.body.mark for message in reader.topic_messages("episode")] == [mark]


def test_by_session_of_a_merged_one(drive, frame, action, robot):
    with SessionWriter.create(drive.with_name("two"), robot=robot) as writer:
        for seq in range(40):
            writer.append(frame(seq, run="run-A" if seq < 20 else "run-B"))
            writer.append(action(seq, run="run-A" if seq < 20 else "run-B"))
    with Source(drive.with_name("two")) as source:
        assert [one.name for one in in_two(source, "two", "session", percent=30).preview()] == ["two_train_20", "two_validate_20"]
        by_unit(source, "each", "session").write()
    with open_session(drive.with_name("each_session1")) as reader:
        assert {message.envelope.run for message in reader.events()} == {"run-B"}


def test_stages_grow_and_lie_side_by_side(drive):
    with Source(drive) as source:
        made = in_stages(source, "drive", first=10).write()
    assert [one.name for one in made] == [
        "drive_stage1_train_7", "drive_stage1_validate_3", "drive_stage2_train_14", "drive_stage2_validate_6",
        "drive_stage3_train_27", "drive_stage3_validate_11",
    ]  # fmt: skip
    with open_session(drive.with_name("drive_stage2_train_14")) as reader:
        train = [message.envelope.seq for message in reader.topic_messages("frame")]
    with open_session(drive.with_name("drive_stage2_validate_6")) as reader:
        validation = [message.envelope.seq for message in reader.topic_messages("frame")]
    assert train + validation == [*range(13), *range(15, 22)]


def test_a_split_of_a_split_is_one_of_its_source(drive, parts, same):
    with Source(drive.with_name("half_validate_19")) as source:
        made = in_two(source, "again", "time", percent=50, guard=Guard(frames=1)).write()
        trim(source, until="3:").write(drive.with_name("copied"))
    header = read_header(drive.with_name(made[1].name))
    assert (header.split, header.derived_from) == ("drive", ["half_validate_19"])
    with open_session(drive.with_name(made[1].name)) as inner, open_session(drive.with_name("half_validate_19")) as outer:
        frames = {message.envelope.seq for message in outer.topic_messages("frame")}
        assert {message.envelope.seq for message in inner.topic_messages("frame")} == set(sorted(frames)[11:])
    assert check(drive.with_name(made[1].name)).verdict == "ok"
    with SessionReader(drive.with_name("copied")) as reader:
        assert {message.envelope.episode for message in reader.topic_messages("frame")} == {2}
    assert read_header(drive.with_name("copied")).derived_from == ["half_validate_19"]


def test_a_source_stays_while_there_is_a_split(drive, parts):
    with pytest.raises(SessionPinned, match="drive is the source of split half_train_19 and 1 more: delete the splits first"):
        delete_session(drive)
    retain(drive.parent, "toroidal_dot", 0)
    assert "drive" in session_names(drive.parent)
    delete_session(drive.with_name("half_train_19"))
    with pytest.raises(SessionPinned, match="the source of split half_validate_19:"):
        delete_session(drive)
    delete_session(drive.with_name("half_validate_19"))
    retain(drive.parent, "toroidal_dot", 0)
    assert "drive" not in session_names(drive.parent)


def test_a_source_that_is_not_what_it_was_is_told(drive, parts, frame, tmp_path):
    split = drive.with_name("half_train_19")
    shutil.copytree(drive, tmp_path / "kept")
    with SessionWriter.create(drive, resume=True) as writer:
        writer.append(frame(40))
    with SessionReader(drive) as reader:
        events = len(reader)
    for use in (open_session, Source):
        with pytest.raises(SourceChanged, match=f"its source drive has {events} events, not {events - 1} as then; delete the split"):
            use(split)
    assert "as then" in verify(split).problems[0] and verify(split).exit_code == 1
    shutil.rmtree(drive)
    shutil.copytree(tmp_path / "kept", drive)
    with open_session(split) as reader:
        assert len(list(reader.events())) > 0
    change_header(drive, created="2001-01-01T00:00:00+00:00")
    with pytest.raises(SourceChanged, match="is another one of the same name"):
        open_session(split)
    shutil.rmtree(drive)
    with pytest.raises(SourceChanged, match="is of session drive, gone from"):
        open_session(split)
    delete_session(split)  # possible all the same


def test_nothing_is_recorded_into_a_split_and_none_is_made_of_what_is_written(drive, parts):
    with pytest.raises(StorageError, match="is a split of drive: nothing can be recorded into it"):
        SessionWriter.create(drive.with_name("half_train_19"), resume=True)
    with SessionWriter.create(drive, resume=True), pytest.raises(SessionLocked):
        Source(drive)
    with Source(drive) as source:
        division = in_two(source, "late", "time")
        with SessionWriter.create(drive, resume=True), pytest.raises(SessionLocked):
            division.write()
    assert "late_train_27" not in session_names(drive.parent)


def test_all_splits_of_a_division_or_none(drive, monkeypatch):
    with Source(drive) as source:
        in_two(source, "a", "time").write()
        with pytest.raises(SessionExists, match="a_train_27 exists"):
            in_two(source, "a", "time")
        division = in_two(source, "b", "time")
        drive.with_name("b_validate_11").mkdir()  # since then
        with pytest.raises(SessionExists):
            division.write()
    assert [name for name in session_names(drive.parent) if name.startswith("b")] == []


def test_damage_under_a_split_is_found(drive, parts, pixels):
    (split, _), (other, _) = parts
    split_file = split / "split.json"
    told = json.loads(split_file.read_text())
    told["state"]["bytes"] += 1
    split_file.write_text(json.dumps(told))
    assert "the books of split half_train_19 are not those of its events: the totals differ" in verify(split).problems[0]
    split_file.write_text("{")
    with pytest.raises(CorruptSession, match=r"split.json cannot be read: .*; delete the split and make it again"):
        open_session(split)
    part = pixels(39).tobytes()[300:364]
    found = 0
    for data in (drive / "segments").rglob("data.mdb"):  # in more than one where a batch found the map full
        found += data.read_bytes().count(part)
        data.write_bytes(data.read_bytes().replace(part, part[::-1]))
    assert found
    report = verify(other)
    assert report.exit_code == 1 and "is damaged" in report.problems[0]
    with open_session(other) as reader, pytest.raises(StorageError, match="is damaged"):
        list(reader.events())


def test_what_has_an_episode_and_step_belongs_to_their_frame(drive):
    with Source(drive) as source:
        table = source.table()
        heads = [header.envelope for _, _, header in source.heads()]
    frames = table.frames
    places = dict(enumerate(zip(frames.episode.tolist(), frames.step.tolist(), strict=True)))
    known = set(places.values())
    for envelope, at in zip(heads, table.frame_of.tolist(), strict=True):
        if envelope.topic in ("robot/robot", "probe/robot"):
            assert at == -1
        elif (envelope.episode, envelope.step) in known:
            assert places[at] == (envelope.episode, envelope.step)
    assert np.all(np.diff(frames.seconds) > 0)
