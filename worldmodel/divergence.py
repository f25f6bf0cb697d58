"""When what is held out gets worse while what is learned from does not.

    divergence = divergence.step(train, held_out, rules)
    if divergence.stopped: print(divergence.reason)

Both numbers are the same function of the same weights, on a fixed uniform sample of each side; both are smoothed alike.
"""

import math

import msgspec

from worldmodel.trainconfig import TrainConfig


class Divergence(msgspec.Struct, frozen=True):
    """A judgement is divergent by its gap, its ratio or frequent spikes; `patience` of them in a row stop training."""

    train: float | None = None
    held_out: float | None = None
    best: float | None = None  # of the held-out values, unsmoothed
    spikes: tuple[bool, ...] = ()
    updates: int = 0
    bad: int = 0
    reason: str = ""
    """Why the newest judgement is divergent; empty where it is not."""
    stopped: bool = False

    def step(self, train: float, held_out: float, rules: TrainConfig) -> "Divergence":
        """After one judgement of both sides."""
        finite = math.isfinite(train) and math.isfinite(held_out)
        ours, theirs = self.train, self.held_out
        if finite:
            ours = _smooth(ours, train, rules.judge_smoothing)
            theirs = _smooth(theirs, held_out, rules.judge_smoothing)
        spike = self.best is not None and not held_out <= self.best * rules.spike_threshold
        spikes = (*self.spikes, spike)[-rules.spike_window :]
        best = held_out if self.best is None or held_out < self.best else self.best
        updates = self.updates + 1
        reason = ""
        if not finite:
            reason = "the loss is not finite"
        elif updates >= rules.divergence_min_updates:
            reason = _reason(float(ours or 0.0), float(theirs or 0.0), spikes, rules)
        bad = self.bad + 1 if reason else 0
        kept = best if math.isfinite(best) else None
        return Divergence(ours, theirs, kept, spikes, updates, bad, reason, self.stopped or bad >= rules.divergence_patience)


def _smooth(before: float | None, value: float, share: float) -> float:
    return value if before is None else before + share * (value - before)


def _reason(train: float, held_out: float, spikes: tuple[bool, ...], rules: TrainConfig) -> str:
    if held_out - train >= rules.divergence_gap:
        return f"held out {held_out:.5f} is {held_out - train:.5f} above training's {train:.5f}"
    if held_out >= rules.divergence_ratio * max(train, 1e-8):
        return f"held out {held_out:.5f} is {held_out / max(train, 1e-8):.2f} times training's {train:.5f}"
    if len(spikes) == rules.spike_window and sum(spikes) >= rules.spike_frequency * len(spikes):
        return f"{sum(spikes)} of the last {len(spikes)} held-out values are above {rules.spike_threshold:g} times the best"
    return ""
