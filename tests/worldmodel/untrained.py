"""Tiny models of every family, with weights that hide nothing."""

from typing import Any

import numpy as np
import torch

from worldmodel.models import Model, make_model
from worldmodel.spec import ActionSpace, Camera, ModelSpec

SWITCH = ActionSpace(("a",), choices=((0.0,), (1.0,), (2.0,)))
CAR = ActionSpace(("angle", "throttle"), low=(-1.0, 0.0), high=(1.0, 2.0))
ONE = (Camera("front", 32, 48),)
STACKED = (Camera("front", 32, 48), Camera("wrist", 16, 48))
ODD = (Camera("left", 19, 30), Camera("wrist", 9, 13))
TINY: dict[str, Any] = {"width": 32, "heads": 2, "encoder_depth": 1, "decoder_depth": 1}
ORIGINALS = {
    "original-2025-10": {**TINY, "decoder_width": 16, "decoder_heads": 2},
    "original-2026-02": {**TINY, "decoder_width": 32, "decoder_heads": 2},
    "run7": {**TINY, "encoder_depth": 0},
}


def untrained(spec: ModelSpec, seed: int = 0) -> Model:
    """Random everywhere: a head or gate of zero would hide what happens before it."""
    torch.manual_seed(seed)
    model = make_model(spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def inputs(model: Model, batch: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Seen patches [B, context, N, P] and encoded actions [B, context, E]."""
    spec, patches = model.spec, model.patches
    rng = np.random.default_rng(seed)
    seen = torch.from_numpy(rng.random((batch, spec.context, patches.tokens, patches.pixels), np.float32))
    taken = spec.actions.candidates(7)[rng.integers(0, len(spec.actions.candidates(7)), (batch, spec.context))]
    return seen, torch.from_numpy(spec.actions.encode(taken))
