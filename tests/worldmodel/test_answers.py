"""What the head's numbers make of the last frame."""

import numpy as np
import pytest
import torch
from torch import Tensor

from worldmodel.answers import MOTION, Answer, Target
from worldmodel.models import make_model
from worldmodel.patches import Patches
from worldmodel.spec import ActionSpace, Camera, ModelSpec, model_spec

SIDE = 4
PIXELS = SIDE * SIDE * 3
X, Y, X_ALONG_X, Y_ALONG_Y = PIXELS + 2, PIXELS + 3, PIXELS + 4, PIXELS + 7
SIDES = 1.0 / MOTION


@pytest.fixture
def patches() -> Patches:
    """8 rows and 12 columns of pixels, and a second, smaller camera."""
    cameras = (Camera("front", 2 * SIDE, 3 * SIDE), Camera("wrist", SIDE, SIDE))
    return Patches(model_spec(cameras, ActionSpace(("go",), ((0.0,), (1.0,))), patch=SIDE))


def picture(patches: Patches) -> dict[str, Tensor]:
    """Numbers from 0 to 1."""
    rng = np.random.default_rng(0)
    return {c.name: torch.from_numpy(rng.random((1, c.height, c.width, 3), dtype=np.float32)) for c in patches.spec.cameras}


def moved(patches: Patches, frames: dict[str, Tensor], **said: float) -> dict[str, Tensor]:
    """Frames after every patch said these numbers."""
    answer = Answer("flow", patches)
    numbers = torch.zeros(1, 1, 1, patches.tokens, answer.size)
    for place, value in said.items():
        numbers[..., int(place[1:])] = value
    shown = answer(numbers, patches.cut(frames))
    return {name: array[0, 0] for name, array in patches.paste(shown).items()}


@pytest.mark.parametrize("target", ["delta", "flow"])
def test_what_says_nothing_copies_the_last_frame(patches: Patches, target: Target) -> None:
    frames = picture(patches)
    last = patches.cut(frames)
    answer = Answer(target, patches)
    torch.testing.assert_close(
        answer(torch.zeros(1, 2, 3, patches.tokens, answer.size), last), last[:, None, None].expand(1, 2, 3, -1, -1), atol=1e-5, rtol=0
    )


def test_a_shift_takes_every_pixel_from_there(patches: Patches) -> None:
    frames = picture(patches)
    shown = moved(patches, frames, **{f"_{X}": 0.5 * SIDES})["front"]  # half a patch: two pixels to the right
    torch.testing.assert_close(shown[0, :, :-2], frames["front"][0, :, 2:], atol=1e-5, rtol=0)
    torch.testing.assert_close(shown[0, :, -2:], frames["front"][0, :, -1:].expand(-1, 2, -1), atol=1e-5, rtol=0)  # the edge goes on
    shown = moved(patches, frames, **{f"_{Y}": -0.25 * SIDES})["wrist"]
    torch.testing.assert_close(shown[0, 1:], frames["wrist"][0, :-1], atol=1e-5, rtol=0)


def test_a_motion_may_change_across_a_patch(patches: Patches) -> None:
    frames = picture(patches)
    shown = moved(patches, frames, **{f"_{X_ALONG_X}": -SIDES, f"_{Y_ALONG_Y}": -SIDES})["wrist"]  # all from the middle of the patch
    torch.testing.assert_close(shown[0], frames["wrist"][0, 1:3, 1:3].mean(dim=(0, 1)).expand(SIDE, SIDE, 3), atol=1e-5, rtol=0)


def test_it_erases_and_paints_on_what_was_moved(patches: Patches) -> None:
    frames = picture(patches)
    shown = moved(patches, frames, **{f"_{PIXELS}": 1.0, f"_{PIXELS + 1}": 1.0, "_0": 0.25, f"_{X}": SIDES})["wrist"]
    assert shown[0, 0, 0, 0] == pytest.approx(0.5)
    assert shown.sum() == pytest.approx(0.5)


@pytest.mark.parametrize("target", ["full", "delta", "flow"])
def test_nothing_is_blacker_than_black_and_the_gradient_passes(patches: Patches, target: Target) -> None:
    last = patches.cut(picture(patches))
    answer = Answer(target, patches)
    said = torch.zeros(1, 1, 1, patches.tokens, answer.size)
    said[..., 0], said[..., 1] = 3.0, -3.0
    said.requires_grad_()
    shown = answer(said, last)[0, 0, 0]
    assert (shown[:, 0] == 1.0).all() and (shown[:, 1] == 0.0).all()
    shown[:, :2].sum().backward()
    assert said.grad is not None and (said.grad[..., :2] == 1.0).all()


def test_a_motion_that_is_no_number_harms_nobody(patches: Patches) -> None:
    """It did: torch's grid_sample read anywhere in memory."""
    answer, last = Answer("flow", patches), patches.cut(picture(patches))
    for bad in (float("nan"), float("inf"), -float("inf"), 1e30):
        numbers = torch.zeros(1, 1, 1, patches.tokens, answer.size, requires_grad=True)
        torch.autograd.backward(answer(numbers + bad, last).sum())
        assert numbers.grad is not None


def test_a_motion_is_learned_by_its_gradient() -> None:
    """A picture that glides one pixel a step: after some updates the moved frame is the next one."""
    spec = ModelSpec(
        (Camera("top", 16, 16),), ActionSpace(("go",), ((0.0,), (1.0,))), context=1, patch=8, width=32, heads=2, encoder_depth=1,
        decoder_depth=1, target="flow",
    )  # fmt: skip
    torch.manual_seed(0)
    model = make_model(spec)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    wave = torch.sin(torch.arange(40) / 3.0)[None, :, None].expand(40, 40, 3) * 0.5 + 0.5
    rng = np.random.default_rng(0)
    first = last = 0.0
    for step in range(150):
        starts = rng.integers(0, 20, 8)
        frames = torch.stack([torch.stack([wave[:16, s : s + 16], wave[:16, s + 1 : s + 17]]) for s in starts])
        cut = model.patches.cut({"top": frames})
        answer = model(cut[:, :1], torch.tensor([[[0.0, 1.0]]]).expand(8, 1, 2))
        loss = (answer - cut[:, 1]).square().mean()
        first, last = (loss.item(), loss.item()) if step == 0 else (first, loss.item())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    assert last < first / 20
