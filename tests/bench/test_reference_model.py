"""The plain model that the bench measures beside is the one that the preset original-2025-10 describes."""

import numpy as np
import torch

from bench.reference_model import Reference, ReferenceTraining
from worldmodel.batch import Batch
from worldmodel.canvas import canvas
from worldmodel.learner import Learner
from worldmodel.presets import PRESETS
from worldmodel.spec import ActionSpace, Camera, model_spec
from worldmodel.trainconfig import train_config

MOVE = ActionSpace(("move",), choices=((0.0,), (1.0,)))


def test_with_the_same_weights_it_learns_the_same() -> None:
    torch.manual_seed(0)
    reference = Reference(32, 112, 80)
    plain = ReferenceTraining(reference, 1e-4, 0.01, (0.9, 0.999))
    config = train_config({**PRESETS["original-2025-10"]["train"], "loss": {"mse": 1.0}, "schedule": "constant", "warmup_samples": 0})
    learner = Learner(model_spec((Camera("top", 32, 32),), MOVE, "original-2025-10"), config, "cpu")
    state = reference.weights_for([name for name, _ in learner.model.named_parameters()])
    learner.model.load_state_dict(state, strict=True)
    rng = np.random.default_rng(0)
    batch = Batch({"top": rng.integers(0, 256, (2, 3, 32, 32, 3), dtype=np.uint8)}, rng.integers(0, 2, (2, 2, 1)).astype(np.float32))
    pictures = np.stack([canvas(f, a, MOVE) for f, a in zip(batch.frames["top"], batch.actions, strict=True)])
    for _ in range(4):
        assert abs(learner.step(batch)["loss"] / plain.step(pictures) - 1) < 1e-4
