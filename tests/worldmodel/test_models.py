"""Families of models from one spec: what each is made of, and what it does with frames and actions."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from tests.worldmodel.untrained import CAR, ODD, ONE, ORIGINALS, STACKED, SWITCH, TINY, inputs, untrained
from worldmodel.bars import Bars
from worldmodel.canvas import action_bar, canvas
from worldmodel.learner import Learner, TrainConfig
from worldmodel.models import Model, make_model
from worldmodel.original.encoder_decoder import EncoderDecoder
from worldmodel.patches import Patches
from worldmodel.places import Places
from worldmodel.predictor import FramePredictor
from worldmodel.presets import PRESETS
from worldmodel.spec import ActionSpace, Camera, ModelSpec, SpecError, model_spec
from worldmodel.trainconfig import train_config


def test_the_default_keeps_its_hash_and_its_weights_names() -> None:
    spec = model_spec(ODD, ActionSpace(("pan", "tilt"), low=(-1.0, 0.0), high=(1.0, 2.0)), context=3, target="delta")
    assert spec.hash.startswith("722e251bc08b8de9")  # as before there were families
    assert ModelSpec.from_json(spec.to_json()) == spec
    other = model_spec(ODD, CAR, positions="absolute", ensemble=3)
    assert ModelSpec.from_json(other.to_json()) == other
    names = {name.split(".")[0] for name, _ in make_model(spec).named_parameters()}
    own = {"embed", "action", "unknown_action", "frame_time", "action_time", "camera", "query"}
    assert names == own | {"encoder", "encoder_norm", "start", "decoder", "decoder_norm", "head"}


@pytest.mark.parametrize(("preset", "count"), [("original-2025-10", 5_270_144), ("run7", 9_872_384)])
def test_the_originals_have_as_many_parameters_as_theirs(preset: str, count: int) -> None:
    model = make_model(model_spec((Camera("top", 224, 224),), SWITCH, preset))
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad) == count


OPTIONS = [
    {"positions": positions, "action_input": action, "decoder": decoder}
    for positions, action, decoder in itertools.product(
        ("relative", "absolute", "original"), ("tokens", "adaln", "separator"), ("queries", "full")
    )
]


@pytest.mark.parametrize("index", range(len(OPTIONS)))
def test_every_way_of_the_own_family_answers_each_action_for_itself(index: int) -> None:
    more: dict[str, Any] = {
        "target": ("delta", "full", "flow")[index % 3], "decoder_width": (0, 16)[index // 2 % 2], "ensemble": 1 + 2 * (index % 3 == 0),
        "context": 2 if index // 2 % 3 == 1 else 1 + index % 3,  # adaLN without past actions leaves the encoder unconditioned
    }  # fmt: skip
    model = untrained(model_spec((ONE, ODD)[index % 2], (SWITCH, CAR)[index // 2 % 2], **{**TINY, **OPTIONS[index], **more}))
    seen, actions = inputs(model)
    check_answers(model, seen, actions)


@pytest.mark.parametrize("preset", list(ORIGINALS))
@pytest.mark.parametrize(("cameras", "space"), [(ONE, SWITCH), (STACKED, CAR)])
def test_the_originals_answer_each_action_for_itself(preset: str, cameras: tuple[Camera, ...], space: ActionSpace) -> None:
    model = untrained(model_spec(cameras, space, preset, **ORIGINALS[preset]))
    check_answers(model, *inputs(model))


def check_answers(model: Model, seen: torch.Tensor, actions: torch.Tensor) -> None:
    """Shapes; many actions at once are as one at a time; the action and every frame matter; a gradient comes back."""
    spec, batch = model.spec, len(seen)
    options = torch.from_numpy(spec.actions.encode(spec.actions.candidates(3))).expand(batch, -1, -1)
    memory = model.encode(seen, actions[:, :-1])
    many = model.decode(memory, seen[:, -1], options)
    assert many.shape == (batch, 3, model.patches.tokens, model.patches.pixels)
    assert many.dtype == torch.float32
    for index in range(3):
        asked = torch.cat((actions[:, :-1], options[:, index : index + 1]), dim=1)
        torch.testing.assert_close(model(seen, asked), many[:, index], atol=1e-5, rtol=1e-4)
    assert (many[:, 0] - many[:, 1]).abs().max() > 1e-4
    for frame in range(spec.context):
        other = seen.clone()
        other[:, frame] = 1.0 - other[:, frame]
        assert (model(other, actions) - model(seen, actions)).abs().max() > 1e-4, frame
    for past in range(spec.context - 1):
        other = actions.clone()
        other[:, past] = float("nan")
        assert (model(seen, other) - model(seen, actions)).abs().max() > 1e-6, past
    members = model.forward_members(seen, actions)
    assert members.shape == (batch, spec.ensemble, *many.shape[2:])
    torch.testing.assert_close(members.mean(dim=1), model(seen, actions))
    unknown = actions.clone()
    unknown[0, -1] = float("nan")
    torch.autograd.backward((model(seen, actions) + model(seen, unknown)).square().mean())
    unused = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert unused == []


def test_the_encoder_runs_once_whatever_the_number_of_actions() -> None:
    spec = model_spec(ONE, SWITCH, **{**TINY, "encoder_depth": 2})
    predictor = FramePredictor(spec, Learner(spec, TrainConfig(), "cpu").ema_state(), "cpu")
    calls: list[tuple[int, ...]] = []
    encoder: Any = predictor.model.encoder
    for block in encoder:
        block.register_forward_hook(lambda module, given, answer: calls.append(tuple(answer.shape)))
    history = {"front": np.zeros((2, 32, 48, 3), np.uint8)}
    for count in (1, 2, 3):
        calls.clear()
        images = predictor.predict(history, np.zeros((1, 1), np.float32), np.zeros((count, 1), np.float32))
        assert images["front"].shape == (count, 32, 48, 3)
        assert [shape[0] for shape in calls] == [1, 1]


def test_places_are_integers_or_a_share_of_the_frame() -> None:
    places = torch.tensor([[0.0, 0.0], [1.0, 3.0]])
    scale = torch.tensor([1.0, 3.0])
    for positions, column in (("absolute", 3.0), ("original", 1.0)):
        spec = model_spec(ONE, SWITCH, positions=positions)
        table = Places(spec, places, 8, 1, scale).table
        low = 0.01  # 10000 ** -(1 / 2)
        row = [np.sin(1.0), np.sin(low), np.cos(1.0), np.cos(low)]
        expected = row + [np.sin(column), np.sin(column * low), np.cos(column), np.cos(column * low)]
        np.testing.assert_allclose(table[1].numpy(), expected, atol=1e-6)
        np.testing.assert_allclose(table[0].numpy(), [0, 0, 1, 1, 0, 0, 1, 1], atol=1e-6)


@pytest.mark.parametrize("space", [SWITCH, CAR])
def test_bars_have_the_colours_of_the_canvas(space: ActionSpace) -> None:
    actions = np.concatenate((space.candidates(5), np.full((1, len(space.names)), np.nan, np.float32)))
    drawn = Bars(space)(torch.from_numpy(space.encode(actions)), 20) * 255.0
    for action, column in zip(actions, drawn, strict=True):
        np.testing.assert_allclose(column.numpy(), action_bar(action, space, 20, 4)[:, 0], atol=1.01)


@pytest.mark.parametrize("separator", [8, 16, 24])
def test_the_original_sees_the_canvas_that_people_see(separator: int) -> None:
    spec = model_spec(STACKED, SWITCH, "original-2025-10", **{**ORIGINALS["original-2025-10"], "separator": separator})
    model = make_model(spec)
    assert isinstance(model, EncoderDecoder)
    rng = np.random.default_rng(0)
    pictures = {c.name: rng.integers(0, 256, (1, 3, c.height, c.width, 3), dtype=np.uint8) for c in STACKED}
    actions = np.array([[1.0], [2.0]], np.float32)
    cut = Patches(spec).cut({name: torch.from_numpy(array) for name, array in pictures.items()}).float() / 255.0
    encoded = torch.from_numpy(spec.actions.encode(actions))[None]
    shown = model.canvas.cut(model.canvas.draw(cut[:, :2], encoded[:, :1]), encoded[:, 1])
    tall = np.concatenate([pictures["front"][0], pictures["wrist"][0]], axis=1)
    whole = canvas(tall, actions, SWITCH, separator)
    rows, columns = whole.shape[0] // 16, whole.shape[1] // 16
    patches = whole.reshape(rows, 16, columns, 16, 3).transpose(0, 2, 1, 3, 4).reshape(rows, columns, -1) / 255.0
    np.testing.assert_allclose(shown[0].numpy(), patches[:, :-3].reshape(-1, 768), atol=1e-6)
    np.testing.assert_allclose(cut[0, 2].numpy(), patches[:, -3:].reshape(-1, 768), atol=1e-6)


@pytest.mark.parametrize("preset", list(ORIGINALS))
def test_a_part_of_the_next_frame_can_be_shown(preset: str) -> None:
    model = untrained(model_spec(ONE, SWITCH, preset, **ORIGINALS[preset]))
    seen, actions = inputs(model)
    target = torch.rand_like(seen[:, 0])
    masked = torch.ones(target.shape[:2], dtype=torch.bool)
    torch.testing.assert_close(model.forward_masked(seen, actions, target, masked), model(seen, actions), atol=1e-5, rtol=1e-4)
    masked[1, ::2] = False
    some = model.forward_masked(seen, actions, target, masked)
    torch.testing.assert_close(some[0], model(seen, actions)[0], atol=1e-5, rtol=1e-4)
    other = target.clone()
    other[1, 1] = 0.0  # hidden: nobody may read it
    torch.testing.assert_close(model.forward_masked(seen, actions, other, masked), some)
    other[1, 0] = 0.0
    assert (model.forward_masked(seen, actions, other, masked)[1] - some[1]).abs().max() > 1e-4


def test_the_own_family_shows_nothing_of_the_next_frame() -> None:
    model = make_model(model_spec(ONE, SWITCH, **TINY))
    seen, actions = inputs(model)
    with pytest.raises(SpecError, match=r"leave mask_ratio at 1\.\.1"):
        model.forward_masked(seen, actions, seen[:, 0], torch.ones(2, model.patches.tokens, dtype=torch.bool))


def test_an_untrained_decoder_only_model_answers_black() -> None:
    model = make_model(model_spec(ONE, SWITCH, "run7", **ORIGINALS["run7"]))
    assert not model(*inputs(model)).any()


def test_members_differ_and_the_spread_is_theirs() -> None:
    spec = model_spec(ODD, CAR, **TINY, ensemble=4)
    predictor = FramePredictor(spec, Learner(spec, TrainConfig(), "cpu").ema_state(), "cpu", precision="fp32")
    rng = np.random.default_rng(0)
    frames = {c.name: rng.integers(0, 256, (2, 2, c.height, c.width, 3), dtype=np.uint8) for c in ODD}
    past, options = np.zeros((2, 1, 2), np.float32), CAR.candidates(3)[None]
    mean, spread = predictor.predict_spread(frames, past, options)
    pictures = predictor.predict_batch(frames, past, options)
    for camera in ODD:
        assert mean[camera.name].shape == spread[camera.name].shape == (2, 3, camera.height, camera.width, 3)
        assert mean[camera.name].dtype == np.float32
        assert 0.001 < spread[camera.name].mean() < 0.2
        assert np.abs(mean[camera.name] * 255 - pictures[camera.name]).mean() < 5.0
    alone = model_spec(ODD, CAR, **TINY)
    single = FramePredictor(alone, Learner(alone, TrainConfig(), "cpu").ema_state(), "cpu").predict_spread(frames, past, options)
    assert not any(values.any() for values in single[1].values())


@pytest.mark.parametrize("space", [SWITCH, CAR])
def test_the_inverse_head_answers_of_two_frames_and_sends_a_gradient_to_the_second(space: ActionSpace) -> None:
    model = make_model(model_spec(ODD, space, **TINY, inverse=True))
    seen, _ = inputs(model, batch=3)
    following = torch.rand_like(seen[:, 0]).requires_grad_()
    answer = model.inverse(seen[:, 0], following)
    assert answer.shape == (3, space.encoded_size)
    torch.autograd.backward(answer.square().sum())
    assert following.grad is not None
    assert following.grad.any()
    with pytest.raises(SpecError, match="no inverse head"):
        make_model(model_spec(ODD, space, **TINY)).inverse(seen[:, 0], seen[:, 1])


@pytest.mark.parametrize(
    ("preset", "cameras", "fields", "message"),
    [
        ("small", ONE, {"separator": 8}, "bars of the family toddle are one patch wide"),
        ("small", ONE, {"ensemble": 0}, "ensemble must be at least 1"),
        ("small", ONE, {"decoder_width": 36}, "decoder_width 36 is no multiple of 4 x decoder_heads"),
        ("original-2025-10", ONE, {"ensemble": 2}, "has ensemble 1; got ensemble 2"),
        ("original-2025-10", ONE, {"target": "delta"}, "has target 'full'; got target 'delta'"),
        ("original-2025-10", ONE, {"positions": "relative"}, "no relative positions"),
        ("original-2025-10", ONE, {"separator": 0}, "give separator a width"),
        ("original-2025-10", ONE, {"separator": 4}, "2 separators of 4 px are no multiple of the patch 16"),
        ("original-2025-10", (Camera("front", 30, 48),), {}, "multiples of the patch 16; got"),
        ("run7", ODD, {}, "stacks cameras of one width"),
        ("run7", ONE, {"encoder_depth": 2}, "has encoder_depth 0; got encoder_depth 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(preset: str, cameras: tuple[Camera, ...], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        model_spec(cameras, SWITCH, preset, **fields)
    assert "\n" not in str(caught.value)


def test_bars_cannot_tell_more_actions_than_there_are_colours() -> None:
    many = ActionSpace(("a",), choices=tuple((float(n),) for n in range(13)))
    with pytest.raises(SpecError, match="12 colours, the robot has 13 actions"):
        model_spec(ONE, many, action_input="separator")
    model_spec(ONE, many)


def test_a_preset_sets_fields_that_exist_and_gives_way_to_what_is_said() -> None:
    for name, preset in PRESETS.items():
        spec = model_spec(ONE, SWITCH, name)
        assert {field: getattr(spec, field) for field in preset["spec"]} == preset["spec"]
        config = train_config(preset["train"])
        assert {field: getattr(config, field) for field in preset["train"]} == preset["train"]
    assert model_spec(ONE, SWITCH, "run7", separator=16).separator == 16
