"""Geometry and the untrained network."""

import numpy as np
import pytest
import torch

from worldmodel.learner import Learner, TrainConfig
from worldmodel.models import make_model
from worldmodel.patches import Patches
from worldmodel.positions import rotary_table, rotate
from worldmodel.predictor import FramePredictor
from worldmodel.spec import ActionSpace, Camera, ModelSpec, model_spec


def test_cut_and_paste_give_the_frames_back(odd_spec: ModelSpec) -> None:
    patches = Patches(odd_spec)
    frames = {c.name: torch.randint(0, 256, (2, 3, c.height, c.width, 3), dtype=torch.uint8) for c in odd_spec.cameras}
    cut = patches.cut(frames)
    assert cut.shape == (2, 3, patches.tokens, patches.pixels)
    for name, pasted in patches.paste(cut).items():
        assert torch.equal(pasted, frames[name])
    assert patches.padded
    assert patches.real.sum() == sum(c.height * c.width * 3 for c in odd_spec.cameras)


def test_patches_are_row_major_and_know_their_place() -> None:
    spec = model_spec((Camera("c", 4, 6),), ActionSpace(("a",), ((0.0,), (1.0,))), patch=2)
    patches = Patches(spec)
    frame = torch.arange(4 * 6 * 3).reshape(4, 6, 3).to(torch.uint8)
    cut = patches.cut({"c": frame})
    assert torch.equal(cut[4].reshape(2, 2, 3), frame[2:4, 2:4])
    assert patches.positions[4].tolist() == [1.0, 1.0]


def test_rotary_attention_sees_only_relative_places() -> None:
    places = torch.tensor([[0.0, 0.0], [1.0, 2.0], [5.0, 3.0]])
    q, k = torch.randn(1, 3, 1, 16), torch.randn(1, 3, 1, 16)

    def scores(shift: torch.Tensor) -> torch.Tensor:
        cos, sin = rotary_table(places + shift, 16)
        table = cos[:, None], sin[:, None]
        return torch.einsum("bnhd,bmhd->bnm", rotate(q, table), rotate(k, table))

    torch.testing.assert_close(scores(torch.zeros(2)), scores(torch.tensor([3.0, -7.0])), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_untrained_delta_model_copies_the_last_frame(odd_spec: ModelSpec, precision: str) -> None:
    predictor = FramePredictor(odd_spec, dict(make_model(odd_spec).named_parameters()), "cpu", precision=precision)
    rng = np.random.default_rng(0)
    history = {c.name: rng.integers(0, 256, (3, c.height, c.width, 3), dtype=np.uint8) for c in odd_spec.cameras}
    images = predictor.predict(history, np.zeros((2, 2), np.float32), odd_spec.actions.candidates(4))
    for name, image in images.items():
        assert image.shape == (4, *history[name].shape[1:])
        np.testing.assert_array_equal(image, np.broadcast_to(history[name][-1], image.shape))


def test_one_state_and_many_states_agree(odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    learner = Learner(odd_spec, TrainConfig(lr=0.01, warmup_samples=0, ema_decay=0.0, precision="fp32"), "cpu")
    batch = random_batch(odd_spec)
    for _ in range(5):
        learner.step(batch)
    predictor = FramePredictor(odd_spec, learner.weights_bytes(), "cpu", precision="fp32")
    options = odd_spec.actions.candidates(3)
    history = {name: frames[:, :3] for name, frames in batch.frames.items()}
    many = predictor.predict_batch(history, batch.actions[:, :2], options[None])
    one = predictor.predict({name: frames[1] for name, frames in history.items()}, batch.actions[1, :2], options)
    for name in many:
        assert np.abs(many[name][1].astype(int) - one[name]).max() <= 1
        assert not np.array_equal(many[name][1, 0], history[name][1, -1])


def test_a_short_history_is_padded(odd_spec: ModelSpec) -> None:
    predictor = FramePredictor(odd_spec, dict(make_model(odd_spec).named_parameters()), "cpu")
    history = {c.name: np.zeros((1, c.height, c.width, 3), np.uint8) for c in odd_spec.cameras}
    images = predictor.predict(history, np.zeros((0, 2), np.float32), odd_spec.actions.candidates(2))
    assert images["left"].shape == (2, 19, 30, 3)
    with pytest.raises(ValueError, match="1 frames need 0 actions"):
        predictor.predict(history, np.zeros((1, 2), np.float32), odd_spec.actions.candidates(2))


def test_a_full_target_starts_black(world) -> None:  # type: ignore[no-untyped-def]
    spec = model_spec(world.cameras, world.space, width=32, heads=2, target="full")
    predictor = FramePredictor(spec, dict(make_model(spec).named_parameters()), "cpu")
    images = predictor.predict({"top": world.draw(5, 5)[None]}, np.zeros((0, 1), np.float32), world.space.candidates())
    assert images["top"].max() == 0


def test_weights_of_another_model_are_refused_and_the_old_stay(odd_spec: ModelSpec, world) -> None:  # type: ignore[no-untyped-def]
    predictor = FramePredictor(odd_spec, dict(make_model(odd_spec).named_parameters()), "cpu")
    before = predictor.model.query.clone()
    other = Learner(model_spec(world.cameras, world.space, width=32, heads=2), TrainConfig(), "cpu")
    with pytest.raises(ValueError, match="do not fit the model spec"):
        predictor.swap(other.weights_bytes())
    assert torch.equal(predictor.model.query, before)


def test_a_frame_of_another_size_is_refused(odd_spec: ModelSpec) -> None:
    with pytest.raises(ValueError, match=r"gave frames of shape .* the model was made for"):
        Patches(odd_spec).cut({c.name: torch.zeros(8, 8, 3, dtype=torch.uint8) for c in odd_spec.cameras})
