"""What an edit makes: the same messages, the same bytes, honest books; and nothing but what was said before."""

import numpy as np
import pytest

from protocol import messages as m
from storage.editing.edit import JUDGEMENTS, drop, mark, merge, trim
from storage.editing.source import Source
from storage.errors import CorruptEvent, DiskFull, EditRefused, SessionExists, SessionLocked
from storage.header import change_header, read_header
from storage.load import close_segments, load_books, open_segments, records
from storage.paths import session_names
from storage.reader import SessionReader
from storage.verify import check
from storage.writer import SessionWriter

FRAMES, ROBOT = ("frame/robot", "run-1"), ("robot/robot", "run-1")


def stored(path) -> dict[tuple[str, str, int], bytes]:
    """Every message, and the bytes it is stored as: without checksum and event number, which are the session's."""
    segments = open_segments(path)
    with Source(path) as source:
        keys = {number: (head.envelope.topic, head.envelope.run, head.envelope.seq) for number, _, head in source.heads()}
        out = dict(records(segments, source.spans, lambda number, record: (keys[number], bytes(record[12:]))))
    close_segments(segments)
    return out


def made(edit, target):
    """Write what was announced, and see that it is that."""
    said = edit.preview(target.name)
    done = edit.write(target)
    assert said == done
    books = load_books(target)
    assert (done.events, done.bytes) == (books.state.events, books.state.bytes)
    assert done.frames == sum(row.frames for row in books.episodes.values())
    assert done.episodes == len(books.episodes)
    assert read_header(target).derived_from == done.derived_from
    return done


def test_a_trim_holds_the_same_bytes(drive, tmp_path):
    before = stored(drive)
    with Source(drive) as source:
        done = made(trim(source, "0.5", "2:5"), tmp_path / "short")
    assert stored(drive) == before
    after = stored(tmp_path / "short")
    assert after.items() <= before.items()
    assert (done.frames, done.left_out_frames, done.left_out_events) == (18, 20, len(before) - len(after))
    assert sorted(seq for topic, _, seq in after if topic == "frame/robot") == [*range(5, 13), *range(15, 25)]
    assert sorted(seq for topic, _, seq in after if topic == "action/robot") == list(range(5, 25))
    # what came late belongs to its step, not to the place where it arrived
    assert sorted(seq for topic, _, seq in after if topic == "prediction/predictor") == list(range(5, 23))
    assert ("probe/robot", "run-1", 0) in after and ("robot/robot", "run-1", 0) in after
    header = read_header(tmp_path / "short")
    assert (header.name, header.derived_from, header.source, header.robot.driver) == ("short", ["drive"], {"kind": "test"}, "toroidal_dot")


def test_what_an_edit_leaves_out_is_no_loss_and_losses_stay(drive, tmp_path):
    assert check(drive).exit_code == 3
    with Source(drive) as source:
        made(trim(source, "0.5", "2:5"), tmp_path / "short")
        made(trim(source, "2:5"), tmp_path / "end")
        made(drop(source, "2"), tmp_path / "fewer")
        made(drop(source, "1"), tmp_path / "sound")
    with SessionReader(tmp_path / "short") as reader:
        assert [(gap.topic, gap.first, gap.last) for gap in reader.gaps()] == [("frame/robot", 13, 14), ("status/robot", 3, 3)]
        assert reader.books().tails() == []
    assert check(tmp_path / "short").exit_code == 3
    with SessionReader(tmp_path / "end") as reader:
        assert reader.gaps() == []
        assert [tail.topic for tail in reader.books().tails()] == ["status/robot"]
    assert check(tmp_path / "end").exit_code == 0
    fewer = load_books(tmp_path / "fewer").streams[FRAMES]
    assert (fewer.gaps, fewer.cut) == ([(13, 14)], [(20, 29)])
    assert check(tmp_path / "fewer").exit_code == 3
    sound = load_books(tmp_path / "sound")
    assert sound.streams[FRAMES].cut == [(10, 19)] and sound.streams[FRAMES].gaps == []
    # a loss on the border of what was left out stays a loss
    assert [(gap.topic, gap.first) for gap in sound.gaps()] == [("status/robot", 3)]


def test_edits_of_edits_keep_telling_both_apart(drive, tmp_path):
    with Source(drive) as source:
        made(drop(source, "2"), tmp_path / "a")
    with Source(tmp_path / "a") as source:
        made(trim(source, "0.5"), tmp_path / "b")
    frames = load_books(tmp_path / "b").streams[FRAMES]
    assert (frames.first_seq, frames.gaps, frames.cut) == (5, [(13, 14)], [(20, 29)])
    assert read_header(tmp_path / "b").derived_from == ["a"]
    with Source(tmp_path / "a") as source:
        made(drop(source, "1"), tmp_path / "c")
    assert load_books(tmp_path / "c").streams[FRAMES].cut == [(10, 29)]


