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

from worldmodel.palette import PALETTE
from worldmodel.presets import PRESETS
from worldmodel.words import hint, typed

FloatArray = np.ndarray[Any, np.dtype[np.float32]]


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
    """Everything that fixes the shapes and the meaning of a model's weights; docs/models.md explains every field.

    `context` counts the frames seen; `patch` is the side of a square patch in pixels; frames are
    padded to a multiple of it inside the network. `target`: "delta" adds the last frame to what the
    network says, "flow" moves it first, and an untrained model copies; "full" predicts the picture itself.
    `decoder_width` and `decoder_heads`: 0 is as the encoder. `separator`: width in pixels of the bars of the originals.
    `ensemble`: heads that answer each for itself. `inverse`: whether there is a head that tells the action from two frames.
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
    target: Literal["delta", "full", "flow"] = "delta"
    # What came later is left out of the JSON while it has its default: a spec keeps the hash it always had.
    family: Literal["toddle", "encoder-decoder", "decoder-only"] = "toddle"
    positions: Literal["relative", "absolute", "original"] = "relative"
    action_input: Literal["tokens", "adaln", "separator"] = "tokens"
    decoder: Literal["queries", "full"] = "queries"
    decoder_width: int = 0
    decoder_heads: int = 0
    separator: int = 0
    ensemble: int = 1
    inverse: bool = False

    def __post_init__(self) -> None:
        check(self)

    @property
    def decoder_size(self) -> tuple[int, int]:
        """(width, heads) of the decoder."""
        return self.decoder_width or self.width, self.decoder_heads or self.heads

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        defaults = dict(zip(self.__struct_fields__[-len(self.__struct_defaults__) :], self.__struct_defaults__, strict=True))
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        told = {name: value for name, value in fields.items() if name not in LATER or value != defaults[name]}
        return msgspec.json.encode(told, order="sorted").decode()

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


LATER = frozenset(ModelSpec.__struct_fields__[ModelSpec.__struct_fields__.index("family") :])


def check(spec: ModelSpec) -> None:
    """SpecError, in one line, when no model can be made of this."""
    names = [camera.name for camera in spec.cameras]
    if not names or len(set(names)) != len(names):
        raise SpecError(f"cameras are named {names}: give at least one, each with its own name")
    if min(spec.context, spec.patch, spec.heads, spec.decoder_depth, spec.mlp_ratio, spec.ensemble) < 1:
        raise SpecError("context, patch, heads, mlp_ratio, decoder_depth and ensemble must be at least 1")
    if min(spec.encoder_depth, spec.decoder_width, spec.decoder_heads, spec.separator) < 0:
        raise SpecError("encoder_depth, decoder_width, decoder_heads and separator must be at least 0")
    for name, (width, heads) in {"": (spec.width, spec.heads), "decoder_": spec.decoder_size}.items():
        if width % (4 * heads):
            raise SpecError(f"{name}width {width} is no multiple of 4 x {name}heads ({4 * heads}): positions in two dimensions need that")
    if spec.action_input == "separator" and len(spec.actions.choices) > len(PALETTE):
        raise SpecError(
            f"separator bars have {len(PALETTE)} colours, the robot has {len(spec.actions.choices)} actions: take action_input tokens"
        )
    if spec.family != "toddle":
        _check_original(spec)
    elif spec.separator:
        raise SpecError(f"separator is {spec.separator}, but bars of the family toddle are one patch wide: leave it 0")


def _check_original(spec: ModelSpec) -> None:
    only = {"action_input": "separator", "target": "full", "decoder": "full", "ensemble": 1}
    if spec.family == "decoder-only":
        only |= {"encoder_depth": 0, "decoder_width": 0, "decoder_heads": 0}
    wrong = {name: value for name, value in only.items() if getattr(spec, name) != value}
    if wrong:
        asked = ", ".join(f"{name} {getattr(spec, name)!r}" for name in wrong)
        has = ", ".join(f"{name} {value!r}" for name, value in wrong.items())
        raise SpecError(f"the family {spec.family} has {has}; got {asked}: change that, or take the family toddle")
    if spec.positions == "relative":
        raise SpecError(f"the family {spec.family} has no relative positions: take original or absolute")
    if spec.separator < 1:
        raise SpecError(f"the family {spec.family} tells actions by bars: give separator a width in pixels")
    sizes = [(camera.height, camera.width) for camera in spec.cameras]
    if len({width for _, width in sizes}) != 1:
        raise SpecError(f"the family {spec.family} stacks cameras of one width; got (height, width) {sizes}")
    if any(side % spec.patch for size in sizes for side in size):
        raise SpecError(f"the family {spec.family} needs frames whose sides are multiples of the patch {spec.patch}; got {sizes}")
    if spec.context * spec.separator % spec.patch:
        raise SpecError(
            f"{spec.context} separators of {spec.separator} px are no multiple of the patch {spec.patch}: choose another separator"
        )


def model_spec(cameras: tuple[Camera, ...], actions: ActionSpace, preset: str = "small", /, **overrides: Any) -> ModelSpec:
    """A spec for these cameras and actions. Keywords override fields; raises SpecError for unknown ones."""
    if preset not in PRESETS:
        raise SpecError(f"there is no preset {preset!r}: {hint(preset, PRESETS)}")
    fields = {"cameras": tuple(cameras), "actions": actions, **PRESETS[preset]["spec"]}
    if "patch" not in fields | overrides:
        fields["patch"] = choose_patch(cameras)
    return changed(fields, overrides)


def check_settings(preset: str, overrides: dict[str, Any]) -> None:
    """SpecError for what suits no robot; whether it suits this one is known when its cameras and actions are."""
    patch = overrides.get("patch", PRESETS.get(preset, {}).get("spec", {}).get("patch", 8))
    side = max(int(patch), 1) if str(patch).isdecimal() else 8  # frames that every family can cut into patches
    model_spec((Camera("any", side, side),), ActionSpace(("any",), ((0.0,), (1.0,))), preset, **overrides)


def changed(fields: dict[str, Any], overrides: dict[str, Any]) -> ModelSpec:
    """The spec of these fields with others over them, as a person gives them. SpecError for what does not exist or fit."""
    own = [name for name in ModelSpec.__struct_fields__ if name not in ("cameras", "actions")]
    for name in overrides:
        if name not in own:
            raise SpecError(f"a model spec has no field {name!r} to set: {hint(name, own)}")
    try:
        return typed(msgspec.to_builtins(fields) | overrides, ModelSpec, "spec")
    except SpecError:
        raise
    except ValueError as error:
        raise SpecError(str(error)) from None


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
