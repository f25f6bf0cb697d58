"""Squared errors of pixels: plain, with the pixels that change weighted up at first, and relative to each patch.

In the dot world 0.2 % of the pixels change. Plain squared error then spends its gradient on the background, and a young
model stays at "nothing changes". So each pixel weighs

    w = 1 + boost * [ |target - last| > 8/255 ],        loss = sum(w * e^2) / sum(w)

and the boost falls linearly to 0 with the samples seen: the loss ends as plain mean squared error, the number that is
reported. In a camera picture where most pixels change, sum(w) grows with them, so the same boost does little.
"""

from torch import Tensor

from worldmodel.losses.case import Case, Loss, mean, share

CHANGED = 8.0 / 255.0


def boost_at(samples: int, start: float, anneal_samples: int) -> float:
    """Weight added to changed pixels after so many samples: `start`, falling linearly to 0."""
    return start * max(0.0, 1.0 - samples / anneal_samples) if anneal_samples > 0 else 0.0


def mse(case: Case) -> Loss:
    """Plain mean squared error of what was to be predicted."""
    return mean(case, case.error)


def changed(case: Case) -> Loss:
    """Squared error, pixels that change weighted up at first."""
    boost = boost_at(case.samples, case.config.boost, case.config.anneal_samples)
    error = case.error
    return share(case, error, change_weight(case, boost)) if boost > 0 else mean(case, error)


def change_weight(case: Case, boost: float) -> Tensor:
    """1 + boost where the next frame differs from the last, [B, N, P]."""
    return 1.0 + boost * ((case.target - case.last).abs() > CHANGED).to(case.target.dtype)


def normalised(case: Case) -> Loss:
    """Squared error in units of each patch's own variance (He et al. 2022, MAE, normalised targets).

    The picture stays what is predicted: both sides are scaled by the target's standard deviation, which is taken as at
    least CHANGED, so that a flat patch does not outweigh all others.
    """
    variance = case.target.var(dim=-1, keepdim=True).clamp(min=CHANGED**2)
    return mean(case, case.error / variance)
