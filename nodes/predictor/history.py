"""The last frames of the running episode and the actions between them. Pure."""

from collections import OrderedDict

import numpy as np

Images = dict[str, np.ndarray]
Place = tuple[int, int]


class History:
    """Keeps `length` frames; a gap in the steps, or another episode, begins anew."""

    def __init__(self, length: int, action_size: int) -> None:
        self.length = length
        self.action_size = action_size
        self._frames: OrderedDict[Place, Images] = OrderedDict()
        self._actions: OrderedDict[Place, np.ndarray] = OrderedDict()

    def add_frame(self, place: Place, images: Images) -> None:
        """Frame at (episode, step); images HxWx3 uint8 by camera."""
        self._frames[place] = images
        while len(self._frames) > self.length:
            self._frames.popitem(last=False)

    def add_action(self, place: Place, vector: np.ndarray) -> None:
        """What was done after the frame at (episode, step), float32 [D]."""
        self._actions[place] = vector
        while len(self._actions) > self.length:
            self._actions.popitem(last=False)

    def frame(self, place: Place) -> Images | None:
        return self._frames.get(place)

    def until(self, place: Place) -> tuple[Images, np.ndarray]:
        """What led to the frame at `place`, as far as nothing is missing.

        Returns ({camera: uint8 [n, H, W, 3]}, float32 [n - 1, D]) with 1 <= n <= length. Raises KeyError
        when that frame itself is not held.
        """
        episode, step = place
        frames, actions = [self._frames[place]], []
        while len(frames) < self.length:
            step -= 1
            before, action = self._frames.get((episode, step)), self._actions.get((episode, step))
            if before is None or action is None:
                break
            frames.append(before)
            actions.append(action)
        frames.reverse()
        actions.reverse()
        stacked = {name: np.stack([images[name] for images in frames]) for name in frames[0]}
        past = np.array(actions, dtype=np.float32).reshape(len(actions), self.action_size)
        return stacked, past
