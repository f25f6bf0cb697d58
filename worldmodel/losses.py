"""The training loss: squared error, with the pixels that change weighted up at first.

In the dot world 0.2 % of the pixels change. Plain squared error then spends its gradient on the
background, and a young model stays at "nothing changes". So each pixel weighs

    w = 1 + boost * [ |target - last| > 8/255 ],        loss = sum(w * e^2) / sum(w)

and the boost falls linearly to 0 with the samples seen: the loss ends as plain mean squared error, the
number that is reported. In a camera picture where most pixels change, sum(w) grows with them, so the
same boost does little.
"""

from torch import Tensor

CHANGED = 8.0 / 255.0


def boost_at(samples: int, start: float, anneal_samples: int) -> float:
    """Weight added to changed pixels after so many samples: `start`, falling linearly to 0."""
    return start * max(0.0, 1.0 - samples / anneal_samples) if anneal_samples > 0 else 0.0


def pixel_loss(prediction: Tensor, target: Tensor, last: Tensor, boost: float, real: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(weighted loss, plain MSE) of patches [..., N, P] in [0, 1], both float32 scalars.

    `real` [N, P] is 0 where a pixel only pads a frame; None when nothing is padded.
    """
    error = (prediction - target).square()
    if real is not None:
        error = error * real
    share = 1.0 if real is None else float(real.mean())
    plain = error.mean() / share
    if boost <= 0.0:
        return plain, plain.detach()
    changed = ((target - last).abs() > CHANGED).to(error.dtype)
    weighted = (error * changed).mean() / share
    return (plain + boost * weighted) / (1.0 + boost * changed.mean() / share), plain.detach()
