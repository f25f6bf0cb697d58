"""Measures a recording in one pass over its messages, in memory that does not grow with it.

meter = Meter(reader.robot)
for event in reader.numbered():
    meter.add(event)
meter.result()       # a Quality
meter.timeline       # the same over time, for pictures
"""

import hashlib
import struct

import crc32c
import msgspec
import numpy as np

from protocol.clock import NS_PER_S
from protocol.messages import ActionTaken, Array, Control, Envelope, EpisodeMark, Frame, Message, Robot
from storage.quality.actions import ActionMeter
from storage.quality.cameras import CameraMeter, Counter
from storage.quality.intervals import IntervalMeter
from storage.quality.report import Place, Quality, TopicQuality
from storage.quality.timeline import Timeline
from storage.record import Event

IMAGE = "image/"
STEPPED = ("frame", "action")
CLOCKED = ("frame", "action", "episode")
PAUSING = ("pause", "halt", "resume", "step")
"""Control commands after which a robot's next interval says nothing."""


class Meter:
    """Takes every event of a session in order. `robot` may be None: then its message is waited for."""

    def __init__(self, robot: Robot | None) -> None:
        self.robot = robot
        self.timeline = Timeline()
        self.intervals: dict[str, IntervalMeter] = {}
        self._clock = _Clock()
        self._topics: dict[str, _Topic] = {}
        self._cameras: dict[tuple[str, str], CameraMeter] = {}
        self._actions = ActionMeter(robot)
        self._lines: dict[str, _Line] = {}
        self._known = _Known()
        self._holes, self._no_action = Counter(), Counter()
        self._events = self._frames = self._transitions = self._repeated = self._shown_again = 0

    def add(self, event: Event) -> None:
        message = event.message
        envelope, body = message.envelope, message.body
        self._events += 1
        if self.robot is None and isinstance(body, Robot):
            self.robot, self._actions = body, ActionMeter(body)
        at_s = self._clock.at(message)
        place = Place(envelope.episode, envelope.step, at_s)
        line = self._lines.setdefault(envelope.source, _Line())
        again = isinstance(body, Frame) and line.shows_again(envelope)
        interval_ns = self._topic(event, place, again)
        if isinstance(body, Frame):
            self._frames += 1
            self._shown_again += again
            self._frame(message, place, line, again, interval_ns)
        elif isinstance(body, ActionTaken):
            self._action(message, body, place, line)
        elif isinstance(body, EpisodeMark):
            self.timeline.add(f"mark/{body.mark}", at_s)
        elif isinstance(body, Control) and body.command in PAUSING:
            for kind in STEPPED:
                self._topics.setdefault(f"{kind}/{envelope.source}", _Topic()).last = None

    def result(self) -> Quality:
        """What was found so far."""
        topics = {
            name: TopicQuality(
                intervals=self._interval_meter(name).result(self._nominal_hz(name)), raw_bytes=topic.raw_bytes,
                left_out=topic.left_out, first_gap=topic.first_gap,
            )
            for name, topic in sorted(self._topics.items()) if topic.count
        }  # fmt: skip
        return Quality(
            events=self._events, seconds=self._clock.now_s, frames=self._frames, transitions=self._transitions,
            repeated=self._repeated, shown_again=self._shown_again, holes=self._holes.result(), no_action=self._no_action.result(),
            topics=topics, cameras=[camera.result() for _, camera in sorted(self._cameras.items())], actions=self._actions.result(),
        )  # fmt: skip

    def _interval_meter(self, topic: str) -> IntervalMeter:
        return self.intervals.setdefault(topic, IntervalMeter())

    def _nominal_hz(self, topic: str) -> float:
        return self.robot.rate_hz if self.robot and topic.partition("/")[0] in STEPPED else 0.0

    def _topic(self, event: Event, place: Place, again: bool) -> int:
        """Count a message to its topic; nanoseconds since the one before it, 0 when that says nothing."""
        message, envelope = event.message, event.message.envelope
        topic = self._topics.setdefault(envelope.topic, _Topic())
        topic.count += 1
        topic.raw_bytes += message.nbytes
        topic.left_out += len(event.left_out)
        last, topic.last = topic.last, envelope
        if last is None or last.run != envelope.run:
            return 0
        if envelope.seq > last.seq + 1:
            topic.first_gap = topic.first_gap or place
            if message.kind in STEPPED:
                self.timeline.add("fault/gap", place.at_s, envelope.seq - last.seq - 1)
        stepped = message.kind in STEPPED
        # the last frame of an episode is taken when it is over, not when the next step would be due
        unclocked = again or (isinstance(message.body, Frame) and message.body.last)
        if envelope.seq != last.seq + 1 or (stepped and (envelope.episode != last.episode or unclocked)):
            return 0
        interval_ns = max(envelope.mono_ns - last.mono_ns, 0)
        self._interval_meter(envelope.topic).add(interval_ns, place)
        return interval_ns

    def _frame(self, message: Message, place: Place, line: "_Line", again: bool, interval_ns: int) -> None:
        if interval_ns:
            self.timeline.add("interval/sum", place.at_s, interval_ns / NS_PER_S)
            self.timeline.add("interval/count", place.at_s)
            self.timeline.add("interval/max", place.at_s, interval_ns / NS_PER_S, "max")
        if place.episode is not None:
            self.timeline.add("episode", place.at_s, place.episode, "max")
        images = images_of(message)
        hashes = {name: crc32c.crc32c(image.reshape(-1).data) for name, image in images.items()}
        follows = line.follows(message.envelope)
        action = line.action if follows else None
        if action is not None:
            self._transitions += 1
            self._repeated += self._known.add(line.hashes, action, hashes)
        elif follows:
            self._no_action.add(place)
        elif line.skipped(message.envelope):
            self._holes.add(place)
        for name in {camera.name for camera in (self.robot.cameras if self.robot else [])} | set(images):
            camera = self._cameras.setdefault((message.topic, name), CameraMeter(message.topic, name))
            if name not in images:
                camera.without(place)
                continue
            self._see(camera, images[name], place)
            if follows and name in line.hashes:
                seconds = max(message.envelope.mono_ns - line.mono_ns, 0) / NS_PER_S
                unchanged = camera.follow(images[name], hashes[name], place, seconds, self._moves(action))
                self._fault("unchanged", place, unchanged)
            elif not again:
                camera.begin(images[name], hashes[name], place)
        line.frame(message.envelope, hashes)

    def _see(self, camera: CameraMeter, image: Array, place: Place) -> None:
        mean, dark, bright = camera.see(image, place)
        series = f"brightness/{camera.topic}/{camera.name}"
        self.timeline.add(f"{series}/sum", place.at_s, mean)
        self.timeline.add(f"{series}/count", place.at_s)
        self.timeline.add(f"{series}/max", place.at_s, mean, "max")
        self.timeline.add(f"{series}/min", place.at_s, mean, "min")
        self._fault("dark", place, dark)
        self._fault("saturated", place, bright)

    def _action(self, message: Message, body: ActionTaken, place: Place, line: "_Line") -> None:
        choice = self._actions.add(body, place)
        self._fault("safe", place, body.safe)
        self._fault("failed", place, not body.success)
        if choice is not None:
            self.timeline.add(f"choice/{choice}", place.at_s)
        elif self.robot is None or not self.robot.actions.discrete:
            self.timeline.add("taken", place.at_s)
            for name, value in body.action.items():
                if np.isfinite(value):
                    self.timeline.add(f"number/{name}/sum", place.at_s, value)
                    self.timeline.add(f"number/{name}/max", place.at_s, value, "max")
                    self.timeline.add(f"number/{name}/min", place.at_s, value, "min")
        if line.place == (message.envelope.episode, message.envelope.step):
            line.action = body

    def _fault(self, name: str, place: Place, there: bool) -> None:
        if there:
            self.timeline.add(f"fault/{name}", place.at_s)

    def _moves(self, action: ActionTaken | None) -> bool:
        """Whether an action should have changed what the cameras see."""
        if action is None or action.safe or not action.success:
            return False
        return self.robot is None or action.action != self.robot.safe_action


