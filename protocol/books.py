"""A subscriber's books: for every topic, published = received + skipped + lost.

Pure counting by sequence number. A publisher that restarts has a new run id and counts from 0 again;
totals run over all its runs. A publisher that was killed leaves a tail whose end is unknown, and the books
say so; what its heartbeats told of and never came is a gap once its next run begins, or at the end.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from protocol.messages import Gap, Tail, TopicCount
from protocol.topics import RELIABLE, Lane


class Resume(NamedTuple):
    """Where an earlier process of a subscriber stopped on a topic: go on at `next_seq` of `run`.

    `taken` is the last number that it handled: this process may get older ones again, to fill its memory,
    and misses nothing where it does not.
    """

    run: str
    next_seq: int
    taken: int = -1


FROM_THE_START = Resume("", 0)
MAX_RUNS = 4


@dataclass(slots=True)
class _Account:
    """One topic of one source, over all runs."""

    lane: Lane
    run: str = ""
    next_seq: int = 0
    published: int = 0
    received: int = 0
    skipped: int = 0
    lost: int = 0
    end_known: bool = False
    last_ns: int = 0
    taken_before: int = -1
    told: dict[str, int] = field(default_factory=dict)


class Books:
    """Counts per topic; see the module's docstring."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._tails: list[Tail] = []
        self._gaps: list[Gap] = []

    def open(self, topic: str, lane: Lane, resume: Resume = FROM_THE_START) -> None:
        """Start an account, or go on with one of an earlier process."""
        run, next_seq, taken = resume
        self._accounts[topic] = _Account(lane, run, next_seq, published=next_seq, received=next_seq, taken_before=taken)

    def next_seqs(self, run: str) -> dict[str, int]:
        """The next number expected of each topic whose current run is `run`: what to ask for again."""
        return {topic: a.next_seq for topic, a in self._accounts.items() if a.run == run}

    def arrive(self, topic: str, run: str, seq: int, t_ns: int = 0) -> bool:
        """Book a message that came, sent at `t_ns` wall clock; False when it is a repetition and to be dropped."""
        account = self._accounts[topic]
        if run != account.run:
            self._turn_to(topic, account, run)
        if seq < account.next_seq:
            return False
        if seq > account.next_seq:
            self._miss(topic, account, seq, t_ns)
        account.next_seq, account.last_ns = seq + 1, t_ns
        account.published += 1
        account.received += 1
        return True

    def drop(self, topic: str, count: int = 1) -> None:
        """Messages that had come, but were overtaken or too old when their turn came: skipped."""
        account = self._accounts[topic]
        account.received -= count
        account.skipped += count

    def heard(self, topic: str, run: str, last_seq: int) -> None:
        """A heartbeat of `run` told of numbers up to `last_seq`: counted when they come, or when the run is over."""
        account = self._accounts.get(topic)
        if account is not None:
            account.told[run] = max(last_seq, account.told.get(run, -1))
            if len(account.told) > MAX_RUNS:  # a publisher that makes up runs costs nothing
                del account.told[next(iter(account.told))]

    def heard_end(self, topic: str, run: str, last_seq: int) -> None:
        """The publisher's last word: it published up to `last_seq` (-1: nothing) in `run`."""
        account = self._accounts.get(topic)
        if account is None:
            return
        self._turn_to(topic, account, run)
        self._miss(topic, account, last_seq + 1)
        account.end_known = True

    def died(self, publisher: str) -> None:
        """A publisher is gone for good and has said no last word: what it told of and never came is missing, the rest unknown."""
        for topic, account in self._accounts.items():
            if topic.partition("/")[2] != publisher:
                continue
            if account.told:  # maybe of a run of which nothing came
                self._turn_to(topic, account, next(reversed(account.told)))
            if account.run and not account.end_known:
                self._leave_tail(topic, account)

    def tails(self) -> list[Tail]:
        """Every reliable topic whose publisher ended without a last word, oldest first."""
        return list(self._tails)

    def counts(self) -> dict[str, TopicCount]:
        return {
            topic: TopicCount(
                published=a.published, received=a.received, skipped=a.skipped, lost=a.lost,
                lane=a.lane, end_known=a.end_known,
            )
            for topic, a in self._accounts.items()
        }  # fmt: skip

    def gaps(self, since: int = 0) -> list[Gap]:
        """Every hole in a reliable topic, in the order in which they were noticed, from the `since`th on."""
        return self._gaps[since:]

    def newest_ns(self) -> dict[str, int]:
        """Topic to when its newest message was sent, wall clock."""
        return {topic: account.last_ns for topic, account in self._accounts.items() if account.last_ns}

    def complete(self, topic: str, run: str, last_seq: int) -> bool:
        """Whether everything up to `last_seq` of this run has come."""
        account = self._accounts.get(topic)
        return account is None or last_seq < 0 or (account.run == run and account.next_seq > last_seq)

    def _turn_to(self, topic: str, account: _Account, run: str) -> None:
        """Close the books on an earlier run, if another one has begun."""
        if run == account.run:
            return
        if account.run and not account.end_known:
            self._leave_tail(topic, account)
        account.told = {run: account.told[run]} if run in account.told else {}
        if account.run:
            account.taken_before = -1
        account.run, account.next_seq, account.end_known, account.last_ns = run, 0, False, 0

    def _leave_tail(self, topic: str, account: _Account) -> None:
        told = account.told.get(account.run, -1)
        last = max(account.next_seq - 1, account.taken_before)
        if account.lane == RELIABLE and not any((tail.topic, tail.run) == (topic, account.run) for tail in self._tails):
            self._tails.append(Tail(topic=topic, run=account.run, last=last, told=told))
        self._miss(topic, account, max(told, last) + 1)

    def _miss(self, topic: str, account: _Account, seq: int, before_ns: int = 0) -> None:
        """Numbers before `seq` that have not come never will; `before_ns` is when `seq` was sent."""
        had = min(seq - 1, account.taken_before) + 1 - account.next_seq
        if had > 0:  # by an earlier process
            account.published, account.received = account.published + had, account.received + had
            account.next_seq += had
        missing = seq - account.next_seq
        if missing <= 0:
            return
        account.published += missing
        if account.lane == RELIABLE:
            account.lost += missing
            times = {"after_ns": account.last_ns, "before_ns": before_ns}
            self._gaps.append(Gap(topic=topic, run=account.run, first=account.next_seq, last=seq - 1, **times))
        else:
            account.skipped += missing
        account.next_seq = seq
