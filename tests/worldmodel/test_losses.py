"""Every loss against numbers worked out by hand, and where its gradients go."""

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from worldmodel.losses import TABLE, Case, check, combined
from worldmodel.losses.ensemble import bootstrap
from worldmodel.losses.perceptual import load_vgg
from worldmodel.losses.pixel import boost_at
from worldmodel.trainconfig import TrainConfig


class Model(nn.Module):
    """What the losses ask of a model, in two weights: the next frame is `gain` times the last, the action its mean by `slope`."""

    def __init__(self, discrete: bool = False, inverse: bool = True) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))
        self.slope = nn.Parameter(torch.tensor(2.0))
        self.spec = SimpleNamespace(inverse=inverse, ensemble=1, family="toddle", actions=SimpleNamespace(discrete=discrete))
        self.patches = SimpleNamespace(paste=lambda patches: {"top": patches.reshape(len(patches), 16, 16, 3)})

    def forward(self, seen: Tensor, actions: Tensor) -> Tensor:
        return self.gain * seen[:, -1] + actions[:, -1:, :1]

    def inverse(self, last: Tensor, following: Tensor) -> Tensor:
        moved = self.slope * (following - last).mean(dim=(1, 2))
        return torch.stack((moved, -moved), dim=1)


def case(prediction: Any, target: Any, last: Any = None, model: Any = None, options: dict[str, Any] | None = None, **more: Any) -> Case:
    """One window of one patch, unless the lists are nested deeper."""
    said, true = (torch.tensor(one) if isinstance(one, list) else one for one in (prediction, target))
    while said.ndim < 3:
        said, true = said[None], true[None]
    before = torch.zeros_like(true) if last is None else torch.tensor(last).reshape(true.shape)
    unknown = torch.full((len(true), 1, 2), math.nan)
    given = {"seen": before[:, None], "targets": true[:, None], "actions": unknown, "taken": unknown, **more}
    config = TrainConfig(**(options or {}))
    return Case(model=model, config=config, samples=0, prediction=said, **given)


def loss(name: str, of: Case) -> float:
    return TABLE[name](of).total.item()


def test_boost_falls_linearly_to_nothing() -> None:
    assert [boost_at(n, 20.0, 100) for n in (0, 50, 100, 1000)] == [20.0, 10.0, 0.0, 0.0]
    assert boost_at(0, 20.0, 0) == 0.0


def test_changed_pixels_weigh_more() -> None:
    last, target = [0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]  # two of four pixels change
    of = case([0.5, 0.1, 0.0, 0.2], target, last, options={"boost": 3.0})
    # errors .25 .01 0 .04; weights 4 1 4 1
    assert loss("changed", of) == pytest.approx((4 * 0.25 + 0.01 + 0.04) / 10)
    assert loss("mse", of) == pytest.approx(0.30 / 4)
    assert loss("changed", case([0.5, 0.1, 0.0, 0.2], target, last, options={"boost": 0.0})) == pytest.approx(0.30 / 4)


