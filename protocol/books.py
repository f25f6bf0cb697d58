"""A subscriber's books: for every topic, published = received + skipped + lost.

Pure counting by sequence number. A publisher that restarts has a new run id and counts from 0 again;
totals run over all its runs. A publisher that was killed leaves a tail whose end is unknown: what its
heartbeats told of and never came is missing once its next run begins.
"""

from dataclasses import dataclass, field

from protocol.messages import Gap, TopicCount
from protocol.topics import RELIABLE, Lane


@dataclass
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
    told: dict[str, int] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)


class Books:
    """Counts per topic; see the module's docstring."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def open(self, topic: str, lane: Lane, run: str = "", next_seq: int = 0) -> None:
        """Start an account. With `run` and `next_seq` it goes on where an earlier process stopped."""
        account = _Account(lane, run, next_seq, published=next_seq, received=next_seq)
        self._accounts[topic] = account

    def next_seqs(self, run: str) -> dict[str, int]:
        """The next number expected of each topic whose current run is `run`: what to ask for again."""
        return {topic: a.next_seq for topic, a in self._accounts.items() if a.run == run}

    def arrive(self, topic: str, run: str, seq: int) -> bool:
        """Book a message that came; False when it is a repetition and to be dropped."""
        account = self._accounts[topic]
        self._turn_to(topic, account, run)
        if seq < account.next_seq:
            return False
        self._miss(topic, account, seq)
        account.next_seq = seq + 1
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

    def heard_end(self, topic: str, run: str, last_seq: int) -> None:
        """The publisher's last word: it published up to `last_seq` (-1: nothing) in `run`."""
        account = self._accounts.get(topic)
        if account is None:
            return
        self._turn_to(topic, account, run)
        self._miss(topic, account, last_seq + 1)
        account.end_known = True

    def counts(self) -> dict[str, TopicCount]:
        return {
            topic: TopicCount(
                published=a.published, received=a.received, skipped=a.skipped, lost=a.lost,
                lane=a.lane, end_known=a.end_known,
            )
            for topic, a in self._accounts.items()
        }  # fmt: skip

    def gaps(self) -> list[Gap]:
        """Every hole in a reliable topic, oldest first per topic."""
        return [gap for account in self._accounts.values() for gap in account.gaps]

    def complete(self, topic: str, run: str, last_seq: int) -> bool:
        """Whether everything up to `last_seq` of this run has come."""
        account = self._accounts.get(topic)
        return account is None or last_seq < 0 or (account.run == run and account.next_seq > last_seq)

    def _turn_to(self, topic: str, account: _Account, run: str) -> None:
        """Close the books on an earlier run, if another one has begun."""
        if run == account.run:
            return
        self._miss(topic, account, account.told.get(account.run, -1) + 1)
        account.told = {run: account.told[run]} if run in account.told else {}
        account.run, account.next_seq, account.end_known = run, 0, False

    def _miss(self, topic: str, account: _Account, seq: int) -> None:
        """Numbers before `seq` that have not come never will."""
        missing = seq - account.next_seq
        if missing <= 0:
            return
        account.published += missing
        if account.lane == RELIABLE:
            account.lost += missing
            account.gaps.append(Gap(topic=topic, run=account.run, first=account.next_seq, last=seq - 1))
        else:
            account.skipped += missing
        account.next_seq = seq
