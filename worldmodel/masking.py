"""Random masks over the patches of the next frame, as the original could train with."""

import numpy as np
import torch
from torch import Tensor


def draw_mask(batch: int, tokens: int, ratio: tuple[float, float], rng: np.random.Generator) -> Tensor:
    """Bool [batch, tokens]: of each row floor(tokens * u) are True, u uniform between the two ratios.

    Raises ValueError unless 0 <= low <= high <= 1.
    """
    low, high = ratio
    if not 0.0 <= low <= high <= 1.0:
        raise ValueError(f"mask_ratio is {low}..{high}: give two shares from 0 to 1, the lower one first")
    counts = np.floor(tokens * rng.uniform(low, high, batch))
    ranks = rng.random((batch, tokens)).argsort(axis=1).argsort(axis=1)
    return torch.from_numpy(ranks < counts[:, None])