def test_padding_and_patches_that_were_shown_count_nowhere() -> None:
    real = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    of = case([0.5, 0.1, 9.0, 9.0], [1.0, 0.0, 0.0, 0.0], options={"boost": 3.0}, real=real)
    assert loss("changed", of) == pytest.approx((4 * 0.25 + 0.01) / 5)
    assert loss("mse", of) == pytest.approx(0.26 / 2)
    shown = case([[[0.5, 0.1], [9.0, 9.0]]], [[[1.0, 0.0], [0.0, 0.0]]], hidden=torch.tensor([[1.0, 0.0]]))
    assert loss("mse", shown) == pytest.approx(0.26 / 2)
    # of one window both patches are hidden, of the other one: each number that is hidden counts alike
    twice = case([[[0.5], [0.1]], [[0.2], [9.0]]], torch.zeros(2, 2, 1), hidden=torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    assert loss("mse", twice) == pytest.approx((0.25 + 0.01 + 0.04) / 3)
    nothing = case([0.5], [0.0], hidden=torch.zeros(1, 1))
    assert loss("mse", nothing) == loss("changed", nothing) == 0.0


def test_the_weight_of_a_window_multiplies_what_it_costs() -> None:
    of = case([[[1.0, 0.0]], [[0.5, 0.0]]], torch.zeros(2, 1, 2), weights=torch.tensor([1.0, 0.5]), options={"boost": 3.0})
    assert loss("mse", of) == pytest.approx((0.5 + 0.5 * 0.125) / 2)
    assert TABLE["mse"](of).samples.tolist() == pytest.approx([0.5, 0.125])
    assert loss("changed", of) == pytest.approx((1.0 + 0.5 * 0.25) / 4)  # nothing changes: all weigh 1


def test_focal_hybrid_and_capped_as_specified() -> None:
    of = case([0.5, 0.0, 1.0], [0.0, 0.0, 0.0], options={"focal_alpha": 0.2, "focal_beta": 5.0})
    e, w = [0.25, 0.0, 1.0], [math.exp(1.25), 1.0, math.exp(5.0)]
    plain = sum(e) / 3
    focal = sum(a * b for a, b in zip(w, e, strict=True)) / (sum(w) + 1e-8)
    assert loss("focal", of) == pytest.approx(focal)
    assert loss("hybrid", of) == pytest.approx(0.2 * plain + 0.8 * focal)
    capped = case([0.5, 0.0, 1.0], [0.0, 0.0, 0.0], options={"focal_beta": 10.0})
    w = [50.0, 1.0, 50.0]  # exp(5) and exp(10) are above the cap
    assert loss("capped-focal", capped) == pytest.approx(0.5 * plain + 0.5 * (50 * 0.25 + 50) / 101)
    assert loss("focal", case([0.5, 0.0], [0.0, 0.0], options={"focal_beta": 0.0})) == pytest.approx(0.125)


def test_errors_in_units_of_each_patchs_deviation() -> None:
    target = [[[0.0, 1.0], [0.5, 0.5]]]  # variances 1/2 and 0
    of = case([[[0.5, 1.0], [0.5, 0.6]]], target)
    assert loss("normalised", of) == pytest.approx((0.25 / 0.5 + 0.01 / (8 / 255) ** 2) / 4)
    padded = case([[[0.5, 1.0, 9.0]]], [[[0.0, 1.0, 0.0]]], real=torch.tensor([[1.0, 1.0, 0.0]]))
    assert loss("normalised", padded) == pytest.approx(0.25 / 0.5 / 2)


def test_a_rollout_goes_on_from_its_own_predictions() -> None:
    model = Model()
    model.gain.data.fill_(2.0)
    said = torch.full((1, 1, 2), 0.5, requires_grad=True)
    targets = torch.tensor([1.0, 1.0, 2.0])[None, :, None, None].expand(1, 3, 1, 2)
    actions = torch.tensor([9.0, 0.1, 0.2])[None, :, None]
    of = case(said, targets[:, 0], model=model, seen=torch.zeros(1, 1, 1, 2), targets=targets, actions=actions)
    # 2 * .5 + .1 = 1.1 and 2 * 1.1 + .2 = 2.4
    total = TABLE["rollout"](of).total
    assert total.item() == pytest.approx((0.1**2 + 0.4**2) / 2)
    total.backward()
    assert said.grad is not None and (said.grad != 0).all()  # through two steps, to the first
    assert model.gain.grad is not None
    first = (2 * 0.1 * 2 + 2 * 0.4 * 4) / 2  # each of the two pixels carries half of it
    torch.testing.assert_close(said.grad, torch.full((1, 1, 2), first / 2))


def test_the_inverse_head_learns_from_truth_and_teaches_the_prediction() -> None:
    model = Model()
    said = torch.full((1, 1, 2), 0.3, requires_grad=True)
    taken = torch.tensor([[[0.5, -0.5]]])
    of = case(said, torch.full((1, 1, 2), 0.5), model=model, taken=taken)
    # of the truth 2 * .5 = 1, of the prediction .6
    total = TABLE["inverse"](of).total
    assert total.item() == pytest.approx(0.5**2 + 0.1**2)
    total.backward()
    assert model.slope.grad is not None
    assert model.slope.grad.item() == pytest.approx(2 * 0.5 * 0.5)  # by the truth alone
    assert said.grad is not None and (said.grad > 0).all()
    assert all(parameter.requires_grad for parameter in model.parameters())
    unknown = dataclasses.replace(of, taken=torch.full((1, 1, 2), math.nan))
    assert loss("inverse", unknown) == 0.0
    discrete = dataclasses.replace(of, model=Model(discrete=True), taken=torch.tensor([[[1.0, 0.0]]]))
    assert loss("inverse", discrete) == pytest.approx(math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1.2)), rel=1e-5)
    with pytest.raises(ValueError, match=r"set spec\.inverse"):
        check(Model(inverse=False), TrainConfig(loss={"inverse": 1.0}))


def test_what_pads_a_frame_tells_no_action() -> None:
    said = torch.tensor([[[0.3, 9.0]]], requires_grad=True)
    of = case(said, torch.tensor([[[0.5, 0.0]]]), model=Model(), taken=torch.tensor([[[0.5, -0.5]]]), real=torch.tensor([[1.0, 0.0]]))
    # of the truth 2 * .25 = .5, of the prediction 2 * .15 = .3
    total = TABLE["inverse"](of).total
    assert total.item() == pytest.approx(0.2**2)
    total.backward()
    assert said.grad is not None
    assert said.grad[0, 0, 0] < 0
    assert said.grad[0, 0, 1] == 0


