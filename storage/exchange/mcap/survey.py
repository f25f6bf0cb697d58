"""What an MCAP of somebody else holds: its topics, its cameras and their times, and the numbers of its actions."""

import math
import re
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from protocol.clock import NS_PER_S
from storage.errors import ImportProblem
from storage.exchange.mcap.pictures import decode_fields, decode_picture, is_picture, readable
from storage.exchange.mcap.walk import Found, McapFile

_PLAIN_WORDS = {
    "image", "image_raw", "image_color", "image_rect", "image_rect_color", "raw", "compressed", "color", "rgb", "camera", "cameras",
    "sensors",
}  # fmt: skip
_STAMPS = {"header", "timestamp", "stamp"}
MANY_NUMBERS = 256


class Camera(msgspec.Struct, kw_only=True):
    """A topic of images: `depth` where they are uint16 or float32. `times` are log times."""

    name: str
    topic: str
    height: int = 0
    width: int = 0
    depth: bool = False
    times: Any = msgspec.field(default_factory=lambda: array("q"))

    @property
    def period_ns(self) -> float:
        """The median time between two of its images; 0 when there are fewer."""
        steps = np.diff(np.frombuffer(self.times, np.int64)) if len(self.times) > 1 else np.zeros(1)
        return float(np.median(steps))


class Survey:
    """Filled by `take` from every message of the file; then asked."""

    def __init__(self, file: McapFile, cameras: Mapping[str, str], action: str | None, *, decode: bool) -> None:
        """`cameras` is name to topic, empty for all images there are; `decode` looks at every image, else at the first."""
        self._file = file
        self._chosen = {topic: name for name, topic in cameras.items()}
        self._action = action
        self._decode = decode
        self._names: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.about: dict[str, str] = {}
        self.pictures: dict[str, Camera] = {}
        self.numbers: set[str] = set()
        self.action_low: dict[str, float] = {}
        self.action_high: dict[str, float] = {}

    def take(self, found: Found) -> None:
        topic = found.channel.topic
        self.counts[topic] = self.counts.get(topic, 0) + 1
        if topic not in self.about:
            self.about[topic] = f"{found.schema.name if found.schema else 'no schema'} in {found.channel.message_encoding}"
            if readable(found) and not is_picture(found):
                self.numbers.add(topic)
        if topic == self._action:
            self._take_action(found)
        elif is_picture(found) and (not self._chosen or topic in self._chosen):
            self._take_picture(found)

    def cameras(self) -> list[Camera]:
        """In the order asked for, else with the slowest first: that one makes the frames. Raises ImportProblem."""
        path = self._file.path
        for topic in [*self._chosen, *([self._action] if self._action else [])]:
            if topic not in self.counts:
                raise ImportProblem(f"{path} has no messages on {topic!r}; it has {_some(sorted(self.counts))}")
        for topic in self._chosen:
            if topic not in self.pictures:
                raise ImportProblem(f"{path}: {topic} holds no images that can be read ({self.about[topic]})")
        if not any(camera.height for camera in self.pictures.values()):
            told = _some([f"{topic} ({about})" for topic, about in sorted(self.about.items())])
            raise ImportProblem(
                f"{path} has no images that can be read: foxglove.RawImage and CompressedImage (JSON, protobuf) and sensor_msgs Image "
                f"and CompressedImage (ROS 2) can; it has {told}"
            )
        found = [camera for camera in self.pictures.values() if camera.height]
        order = list(self._chosen)
        found.sort(key=lambda camera: (order.index(camera.topic) if order else camera.depth, len(camera.times), camera.topic))
        if len(found[0].times) < 2 or found[0].period_ns <= 0:
            raise ImportProblem(f"{path}: {found[0].topic} has {len(found[0].times)} images at one time: a session needs a rate")
        names = _names([camera.topic for camera in found])
        for camera in found:
            camera.name = self._chosen.get(camera.topic) or names[camera.topic]
        return found

    def not_imported(self) -> dict[str, str]:
        """Topic to why."""
        return {
            topic: f"{about}, {self.counts[topic]} messages"
            for topic, about in sorted(self.about.items())
            if topic != self._action and topic not in self.pictures
        }

    def _take_picture(self, found: Found) -> None:
        camera = self.pictures.setdefault(found.channel.topic, Camera(name="", topic=found.channel.topic))
        camera.times.append(found.log_ns)
        if camera.height and not self._decode:
            return
        try:
            image = picture_like(camera, found)
        except ValueError as error:
            self._file.fault(found, f": {error}")
            return
        camera.height, camera.width, camera.depth = image.shape[0], image.shape[1], image.ndim == 2

    def _take_action(self, found: Found) -> None:
        try:
            numbers = action_of(found, list(self.action_low))
        except ValueError as error:
            self._file.fault(found, f": {error}")
            return
        for name, value in numbers.items():
            self.action_low[name] = min(value, self.action_low.get(name, value))
            self.action_high[name] = max(value, self.action_high.get(name, value))


def picture_like(camera: Camera, found: Found) -> "np.ndarray[Any, np.dtype[Any]]":
    """The image, of the size of the camera's first. Raises ValueError."""
    image = decode_picture(found)
    if camera.height and (*image.shape[:2], image.ndim == 2) != (camera.height, camera.width, camera.depth):
        raise ValueError(f"an image of {image.shape[1]}x{image.shape[0]}, the first one is {camera.width}x{camera.height}")
    return image


def action_of(found: Found, names: Sequence[str]) -> dict[str, float]:
    """The numbers of a message by their path in it; `names` are those expected, none for the first. Raises ValueError."""
    numbers = dict(_flat(decode_fields(found), ""))
    if not numbers or len(numbers) > MANY_NUMBERS:
        raise ValueError(f"{len(numbers)} numbers: that is no action")
    if names and list(numbers) != list(names):
        raise ValueError(f"its numbers are {_some(list(numbers))}, those of the first were {_some(list(names))}")
    wrong = next((name for name, value in numbers.items() if not math.isfinite(value)), None)
    if wrong is not None:
        raise ValueError(f"{wrong} is {numbers[wrong]}")
    return numbers


def _flat(value: Any, path: str) -> list[tuple[str, float]]:
    """Every number inside, by its path; times and text are left out."""
    if isinstance(value, bool | int | float):
        return [(path or "value", float(value))]
    if isinstance(value, dict):
        return [pair for key, inner in value.items() if key not in _STAMPS for pair in _flat(inner, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list | np.ndarray) and len(value) <= MANY_NUMBERS:
        plain = value.tolist() if isinstance(value, np.ndarray) else value
        return [pair for index, inner in enumerate(plain) for pair in _flat(inner, f"{path}.{index}" if path else str(index))]
    return []


def _names(topics: list[str]) -> dict[str, str]:
    """A short name for each: its last word that says something, the whole topic where two would be the same."""
    short = {}
    for topic in topics:
        words = [re.sub(r"\W", "_", word) for word in topic.split("/") if word]
        telling = [word for word in words if word not in _PLAIN_WORDS]
        short[topic] = telling[-1] if telling else "camera"
    twice = {name for name in short.values() if list(short.values()).count(name) > 1}
    return {topic: re.sub(r"\W", "_", topic.strip("/")) if name in twice else name for topic, name in short.items()}


def _some(words: list[str]) -> str:
    return ", ".join(words[:12]) + (f" and {len(words) - 12} more" if len(words) > 12 else "") if words else "nothing"


def rate_hz(camera: Camera) -> float:
    return NS_PER_S / camera.period_ns
