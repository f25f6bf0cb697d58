"""Does it look alike to VGG16? L1 distance of the features after relu1_2, relu2_2 and relu3_3.

The weights (torchvision's IMAGENET1K_V1) come from a local file or from torchvision's own cache; nothing is downloaded.
The clamp to [0, 1] that the pictures need kills the gradient of pixels beyond it, as it did in the original.
"""

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldmodel.losses.case import Case, Loss, weighted
from worldmodel.trainconfig import TrainConfig

CACHED = "vgg16-397923af.pth"
TAPS = (4, 9, 16)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Vgg(nn.Module):
    """The first sixteen modules of VGG16, frozen, and the features of true pictures that were asked for before."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, state: dict[str, Tensor], cache_bytes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*_layers())
        own = {name.removeprefix("features."): tensor for name, tensor in state.items() if name.startswith("features.")}
        try:
            self.features.load_state_dict({name: own[name] for name in self.features.state_dict()})
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"these are not VGG16's weights: {str(error).splitlines()[0]}") from None
        self.requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None])
        self._room = cache_bytes
        self._known: OrderedDict[tuple[str, int], list[Tensor]] = OrderedDict()
        self._held = 0

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Pictures [B, H, W, 3] in [0, 1] -> features after each tap."""
        x = (pictures.movedim(-1, -3) - self.mean) / self.deviation
        found = []
        for number, module in enumerate(self.features, 1):
            x = module(x)
            if number in TAPS:
                found.append(x)
        return found

    @torch.no_grad()
    def of_truth(self, camera: str, pictures: Tensor, ids: tuple[int, ...] | None) -> list[Tensor]:
        """The same for true pictures, from memory where these transitions were asked for before."""
        if ids is None:
            every: list[Tensor] = self(pictures)
            return every
        fresh: dict[int, list[Tensor]] = {}
        for place, number in enumerate(ids):
            if (camera, number) not in self._known and number not in fresh:  # each alone: company changes its last bits
                fresh[number] = self(pictures[place : place + 1])
        rows = [fresh.get(number) or self._known[camera, number] for number in ids]
        for number, levels in fresh.items():
            self._keep((camera, number), levels)
        return [torch.cat(levels) for levels in zip(*rows, strict=True)]

    def _keep(self, key: tuple[str, int], levels: list[Tensor]) -> None:
        self._known[key] = levels
        self._held += _bytes(levels)
        while self._held > self._room and self._known:
            self._held -= _bytes(self._known.popitem(last=False)[1])


def _layers() -> Iterator[nn.Module]:
    """VGG16 up to relu3_3, numbered as torchvision does (Simonyan and Zisserman 2015, column D)."""
    for block, (into, out, convolutions) in enumerate(((3, 64, 2), (64, 128, 2), (128, 256, 3))):
        if block:
            yield nn.MaxPool2d(2)
        for number in range(convolutions):
            yield nn.Conv2d(out if number else into, out, 3, padding=1)
            yield nn.ReLU()


def _bytes(levels: list[Tensor]) -> int:
    return sum(level.numel() * level.element_size() for level in levels)


def perceptual(case: Case) -> Loss:
    """The sum of the three mean distances, over all cameras."""
    vgg = vgg_of(case.model, case.config)
    ours, truth = case.model.patches.paste(case.prediction), case.model.patches.paste(case.target)
    samples: Any = 0.0
    with case.compute():
        for camera, pictures in ours.items():
            wanted = vgg.of_truth(camera, truth[camera], case.ids if case.steady else None)
            for said, true in zip(vgg(pictures.clamp(0.0, 1.0)), wanted, strict=True):
                samples = samples + (said.float() - true.float()).abs().flatten(1).mean(1)
    samples = samples / len(ours)
    return Loss(weighted(case, samples), samples.detach())


def vgg_of(model: Any, config: TrainConfig) -> Vgg:
    """The one that this model is trained with, on its device. ValueError in one line when there are no weights."""
    if "perceptual_vgg" not in model.__dict__:  # beside the model, not in it: checkpoints stay without it
        device = next(model.parameters()).device
        model.__dict__["perceptual_vgg"] = load_vgg(config.perceptual_weights, config.perceptual_cache_mb << 20, device)
    found: Vgg = model.__dict__["perceptual_vgg"]
    return found


def load_vgg(path: str, cache_bytes: int, device: torch.device) -> Vgg:
    """From `path` (.pth or .safetensors), or torchvision's cache where it is "". ValueError in one line when there is none."""
    place = Path(path) if path else Path(torch.hub.get_dir()) / "checkpoints" / CACHED
    if not place.is_file():
        raise ValueError(
            f"the perceptual loss needs VGG16's weights, and there is no file {place}: put torchvision's {CACHED} there, "
            "or name a file with perceptual_weights"
        )
    return Vgg(_read(str(place.resolve())), cache_bytes).to(device)


def _read(path: str) -> dict[str, Tensor]:
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    place = Path(path)
    # The file is there already, so nothing is fetched; weights_only reads tensors and nothing else.
    found: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
        place.as_uri(), str(place.parent), "cpu", False, False, place.name, weights_only=True
    )
    return found
