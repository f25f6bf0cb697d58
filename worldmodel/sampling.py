"""Which transitions to learn from next: shares of a batch, each drawn in its own way, from any `Source`.

    sampler = Sampler(config)
    drawn = sampler.draw(source.ids(), 16, rng)        # -> ids, and their importance weights
    sampler.learn(drawn.ids, losses)                   # what each cost: for those that sample by it

uniform: with replacement, over all. recent: the newest `recent_window`. epoch: shuffled, each once before any comes again.
loss-weighted: softmax of the last seen losses, scaled to [0, 1], over `loss_temperature`; worked out anew every
`loss_refresh` batches. prioritised: by loss ** `priority_exponent`, new ones as the highest, with importance weights.
"""

from typing import Any, NamedTuple

import numpy as np

from worldmodel.batch import FloatArray, IntArray
from worldmodel.trainconfig import SAMPLINGS, TrainConfig

Arrays = dict[str, np.ndarray[Any, Any]]
EPSILON = 1e-8


class Drawn(NamedTuple):
    """ids int64 [B]; weights float32 [B], or None where every draw counts the same."""

    ids: IntArray
    weights: FloatArray | None


class Memory:
    """The last known loss of each transition, by id."""

    def __init__(self) -> None:
        self.ids: IntArray = np.empty(0, np.int64)
        self.losses: FloatArray = np.empty(0, np.float32)

    def put(self, ids: IntArray, losses: FloatArray) -> None:
        """Of the same id the last counts."""
        places = np.searchsorted(self.ids, ids)
        known = places < len(self.ids)
        known[known] = self.ids[places[known]] == ids[known]
        self.losses[places[known]] = losses[known]
        if not known.all():
            new, last = np.unique(ids[~known][::-1], return_index=True)
            where = np.searchsorted(self.ids, new)
            self.losses = np.insert(self.losses, where, losses[~known][::-1][last])
            self.ids = np.insert(self.ids, where, new)

    def of(self, ids: IntArray) -> FloatArray:
        """float32 [n]; NaN where nothing is known."""
        found = np.full(len(ids), np.nan, np.float32)
        if len(self.ids):
            places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            known = self.ids[places] == ids
            found[known] = self.losses[places[known]]
        return found

    def forget_before(self, first: int) -> None:
        """Transitions that are held no more: their ids lie before all others."""
        start = int(np.searchsorted(self.ids, first))
        if start:
            self.ids, self.losses = self.ids[start:], self.losses[start:]


