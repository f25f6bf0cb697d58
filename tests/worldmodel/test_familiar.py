"""Which pictures are like those that were learned from."""

import numpy as np
import pytest
import torch
from torch import Tensor

from worldmodel.familiar import SHARP, Familiar
from worldmodel.learner import Learner, TrainConfig
from worldmodel.patches import Patches
from worldmodel.predictor import FramePredictor
from worldmodel.spec import ActionSpace, Camera, ModelSpec, model_spec

GO = ActionSpace(("go",), ((0.0,), (1.0,)))
SPEC = model_spec((Camera("top", 10, 16), Camera("wrist", 8, 8)), GO, patch=8, ensemble=2, context=1)
"""The first camera's patches are padded."""


def pictures(seed: int, count: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    rng = np.random.default_rng(seed)
    frames = {c.name: np.repeat(rng.uniform(low, high, (count, 1, 1, 1)), c.height, 1) for c in SPEC.cameras}
    full = {c.name: torch.from_numpy(frames[c.name]).expand(-1, -1, c.width, 3).float() for c in SPEC.cameras}
    return Patches(SPEC).cut(full)


def test_v_is_that_of_a_gaussian_process_in_its_features() -> None:
    familiar = Familiar(Patches(SPEC))
    seen, asked = pictures(0, 12), pictures(1, 5)
    familiar.learn(seen)
    phi, other = (familiar._features(familiar._colours(one)) for one in (seen, asked))
    inverse = torch.linalg.inv(torch.eye(phi.shape[1]).double() + SHARP * phi.T @ phi / 12)
    v = torch.einsum("bi,ij,bj->b", other, inverse, other)
    mean = torch.einsum("bi,ij,bj->b", phi, inverse, phi).mean()
    torch.testing.assert_close(familiar.doubt(asked).double(), 0.5 + 0.5 * v / mean, rtol=1e-3, atol=0)
    torch.testing.assert_close(familiar.doubt(seen).mean(), torch.tensor(1.0), rtol=1e-3, atol=0)
    torch.testing.assert_close((phi * phi).sum(dim=1), torch.ones(12).double())


def test_the_novel_are_doubted_more_until_they_are_learned() -> None:
    familiar = Familiar(Patches(SPEC))
    assert familiar.doubt(pictures(0, 3)).tolist() == [1.0, 1.0, 1.0]  # none has been learned from
    for seed in range(8):
        familiar.learn(pictures(seed, 16, 0.0, 0.5))
    seen, novel = pictures(20, 50, 0.0, 0.5), pictures(21, 50, 0.6, 1.0)
    assert familiar.doubt(novel).min() > 10 * familiar.doubt(seen).max()
    familiar.learn(pictures(22, 16, 0.6, 1.0))
    assert familiar.doubt(novel).median() < 5


def test_what_is_always_the_same_is_no_scale_of_zero() -> None:
    familiar = Familiar(Patches(SPEC))
    familiar.learn(pictures(0, 1).expand(4, -1, -1))
    assert familiar.doubt(pictures(0, 1)).tolist() == pytest.approx([1.0], rel=1e-3)
    assert familiar.doubt(pictures(1, 4)).isfinite().all()


def test_it_is_learned_travels_with_the_weights_and_scales_the_spread(random_batch) -> None:  # type: ignore[no-untyped-def]
    spec: ModelSpec = SPEC
    learner = Learner(spec, TrainConfig(batch_size=4, loss={"ensemble": 1.0}), "cpu")
    for seed in range(3):
        learner.step(random_batch(spec, seed=seed))
    familiar = learner.model.familiar
    assert familiar is not None and float(familiar.seen.trace()) == pytest.approx(12.0, rel=1e-4)
    predictor = FramePredictor(spec, learner.weights_bytes(), "cpu")
    theirs = predictor.model.familiar
    assert theirs is not None and torch.equal(theirs.seen, familiar.seen)  # counted, not averaged
    frames = {c.name: np.zeros((1, 1, c.height, c.width, 3), np.uint8) for c in spec.cameras}
    asked = frames, np.zeros((1, 0, 1), np.float32), GO.candidates()[None]
    _, spread = predictor.predict_spread(*asked)
    doubt = float(theirs.doubt(predictor.model.patches.cut({n: torch.from_numpy(a[:, 0]) for n, a in frames.items()})))
    predictor.model.familiar = None
    _, plain = predictor.predict_spread(*asked)
    assert doubt > 1.5
    np.testing.assert_allclose(spread["top"], doubt * plain["top"], rtol=1e-4)
