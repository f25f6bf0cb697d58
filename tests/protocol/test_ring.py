"""The ring: what is kept, sent, sent again and dropped, against a model that remembers everything."""

from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from protocol.books import Books
from protocol.ring import WINDOW_BYTES, WINDOW_MESSAGES, Entry, Ring
from protocol.topics import RELIABLE

FRAMES = frozenset({"frame", "robot"})


def fill(ring: Ring, count: int, nbytes: int = 10, start: int = 0, *, drop: bool = False) -> None:
    for seq in range(start, start + count):
        ring.append("frame/r", seq, [bytes(nbytes)], drop)


def seqs(entries: list[Entry]) -> list[int]:
    return [entry.seq for entry in entries]


def test_a_declared_reader_gets_everything_from_the_start() -> None:
    ring = Ring(1000)
    ring.declare("rec", FRAMES)
    fill(ring, 5)
    ring.join("rec", FRAMES, {})
    assert seqs(list(ring.to_send("rec"))) == [0, 1, 2, 3, 4]
    assert list(ring.to_send("rec")) == []


def test_other_kinds_are_not_sent() -> None:
    ring = Ring(1000)
    ring.declare("rec", FRAMES)
    ring.append("metrics/r", 0, [b"x"], False)
    fill(ring, 1)
    ring.join("rec", FRAMES, {})
    assert [entry.topic for entry in ring.to_send("rec")] == ["frame/r"]


def test_what_is_not_acknowledged_is_not_dropped() -> None:
    ring = Ring(50)
    ring.declare("rec", FRAMES)
    ring.join("rec", FRAMES, {})
    fill(ring, 5)
    assert not ring.has_room(10)
    sent = list(ring.to_send("rec"))
    assert not ring.has_room(10)  # sent is not handled: it may yet have to be sent again
    ring.ack("rec", sent[0].index)
    assert ring.has_room(10)
    assert not ring.has_room(11)


def test_heartbeats_grow_over_the_limit_and_nothing_is_lost() -> None:
    ring = Ring(30)
    ring.declare("rec", FRAMES)
    fill(ring, 6)
    assert ring.nbytes == 60
    ring.join("rec", FRAMES, {})
    assert seqs(list(ring.to_send("rec"))) == list(range(6))


def test_counting_drops_the_oldest_and_says_how_many() -> None:
    ring = Ring(30)
    ring.declare("rec", FRAMES)
    fill(ring, 8, drop=True)
    ring.join("rec", FRAMES, {})
    assert seqs(list(ring.to_send("rec"))) == [5, 6, 7]
    assert ring.readers["rec"].lost == 5


def test_a_message_larger_than_the_ring_passes_alone() -> None:
    ring = Ring(30)
    ring.declare("rec", FRAMES)
    ring.join("rec", FRAMES, {})
    assert ring.has_room(100)
    fill(ring, 1, nbytes=100)
    assert not ring.has_room(1)
    ring.ack("rec", next(iter(ring.to_send("rec"))).index)
    assert ring.has_room(100)


