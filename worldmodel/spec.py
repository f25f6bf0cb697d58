"""What a world model sees and what it is made of: cameras, actions, sizes.

    spec = model_spec((Camera("front", 64, 64),), ActionSpace(("action",), ((0.0,), (1.0,))))
    assert ModelSpec.from_json(spec.to_json()).hash == spec.hash

No torch here: a robot driver or a viewer reads a spec without paying for the import.
"""

import hashlib
import math
from typing import Any, Literal, Self

import msgspec
import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float32]]

PRESETS: dict[str, dict[str, int]] = {
    "small": {"width": 192, "encoder_depth": 2, "decoder_depth": 2, "heads": 4},
    "large": {"width": 256, "encoder_depth": 5, "decoder_depth": 5, "heads": 8},
}


class SpecError(ValueError):
    """A spec that cannot describe a model, or two specs that should agree and do not."""


class Camera(msgspec.Struct, frozen=True):
    """One picture source: `height` x `width` pixels, three colours, uint8."""

    name: str
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise SpecError(f"camera {self.name!r} is {self.height}x{self.width} pixels: give sizes of at least 1")


class ActionSpace(msgspec.Struct, frozen=True):
    """The names of the numbers in an action, and the values they may take.

    `choices` lists the allowed vectors of a discrete space. Without choices the space is
    continuous, and `low` and `high` bound every number.
    """

    names: tuple[str, ...]
    choices: tuple[tuple[float, ...], ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        size = len(self.names)
        if size == 0:
            raise SpecError("an action space has no names: name every number of an action")
        if self.choices:
            if any(len(choice) != size for choice in self.choices):
                raise SpecError(f"every choice needs {size} numbers, one for each of {self.names}; got {self.choices}")
        elif len(self.low) != size or len(self.high) != size:
            raise SpecError(f"a continuous space needs low and high for each of {self.names}, or a list of choices")
        elif any(not low < high for low, high in zip(self.low, self.high, strict=True)):
            raise SpecError(f"low must be below high; got low {self.low}, high {self.high}")

    @property
    def discrete(self) -> bool:
        """Whether only the listed choices exist."""
        return bool(self.choices)

    @property
    def encoded_size(self) -> int:
        """Length of an encoded action: the number of choices, or the number of names."""
        return len(self.choices) if self.choices else len(self.names)

    def encode(self, actions: np.ndarray[Any, Any]) -> FloatArray:
        """Numbers for a network: float [..., D] -> float32 [..., encoded_size].

        Discrete: one-hot of the nearest choice. Continuous: scaled so that low is -1 and high is 1,
        and not clipped. A row with a NaN means "no action known" and is all NaN in the result.
        Raises SpecError when the last axis is not D long.
        """
        actions = np.asarray(actions, dtype=np.float32)
        if actions.ndim == 0 or actions.shape[-1] != len(self.names):
            raise SpecError(f"actions of shape {actions.shape} do not end in {len(self.names)} numbers {self.names}")
        unknown = np.isnan(actions).any(axis=-1)
        if self.choices:
            choices = np.asarray(self.choices, dtype=np.float32)
            distance = np.square(actions[..., None, :] - choices).sum(axis=-1)
            nearest = np.where(np.isnan(distance), np.inf, distance).argmin(axis=-1)
            encoded = np.eye(len(choices), dtype=np.float32)[nearest]
        else:
            low, high = np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)
            encoded = (2.0 * (actions - low) / (high - low) - 1.0).astype(np.float32)
        encoded[unknown] = np.nan
        return np.asarray(encoded, np.float32)

    def candidates(self, n: int = 6, seed: int = 0) -> FloatArray:
        """Actions worth imagining, float32 [A, D].

        Discrete: all choices (n is ignored). Continuous: the centre, then n - 1 points of the additive
        recurrence R_d (M. Roberts 2018), which fills the box evenly; the seed shifts them.
        """
        if self.choices:
            return np.asarray(self.choices, dtype=np.float32)
        if n < 1:
            raise SpecError(f"n is {n}: ask for at least one candidate")
        size = len(self.names)
        # The positive root of x^(D+1) = x + 1 generalises the golden ratio to D dimensions.
        root = 2.0
        for _ in range(64):
            root = (1.0 + root) ** (1.0 / (size + 1))
        steps = root ** -np.arange(1.0, size + 1)
        shift = np.random.default_rng(seed).random(size) if seed else np.full(size, 0.5)
        unit = (shift + np.arange(n)[:, None] * steps) % 1.0
        unit[0] = 0.5
        low, high = np.asarray(self.low), np.asarray(self.high)
        return np.asarray(low + unit * (high - low), np.float32)


