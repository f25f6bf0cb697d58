"""Intervals by bootstrap: whole groups of cases are drawn again, and model and baseline share every draw. numpy only."""

import msgspec
import numpy as np

from worldmodel.scores.probe import Array, IntArray

ROUNDS = 1000
FEW_EPISODES = 8


class Figure(msgspec.Struct, frozen=True):
    """A number and its 95 % interval; none where one group is all there is."""

    value: float
    low: float | None = None
    high: float | None = None


class Bootstrap:
    """Draws of N cases by group; `groups` int [N] says which cases are drawn together."""

    def __init__(self, groups: IntArray, seed: int = 0, rounds: int = ROUNDS) -> None:
        _, self._group = np.unique(groups, return_inverse=True)
        self.groups = int(self._group.max()) + 1 if len(groups) else 0
        random = np.random.default_rng(seed)
        self._draws = random.multinomial(self.groups, np.full(self.groups, 1.0 / max(self.groups, 1)), rounds).astype(np.float64)

    def ratio(self, above: Array, below: Array | None = None) -> Figure | None:
        """Sum of `above` over sum of `below` ([N] or [N, A]; below None: the mean of above). Cases with a NaN do not count."""
        sums = self._sums(above, np.ones_like(above, dtype=np.float64) if below is None else below)
        return self._figure(sums[:, 0], sums[:, 1])

    def skill(self, error: Array, reference: Array) -> Figure | None:
        """1 - error / error of the reference; None where the reference is perfect: nothing can be better."""
        sums = self._sums(error, reference)
        return self._figure(sums[:, 1] - sums[:, 0], sums[:, 1])

    def least(self, error: Array, references: list[Array]) -> Figure | None:
        """The least of the skills over several references, drawn anew in every draw."""
        sums = [self._sums(error, reference) for reference in references]
        sums = [one for one in sums if one[:, 1].sum() > 0]
        if not sums:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = np.stack([1.0 - (self._draws @ one[:, 0]) / (self._draws @ one[:, 1]) for one in sums]).min(axis=0)
        return self._limits(min(1.0 - one[:, 0].sum() / one[:, 1].sum() for one in sums), drawn)

    def _sums(self, above: Array, below: Array) -> Array:
        """[groups, 2], over the cases where both are numbers."""
        a, b = (np.asarray(one, np.float64).reshape(len(self._group), -1) for one in (above, below))
        known = ~(np.isnan(a) | np.isnan(b))
        pairs = np.stack([np.where(known, a, 0.0).sum(axis=1), np.where(known, b, 0.0).sum(axis=1)], axis=1)
        out = np.zeros((self.groups, 2))
        np.add.at(out, self._group, pairs)
        return out

    def _figure(self, above: Array, below: Array) -> Figure | None:
        total = below.sum()
        if not total > 0:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = (self._draws @ above) / (self._draws @ below)
        return self._limits(float(above.sum() / total), drawn)

    def _limits(self, value: float, drawn: Array) -> Figure:
        drawn = drawn[np.isfinite(drawn)]
        if self.groups < 2 or not len(drawn):
            return Figure(float(value))
        low, high = np.percentile(drawn, (2.5, 97.5))
        return Figure(float(value), float(low), float(high))


def groups_of(episode: IntArray, second: IntArray) -> IntArray:
    """What is drawn together: an episode; where there are fewer than 8 of them, one second of an episode."""
    if len(np.unique(episode)) >= FEW_EPISODES:
        return np.asarray(episode, np.int64)
    rows = np.stack([episode, second], axis=1)
    return np.asarray(np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1), np.int64)