class Sampler:
    """The shares of `config.sampling`, and all that they remember."""

    def __init__(self, config: TrainConfig) -> None:
        total = sum(config.sampling.values())
        self.config = config
        # In an order of their own: what a file says comes back from it in another one.
        self.shares = {name: config.sampling[name] / total for name in SAMPLINGS if config.sampling.get(name, 0) > 0}
        self.memory = Memory()
        self._owed = dict.fromkeys(self.shares, 0.0)
        self._epoch: IntArray = np.empty(0, np.int64)
        self._weighted: tuple[IntArray, np.ndarray[Any, Any]] = np.empty(0, np.int64), np.empty(0)
        self._age = 0

    @property
    def remembers(self) -> bool:
        """Whether losses are of use."""
        return "loss-weighted" in self.shares or "prioritised" in self.shares

    def learn(self, ids: IntArray, losses: FloatArray) -> None:
        """What these transitions cost just now, float32 [B]; what is not finite is not remembered."""
        finite = np.isfinite(losses)
        if self.remembers and finite.any():
            self.memory.put(ids[finite], losses[finite])

    def draw(self, ids: IntArray, count: int, rng: np.random.Generator) -> Drawn:
        """`count` of these ids, oldest first as a source gives them. Raises ValueError when there are none."""
        if not len(ids):
            raise ValueError("there is no transition to learn from: wait for two consecutive frames and the action between")
        drawn, weights = [], []
        for name, number in self._counts(count).items():
            picks, weight = self._some(name, ids, number, rng)
            drawn.append(picks)
            weights.append(weight)
        every = np.concatenate(drawn)
        if all(weight is None for weight in weights):
            return Drawn(every, None)
        ones = [np.ones(len(part), np.float32) if weight is None else weight for part, weight in zip(drawn, weights, strict=True)]
        return Drawn(every, np.concatenate(ones))

    def _counts(self, count: int) -> dict[str, int]:
        """How many of a batch each share gets; what rounding withholds is owed to it."""
        for name, share in self.shares.items():
            self._owed[name] += share * count
        counts = {name: max(0, int(owed)) for name, owed in self._owed.items()}
        while sum(counts.values()) != count:
            step = 1 if sum(counts.values()) < count else -1
            name = max(counts, key=lambda one: step * (self._owed[one] - counts[one]) if counts[one] + step >= 0 else -np.inf)
            counts[name] += step
        for name, number in counts.items():
            self._owed[name] -= number
        return counts

    def _some(self, name: str, ids: IntArray, count: int, rng: np.random.Generator) -> tuple[IntArray, FloatArray | None]:
        if name == "uniform":
            return ids[rng.integers(len(ids), size=count)], None
        if name == "recent":
            newest = ids[np.searchsorted(ids, ids[-1] - self.config.recent_window, side="right") :]
            return newest[rng.integers(len(newest), size=count)], None
        if name == "epoch":
            return self._in_turn(ids, count, rng), None
        if name == "loss-weighted":
            return self._by_loss(ids, count, rng), None
        return self._by_priority(ids, count, rng)

    def _in_turn(self, ids: IntArray, count: int, rng: np.random.Generator) -> IntArray:
        picked: IntArray = np.empty(0, np.int64)
        while len(picked) < count:
            if not len(self._epoch):
                self._epoch = rng.permutation(ids)
            part, self._epoch = self._epoch[: count - len(picked)], self._epoch[count - len(picked) :]
            picked = np.concatenate((picked, part[np.isin(part, ids)]))
        return picked

    def _by_loss(self, ids: IntArray, count: int, rng: np.random.Generator) -> IntArray:
        known, sums = self._weighted
        if not len(known) or self._age >= self.config.loss_refresh or known[0] < ids[0]:
            self.memory.forget_before(int(ids[0]))
            known, sums = ids, np.cumsum(loss_weights(self.memory.of(ids), self.config.loss_temperature))
            self._weighted, self._age = (known, sums), 0
        self._age += 1
        return known[_choose(sums, count, rng)]

    def _by_priority(self, ids: IntArray, count: int, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
        self.memory.forget_before(int(ids[0]))
        probability = priorities(self.memory.of(ids), self.config.priority_exponent)
        picks = _choose(np.cumsum(probability), count, rng)
        weights = (len(ids) * probability[picks]) ** -self.config.priority_correction
        highest = (len(ids) * probability.min()) ** -self.config.priority_correction
        return ids[picks], (weights / highest).astype(np.float32)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Arrays by name, and values that JSON can hold."""
        arrays: Arrays = {
            "ids": self.memory.ids, "losses": self.memory.losses, "epoch": self._epoch,
            "weighted_ids": self._weighted[0], "weighted_sums": self._weighted[1],
        }  # fmt: skip
        return {name: array for name, array in arrays.items() if array.size}, {"owed": dict(self._owed), "age": self._age}

    def load_state(self, arrays: Arrays, values: dict[str, Any]) -> None:
        """Go on from `state()`; what another choice of sampling has left is dropped."""
        nothing, none = np.empty(0, np.int64), np.empty(0, np.float32)
        self.memory.ids, self.memory.losses = arrays.get("ids", nothing).copy(), arrays.get("losses", none).copy()
        self._epoch = arrays.get("epoch", nothing)
        self._weighted = arrays.get("weighted_ids", nothing), arrays.get("weighted_sums", np.empty(0))
        self._owed |= {name: value for name, value in values["owed"].items() if name in self._owed}
        self._age = values["age"]


def loss_weights(losses: FloatArray, temperature: float) -> np.ndarray[Any, Any]:
    """The original's: losses, NaN where unknown, scaled to [0, 1] by the least and the largest; softmax over the temperature."""
    values = losses.astype(np.float64)
    known = values[~np.isnan(values)]
    values = np.where(np.isnan(values), known.mean() if len(known) else 0.0, values)
    low, high = values.min(), values.max()
    scaled = (values - low) / (high - low) if high - low > EPSILON else np.zeros_like(values)
    weights = np.exp(scaled / temperature)
    return np.asarray(weights / weights.sum())


def priorities(losses: FloatArray, exponent: float) -> np.ndarray[Any, Any]:
    """Probabilities by loss ** exponent; those not known yet count as the highest that is."""
    values = losses.astype(np.float64)
    known = values[~np.isnan(values)]
    values = np.where(np.isnan(values), known.max() if len(known) else 1.0, values)
    weights = (np.maximum(values, 0.0) + EPSILON) ** exponent
    return np.asarray(weights / weights.sum())


def _choose(sums: np.ndarray[Any, Any], count: int, rng: np.random.Generator) -> IntArray:
    """Indexes drawn with replacement by these cumulative weights."""
    places: IntArray = np.minimum(np.searchsorted(sums, rng.random(count) * sums[-1], side="right"), len(sums) - 1)
    return places