def test_a_window_is_not_exceeded() -> None:
    ring = Ring(1 << 40)
    ring.declare("rec", FRAMES)
    ring.join("rec", FRAMES, {})
    fill(ring, WINDOW_MESSAGES + 5, nbytes=1)
    sent = list(ring.to_send("rec"))
    assert len(sent) == WINDOW_MESSAGES
    ring.ack("rec", sent[2].index)
    assert len(list(ring.to_send("rec"))) == 3
    ring.ack("rec", 10**9)
    list(ring.to_send("rec"))
    ring.ack("rec", 10**9)
    big = bytes(WINDOW_BYTES // 2)
    for seq in range(4):
        ring.append("frame/r", 10_000 + seq, [big], False)
    assert len(list(ring.to_send("rec"))) == 2


def test_a_reader_that_comes_back_names_what_it_wants() -> None:
    ring = Ring(1000)
    ring.declare("rec", FRAMES)
    ring.join("rec", FRAMES, {})
    fill(ring, 10)
    sent = list(ring.to_send("rec"))
    ring.ack("rec", sent[8].index)
    ring.disconnect("rec")
    ring.join("rec", FRAMES, {"frame/r": 4})  # killed: what it had handled was not yet on disk
    assert seqs(list(ring.to_send("rec"))) == [4, 5, 6, 7, 8, 9]


def test_what_was_in_flight_is_held_after_a_disconnect() -> None:
    ring = Ring(50)
    ring.declare("rec", FRAMES)
    ring.join("rec", FRAMES, {})
    fill(ring, 5)
    sent = list(ring.to_send("rec"))
    ring.ack("rec", sent[1].index)
    ring.disconnect("rec")
    assert ring.has_room(20)
    assert not ring.has_room(21)


def test_a_joiner_gets_latched_messages_that_the_ring_forgot() -> None:
    ring = Ring(30)
    ring.declare("rec", FRAMES)
    ring.append("robot/r", 0, [bytes(10)], True)
    fill(ring, 5, drop=True)
    ring.join("rec", FRAMES, {})
    assert [(entry.topic, entry.seq) for entry in ring.to_send("rec")] == [("robot/r", 0), *[("frame/r", n) for n in (2, 3, 4)]]
    ring.join("rec", FRAMES, {"robot/r": 1, "frame/r": 5})
    assert list(ring.to_send("rec")) == []


def test_a_joiner_gets_latched_messages_that_the_ring_forgets_before_they_are_sent() -> None:
    ring = Ring(30)
    ring.declare("rec", FRAMES)
    ring.append("robot/r", 0, [bytes(10)], True)
    ring.append("robot/r", 1, [bytes(10)], True)
    ring.join("rec", FRAMES, {})
    fill(ring, 5, drop=True)
    assert [(entry.topic, entry.seq) for entry in ring.to_send("rec")] == [("robot/r", 1), *[("frame/r", n) for n in (2, 3, 4)]]
    assert ring.readers["rec"].lost == 3


def test_nothing_is_held_for_one_who_left() -> None:
    ring = Ring(30)
    ring.declare("rec", FRAMES)
    fill(ring, 3)
    assert not ring.has_room(10)
    ring.depart("rec")
    assert ring.has_room(10)
    fill(ring, 3, start=3)
    assert ring.readers["rec"].lost == 0
    assert ring.drained()


def test_drained_waits_for_the_last_acknowledgement() -> None:
    ring = Ring(1000)
    ring.declare("rec", FRAMES)
    ring.join("rec", FRAMES, {})
    fill(ring, 2)
    assert not ring.drained()
    sent = list(ring.to_send("rec"))
    assert not ring.drained()
    ring.ack("rec", sent[-1].index)
    assert ring.drained()


def test_unknown_readers_are_no_trouble() -> None:
    ring = Ring(10)
    ring.ack("who", 3)
    ring.disconnect("who")
    ring.depart("who")
    assert ring.drained()


class Traffic(RuleBasedStateMachine):
    """Two readers come, go, stall and are killed; each keeps books, and the law must hold at every moment."""

    limit, drop = 100, True

    def __init__(self) -> None:
        super().__init__()
        self.ring = Ring(self.limit)
        self.seq = 0
        self.got: dict[str, list[int]] = defaultdict(list)
        self.wire: dict[str, list[Entry]] = defaultdict(list)
        self.on_disk: dict[str, int] = defaultdict(int)
        self.books = {name: Books() for name in "ab"}
        for name in "ab":
            self.ring.declare(name, FRAMES)
            self.books[name].open("frame/r", RELIABLE)

    @rule(nbytes=st.integers(1, 40))
    def publish(self, nbytes: int) -> None:
        if self.drop or self.ring.has_room(nbytes):
            self.ring.append("frame/r", self.seq, [bytes(nbytes)], self.drop)
            self.seq += 1

    @rule(name=st.sampled_from("ab"))
    def join(self, name: str) -> None:
        self.wire[name].clear()
        self.ring.join(name, FRAMES, self.books[name].next_seqs("run"))

    @rule(name=st.sampled_from("ab"))
    def lose(self, name: str) -> None:
        self.ring.disconnect(name)

    @rule(name=st.sampled_from("ab"))
    def send(self, name: str) -> None:
        self.wire[name] += list(self.ring.to_send(name))

    @precondition(lambda self: any(self.wire.values()))
    @rule(name=st.sampled_from("ab"), count=st.integers(1, 5), ack=st.booleans())
    def take(self, name: str, count: int, ack: bool) -> None:
        for entry in self.wire[name][:count]:
            if self.books[name].arrive("frame/r", "run", entry.seq):
                self.got[name].append(entry.seq)
            if ack:
                self.ring.ack(name, entry.index)
        del self.wire[name][:count]

    @invariant()
    def the_law_holds(self) -> None:
        for name, books in self.books.items():
            count = books.counts()["frame/r"]
            assert count.published == count.received + count.lost
            assert count.received == len(self.got[name])
            assert self.got[name] == sorted(set(self.got[name]))
            assert count.lost == sum(gap.last - gap.first + 1 for gap in books.gaps())
            if not self.drop:
                assert count.lost == 0

    @invariant()
    def the_bytes_are_right(self) -> None:
        assert self.ring.nbytes == sum(entry.nbytes for entry in self.ring._entries)
        for reader in self.ring.readers.values():
            assert reader.in_flight_bytes == sum(nbytes for _, nbytes in reader.in_flight)
        if self.drop:
            assert self.ring.nbytes <= max(self.limit, 40)

    def teardown(self) -> None:
        """Everybody comes back and takes all: what is missing now was dropped, and is counted."""
        for name in "ab":
            self.join(name)
            self.send(name)
            self.take(name, 10**6, ack=True)
            self.books[name].heard_end("frame/r", "run", self.seq - 1)
        self.the_law_holds()
        assert self.ring.drained()
        for name, books in self.books.items():
            count = books.counts()["frame/r"]
            missing = set(range(self.seq)) - set(self.got[name])
            assert count.published == self.seq
            assert count.lost == len(missing)


class BlockingTraffic(Traffic):
    """The same under `block`: then nothing is ever lost."""

    drop = False


QUICK = settings(max_examples=80, stateful_step_count=40, deadline=None, database=None)
TestCounting = Traffic.TestCase
TestCounting.settings = QUICK
TestBlocking = BlockingTraffic.TestCase
TestBlocking.settings = QUICK


@pytest.mark.parametrize("kinds", [frozenset(), FRAMES])
def test_kinds_are_those_of_all_readers(kinds: frozenset[str]) -> None:
    ring = Ring(10)
    ring.declare("a", kinds)
    assert ring.kinds == kinds
