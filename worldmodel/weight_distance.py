"""How far the weights of two checkpoints lie apart, layer by layer."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import safe_open

from worldmodel.kept import TENSORS, shapes

Array = np.ndarray[Any, Any]


class Apart(msgspec.Struct, frozen=True):
    """A layer: |second - first|, the same over |first|, and the cosine of the angle between them.

    Of one that only one of the two has, or has in another shape, there is nothing but its parameters.
    """

    name: str
    parameters: int
    distance: float | None = None
    relative: float | None = None
    cosine: float | None = None


def apart(first: Path, second: Path) -> list[Apart]:
    """The weights that are scored (averaged where there is an average) of two checkpoints, in the order of the first."""
    mine, theirs = _layers(first), _layers(second)
    found = []
    for name in {**mine, **theirs}:
        one, other = mine.get(name, {}), theirs.get(name, {})
        if {key: array.shape for key, array in one.items()} != {key: array.shape for key, array in other.items()}:
            found.append(Apart(name, sum(array.size for array in (one or other).values())))
            continue
        a = np.concatenate([one[key].ravel() for key in sorted(one)]).astype(np.float64)
        b = np.concatenate([other[key].ravel() for key in sorted(one)]).astype(np.float64)
        distance, norm = float(np.linalg.norm(b - a)), float(np.linalg.norm(a))
        both = norm * float(np.linalg.norm(b))
        cosine = float(a @ b) / both if both else float(distance == 0.0)
        found.append(Apart(name, a.size, distance, distance / norm if norm else float(distance > 0.0), cosine))
    return found


def layer_of(name: str) -> str:
    """`encoder.0.qkv.weight` -> `encoder.0`; `head.bias` -> `head`."""
    parts = name.split(".")
    return ".".join(parts[: 2 if len(parts) > 1 and parts[1].isdigit() else 1])


def _layers(path: Path) -> dict[str, dict[str, Array]]:
    names = list(shapes(path))
    prefix = "ema." if any(name.startswith("ema.") for name in names) else "model."
    layers: dict[str, dict[str, Array]] = {}
    with safe_open(path / TENSORS, framework="numpy") as file:
        for name in names:
            if name.startswith(prefix):
                own = name.removeprefix(prefix)
                layers.setdefault(layer_of(own), {})[own] = file.get_tensor(name)
    return layers
