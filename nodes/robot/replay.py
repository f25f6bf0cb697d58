"""Plays a recorded session back: its frames, actions, episodes and probe, as if a robot were there.

Nobody downstream can tell. Episodes marked as held out are never trained on: `hold_out: auto` takes the
last whole episodes that make up at least a fifth of the steps, unless the session brings a probe of its
own, on which a learner can be scored.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec
import numpy as np

from nodes.robot.interface import EndOfData, Observation, Options, PlayedStep, RobotError
from protocol.messages import Action, ActionSpaceInfo, Message, Robot
from storage.errors import StorageError
from storage.paths import find_session, sessions_root
from storage.reader import SessionReader

AUTO_FRACTION = 0.2


class ReplayOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`session` by name under `root` or by path; `hold_out`: auto, none, or a list of episode numbers."""

    session: str
    root: str | None = None
    loop: bool = False
    hold_out: Literal["auto", "none"] | list[int] = "auto"


class Replay:
    """A driver that brings its own actions and episodes."""

    def __init__(self, options: Options, seed: int) -> None:
        self.options = msgspec.convert(options, ReplayOptions)
        try:
            self._reader = SessionReader(find_session(sessions_root(self.options.root), self.options.session))
            self._probe = self._reader.probe()
            episodes = [episode for episode in self._reader.episodes() if episode.frames]
        except StorageError as error:
            raise RobotError(str(error)) from None
        recorded = self._reader.robot
        if recorded is None or not episodes:
            raise RobotError(f"session {self.options.session} holds no frames of a robot: nothing to replay")
        self.session = self._reader.path.name
        self.held_out = self._choose_held_out([(episode.episode, episode.frames) for episode in episodes])
        self.info: Robot = msgspec.structs.replace(
            recorded, driver="replay", params={"session": self.session, "of": recorded.driver, "held_out": sorted(self.held_out)}
        )
        self.action_space: ActionSpaceInfo = recorded.actions
        self.safe_action: Action = recorded.safe_action
        self.state_names = recorded.state_names
        self._steps = self._play()

    def next_step(self) -> PlayedStep:
        try:
            step = next(self._steps, None)
            if step is None and self.options.loop:
                self._steps = self._play()
                step = next(self._steps, None)
        except StorageError as error:
            raise RobotError(str(error)) from None
        if step is None:
            raise EndOfData(f"end of session {self.session}")
        return step

    def probe(self) -> tuple[str, dict[str, np.ndarray]] | None:
        """The probe that the session's robot sent, if it did."""
        return None if self._probe is None else (self._probe.body.description, self._probe.arrays)

    def observe(self) -> Observation:
        raise RobotError("a replay is not observed, it plays")

    def execute(self, action: Action) -> bool:
        return True

    def reset(self) -> None:
        """Episodes are the recording's."""

    def stop(self) -> None:
        """Nothing moves."""

    def close(self) -> None:
        self._reader.close()

    def _choose_held_out(self, frames_of: list[tuple[int, int]]) -> set[int]:
        """Episode numbers from (episode, frames), in order."""
        known = {episode for episode, _ in frames_of}
        if isinstance(self.options.hold_out, list):
            unknown = set(self.options.hold_out) - known
            if unknown:
                raise RobotError(f"hold_out names episodes {sorted(unknown)}, session {self.session} has {min(known)} to {max(known)}")
            return set(self.options.hold_out)
        if self.options.hold_out == "none" or self._probe is not None:
            return set()
        held_out: set[int] = set()
        total, held = sum(frames for _, frames in frames_of), 0
        for episode, frames in reversed(frames_of[1:]):  # never the only one
            if held >= AUTO_FRACTION * total:
                break
            held_out.add(episode)
            held += frames
        return held_out

    def _play(self) -> Iterator[PlayedStep]:
        """Join each frame with the action that followed it and the marks of its episode."""
        frame: Message | None = None
        action: Message | None = None
        marks: list[str] = []
        episode: int | None = None
        for message in self._reader.events(kinds=("frame", "action", "episode")):
            if message.kind == "frame":
                if frame is not None:
                    last = message.envelope.episode != frame.envelope.episode
                    yield self._step(frame, action, frame.envelope.episode != episode, last, marks)
                    episode = frame.envelope.episode
                    marks = []
                frame, action = message, None
            elif frame is None or message.envelope.episode != frame.envelope.episode:
                continue
            elif message.kind == "action":
                action = message if message.envelope.step == frame.envelope.step else None
            elif message.body.mark not in ("start", "end"):
                marks.append(message.body.mark)
        if frame is not None:
            yield self._step(frame, action, frame.envelope.episode != episode, True, marks)

    def _step(self, frame: Message, action: Message | None, first: bool, last: bool, marks: list[str]) -> PlayedStep:
        def part(prefix: str) -> dict[str, np.ndarray]:
            return {n.removeprefix(prefix): a for n, a in frame.arrays.items() if n.startswith(prefix)}

        number = frame.envelope.episode or 0
        return PlayedStep(
            observation=Observation(images=part("image/"), depth=part("depth/"), state=frame.arrays.get("state")),
            action=None if action is None else action.body.action,
            success=action is None or action.body.success,
            first=first, last=last, step=frame.envelope.step, marks=list(marks), held_out=number in self.held_out,
            origin_session=self.session, origin_episode=number,
        )  # fmt: skip
