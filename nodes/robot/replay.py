"""A recorded session as something to play: where to begin, where to end, which of it, what of it is held out.

Episodes marked as held out are never trained on: `hold_out: auto` takes the last whole episodes that make up at
least a fifth of the steps, unless the session brings a probe of its own, on which a learner can be scored.
"""

from collections.abc import Iterator

import msgspec
import numpy as np

from nodes.robot.conditions import parse
from nodes.robot.config import Place, ReplayOptions, episode_and_step
from nodes.robot.interface import RobotError
from nodes.robot.playing import Cut, Step, play
from nodes.timeline import Timeline
from protocol.clock import NS_PER_S
from protocol.messages import Envelope, Message, Robot
from storage.books import Episode
from storage.errors import StorageError
from storage.paths import find_session, sessions_root
from storage.reader import SessionReader
from storage.views import open_session

AUTO_FRACTION = 0.2
KINDS = ("frame", "action", "episode")


def open_recording(options: ReplayOptions) -> SessionReader:
    """The session that the options name. Raises RobotError."""
    try:
        return open_session(find_session(sessions_root(options.root), options.session))
    except StorageError as error:
        raise RobotError(str(error)) from None


class Recording:
    """The steps of a session, as the options choose them. Every method raises RobotError, one line."""

    def __init__(self, options: ReplayOptions) -> None:
        self.options = options
        self._reader = open_recording(options)
        try:
            self._open()
        except StorageError as error:
            self.close()
            raise RobotError(str(error)) from None
        except RobotError:
            self.close()
            raise

    def _open(self) -> None:
        options, reader = self.options, self._reader
        self.session = reader.path.name
        self._probe = reader.probe()
        self._episodes = [episode for episode in reader.episodes() if episode.frames]
        recorded = reader.robot
        if recorded is None or not self._episodes:
            raise RobotError(f"session {options.session} holds no frames of a robot: nothing to replay")
        self._first_ns = reader.event(next(reader.numbers(0, ("frame",)))).message.envelope.t_ns
        self._check(options.episodes, "episodes")
        self._start = self._find(options.start)
        self._cut = self._make_cut(recorded)
        self.held_out = self._choose_held_out()
        self.period_s = 1 / recorded.rate_hz if recorded.rate_hz > 0 else 0.0
        self.info: Robot = msgspec.structs.replace(
            recorded, driver="replay", rate_hz=recorded.rate_hz * options.rate,
            params={"session": self.session, "of": recorded.driver, "held_out": sorted(self.held_out)},
        )  # fmt: skip
        self._timeline = Timeline()
        self._steps = play(self._messages(self._start), self._cut, self._timeline)

    def next_step(self) -> Step | None:
        """The next one; None at the end."""
        try:
            step = next(self._steps, None)
            if step is None and self.options.loop:
                self._timeline.jump(self.period_s)
                self._steps = play(self._messages(self._start), self._cut, self._timeline)
                step = next(self._steps, None)
        except StorageError as error:
            raise RobotError(str(error)) from None
        return step

    def seek(self, place: Place) -> None:
        """Go on from there."""
        try:
            number = self._find(place)
        except StorageError as error:
            raise RobotError(str(error)) from None
        self._timeline.jump()
        self._steps = play(self._messages(number), self._cut, self._timeline)

    def probe(self) -> tuple[str, dict[str, np.ndarray]] | None:
        """The probe that the session's robot sent, if it did."""
        return None if self._probe is None else (self._probe.body.description, dict(self._probe.arrays))

    def close(self) -> None:
        self._reader.close()

    # -- what is played ---------------------------------------------------------------------------

    def _messages(self, start: int) -> Iterator[Message]:
        """From event `start` on, one at a time, so that no step waits for many to be decoded; only of the chosen episodes."""
        if not self.options.episodes:
            yield from (self._reader.event(number).message for number in self._reader.numbers(start, KINDS))
            return
        for episode in sorted(set(self.options.episodes)):
            begin = self._reader.frame_from(episode)
            for number in self._reader.numbers(max(start, begin or 0), KINDS):
                message = self._reader.event(number).message
                if message.kind == "frame" and message.envelope.episode != episode:
                    break
                yield message

    def _find(self, place: Place) -> int:
        """The number of the first event of a place."""
        if isinstance(place, str):
            episode, step = episode_and_step(place)
            number = self._reader.frame_from(episode, step)
            if number is None:
                raise RobotError(f"session {self.session} has no frame at {place} or later in that episode; {self._range()}")
            return number
        number = self._reader.frame_at(self._first_ns + round(place * NS_PER_S)) if place > 0 else 0
        if number is None:
            raise RobotError(f"session {self.session} ends before {place:g} s: begin earlier")
        return number

    def _range(self) -> str:
        return f"it has episodes {self._episodes[0].episode} to {self._episodes[-1].episode}"

    def _make_cut(self, recorded: Robot) -> Cut:
        until, action = self.options.until, self.options.action
        try:
            keep = parse(action, recorded.actions.names) if action else None
        except ValueError as error:
            raise RobotError(str(error)) from None
        if until is None:
            return Cut(keep=keep)
        if isinstance(until, str):
            end = episode_and_step(until)
            return Cut(lambda envelope: (envelope.episode or 0, envelope.step or 0) > end, keep)
        end_ns = self._first_ns + round(until * NS_PER_S)
        return Cut(lambda envelope: envelope.t_ns > end_ns, keep)

    # -- what is held out -------------------------------------------------------------------------

    def _check(self, episodes: list[int], what: str) -> None:
        unknown = sorted(set(episodes) - {episode.episode for episode in self._episodes})
        if unknown:
            raise RobotError(f"{what} names {unknown}, session {self.session} has none such: {self._range()}")

    def _choose_held_out(self) -> set[int]:
        """Numbers of recorded episodes."""
        hold_out = self.options.hold_out
        if isinstance(hold_out, list):
            self._check(hold_out, "hold_out")
            return set(hold_out)
        if hold_out == "none" or self._probe is not None:
            return set()
        played = [episode for episode in self._episodes if self._plays(episode)]
        held_out: set[int] = set()
        total, held = sum(episode.frames for episode in played), 0
        for episode in reversed(played[1:]):  # never the only one
            if held >= AUTO_FRACTION * total:
                break
            held_out.add(episode.episode)
            held += episode.frames
        return held_out

    def _plays(self, episode: Episode) -> bool:
        """Whether any of this episode is played, but for the filter by action."""
        if self.options.episodes and episode.episode not in self.options.episodes:
            return False
        starts = self._reader.event(self._start).message.envelope
        first = Envelope(
            topic="frame/robot", source="", run="", seq=0, t_ns=episode.first_t_ns, mono_ns=0,
            episode=episode.episode, step=episode.first_step,
        )  # fmt: skip
        return not self._cut.past(first) and (starts.episode is None or starts.episode <= episode.episode)
