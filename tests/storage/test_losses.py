"""What never came, and what nobody knows: written down, read back with times, whatever becomes of the writer."""

import pytest

from protocol.messages import Gap, Tail
from storage.reader import SessionReader
from storage.verify import verify
from storage.writer import SessionWriter

FRAMES = "frame/robot"


def gap(first, last):
    return Gap(topic=FRAMES, run="run-1", first=first, last=last)


@pytest.fixture
def holey(tmp_path, frame):
    """Frames 2 to 4 and 7 of a run that told of 9 and died, then frame 0 of the next."""
    path = tmp_path / "holey"
    with SessionWriter.create(path) as writer:
        writer.note_gap(gap(0, 1))
        for seq in (2, 3, 4, 7):
            writer.append(frame(seq))
        writer.note_gap(gap(8, 9))
        assert writer.note_tail(Tail(topic=FRAMES, run="run-1", last=7, told=9))
        assert not writer.note_tail(Tail(topic="metrics/trainer", run="t", last=3)), "nothing of it is here"
        writer.append(frame(0, run="run-2"))
    return path


def test_gaps_have_the_times_of_the_messages_around_them(holey, frame):
    def at(seq):
        return frame(seq).envelope.t_ns

    with SessionReader(holey) as reader:
        assert [(g.first, g.last, g.after_ns, g.before_ns) for g in reader.gaps()] == [
            (0, 1, 0, at(2)), (5, 6, at(4), at(7)), (8, 9, at(7), 0),
        ]  # fmt: skip
        info = reader.info()
    assert info.gaps == reader_gaps(holey) and info.topics[FRAMES].missing == 6


def reader_gaps(path):
    with SessionReader(path) as reader:
        return reader.gaps()


def test_a_tail_is_where_its_last_message_was(holey):
    with SessionReader(holey) as reader:
        assert reader.info().tails == [Tail(topic=FRAMES, run="run-1", last=7, told=9)]


def test_a_tail_survives_that_the_session_is_opened_again(holey, frame):
    with SessionWriter.create(holey, resume=True) as writer:
        writer.append(frame(1, run="run-2"))
    with SessionReader(holey) as reader:
        assert reader.info().tails == [Tail(topic=FRAMES, run="run-1", last=7, told=9)]
        assert [(g.run, g.first, g.last) for g in reader.gaps()] == [("run-1", 0, 1), ("run-1", 5, 6), ("run-1", 8, 9)]


def test_a_tail_is_committed_though_no_message_follows(tmp_path, frame):
    path = tmp_path / "quiet"
    with SessionWriter.create(path) as writer:
        writer.append(frame(0))
        writer.flush()
        writer.note_tail(Tail(topic=FRAMES, run="run-1", last=0))
    with SessionReader(path) as reader:
        assert reader.info().tails == [Tail(topic=FRAMES, run="run-1", last=0, told=-1)]


def test_verify_knows_gaps_from_damage_and_a_tail_from_both(holey, tmp_path, frame):
    report = verify(holey)
    assert (report.verdict, report.exit_code) == ("ok", 3)
    assert [(g.first, g.last) for g in report.gaps] == [(0, 1), (5, 6), (8, 9)]
    path = tmp_path / "ended"
    with SessionWriter.create(path) as writer:
        writer.append(frame(0))
        writer.note_tail(Tail(topic=FRAMES, run="run-1", last=0, told=0))
    assert verify(path).exit_code == 0, "all that is known of is there"
