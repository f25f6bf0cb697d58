"""An MCAP of somebody else as a session: one episode, a frame for each image of the first camera.

With it go the newest images of the other cameras, unless they are older than three of their own periods, and as its action
the last one that came before the next frame. Where images are missing, steps are: so that frames around a hole are
never taken for neighbours.
"""

from collections.abc import Iterator

import numpy as np

from protocol.messages import ActionSpaceInfo, ActionTaken, Body, CameraInfo, Envelope, EpisodeMark, Frame, Message, Robot
from storage.exchange.mcap.pictures import Array
from storage.exchange.mcap.survey import Camera, Survey, action_of, picture_like, rate_hz
from storage.exchange.mcap.walk import Found, McapFile

NODE = "robot"
STALE = 3
_KINDS = {Robot: "robot", Frame: "frame", ActionTaken: "action", EpisodeMark: "episode"}


class Foreign:
    """Takes the file's messages in order and gives the session's."""

    def __init__(self, file: McapFile, survey: Survey, run: str, action: str | None) -> None:
        self._file = file
        self._run = run
        self._action_topic = action
        self.cameras = survey.cameras()
        self._clock = self.cameras[0]
        self._by_topic = {camera.topic: camera for camera in self.cameras}
        self.rate_hz = rate_hz(self._clock)
        self._action_names = list(survey.action_low)
        low, high = list(survey.action_low.values()), list(survey.action_high.values())
        self.robot = Robot(
            robot=NODE, driver="mcap", params={"file": file.path.name},
            cameras=[CameraInfo(name=one.name, height=one.height, width=one.width) for one in self.cameras if not one.depth],
            actions=ActionSpaceInfo(names=self._action_names, low=low, high=high), rate_hz=self.rate_hz, timing="paced",
            safe_action={name: min(max(0.0, a), b) for name, a, b in zip(self._action_names, low, high, strict=True)},
        )  # fmt: skip
        self._newest: dict[str, Found] = {}
        self._frame: tuple[Found, dict[str, Array]] | None = None
        self._action: tuple[Found, dict[str, float]] | None = None
        self._base_ns = 0
        self._step = 0
        self._seq: dict[str, int] = {}
        self.alone, self.stale, self.no_action = 0, 0, 0

    def take(self, found: Found) -> Iterator[Message]:
        """The messages that this one completes. Faults go to the file's."""
        topic = found.channel.topic
        try:
            if topic == self._action_topic:
                self._action = found, action_of(found, self._action_names)
            elif topic == self._clock.topic:
                yield from self._next(found)
            elif topic in self._by_topic:
                self._newest[topic] = found
        except ValueError as error:
            self._file.fault(found, f": {error}")

    def end(self) -> Iterator[Message]:
        """The last frame and the end of the episode."""
        if self._frame is not None:
            found = self._frame[0]
            yield from self._finish(last=True)
            yield self._message(EpisodeMark(mark="end", reason="import"), found)

    def remarks(self) -> list[str]:
        told = [
            (self.alone, "frames before every camera had an image are left out"),
            (self.stale, "images of other cameras were too old for their frame, which has none of that camera"),
            (self.no_action if self._action_topic else 0, "frames have no action before the next one"),
        ]
        return [f"{count} {text}" for count, text in told if count]

    def _next(self, found: Found) -> Iterator[Message]:
        if self._frame is not None and found.log_ns <= self._frame[0].log_ns:
            raise ValueError(f"an image whose time is {self._frame[0].log_ns - found.log_ns} ns before the one before it")
        if len(self._newest) < len(self.cameras) - 1:
            self.alone += 1
            return
        arrays = {self._name(self._clock): picture_like(self._clock, found)}
        for topic, other in self._newest.items():
            camera = self._by_topic[topic]
            if found.log_ns - other.log_ns <= STALE * camera.period_ns:
                arrays[self._name(camera)] = picture_like(camera, other)
            else:
                self.stale += 1
        if self._frame is None:
            self._base_ns = found.log_ns
            yield self._message(self.robot, found, in_episode=False)
            yield self._message(EpisodeMark(mark="start", reason="import"), found)
        else:
            before = self._frame[0].log_ns
            yield from self._finish()
            passed = (found.log_ns - before) / self._clock.period_ns
            self._step += round(passed) if passed > 1.5 else 1
        self._action = None
        self._frame = found, arrays

    def _finish(self, *, last: bool = False) -> Iterator[Message]:
        """The frame that waits, and what was done before the next."""
        assert self._frame is not None
        found, arrays = self._frame
        yield self._message(Frame(last=last and self._action is None), found, arrays)
        if self._action is not None:
            told, action = self._action
            t_ns = _captured_ns(told)
            yield self._message(ActionTaken(action=action, by="recorded", start_ns=t_ns, end_ns=t_ns), told)
        else:
            self.no_action += not last

    def _name(self, camera: Camera) -> str:
        return f"{'depth' if camera.depth else 'image'}/{camera.name}"

    def _message(self, body: Body, found: Found, arrays: dict[str, Array] | None = None, *, in_episode: bool = True) -> Message:
        topic = f"{_KINDS[type(body)]}/{NODE}"
        seq = self._seq[topic] = self._seq.get(topic, -1) + 1
        envelope = Envelope(
            topic=topic, source=NODE, run=self._run, seq=seq, t_ns=_captured_ns(found), mono_ns=found.log_ns - self._base_ns,
            episode=0 if in_episode else None, step=self._step if in_episode else None,
        )  # fmt: skip
        return Message(envelope=envelope, body=body, arrays={name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()})


def _captured_ns(found: Found) -> int:
    return found.publish_ns or found.log_ns
