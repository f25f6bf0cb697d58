"""Random masks of the next frame's patches."""

import numpy as np
import pytest

from worldmodel.masking import draw_mask


def test_of_each_row_as_many_are_hidden_as_its_share_says() -> None:
    rng = np.random.default_rng(0)
    assert draw_mask(4, 10, (1.0, 1.0), rng).all()
    assert draw_mask(4, 10, (0.5, 0.5), rng).sum(dim=1).tolist() == [5, 5, 5, 5]
    many = draw_mask(2000, 10, (0.3, 0.85), rng)
    counts = many.sum(dim=1)
    assert (counts.min(), counts.max()) == (3, 8)
    assert 0.45 < many.float().mean() < 0.6
    assert many.float().mean(dim=0).sub(many.float().mean()).abs().max() < 0.05
    with pytest.raises(ValueError, match="two shares from 0 to 1"):
        draw_mask(1, 10, (0.9, 0.2), rng)
