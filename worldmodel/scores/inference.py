"""Which action leads from one picture to the next? A small network taught on true pairs, asked about predicted ones.

A model can look right and still not obey: then the action cannot be read from what it predicts.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.scores.baselines import READ_AT_ONCE, copy_last, spread
from worldmodel.scores.pixels import Pictures
from worldmodel.scores.probe import Array, FloatArray, IntArray
from worldmodel.source import Source
from worldmodel.spec import ActionSpace

SIDE = 32  # pixels: every picture is averaged to so many a side
MOST_PAIRS = 2048
EPOCHS, LEAST_STEPS, BATCH = 10, 60, 64


class ActionInference:
    """Taught once on true pairs of frames; pure afterwards. Discrete actions are classified, continuous ones regressed."""

    def __init__(self, train: Source, ids: IntArray, space: ActionSpace, seed: int = 0) -> None:
        """From at most 2048 of these transitions. Raises ValueError when none is given."""
        ids = spread(ids, MOST_PAIRS)
        if not len(ids):
            raise ValueError("no transition to learn from: name some that were recorded")
        self.space = space
        pairs, actions = [], []
        for start in range(0, len(ids), READ_AT_ONCE):
            batch = train.windows(ids[start : start + READ_AT_ONCE])
            seen = {name: array[:, :-1] for name, array in batch.frames.items()}
            pairs.append(_pairs(dict(copy_last(seen)), {name: array[:, -1:] for name, array in batch.frames.items()}))
            actions.append(batch.actions[:, -1].copy())
        known = np.concatenate(actions)
        self._mean, self._std = known.mean(axis=0), np.maximum(known.std(axis=0), 1e-6)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._net = _net(pairs[0].shape[1], space.encoded_size)
            self._learn(torch.cat(pairs), self._targets(known), max(LEAST_STEPS, EPOCHS * len(known) // BATCH))

    def _targets(self, actions: FloatArray) -> Tensor:
        if self.space.discrete:
            return torch.from_numpy(self.classes(actions))
        return torch.from_numpy(((actions - self._mean) / self._std).astype(np.float32))

    def _learn(self, pairs: Tensor, targets: Tensor, steps: int) -> None:
        loss_of = functional.cross_entropy if self.space.discrete else functional.mse_loss
        optimizer = torch.optim.AdamW(self._net.parameters(), lr=2e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        self._net.train()
        for _ in range(steps):
            rows = torch.randint(len(pairs), (BATCH,))
            loss = loss_of(self._net(_inputs(pairs[rows])), targets[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        self._net.eval().requires_grad_(False)

    def read(self, last: Pictures, following: Pictures) -> Array:
        """Pictures [n, 1, H, W, 3] -> the action read: the index of the choice int64 [n], or numbers float [n, D]."""
        with torch.inference_mode():
            said = self._net(_inputs(_pairs(last, following)))
        return np.asarray(said.argmax(dim=1)) if self.space.discrete else said.numpy() * self._std + self._mean

    def classes(self, actions: FloatArray) -> Array:
        """Index of the choice that each action [n, D] is."""
        return np.asarray(self.space.encode(actions).argmax(axis=-1).astype(np.int64))

    def judge(self, read: Array, actions: FloatArray) -> tuple[Array, Array]:
        """(wrong, of how much) of each case [n]: 1 - sum / sum is the accuracy, or R2, every number in units of its std."""
        if self.space.discrete:
            wrong = read != self.classes(actions)
            return wrong.astype(np.float64), np.ones(len(wrong))
        wrong = np.square((read - actions) / self._std).sum(axis=1)
        return wrong, np.square((actions - actions.mean(axis=0)) / self._std).sum(axis=1)


def _net(channels: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels // 2 * 3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.2), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, outputs),
    )  # fmt: skip


def _pairs(last: Pictures, following: Pictures) -> Tensor:
    """uint8 [n, 6 a camera, SIDE, SIDE]: the last frame and the next one."""
    parts = []
    for name in last:
        for image in (last[name], following[name]):
            tensor = torch.from_numpy(np.ascontiguousarray(image[:, 0]).astype(np.float32)).movedim(-1, 1)
            parts.append(functional.interpolate(tensor, (SIDE, SIDE), mode="area").round_().to(torch.uint8))
    return torch.cat(parts, dim=1)


def _inputs(pairs: Tensor) -> Tensor:
    """Pairs in 0 to 1, and their differences, stretched."""
    values = pairs.float() / 255.0
    n, channels, height, width = values.shape
    both = values.view(n, -1, 2, 3, height, width)
    change = (both[:, :, 1] - both[:, :, 0]) * 4.0
    return torch.cat((values, change.reshape(n, channels // 2, height, width)), dim=1)
