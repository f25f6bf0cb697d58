"""What each action would lead to, by the newest weights, and how good the last answer was. Knows no bus.

Predictions are made on a thread of their own, one at a time, so that the node goes on choosing actions.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from nodes.predictor.history import History, Images, Place
from protocol.messages import Action

if TYPE_CHECKING:
    from worldmodel.predictor import FramePredictor
    from worldmodel.spec import ModelSpec

KEPT_FRAMES = 4
KEPT_CHOICES = 64


class Made(msgspec.Struct, frozen=True):
    """A prediction: where it was made, with which weights, the actions tried, which was chosen, and the image of each."""

    place: Place
    version: int
    tried: list[Action]
    chosen: int | None
    images: Images
    last: Images
    took_s: float


class Foresight:
    """`error`: mean squared error, on [0, 1], of the last prediction that could be scored, and that of copying the last frame."""

    def __init__(self, device: str, threads: int) -> None:
        self.model: FramePredictor | None = None
        self.version = 0
        self.error: tuple[float, float] | None = None
        self.history = History(KEPT_FRAMES, 0)
        self.chosen: dict[Place, Action] = {}
        self._device, self._threads = device, threads
        self._pool = ThreadPoolExecutor(1, "foresight")
        self._running: Future[Made] | None = None
        self._wanted = True
        self._after: Place | None = None
        self._came: Images | None = None
        self._made: Made | None = None

    def meet(self, action_size: int) -> None:
        """Another robot, or another run of the same: what was seen before counts no more."""
        self.history = History(self._frames(), action_size)
        self._made, self._after, self._wanted = None, None, False

    def see(self, place: Place, images: Images) -> None:
        """A frame came: the prediction of it is scored, now or once it is there."""
        self.history.add_frame(place, images)
        if place == self._after:
            self._came = images
        self._compare(place, images)

    def choose(self, place: Place, action: Action) -> None:
        """Which action was asked for, or really taken, after the frame at `place`."""
        self.chosen[place] = action
        while len(self.chosen) > KEPT_CHOICES:
            self.chosen.pop(next(iter(self.chosen)))

    def use(self, spec: "ModelSpec", data: bytes, version: int) -> None:
        """Take other weights, while it is not busy. Raises ValueError or RuntimeError; then the old ones stay."""
        from worldmodel.predictor import FramePredictor

        if self.model is not None and self.model.spec == spec:
            self.model.swap(data)
        else:
            self.model = FramePredictor(spec, data, self._device, self._threads)
            self.history.length = self._frames()
        self.version = version

    @property
    def busy(self) -> bool:
        """Whether a prediction was begun and has not been taken."""
        return self._running is not None

    def begin(self, place: Place, candidates: list[Action], vector: Callable[[Action], np.ndarray]) -> None:
        """Predict what follows the frame at `place`, for each candidate and for the action chosen there."""
        model, version = self.model, self.version
        assert model is not None
        assert self._running is None
        frames, past = self.history.until(place)
        tried, chosen = self._to_try(place, candidates)
        vectors = np.stack([vector(action) for action in tried])
        self._after, self._came, self._wanted = (place[0], place[1] + 1), None, True

        def work() -> Made:
            start_s = time.perf_counter()
            images = model.predict(frames, past, vectors)
            last = {name: stack[-1] for name, stack in frames.items()}
            return Made(place, version, tried, chosen, images, last, time.perf_counter() - start_s)

        self._running = self._pool.submit(work)

    def take(self) -> Made | None:
        """The prediction, once, when it is there and still wanted. Raises what the model raised."""
        if self._running is None or not self._running.done():
            return None
        done, self._running = self._running, None
        made = done.result()
        if not self._wanted:
            return None
        self._made = made
        if self._after is not None and self._came is not None:
            self._compare(self._after, self._came)
        return made

    def close(self) -> None:
        """Once the prediction that is being made is."""
        self._pool.shutdown()

    def _frames(self) -> int:
        return max(KEPT_FRAMES, self.model.spec.context if self.model else 0)

    def _to_try(self, place: Place, candidates: list[Action]) -> tuple[list[Action], int | None]:
        """The candidates, with the action chosen here among them (a continuous one seldom is), and its index."""
        action = self.chosen.get(place)
        if action is None:
            return candidates, None
        tried = candidates if action in candidates else [*candidates, action]
        return tried, tried.index(action)

    def _compare(self, place: Place, images: Images) -> None:
        """Score the prediction of this frame, if there was one of the action really taken."""
        made, self._made = self._made, None
        if made is None or made.place != (place[0], place[1] - 1):
            return
        action = self.chosen.get(made.place)
        if action not in made.tried:
            return
        chosen = made.tried.index(action)
        predicted = {name: stack[chosen] for name, stack in made.images.items()}
        self.error = mean_squared(predicted, images), mean_squared(made.last, images)


def mean_squared(ours: Images, theirs: Images) -> float:
    """Mean squared difference over all cameras' pixels, on [0, 1]."""
    squares = [np.square(ours[name].astype(np.float32) - theirs[name]) for name in ours]
    return float(sum(s.sum() for s in squares) / sum(s.size for s in squares) / 255.0**2)
