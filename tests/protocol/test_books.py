"""published = received + skipped + lost, whatever comes in whatever order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.books import Books, Resume
from protocol.messages import Gap, Tail, TopicCount
from protocol.topics import LATEST, RELIABLE, Lane

TOPIC = "frame/r"


def books(lane: Lane = RELIABLE, run: str = "", next_seq: int = 0, taken: int = -1) -> Books:
    made = Books()
    made.open(TOPIC, lane, Resume(run, next_seq, taken))
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


def test_gaps_have_the_times_of_the_messages_around_them() -> None:
    made = books()
    made.arrive(TOPIC, "q", 2, 100)
    made.arrive(TOPIC, "q", 5, 200)
    made.heard_end(TOPIC, "q", 6)
    assert [(gap.first, gap.last, gap.after_ns, gap.before_ns) for gap in made.gaps()] == [(0, 1, 0, 100), (3, 4, 100, 200), (6, 6, 200, 0)]
    assert made.newest_ns() == {TOPIC: 200}
    made.arrive(TOPIC, "p", 1, 300)
    assert made.gaps()[-1] == Gap(topic=TOPIC, run="p", first=0, last=0, before_ns=300), "another run is no neighbour"


def test_the_newest_gap_is_the_last_whatever_its_topic() -> None:
    made = books()
    made.open("action/r", RELIABLE)
    for topic, seq in ((TOPIC, 1), ("action/r", 1), (TOPIC, 3)):
        made.arrive(topic, "q", seq)
    assert [(gap.topic, gap.first) for gap in made.gaps()] == [(TOPIC, 0), ("action/r", 0), (TOPIC, 2)]


def test_a_publisher_that_died_leaves_a_tail() -> None:
    made = books()
    made.arrive(TOPIC, "q", 0, 100)
    made.heard(TOPIC, "q", 3)
    made.died("other")
    assert made.tails() == [] and count(made).published == 1
    made.died("r")
    made.died("r")
    assert made.tails() == [Tail(topic=TOPIC, run="q", last=0, told=3)], "once"
    assert made.gaps() == [Gap(topic=TOPIC, run="q", first=1, last=3, after_ns=100)]
    assert (count(made).published, count(made).lost, count(made).end_known) == (4, 3, False)
    made.arrive(TOPIC, "p", 0)
    assert len(made.tails()) == 1, "its restart tells nothing new"


def test_a_restart_leaves_the_tail_of_the_earlier_run() -> None:
    made = books()
    made.arrive(TOPIC, "q", 4)
    made.arrive(TOPIC, "p", 0)
    assert made.tails() == [Tail(topic=TOPIC, run="q", last=4, told=-1)]
    made.heard_end(TOPIC, "p", 0)
    made.died("r")
    made.arrive(TOPIC, "o", 0)
    assert len(made.tails()) == 1, "who has said its last word leaves none"


def test_a_run_of_which_nothing_came_is_missing_when_its_publisher_died() -> None:
    made = books()
    made.heard(TOPIC, "q", 1)
    made.died("r")
    assert (count(made).published, count(made).lost) == (2, 2)
    assert made.tails() == [Tail(topic=TOPIC, run="q", last=-1, told=1)]
    made.heard(TOPIC, "p", 0)
    made.died("r")
    assert (count(made).published, count(made).lost, len(made.tails())) == (3, 3, 2)


def test_the_latest_lane_has_no_tails() -> None:
    made = books(LATEST)
    made.arrive(TOPIC, "q", 0)
    made.heard(TOPIC, "q", 3)
    made.died("r")
    assert made.tails() == [] and count(made).skipped == 3


def test_what_an_earlier_process_has_handled_is_not_missed() -> None:
    """It handled up to 9; the publisher still holds from 5, or from 12 on."""
    made = books(run="q", taken=9)
    assert made.next_seqs("q") == {TOPIC: 0}, "all that is held is asked for"
    made.arrive(TOPIC, "q", 5)
    assert (count(made).published, count(made).received, count(made).lost) == (6, 6, 0)
    for seq in range(6, 12):
        made.arrive(TOPIC, "q", seq)
    assert (count(made).published, count(made).received, count(made).lost) == (12, 12, 0)

    later = books(run="q", taken=9)
    later.arrive(TOPIC, "q", 12)
    assert (count(later).published, count(later).received, count(later).lost) == (13, 11, 2)
    assert later.gaps() == [Gap(topic=TOPIC, run="q", first=10, last=11)]


def test_what_an_earlier_process_has_handled_counts_when_the_publisher_is_gone() -> None:
    for told, lost in ((-1, 0), (7, 0), (11, 2)):
        made = books(run="q", taken=9)
        made.heard(TOPIC, "q", told)
        made.arrive(TOPIC, "p", 0)
        assert made.tails() == [Tail(topic=TOPIC, run="q", last=9, told=told)]
        assert (count(made).published, count(made).received, count(made).lost) == (11 + lost, 11, lost)
        made.arrive(TOPIC, "p", 2)
        assert count(made).lost == lost + 1, "the numbers of an earlier run say nothing of this one"


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
    st.tuples(st.just("died"), st.just("p"), st.just(1)),
)
TAKEN = st.sampled_from([("", -1), ("q", -1), ("q", 0), ("q", 12), ("q", 40), ("z", 7)])


@pytest.mark.parametrize("lane", [LATEST, RELIABLE])
@settings(max_examples=300, deadline=None, database=None)
@given(st.lists(OPS, max_size=40), TAKEN)
def test_the_law_holds_whatever_comes(lane: Lane, ops: list[tuple[str, str, int]], earlier: tuple[str, int]) -> None:
    made = books(lane, earlier[0], taken=earlier[1])
    came = 0
    for what, run, seq in ops:
        before = count(made)
        if what == "arrive":
            came += made.arrive(TOPIC, run, seq)
        elif what == "heard":
            made.heard(TOPIC, run, seq)
        elif what == "end":
            made.heard_end(TOPIC, run, seq)
        elif what == "died":
            made.died("r")
        elif before.received:
            made.drop(TOPIC)
        now = count(made)
        assert now.published == now.received + now.skipped + now.lost
        assert now.published >= before.published
        assert now.lost == sum(gap.last - gap.first + 1 for gap in made.gaps())
        assert min(now.received, now.skipped, now.lost) >= 0
    assert count(made).received <= came + max(earlier[1] + 1, 0)
    assert len({(tail.topic, tail.run) for tail in made.tails()}) == len(made.tails())


@settings(max_examples=300, deadline=None, database=None)
@given(st.integers(-1, 30), st.integers(0, 40), st.sets(st.integers(0, 40)))
def test_a_second_process_misses_what_neither_of_the_two_had(taken: int, held_from: int, dropped: set[int]) -> None:
    made = books(run="q", taken=taken)
    came = [seq for seq in range(41) if seq >= held_from and seq not in dropped]
    for seq in came:
        made.arrive(TOPIC, "q", seq)
    made.heard_end(TOPIC, "q", 40)
    missed = sorted(set(range(taken + 1, 41)) - set(came))
    assert [seq for gap in made.gaps() for seq in range(gap.first, gap.last + 1)] == missed
    assert (count(made).published, count(made).lost, count(made).received) == (41, len(missed), 41 - len(missed))