class ModelSpec(msgspec.Struct, frozen=True):
    """Everything that fixes the shapes and the meaning of a model's weights.

    `context` counts the frames seen; `patch` is the side of a square patch in pixels; frames are
    padded to a multiple of it inside the network. `target`: "delta" adds the last frame to what the
    network says, so that an untrained model copies; "full" predicts the picture itself.
    """

    cameras: tuple[Camera, ...]
    actions: ActionSpace
    context: int = 2
    patch: int = 8
    width: int = 192
    encoder_depth: int = 2
    decoder_depth: int = 2
    heads: int = 4
    mlp_ratio: int = 4
    target: Literal["delta", "full"] = "delta"

    def __post_init__(self) -> None:
        names = [camera.name for camera in self.cameras]
        if not names or len(set(names)) != len(names):
            raise SpecError(f"cameras are named {names}: give at least one, each with its own name")
        if min(self.context, self.patch, self.heads, self.decoder_depth, self.mlp_ratio) < 1 or self.encoder_depth < 0:
            raise SpecError("context, patch, heads, mlp_ratio and decoder_depth must be at least 1, encoder_depth at least 0")
        if self.width % (4 * self.heads):
            raise SpecError(f"width {self.width} is no multiple of 4 x heads ({4 * self.heads}): rotary positions need that")

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return msgspec.json.encode(self, order="sorted").decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read `to_json`'s text. Raises SpecError when it does not fit."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:  # ValidationError is one of them
            raise SpecError(f"this text is not a model spec: {error}") from error

    @property
    def hash(self) -> str:
        """sha256 (hex) of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def differing_fields(self, other: "ModelSpec") -> dict[str, tuple[Any, Any]]:
        """Name of each field that differs -> (mine, theirs)."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in self.__struct_fields__}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def model_spec(cameras: tuple[Camera, ...], actions: ActionSpace, preset: str = "small", **overrides: Any) -> ModelSpec:
    """A spec for these cameras and actions. Keywords override fields; raises SpecError for unknown ones."""
    if preset not in PRESETS:
        raise SpecError(f"there is no preset {preset!r}: choose one of {sorted(PRESETS)}")
    unknown = sorted(set(overrides) - set(ModelSpec.__struct_fields__))
    if unknown:
        raise SpecError(f"a model spec has no field {unknown}: its fields are {sorted(ModelSpec.__struct_fields__)}")
    fields: dict[str, Any] = {"patch": choose_patch(cameras), **PRESETS[preset], **overrides}
    return ModelSpec(cameras=tuple(cameras), actions=actions, **fields)


def choose_patch(cameras: tuple[Camera, ...], tokens: int = 80) -> int:
    """Side of a patch in pixels: the one that pads least among those that give about `tokens` patches.

    Few large patches train several times faster on a CPU than many small ones, and learn as much in
    the same time. Never below 8 pixels, so that a patch sees a piece of an object.
    """
    pixels = sum(camera.height * camera.width for camera in cameras)
    smallest = max(8, math.ceil(math.sqrt(pixels / tokens)))

    def padded(patch: int) -> int:
        return sum(math.ceil(c.height / patch) * math.ceil(c.width / patch) * patch * patch for c in cameras)

    return min(range(smallest, smallest * 5 // 4 + 2), key=lambda patch: (padded(patch), patch))