class _Topic:
    """The counts of a topic, and its newest envelope; None after a pause."""

    def __init__(self) -> None:
        self.count = self.raw_bytes = self.left_out = 0
        self.first_gap: Place | None = None
        self.last: Envelope | None = None


class _Line:
    """The newest frame of a robot and the action after it."""

    def __init__(self) -> None:
        self.run = ""
        self.place: tuple[int | None, int | None] = (None, None)
        self.mono_ns = 0
        self.hashes: dict[str, int] = {}
        self.action: ActionTaken | None = None

    def shows_again(self, envelope: Envelope) -> bool:
        """Whether this is the step that was shown before."""
        return envelope.step is not None and (envelope.run, (envelope.episode, envelope.step)) == (self.run, self.place)

    def follows(self, envelope: Envelope) -> bool:
        """Whether this is the next step of the same episode."""
        episode, step = self.place
        if step is None or envelope.step is None:
            return False
        return (envelope.run, envelope.episode, envelope.step) == (self.run, episode, step + 1)

    def skipped(self, envelope: Envelope) -> bool:
        """Whether steps of the same episode are missing before this one."""
        episode, step = self.place
        return step is not None and envelope.step is not None and envelope.episode == episode and envelope.step > step + 1

    def frame(self, envelope: Envelope, hashes: dict[str, int]) -> None:
        self.run, self.place, self.mono_ns = envelope.run, (envelope.episode, envelope.step), envelope.mono_ns
        self.hashes, self.action = hashes, None


class _Clock:
    """Recorded time: seconds of the robot's monotonic clock; what lies between two runs takes none."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._starts_s: dict[str, float] = {}

    def at(self, message: Message) -> float:
        """When a message was sent; others than a robot's are as late as the robot's newest."""
        if message.kind in CLOCKED:
            mono_s = message.envelope.mono_ns / NS_PER_S
            start_s = self._starts_s.setdefault(message.envelope.run, mono_s - self.now_s)
            self.now_s = max(self.now_s, mono_s - start_s)
        return self.now_s


class _Known:
    """Whether a transition came before: a Bloom filter of 16 MB, wrong once in some 10,000 after three million of them."""

    _PLACES = struct.Struct("<4I")

    def __init__(self) -> None:
        self._bits = bytearray(1 << 24)

    def add(self, before: dict[str, int], action: ActionTaken, after: dict[str, int]) -> bool:
        key = msgspec.msgpack.encode((sorted(before.items()), sorted(action.action.items()), sorted(after.items())))
        there = True
        for word in self._PLACES.unpack(hashlib.blake2b(key, digest_size=16).digest()):
            at, bit = (word >> 3) & (len(self._bits) - 1), 1 << (word & 7)
            there = there and bool(self._bits[at] & bit)
            self._bits[at] |= bit
        return there


def images_of(message: Message) -> dict[str, Array]:
    """A frame's pictures by camera; what is not [H, W, 3] uint8 is none."""
    return {name.removeprefix(IMAGE): image for name, image in message.arrays.items() if name.startswith(IMAGE) and _is_picture(image)}


def _is_picture(image: Array) -> bool:
    return image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size > 0