def test_members_learn_from_their_own_draws() -> None:
    drawn = bootstrap(tuple(range(4000)), 3, seed=0, count=4000)
    assert drawn.mean().item() == pytest.approx(1.0, abs=0.05)
    assert drawn.var().item() == pytest.approx(1.0, abs=0.1)
    assert abs(torch.corrcoef(drawn.T)[0, 1].item()) < 0.05
    assert torch.equal(bootstrap((7, 5), 3, 0, 2), drawn[[7, 5]])
    assert not torch.equal(bootstrap((7, 5, 6, 8), 3, 1, 4), drawn[[7, 5, 6, 8]])

    members = torch.tensor([[[[0.5, 0.0]], [[1.0, 1.0]]]], requires_grad=True)  # one window, two members
    ids = next((i,) for i in range(2000) if bootstrap((i,), 2, 0, 1).tolist() == [[2.0, 0.0]])
    of = case(members.mean(1), torch.zeros(1, 1, 2), members=members, ids=ids, options={"boost": 0.0})
    total = TABLE["ensemble"](of).total
    assert total.item() == pytest.approx((2 * 0.125 + 0 * 1.0) / 2)
    total.backward()
    assert members.grad is not None
    assert members.grad[0, 0].abs().sum() > 0
    assert members.grad[0, 1].abs().sum() == 0
    with pytest.raises(ValueError, match=r"set spec\.ensemble"):
        check(Model(), TrainConfig(loss={"ensemble": 1.0}))
    assert bootstrap((7,), 2, seed=1 << 62, count=1).shape == (1, 2)


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of VGG16's first layers, small enough to look through."""
    sizes = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}
    random = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}
    for number, (out, into) in sizes.items():
        state[f"features.{number}.weight"] = torch.randn(out, into, 3, 3, generator=random) * (2 / (9 * into)) ** 0.5
        state[f"features.{number}.bias"] = torch.zeros(out)
    path = tmp_path_factory.mktemp("vgg") / "vgg.safetensors"
    safetensors.torch.save_file(state, path)
    return path


def test_the_perceptual_loss_looks_through_vgg(vgg_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    random = torch.Generator().manual_seed(1)
    said = torch.rand(2, 1, 768, generator=random).requires_grad_()
    of = case(said, torch.rand(2, 1, 768, generator=random), model=model, ids=(3, 4), options={"perceptual_weights": str(vgg_file)})
    total = TABLE["perceptual"](of).total
    vgg = load_vgg(str(vgg_file), 0, torch.device("cpu"))
    pictures = [picture.detach().reshape(2, 16, 16, 3) for picture in (said, of.target)]
    levels = [vgg(picture) for picture in pictures]
    assert [level.shape[1] for level in levels[0]] == [64, 128, 256]
    by_hand = sum(float((a - b).abs().mean()) for a, b in zip(*levels, strict=True))
    assert total.item() == pytest.approx(by_hand, rel=1e-5)
    total.backward()
    assert said.grad is not None and said.grad.abs().sum() > 0
    assert list(model.parameters()) == [model.gain, model.slope]  # VGG is none of the model's weights
    assert all(parameter.grad is None for parameter in model.__dict__["perceptual_vgg"].parameters())
    # the truth of these transitions is not computed again
    seen: list[int] = []
    monkeypatch.setattr(type(vgg), "__call__", lambda self, pictures: seen.append(len(pictures)) or self.forward(pictures))
    TABLE["perceptual"](dataclasses.replace(of, prediction=said.detach(), ids=(4, 5)))
    assert seen == [1, 2]
    with pytest.raises(ValueError, match="there is no file") as caught:
        load_vgg(str(vgg_file.with_name("nowhere.pth")), 0, torch.device("cpu"))
    assert "\n" not in str(caught.value)


def test_features_of_the_truth_are_the_same_bits_whatever_else_is_asked_for(vgg_file: Path) -> None:
    """A resumed run begins with nothing in memory, and must go on bit for bit."""
    pictures = torch.rand(8, 48, 48, 3, generator=torch.Generator().manual_seed(2))
    began, resumed = (load_vgg(str(vgg_file), 1 << 30, torch.device("cpu")) for _ in range(2))
    began.of_truth("top", pictures[:7], tuple(range(7)))
    of_began, of_resumed = (vgg.of_truth("top", pictures, (0, 1, 2, 3, 4, 5, 6, 7)) for vgg in (began, resumed))
    assert all(torch.equal(a, b) for a, b in zip(of_began, of_resumed, strict=True))


def test_parts_add_up_with_their_weights() -> None:
    of = case([0.5, 0.0], [0.0, 0.0], options={"focal_beta": 5.0})
    total, parts, samples = combined(of, {"mse": 2.0, "focal": 0.5, "hybrid": 0.0})
    assert set(parts) == {"mse", "focal"}
    assert total.item() == pytest.approx(2 * loss("mse", of) + 0.5 * loss("focal", of))
    assert samples.tolist() == pytest.approx([total.item()])


@pytest.mark.parametrize("name", ["mse", "changed", "focal", "hybrid", "capped-focal", "normalised"])
def test_gradient_points_to_the_target(name: str) -> None:
    said = torch.tensor([[[0.5, 0.5]]], requires_grad=True)
    TABLE[name](case(said, torch.tensor([[[1.0, 0.0]]]), options={"boost": 3.0})).total.backward()
    assert said.grad is not None
    assert said.grad[0, 0, 0] < 0 < said.grad[0, 0, 1]
    if name == "changed":  # d/dp of (4 (p0-1)^2 + p1^2) / 5
        torch.testing.assert_close(said.grad[0], torch.tensor([[-0.8, 0.2]]))
