"""What the viewer remembers of single messages: frames, predictions, and the error between them.

Pictures are uint8 RGB. Several cameras become one picture, one above the other, at the widest one's width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from protocol.messages import Action, Message, Prediction

UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]
Key = tuple[int | None, int | None]
"""Episode and step."""


def images_of(arrays: Mapping[str, np.ndarray[Any, Any]], prefix: str, ndim: int) -> dict[str, UInt8Array]:
    """Camera name -> array `<prefix>/<camera>`, uint8 with three colours last; others are left out."""
    found = {}
    for name, array in arrays.items():
        head, _, camera = name.partition("/")
        if head == prefix and array.ndim == ndim and array.shape[-1] == 3 and array.dtype == np.uint8 and array.size:
            found[camera] = array
    return found


def stack_cameras(images: Sequence[UInt8Array]) -> UInt8Array:
    """Pictures [H, W(, 3)] -> one, stacked with a dark line between; narrower ones are widened (nearest neighbour)."""
    if len(images) == 1:
        return images[0]
    width = max(image.shape[1] for image in images)
    rows: list[UInt8Array] = []
    for image in images:
        height = max(1, round(image.shape[0] * width / image.shape[1]))
        if (height, width) != image.shape[:2]:
            ys = np.arange(height) * image.shape[0] // height
            xs = np.arange(width) * image.shape[1] // width
            image = image[ys[:, None], xs[None, :]]
        line = np.zeros((max(1, width // 80), *image.shape[1:]), dtype=np.uint8)
        rows += [line, image] if rows else [image]
    return np.concatenate(rows, axis=0)


class SeenFrame(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A frame that came. `images`: camera -> [H, W, 3]; `picture`: all cameras; `serial` is unique."""

    episode: int | None
    step: int | None
    serial: int
    images: dict[str, UInt8Array]
    picture: UInt8Array
    held_out: bool = False

    @property
    def key(self) -> Key:
        return (self.episode, self.step)


class SeenPrediction(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A prediction made on frame `step`, for frame `step + 1`. `pictures` [A] of [H, W, 3]; empty without a model."""

    episode: int | None
    step: int | None
    serial: int
    body: Prediction
    images: dict[str, UInt8Array]
    pictures: tuple[UInt8Array, ...]

    @property
    def key(self) -> Key:
        return (self.episode, self.step)

    @property
    def next_key(self) -> Key:
        return (self.episode, None if self.step is None else self.step + 1)


class SeenError(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A prediction against the frame that came. `mse` values on [0, 1]; `heat` uint8 [H, W]: mean |difference|."""

    key: Key
    serial: int
    index: int
    action: Action
    mse: float
    copy_last_mse: float
    heat: UInt8Array


def seen_frame(message: Message, serial: int) -> SeenFrame | None:
    """The frame of a message, or None when it carries no image."""
    images = images_of(message.arrays, "image", 3)
    if not images:
        return None
    envelope = message.envelope
    return SeenFrame(
        episode=envelope.episode, step=envelope.step, serial=serial, images=images,
        picture=stack_cameras(list(images.values())), held_out=message.body.held_out,
    )  # fmt: skip


def seen_prediction(message: Message, serial: int) -> SeenPrediction:
    """The prediction of a message; arrays whose first axis is not one per candidate are left out."""
    count = len(message.body.candidates)
    images = {k: v for k, v in images_of(message.arrays, "next", 4).items() if len(v) == count}
    pictures = tuple(stack_cameras([v[i] for v in images.values()]) for i in range(count if images else 0))
    return SeenPrediction(
        episode=message.envelope.episode, step=message.envelope.step, serial=serial, body=message.body,
        images=images, pictures=pictures,
    )  # fmt: skip


def candidate_index(action: Action, candidates: Sequence[Action]) -> int | None:
    """Which candidate this action is (to 1e-5 of its size), or None."""
    for index, candidate in enumerate(candidates):
        if candidate.keys() == action.keys() and all(
            abs(value - action[name]) <= 1e-5 * max(1.0, abs(value)) for name, value in candidate.items()
        ):
            return index
    return None


def seen_error(prediction: SeenPrediction, before: SeenFrame, after: SeenFrame, action: Action, serial: int) -> SeenError | None:
    """Compare the prediction for the action taken with the frame that came, and copy-last beside it.

    None when the action was no candidate or no camera has the same size in all three.
    """
    index = candidate_index(action, prediction.body.candidates)
    if index is None:
        return None
    heats, squares, copies, count = [], 0.0, 0.0, 0
    for camera, truth in after.images.items():
        last, predicted = before.images.get(camera), prediction.images.get(camera)
        if last is None or predicted is None or not truth.shape == last.shape == predicted.shape[1:]:
            continue
        difference = np.abs(predicted[index].astype(np.int16) - truth)
        heats.append(difference.mean(axis=2, dtype=np.float32).astype(np.uint8))
        squares += float(np.square(difference, dtype=np.float32).sum(dtype=np.float64))
        copies += float(np.square(last.astype(np.int16) - truth, dtype=np.float32).sum(dtype=np.float64))
        count += truth.size
    if not heats:
        return None
    scale = 255.0 * 255.0 * count
    return SeenError(
        key=prediction.key, serial=serial, index=index, action=action,
        mse=squares / scale, copy_last_mse=copies / scale, heat=stack_cameras(heats),
    )  # fmt: skip