def test_a_stream_that_lost_all_it_sent_stays_listed(drive, tmp_path):
    with SessionWriter.create(drive, resume=True) as writer:
        writer.note_gap(m.Gap(topic="metrics/trainer", run="run-3", first=0, last=4))
    with Source(drive) as source:
        made(drop(source, "1-2"), tmp_path / "a")
    assert ("metrics/trainer", 0, 4) in [(gap.topic, gap.first, gap.last) for gap in load_books(tmp_path / "a").gaps()]
    assert check(tmp_path / "a").exit_code == 3


def test_drop_by_number_and_by_mark(drive, tmp_path):
    with Source(drive) as source:
        made(drop(source, "0,2-3"), tmp_path / "one")
        made(mark(source, "discard", "1,3"), tmp_path / "judged")
        with pytest.raises(EditRefused, match="no episode marked failure"):
            drop(source, marked="failure")
        with pytest.raises(EditRefused, match="there is no episode 7: there are 4 from 0 to 3"):
            drop(source, "1,7")
        with pytest.raises(EditRefused, match="has no episode marked"):
            drop(source, marked="discard")
    assert list(load_books(tmp_path / "one").episodes) == [1]
    with Source(tmp_path / "judged") as source:
        made(drop(source, marked="discard"), tmp_path / "kept")
    assert sorted(load_books(tmp_path / "kept").episodes) == [0, 2]
    assert not [key for key in stored(tmp_path / "kept") if key[0].startswith("episode") and key[2] in (2, 3) and key[1] == "run-1"]


@pytest.mark.parametrize("judgement", JUDGEMENTS)
def test_a_mark_stands_at_the_end_of_its_episode(drive, tmp_path, judgement):
    before = stored(drive)
    with Source(drive) as source:
        made(mark(source, judgement, "1-2", reason="seen"), tmp_path / "judged")
    after = stored(tmp_path / "judged")
    assert before.items() <= after.items() and len(after) == len(before) + 2
    books = load_books(tmp_path / "judged")
    assert [[one.mark for one in row.marks] for _, row in sorted(books.episodes.items())] == [
        ["start", "end"], ["start", judgement, "end"], ["start", judgement, "end"], ["start", "end"]
    ]  # fmt: skip
    assert books.episodes[1].marks[1].reason == "seen" and books.episodes[1].marks[1].step == 9
    assert books.episodes[1].last_t_ns == load_books(drive).episodes[1].last_t_ns
    assert books.state.clock_jumps == []
    with SessionReader(tmp_path / "judged") as reader:
        kinds = [(message.kind, message.envelope.episode) for message in reader.events(kinds=("frame", "episode", "action"))]
    at = kinds.index(("episode", 1), kinds.index(("frame", 1)))
    assert kinds[at - 1 : at + 2] == [("action", 1), ("episode", 1), ("episode", 1)]


def test_relabel_puts_one_judgement_in_place_of_others(drive, tmp_path):
    with Source(drive) as source:
        made(mark(source, "success", "0-1"), tmp_path / "a")
    with Source(tmp_path / "a") as source:
        made(mark(source, "discard", "1"), tmp_path / "more")
        made(mark(source, "failure", "1", relabel=True), tmp_path / "b")
    marks = {path: [one.mark for one in load_books(tmp_path / path).episodes[1].marks] for path in ("more", "b")}
    assert marks == {"more": ["start", "success", "discard", "end"], "b": ["start", "failure", "end"]}
    assert [one.mark for one in load_books(tmp_path / "b").episodes[0].marks] == ["start", "success", "end"]
    assert check(tmp_path / "b").verdict == "ok"
    with Source(drive) as source, pytest.raises(EditRefused, match="marked success, failure, discard, not reset"):
        mark(source, "reset", "1")


def test_merge_counts_episodes_on_and_changes_nothing_else(drive, session, tmp_path, same):
    refused = pytest.raises(EditRefused, match=r"cannot be merged: both hold \d+ of the same messages")
    with Source(session) as one, Source(drive) as two, refused:
        merge([one, two])  # both are of run-1
    other = tmp_path / "other"
    with SessionReader(session) as reader, SessionWriter.create(other) as writer:
        messages = [
            m.Message(envelope=_of_run(message.envelope, "run-9"), body=message.body, arrays=message.arrays) for message in reader.events()
        ]
        for message in messages:
            writer.append(message)
    with Source(drive) as one, Source(other) as two:
        done = made(merge([one, two]), tmp_path / "both")
    assert (done.episodes, done.frames, done.derived_from) == (7, 68, ["drive", "other"])
    assert check(tmp_path / "both").exit_code == 3  # drive's losses
    with SessionReader(drive) as a, SessionReader(tmp_path / "both") as both:
        found = list(both.events())
        assert all(same(x, y) for x, y in zip(found, a.events(), strict=False))
        for x, y in zip(found[len(a) :], messages, strict=True):
            number = None if y.envelope.episode is None else y.envelope.episode + 4
            assert x.envelope == _of_run(y.envelope, "run-9", number)
            assert all(np.array_equal(x.arrays[name], y.arrays[name]) for name in y.arrays)
        assert both.frame(5, 3).envelope.seq == 13


