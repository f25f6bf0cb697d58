"""published = received + skipped + lost, whatever comes in whatever order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.books import Books, Resume
from protocol.messages import Gap, TopicCount
from protocol.topics import LATEST, RELIABLE, Lane

TOPIC = "frame/r"


def books(lane: Lane = RELIABLE, run: str = "", next_seq: int = 0) -> Books:
    made = Books()
    made.open(TOPIC, lane, Resume(run, next_seq))
    return made


def count(of: Books) -> TopicCount:
    return of.counts()[TOPIC]


def test_a_hole_is_lost_on_the_reliable_lane_and_skipped_on_the_other() -> None:
    for lane, lost in ((RELIABLE, 3), (LATEST, 0)):
        made = books(lane)
        assert made.arrive(TOPIC, "q", 0)
        assert made.arrive(TOPIC, "q", 4)
        assert (count(made).published, count(made).received, count(made).lost, count(made).skipped) == (5, 2, lost, 3 - lost)
    assert made.gaps() == []


def test_gaps_name_run_and_numbers() -> None:
    made = books()
    made.arrive(TOPIC, "q", 2)
    made.arrive(TOPIC, "q", 5)
    assert made.gaps() == [Gap(topic=TOPIC, run="q", first=0, last=1), Gap(topic=TOPIC, run="q", first=3, last=4)]


def test_repetitions_are_not_counted() -> None:
    made = books()
    assert made.arrive(TOPIC, "q", 0)
    assert not made.arrive(TOPIC, "q", 0)
    assert count(made).published == 1


def test_a_new_run_counts_from_zero_and_totals_go_on() -> None:
    made = books()
    for seq in range(3):
        made.arrive(TOPIC, "q", seq)
    assert made.arrive(TOPIC, "p", 0)
    assert count(made).published == 4
    assert made.next_seqs("p") == {TOPIC: 1}
    assert made.next_seqs("q") == {}


def test_what_a_killed_publisher_told_of_is_missing_once_its_next_run_begins() -> None:
    made = books()
    made.arrive(TOPIC, "q", 0)
    made.heard(TOPIC, "q", 4)
    assert (count(made).published, count(made).lost) == (1, 0)  # it may still come
    made.heard(TOPIC, "p", 2)
    made.arrive(TOPIC, "p", 0)
    assert (count(made).published, count(made).received, count(made).lost) == (6, 2, 4)
    assert made.gaps() == [Gap(topic=TOPIC, run="q", first=1, last=4)]
    made.arrive(TOPIC, "o", 0)  # its successor told of 2 and was killed as well
    assert count(made).lost == 6


def test_the_last_word_closes_the_books() -> None:
    made = books()
    made.arrive(TOPIC, "q", 0)
    assert not made.complete(TOPIC, "q", 2)
    made.heard_end(TOPIC, "q", 2)
    assert made.complete(TOPIC, "q", 2)
    assert (count(made).lost, count(made).end_known) == (2, True)
    made.arrive(TOPIC, "p", 0)
    assert not count(made).end_known


def test_the_last_word_of_a_run_of_which_nothing_came() -> None:
    made = books(LATEST)
    made.arrive(TOPIC, "q", 0)
    made.heard_end(TOPIC, "p", 1)
    made.heard_end("frame/who", "p", 1)
    assert (count(made).published, count(made).skipped) == (3, 2)
    empty = books()
    empty.heard_end(TOPIC, "q", -1)
    assert (count(empty).published, count(empty).end_known) == (0, True)


def test_resuming_goes_on_where_the_last_process_stopped() -> None:
    made = books(run="q", next_seq=5)
    assert made.next_seqs("q") == {TOPIC: 5}
    assert made.arrive(TOPIC, "q", 5)
    assert (count(made).published, count(made).received, count(made).lost) == (6, 6, 0)


def test_dropping_moves_received_to_skipped() -> None:
    made = books(LATEST)
    made.arrive(TOPIC, "q", 0)
    made.drop(TOPIC)
    assert (count(made).received, count(made).skipped) == (0, 1)


OPS = st.one_of(
    st.tuples(st.just("arrive"), st.sampled_from("pqr"), st.integers(0, 30)),
    st.tuples(st.just("heard"), st.sampled_from("pqr"), st.integers(-1, 30)),
    st.tuples(st.just("end"), st.sampled_from("pqr"), st.integers(-1, 30)),
    st.tuples(st.just("drop"), st.just("p"), st.just(1)),
)


@pytest.mark.parametrize("lane", [LATEST, RELIABLE])
@settings(max_examples=300, deadline=None, database=None)
@given(st.lists(OPS, max_size=40))
def test_the_law_holds_whatever_comes(lane: Lane, ops: list[tuple[str, str, int]]) -> None:
    made = books(lane)
    came = 0
    for what, run, seq in ops:
        before = count(made)
        if what == "arrive":
            came += made.arrive(TOPIC, run, seq)
        elif what == "heard":
            made.heard(TOPIC, run, seq)
        elif what == "end":
            made.heard_end(TOPIC, run, seq)
        elif before.received:
            made.drop(TOPIC)
        now = count(made)
        assert now.published == now.received + now.skipped + now.lost
        assert now.published >= before.published
        assert now.lost == sum(gap.last - gap.first + 1 for gap in made.gaps())
        assert min(now.received, now.skipped, now.lost) >= 0
    assert count(made).received <= came
