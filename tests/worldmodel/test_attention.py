"""Attention that is captured is what the blocks use, in every family, and its numbers and pictures say what it is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from worldmodel.attention import (
    VIEWS,
    AttentionError,
    capture,
    draw,
    join_heads,
    join_patches,
    metrics,
    numbers_in,
    select,
    statistics,
    strongest,
)
from worldmodel.attention.capture import Attention, _Recorder
from worldmodel.attention.tokens import Layout, tokens_of
from worldmodel.models import Model, make_model
from worldmodel.predictor import FramePredictor
from worldmodel.presets import PRESETS
from worldmodel.spec import ActionSpace, Camera, ModelSpec, model_spec

Array = np.ndarray[Any, Any]
SPACE = ActionSpace(("pan", "tilt"), low=(-1.0, 0.0), high=(1.0, 2.0))
GO = ActionSpace(("go",), choices=((0.0,), (1.0,)))
ODD = (Camera("left", 19, 30), Camera("wrist", 9, 13))
EVEN = (Camera("front", 16, 48), Camera("top", 32, 48))  # of equal width, as the originals take them
TINY = {"width": 32, "heads": 2, "encoder_depth": 2, "decoder_depth": 2}
ORIGINAL = {**TINY, "action_input": "separator", "target": "full", "decoder": "full", "positions": "original"}
SPECS: dict[str, ModelSpec] = {
    "tokens": model_spec(ODD, SPACE, context=3, **TINY),
    "one camera": model_spec(ODD[:1], GO, patch=8, **TINY),
    "adaln": model_spec(ODD, SPACE, action_input="adaln", **TINY),
    "bars": model_spec(ODD, GO, patch=8, action_input="separator", positions="absolute", ensemble=3, **TINY),
    "full length": model_spec(ODD, SPACE, decoder="full", decoder_width=16, decoder_heads=4, **TINY),
    "full length, bars": model_spec(ODD, SPACE, decoder="full", action_input="separator", **TINY),
    "encoder-decoder": model_spec(EVEN, SPACE, family="encoder-decoder", patch=16, separator=8, decoder_width=16, **ORIGINAL),
    "encoder-decoder, patch 8": model_spec(EVEN, GO, family="encoder-decoder", patch=8, separator=4, **ORIGINAL),
    "decoder-only": model_spec(EVEN[:1], GO, family="decoder-only", patch=8, separator=16, context=3, **{**ORIGINAL, "encoder_depth": 0}),
}  # fmt: skip
STAGES = [(name, stage) for name in SPECS for stage in ("decoder", "encoder") if (name, stage) != ("decoder-only", "encoder")]


def model_of(spec: ModelSpec) -> Model:
    torch.manual_seed(0)
    model = make_model(spec)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # heads start at zero, and would hide what changes
    return model


def inputs(spec: ModelSpec, seed: int = 0) -> tuple[dict[str, Array], Array, Array]:
    rng = np.random.default_rng(seed)
    frames = {c.name: rng.integers(0, 256, (spec.context, c.height, c.width, 3), dtype=np.uint8) for c in spec.cameras}
    size = len(spec.actions.names)
    return frames, rng.uniform(0, 1, (spec.context - 1, size)).astype(np.float32), rng.uniform(0, 1, size).astype(np.float32)


def mixes(model: Model, stage: str, given: Any, found: Attention) -> list[tuple[Array, Array]]:
    """Of every block: what its output projection is given, and what the captured weights make of its values."""
    taken: list[dict[str, Any]] = [{} for _ in getattr(model, stage)]

    def keep(place: int, what: str, index: int | None) -> Any:
        return lambda _, args, *out: taken[place].__setitem__(what, (args if index is None else out)[0])

    for place, block in enumerate(getattr(model, stage)):
        attention = getattr(block, "attn", block)
        project = attention.proj if hasattr(attention, "proj") else attention.out
        attention.qkv.register_forward_hook(keep(place, "qkv", 0))
        project.register_forward_pre_hook(lambda _, args, place=place: taken[place].__setitem__("mixed", args[0]))
        if getattr(block, "memory_kv", None) is not None:
            block.memory_kv.register_forward_hook(keep(place, "memory", 0))
    capture(model, *given, stage=stage)  # type: ignore[arg-type]
    rows = tokens_of(model, stage)[2]  # type: ignore[arg-type]
    pairs = []
    for weights, one in zip(found.weights, taken, strict=True):
        heads = weights.shape[0]
        v = one["qkv"][0].unflatten(-1, (3, heads, -1))[:, 2]
        if "memory" in one:
            v = torch.cat((one["memory"][0].unflatten(-1, (2, heads, -1))[:, 1], v))
        ours = np.einsum("hqk,khd->qhd", weights, v.numpy()).reshape(weights.shape[1], -1)
        pairs.append((one["mixed"][0][rows].numpy(), ours))
    return pairs


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_rows_sum_to_one_and_make_the_blocks_own_output(name: str, stage: Any) -> None:
    model = model_of(SPECS[name])
    given = inputs(model.spec)
    found = capture(model, *given, stage=stage)
    assert found.weights.shape == (2, len(found.heads), len(found.queries), len(found.keys))
    np.testing.assert_allclose(found.weights.sum(axis=-1), 1.0, atol=1e-5)
    assert found.weights.std() > 0
    for theirs, ours in mixes(model, stage, given, found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPECS)
def test_capturing_changes_no_prediction_and_leaves_nothing_behind(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(SPECS[name])
    frames, past, action = inputs(model.spec)
    predictor = FramePredictor(model.spec, dict(model.named_parameters()), "cpu", precision="fp32")
    before = predictor.predict(frames, past, action[None])
    found = capture(predictor, frames, past, action)
    with pytest.raises(ValueError, match="there is no layer 9"):
        capture(predictor, frames, past, action, layers=[9])
    with pytest.raises(ValueError, match="gave frames of shape"):
        capture(predictor, {n: a[:, :5] for n, a in frames.items()}, past, action)
    watched: list[Any] = []
    monkeypatch.setattr(_Recorder, "__torch_function__", lambda self, func, *_: watched.append(func))
    after = predictor.predict(frames, past, action[None])
    assert watched == []
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in predictor.model.modules())
    for camera, picture in found.prediction.items():
        np.testing.assert_array_equal(picture, before[camera][0])
        np.testing.assert_array_equal(picture, after[camera][0])
        assert picture.std() > 0


def test_chosen_layers_and_heads_are_those_of_all() -> None:
    model = model_of(SPECS["encoder-decoder"])
    given = inputs(model.spec)
    every, some = capture(model, *given), capture(model.train(), *given, layers=[1], heads=[1, 0])
    assert (some.layers, some.heads) == ((1,), (1, 0))
    np.testing.assert_array_equal(some.weights, every.weights[1:, ::-1])
    assert model.training, "as it was"
    with pytest.raises(ValueError, match="no head 2: this model has heads 0 to 1"):
        capture(model, *given, heads=[2])
    alone = model_of(SPECS["decoder-only"])
    with pytest.raises(ValueError, match="no encoder"):
        capture(alone, *inputs(alone.spec), stage="encoder")


@pytest.mark.parametrize("name", SPECS)
def test_a_tokens_box_shows_what_the_token_saw(name: str) -> None:
    model = model_of(SPECS[name])
    spec = model.spec
    frames, past, action = inputs(spec)
    found = capture(model, frames, past, action)
    layout = Layout(spec)
    assert found.canvas.shape == (layout.height, layout.width, 3)
    cut = model.patches.cut({n: torch.from_numpy(a[None]) for n, a in frames.items()})
    if spec.family == "toddle":
        seen = {(frame, *key): cut[0, frame, index] for frame in range(spec.context) for index, key in enumerate(_places(found))}
    else:
        told = [torch.from_numpy(spec.actions.encode(one)) for one in (past[None], action[None])]
        patches = model.canvas.cut(model.encode(cut.float() / 255.0, told[0]), told[1])[0]  # type: ignore[operator, union-attr]
        shown = [key for key in found.keys if key.kind != "class"][: len(patches)]
        seen = {key: (patch * 255).round() for key, patch in zip(shown, patches, strict=True)}
    compared = 0
    for key in found.keys:
        patch = seen.get(key if spec.family != "toddle" else (key.frame, key.camera, key.row, key.column))  # type: ignore[call-overload]
        if patch is None or key.box is None:
            continue
        top, left, bottom, right = key.box
        pixels = patch.reshape(spec.patch, spec.patch, 3).numpy()[: bottom - top, : right - left]
        np.testing.assert_allclose(found.canvas[top:bottom, left:right], pixels, atol=1)
        compared += 1
    assert compared == len(seen)
    assert [q.frame for q in found.queries] == [spec.context] * model.patches.tokens
    for place, query in zip(_places(found), found.queries, strict=True):
        assert (query.camera, query.row, query.column) == place


def _places(found: Attention) -> list[tuple[str, int, int]]:
    from worldmodel.attention.selection import _places as places

    return places(found)


def test_tokens_say_what_they_are() -> None:
    def kinds(name: str) -> dict[tuple[str, int], int]:
        counted: dict[tuple[str, int], int] = {}
        for key in tokens_of(make_model(SPECS[name]), "decoder")[1]:
            counted[key.kind, key.frame] = counted.get((key.kind, key.frame), 0) + 1
        return counted

    tokens = make_model(SPECS["tokens"]).patches.tokens
    assert kinds("tokens") == {**{("patch", frame): tokens for frame in range(4)}, ("action", 0): 1, ("action", 1): 1}
    assert {key[0] for key in kinds("adaln")} == {"patch"}
    assert {key: count for key, count in kinds("bars").items() if key[0] == "bar"} == {("bar", 0): 5, ("bar", 1): 5}
    # 16x16 patches, bars of 8 pixels: the patch that is half bar and half frame counts as bar
    assert kinds("encoder-decoder") == {("class", -1): 1, ("patch", 0): 9, ("bar", 0): 3, ("patch", 1): 6, ("bar", 1): 3, ("patch", 2): 9}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_captured_and_drawn(preset: str) -> None:
    spec = model_spec((Camera("front", 16, 32), Camera("low", 32, 32)), GO, preset)
    model = make_model(spec)
    found = capture(model, *inputs(spec))
    assert found.weights.shape[:2] == (spec.decoder_depth, spec.decoder_size[1])
    assert draw(found, [0, 3], "lines").dtype == np.uint8


# -- choosing, counting, drawing ------------------------------------------------------------------


@pytest.fixture
def made() -> Attention:
    """A black world in which patch 5 becomes bright; two layers of two heads that read evenly."""
    spec = model_spec((Camera("top", 16, 32),), GO, patch=8, **TINY)
    frames = {"top": np.zeros((2, 16, 32, 3), np.uint8)}
    found = capture(make_model(spec), frames, np.zeros((1, 1), np.float32), np.zeros(1, np.float32))
    shown = np.zeros((16, 32, 3), np.uint8)
    shown[8:, 8:16] = 204
    even = np.full_like(found.weights, 1 / found.weights.shape[-1])
    return replace(found, weights=even, prediction={"top": shown})


def test_patches_are_chosen_by_brightness_change_and_number(made: Attention) -> None:
    assert select("brightness", made) == select("brightness:0.8", made) == select("change", made) == [5]
    assert select("all", made) == list(range(8))
    assert select("0,5,2-4", made) == [0, 5, 2, 3, 4]
    true = {"top": np.zeros((16, 32, 3), np.uint8)}
    true["top"][:8, :8] = 255
    assert select("change:0.5", made, true) == [0]
    assert select("change", replace(made, last=made.prediction), true) == [0, 5]
    for text, said in {
        "brightness:0.81": "the largest is 0.800; try brightness:0.4", "8": "there is no patch 8: they are 0 to 7", "3-1": "no patch 3-1",
        "x": "give numbers and ranges", "": "give numbers and ranges", "change:2": "give a share from 0 to 1", "1,,2": "names no patch",
    }.items():  # fmt: skip
        with pytest.raises(AttentionError, match=said):
            select(text, made)
    assert numbers_in("7, 1-2", 8, "head") == [7, 1, 2]


def test_heads_and_patches_are_joined_and_filtered(made: Attention) -> None:
    weights = np.arange(made.weights.size, dtype=np.float32).reshape(made.weights.shape)
    found = replace(made, weights=weights)
    for how, join in (("mean", np.mean), ("max", np.max), ("sum", np.sum)):
        read = join_heads(found, [1, 6], how)  # type: ignore[arg-type]
        np.testing.assert_array_equal(read, join(weights[:, :, [1, 6]], axis=1))  # type: ignore[operator]
        np.testing.assert_array_equal(join_patches(read, how), join(read, axis=1))  # type: ignore[arg-type, operator]
    kept, least = strongest(np.arange(100, dtype=np.float32).reshape(2, 5, 10), 95)
    assert np.flatnonzero(kept).tolist() == [95, 96, 97, 98, 99]
    assert least == pytest.approx(94.05)
    assert strongest(weights, 0)[0].all()


def test_even_attention_measures_as_the_baseline(made: Attention) -> None:
    numbers = metrics(made)
    keys = 8 + 8 + 1 + 8
    assert numbers["even"].pop("apa") is numbers["model"].pop("apa") is None
    assert numbers["even"] == pytest.approx({"alf": 8 / keys, "ttar": 1 / 16, "own": 8 / keys, "entropy": np.log(keys)})
    assert numbers["model"] == pytest.approx(numbers["even"], rel=1e-5)
    shares = statistics(made, [5])["layers"][0]["shares"]
    assert shares == pytest.approx({"frame 0": 8 / keys, "frame 1": 8 / keys, "actions": 1 / keys, "own": 8 / keys})


def test_metrics_of_a_model_that_reads_one_bar() -> None:
    spec = SPECS["decoder-only"]
    found = capture(model_of(spec), *inputs(spec))
    weights = np.zeros_like(found.weights)
    asked = next(place for place, key in enumerate(found.keys) if key.kind == "bar" and key.frame == spec.context - 1)
    before = next(place for place, key in enumerate(found.keys) if key.kind == "patch" and key.frame == spec.context - 1)
    weights[-1, ..., asked], weights[-1, ..., before] = 0.75, 0.25
    weights[0, ..., 0] = 1.0
    found = replace(found, weights=weights)
    assert metrics(found)["model"] == pytest.approx(
        {"apa": 0.75, "alf": 0.25, "ttar": 3.0, "own": 0.0, "entropy": -0.75 * np.log(0.75) - 0.25 * np.log(0.25)}, abs=1e-4
    )
    told = statistics(found, [0])
    assert told["layers"][0]["shares"]["class"] == 1.0
    assert told["layers"][1]["max"] == 0.75
    assert [one["head"] for one in told["layers"][1]["heads"]] == [0, 1]


def test_shares_of_any_model_sum_to_one() -> None:
    for name, stage in STAGES:
        found = capture(model_of(SPECS[name]), *inputs(SPECS[name]), stage=stage)  # type: ignore[arg-type]
        for layer in statistics(found, [0, 1, 2])["layers"]:
            assert sum(layer["shares"].values()) == pytest.approx(1.0, abs=1e-4)
            assert sum(layer["heads"][0]["shares"].values()) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ["tokens", "encoder-decoder"])
def test_pictures_are_drawn_of_two_cameras(view: Any, name: str) -> None:
    found = capture(model_of(SPECS[name]), *inputs(SPECS[name]))
    pictures = [draw(found, patches, view) for patches in ([0, 1], [2])]
    for picture in pictures:
        assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)
    assert pictures[0].shape != pictures[1].shape or (pictures[0] != pictures[1]).any()


def test_a_line_has_the_colour_of_its_layer(made: Attention) -> None:
    weights = np.zeros_like(made.weights)
    weights[0, :, 5, 0] = 1.0
    picture = draw(replace(made, weights=weights), [5], "lines", quantile=99.9)
    orange, blue = (picture.astype(int) - colour for colour in ((0xFF, 0x9F, 0x1C), (0x2E, 0xC4, 0xFF)))
    canvas = slice(60, -80)  # without title and legend
    assert (np.abs(orange[canvas]).sum(axis=-1) < 30).sum() > 200
    assert (np.abs(blue[canvas]).sum(axis=-1) < 30).sum() == 0
