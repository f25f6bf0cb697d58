"""What a replay plays, in which order and when; knows neither sessions nor sockets nor what time it is.

Frames, actions and marks of a recording, in recorded order, become steps. Where something is left out, by a filter
or because the recording has a hole, the steps on both sides are never joined: no transition is played that was
not recorded.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from nodes.timeline import Timeline
from protocol.messages import Action, Envelope, Message

LONGEST_JUMP_S = 1.0
"""Across what is left out, or missing, no more time passes."""
HELD_UP_S = 1.0


@dataclass(frozen=True)
class Step:
    """A frame, the action after it, and the marks set while it was the newest; due `at_s` on the timeline.

    `first` and `last`: of an episode as it is played, which may be a part of a recorded one.
    """

    frame: Message
    action: Message | None
    marks: list[str]
    first: bool
    last: bool
    at_s: float


@dataclass(frozen=True)
class Cut:
    """What is left out: frames from the first on for which `past` is true, and transitions whose action `keep` refuses."""

    past: Callable[[Envelope], bool] = lambda envelope: False
    keep: Callable[[Action], bool] | None = None


@dataclass
class _Seen:
    """A frame and what came until the next."""

    frame: Message
    action: Message | None = None
    marks: list[str] = field(default_factory=list)


def play(messages: Iterable[Message], cut: Cut, timeline: Timeline) -> Iterator[Step]:
    """The steps of `messages`, each as soon as the frame after it is known."""
    before: Envelope | None = None
    open_episode = False  # whether the last frame played goes on with the next one
    for seen, after in _pairs(_joined(messages)):
        if cut.past(seen.frame.envelope):
            return
        goes_on, cut_off = _goes_on(seen, after, cut)
        if cut.keep is None or goes_on or open_episode:
            envelope = seen.frame.envelope
            adjacent = before is not None and (before.run, before.seq + 1) == (envelope.run, envelope.seq)
            at_s = timeline.at(envelope, float("inf") if adjacent else LONGEST_JUMP_S)
            yield Step(seen.frame, None if cut_off else seen.action, seen.marks, not open_episode, not goes_on, at_s)
            before = envelope
        open_episode = goes_on


def _goes_on(seen: _Seen, after: Message | None, cut: Cut) -> tuple[bool, bool]:
    """Whether the frame `after` is played in the same episode; and, if not, whether that is our doing."""
    here = seen.frame.envelope
    if after is None or after.envelope.episode != here.episode:
        return False, cut.keep is not None
    if cut.past(after.envelope):
        return False, True
    if cut.keep is None:
        return True, False
    consecutive = None not in (here.step, after.envelope.step) and after.envelope.step == (here.step or 0) + 1
    kept = consecutive and seen.action is not None and cut.keep(seen.action.body.action)
    return kept, not kept


def _joined(messages: Iterable[Message]) -> Iterator[_Seen]:
    """Each frame with the action of its step and the marks of its episode; what comes before the first frame is left out."""
    seen: _Seen | None = None
    for message in messages:
        if message.kind == "frame":
            if seen is not None:
                yield seen
            seen = _Seen(message)
        elif seen is None or message.envelope.episode != seen.frame.envelope.episode:
            continue
        elif message.kind == "action":
            seen.action = message if message.envelope.step == seen.frame.envelope.step else None
        elif message.body.mark not in ("start", "end"):
            seen.marks.append(message.body.mark)
    if seen is not None:
        yield seen


def _pairs(all_seen: Iterable[_Seen]) -> Iterator[tuple[_Seen, Message | None]]:
    """Each with the frame after it."""
    before: _Seen | None = None
    for seen in all_seen:
        if before is not None:
            yield before, seen.frame
        before = seen
    if before is not None:
        yield before, None


class Pace:
    """When what is due on the timeline is due now: `rate` times as fast as recorded; 0: at once."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._offset_s: float | None = None

    def wait_s(self, at_s: float, now_s: float) -> float:
        """Seconds left; 0 when it is due. Who was held up for long does not rush afterwards."""
        if not self.rate:
            return 0.0
        if self._offset_s is None:
            self._offset_s = now_s - at_s / self.rate
        late_s = now_s - self._offset_s - at_s / self.rate
        if late_s > HELD_UP_S:
            self._offset_s += late_s
        return max(-late_s, 0.0)

    def rest(self) -> None:
        """There was a pause: what comes next is due at once, and the rest after it."""
        self._offset_s = None