def test_episodes_of_a_third_count_on_from_the_second(tmp_path, robot, frame):
    for name in ("a", "b", "c"):
        with SessionWriter.create(tmp_path / name, robot=robot) as writer:
            for seq in range(20):
                writer.append(frame(seq, run=name))
    with Source(tmp_path / "a") as a, Source(tmp_path / "b") as b, Source(tmp_path / "c") as c:
        made(merge([a, b, c]), tmp_path / "all")
    assert [(number, row.frames) for number, row in sorted(load_books(tmp_path / "all").episodes.items())] == [(at, 10) for at in range(6)]


def _of_run(envelope: m.Envelope, run: str, episode: int | None = -1) -> m.Envelope:
    import msgspec

    return msgspec.structs.replace(envelope, run=run, **({} if episode == -1 else {"episode": episode}))


def test_the_parts_of_a_session_merge_to_what_it_was(drive, tmp_path):
    with Source(drive) as source:
        made(trim(source, until="2:"), tmp_path / "a")
        made(trim(source, "2:"), tmp_path / "b")
    for order in (("a", "b"), ("b", "a")):
        with Source(tmp_path / order[0]) as one, Source(tmp_path / order[1]) as two:
            made(merge([one, two]), tmp_path / "".join(order))
    assert stored(tmp_path / "ab") == stored(drive)
    was, now = load_books(drive), load_books(tmp_path / "ab")
    assert {key: (row.gaps, row.told, row.cut) for key, row in was.streams.items()} == {
        key: (row.gaps, row.told, row.cut) for key, row in now.streams.items()
    }
    assert [vars_of(row) for row in was.episodes.values()] == [vars_of(row) for row in now.episodes.values()]
    turned = load_books(tmp_path / "ba")
    assert {key: row.gaps for key, row in turned.streams.items()} == {key: row.gaps for key, row in was.streams.items()}
    assert check(tmp_path / "ba").verdict == "ok"


def vars_of(row) -> tuple:
    import msgspec

    return msgspec.structs.astuple(row)


def test_sessions_of_different_robots_do_not_merge(session, tmp_path, robot, frame):
    import msgspec

    other = msgspec.structs.replace(robot, cameras=[m.CameraInfo(name="front", height=1, width=1)], rate_hz=5.0)
    with SessionWriter.create(tmp_path / "other", robot=other) as writer:
        writer.append(frame(0, run="run-9"))
    with Source(session) as one, Source(tmp_path / "other") as two, pytest.raises(EditRefused, match="their cameras, rate_hz differ"):
        merge([one, two])


def test_tags_and_notes_go_along(session, tmp_path):
    change_header(session, tags=["night"], notes="rain", pinned=True)
    with Source(session) as source:
        made(drop(source, "1"), tmp_path / "a")
    header = read_header(tmp_path / "a")
    assert (header.tags, header.notes, header.pinned) == (["night"], "rain", False)


def test_what_is_refused(session, drive, tmp_path, robot, monkeypatch):
    with Source(session) as source:
        for edit, words in (
            (lambda: trim(source, "100"), "there is no frame from 100 until the end: the last is at 2.9 s"),
            (lambda: trim(source, until="0"), "until 0"),
            (lambda: drop(source, "0-2").write(tmp_path / "x"), None),
        ):
            if words is None:
                edit()  # the robot's word stays: a session without frames
            else:
                with pytest.raises(EditRefused, match=words):
                    edit()
        with pytest.raises(SessionExists, match="choose another name"):
            drop(source, "1").write(drive)
        monkeypatch.setattr("storage.editing.edit.free_bytes", lambda path: 1000)
        with pytest.raises(DiskFull, match="1000 are free"):
            drop(source, "1").write(tmp_path / "y")
    with SessionWriter.create(session, resume=True), pytest.raises(SessionLocked, match="wait for its end"):
        Source(session)
    with SessionWriter.create(tmp_path / "empty", robot=robot):
        pass
    with Source(tmp_path / "empty") as source, pytest.raises(EditRefused, match="holds no frames: nothing to trim"):
        trim(source, "1")
    assert "y" not in session_names(tmp_path)


def test_damage_stops_an_edit_and_leaves_nothing(session, tmp_path, pixels):
    data = next((session / "segments").rglob("data.mdb"))
    raw = data.read_bytes()
    at = raw.index(pixels(12).tobytes()[100:200]) if pixels(12).tobytes()[100:200] in raw else raw.index(b"frame/robot")
    data.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    with Source(session) as source, pytest.raises(CorruptEvent, match="is damaged"):
        trim(source).write(tmp_path / "short")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["walk"]
