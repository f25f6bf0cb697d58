"""The loss, by hand."""

import pytest
import torch

from worldmodel.losses import boost_at, pixel_loss


def test_boost_falls_linearly_to_nothing() -> None:
    assert [boost_at(n, 20.0, 100) for n in (0, 50, 100, 1000)] == [20.0, 10.0, 0.0, 0.0]
    assert boost_at(0, 20.0, 0) == 0.0


def test_weighted_error_of_four_pixels() -> None:
    last = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    target = torch.tensor([[1.0, 0.0, 0.0, 0.0]])  # two of four pixels change
    prediction = torch.tensor([[0.5, 0.1, 0.0, 0.2]])
    # errors .25 .01 0 .04; weights 4 1 4 1
    loss, mse = pixel_loss(prediction, target, last, boost=3.0)
    assert loss.item() == pytest.approx((4 * 0.25 + 0.01 + 0.04) / 10)
    assert mse.item() == pytest.approx(0.30 / 4)
    assert pixel_loss(prediction, target, last, boost=0.0)[0].item() == pytest.approx(0.30 / 4)


def test_padding_counts_nowhere() -> None:
    last, target = torch.zeros(1, 4), torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    prediction = torch.tensor([[0.5, 0.1, 9.0, 9.0]])
    real = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    loss, mse = pixel_loss(prediction, target * real, last, boost=3.0, real=real)
    assert loss.item() == pytest.approx((4 * 0.25 + 0.01) / 5)
    assert mse.item() == pytest.approx(0.26 / 2)


def test_gradient_points_to_the_target() -> None:
    prediction = torch.tensor([[0.5, 0.5]], requires_grad=True)
    loss, _ = pixel_loss(prediction, torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2), boost=3.0)
    loss.backward()
    assert prediction.grad is not None
    # d/dp of (4 (p0-1)^2 + p1^2) / 5
    torch.testing.assert_close(prediction.grad, torch.tensor([[-0.8, 0.2]]))
