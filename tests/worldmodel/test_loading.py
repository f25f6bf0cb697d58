"""Weights of one model in another: strictly, grown in depth, in part."""

from typing import Any

import pytest
import torch

from tests.worldmodel.untrained import ONE, ORIGINALS, SWITCH, TINY, inputs, untrained
from worldmodel.loading import LoadError, fit
from worldmodel.models import Model, make_model
from worldmodel.spec import ModelSpec, model_spec


def weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def loaded(spec: ModelSpec, state: dict[str, torch.Tensor]) -> Model:
    model = make_model(spec)
    model.load_state_dict(state, strict=True)
    return model


def test_strictly_everything_fits_or_nothing_is_loaded() -> None:
    spec = model_spec(ONE, SWITCH, **TINY)
    model = untrained(spec)
    found = fit(spec, weights(model))
    assert {row.fate for row in found.rows} == {"loaded"}
    assert torch.equal(loaded(spec, found.state)(*inputs(model)), model(*inputs(model)))
    wider = model_spec(ONE, SWITCH, **{**TINY, "width": 48})
    with pytest.raises(LoadError, match=r"tensors are missing, unknown or of another shape.*or ask for growth") as caught:
        fit(wider, weights(model))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("preset", "small", "grown"),
    [
        ("small", TINY, {"encoder_depth": 3, "decoder_depth": 2}),
        ("small", {**TINY, "action_input": "adaln"}, {"encoder_depth": 2, "decoder_depth": 2}),
        ("original-2025-10", ORIGINALS["original-2025-10"], {"encoder_depth": 2, "decoder_depth": 3}),
        ("run7", ORIGINALS["run7"], {"decoder_depth": 3}),
    ],
)
def test_a_model_grown_in_depth_answers_as_before_and_learns(preset: str, small: dict[str, Any], grown: dict[str, Any]) -> None:
    model = untrained(model_spec(ONE, SWITCH, preset, **small))
    spec = model_spec(ONE, SWITCH, preset, **{**small, **grown})
    with pytest.raises(LoadError):
        fit(spec, weights(model))
    found = fit(spec, weights(model), "grow")
    deeper = loaded(spec, found.state)
    torch.testing.assert_close(deeper(*inputs(model)), model(*inputs(model)))
    new = [row.name for row in found.rows if row.fate == "new"]
    assert len(new) + len(weights(model)) == len(weights(deeper))
    assert "| decoder.1 | new |" in found.table()
    torch.autograd.backward(deeper(*inputs(model)).square().mean())
    moving = [name for name, p in deeper.named_parameters() if name in new and p.grad is not None and p.grad.any()]
    assert moving


def test_growth_is_of_depth_and_nothing_else() -> None:
    model = untrained(model_spec(ONE, SWITCH, **TINY))
    for other in ({"inverse": True}, {"width": 48}, {"ensemble": 2}):
        with pytest.raises(LoadError, match="do not fit"):
            fit(model_spec(ONE, SWITCH, **{**TINY, "decoder_depth": 2, **other}), weights(model), "grow")
    with pytest.raises(LoadError, match="do not fit"):  # it may not shrink either
        fit(model_spec(ONE, SWITCH, **TINY), weights(untrained(model_spec(ONE, SWITCH, **{**TINY, "decoder_depth": 2}))), "grow")


def test_in_part_what_fits_is_loaded_and_the_table_tells_the_rest() -> None:
    model = untrained(model_spec(ONE, SWITCH, **TINY))
    spec = model_spec(ONE, SWITCH, **{**TINY, "target": "full", "inverse": True, "action_input": "adaln"})
    found = fit(spec, weights(model), "partial")
    assert torch.equal(found.state["embed.weight"], weights(model)["embed.weight"])
    fates = {row.name: row.fate for row in found.rows}
    assert fates["head.weight"] == "other shape"
    assert fates["inverse_head.embed.weight"] == "new"
    assert fates["encoder.0.norm1.weight"] == "left out"
    assert set(found.state) == set(weights(make_model(spec)))
    assert "| head | other shape | 2 | [200, 32] where the model has [192, 32]" in found.table()
    assert torch.equal(fit(spec, weights(model), "partial").state["head.weight"], found.state["head.weight"])
    with pytest.raises(LoadError, match="nothing of these 1 tensors fits"):
        fit(spec, {"other": torch.zeros(1)}, "partial")
