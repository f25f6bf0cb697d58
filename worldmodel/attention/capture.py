"""Attention of the pass that makes the prediction, exactly as the blocks compute it.

While it is captured, a torch function mode sees every softmax, and every fused attention, inside the blocks of the stage, and
keeps the weights. The pass is the model's own: nothing is computed twice in another way, and when nobody captures nothing
is watched. It runs in fp32, so that rows sum to 1 in more than two digits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from worldmodel.attention.tokens import Layout, Stage, Token, tokens_of
from worldmodel.canvas import canvas
from worldmodel.models import Model
from worldmodel.predictor import FramePredictor, pad_actions, pad_history
from worldmodel.spec import ModelSpec

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]
Images = dict[str, UInt8Array]


@dataclass(frozen=True)
class Attention:
    """What the queries of one stage read.

    weights: float32 [layers, heads, queries, keys], each row sums to 1. `layers` and `heads`: their numbers, from 0.
    canvas: uint8 [H, W, 3], what was seen and in the last slot what is predicted. last, prediction: {camera: uint8 [H, W, 3]}.
    """

    spec: ModelSpec
    stage: Stage
    weights: FloatArray
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    queries: list[Token]
    keys: list[Token]
    canvas: UInt8Array
    last: Images
    prediction: Images


def capture(
    model: Model | FramePredictor,
    frames: Images,
    past_actions: FloatArray,
    action: FloatArray,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    stage: Stage = "decoder",
) -> Attention:
    """Predict one frame and keep what its patches (or, of the encoder, what is seen) read.

    frames: {camera: uint8 [n, H, W, 3]}, the newest last, as in `FramePredictor.predict`; past_actions: float32 [n - 1, D]
    between them; action: float32 [D], the one to imagine. layers, heads: which; all by default. Raises ValueError for a
    layer, head or stage that the model has not, and for shapes that do not fit.
    """
    network = model.model if isinstance(model, FramePredictor) else model
    spec, device = network.spec, next(network.parameters()).device
    queries, keys, rows = tokens_of(network, stage)
    blocks: list[nn.Module] = list(getattr(network, stage))
    wanted_layers = _chosen("layer", layers, len(blocks))
    wanted_heads = _chosen("head", heads, spec.heads if stage == "encoder" or spec.family == "decoder-only" else spec.decoder_size[1])
    seen, past = _history(spec, frames, past_actions)
    recorder = _Recorder(blocks, wanted_layers, wanted_heads, rows)
    training = network.training
    try:
        network.eval()
        with torch.inference_mode(), torch.autocast(device.type, enabled=False), recorder.watching():
            arrays = {name: torch.from_numpy(array[None]).to(device) for name, array in seen.items()}
            patches = network.patches.cut(arrays).float().mul_(1.0 / 255.0)
            told = [torch.from_numpy(spec.actions.encode(one)).to(device) for one in (past[None], np.asarray(action)[None, None])]
            answer = network.decode(network.encode(patches, told[0]), patches[:, -1], told[1])[0, 0]
            pictures = network.patches.paste(answer.mul_(255.0).round_().clamp_(0.0, 255.0).to(torch.uint8))
    finally:
        network.train(training)
    prediction = {name: picture.cpu().numpy() for name, picture in pictures.items()}
    drawn = draw_canvas(spec, seen, np.concatenate((past, np.asarray(action, np.float32)[None])), prediction)
    last = {name: array[-1] for name, array in seen.items()}
    return Attention(spec, stage, recorder.weights(), wanted_layers, wanted_heads, queries, keys, drawn, last, prediction)


class _Recorder(TorchFunctionMode):
    """Keeps the attention of some blocks. What the model computes passes through as it is."""

    def __init__(self, blocks: list[nn.Module], layers: tuple[int, ...], heads: tuple[int, ...], rows: slice) -> None:
        super().__init__()
        self._blocks = {layer: blocks[layer] for layer in layers}
        self._heads, self._rows = list(heads), rows
        self._inside: int | None = None
        self._found: dict[int, list[Tensor]] = {layer: [] for layer in layers}

    @contextmanager
    def watching(self) -> Iterator[None]:
        def enter(layer: int) -> Callable[..., None]:
            return lambda *_: setattr(self, "_inside", layer)

        with ExitStack() as stack:
            for layer, block in self._blocks.items():
                stack.callback(block.register_forward_pre_hook(enter(layer)).remove)
                stack.callback(block.register_forward_hook(lambda *_: setattr(self, "_inside", None)).remove)
            stack.enter_context(self)
            yield

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        answer = func(*args, **kwargs)
        if self._inside is not None:
            name = getattr(func, "__name__", "")
            if name == "softmax":
                self._keep(answer)
            elif name == "scaled_dot_product_attention":
                self._keep(_fused(*args, **kwargs))
        return answer

    def _keep(self, weights: Tensor) -> None:
        assert self._inside is not None
        # [1, heads, N, keys]: what the batch is of one
        self._found[self._inside].append(weights[0, self._heads][:, self._rows].float().cpu())

    def weights(self) -> FloatArray:
        """[layers, heads, queries, keys]."""
        for layer, found in self._found.items():
            if len(found) != 1:
                raise ValueError(f"block {layer} attended {len(found)} times in one pass: its attention is not known")
        return np.stack([found[0].numpy() for found in self._found.values()])


def _fused(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, *_: Any, scale: float | None = None, **__: Any) -> Tensor:
    """The weights of a fused attention, which never shows them."""
    scores = q @ k.transpose(-2, -1) * (scale if scale is not None else q.shape[-1] ** -0.5)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(dim=-1)


def _chosen(what: str, numbers: Sequence[int] | None, count: int) -> tuple[int, ...]:
    chosen = tuple(range(count)) if numbers is None else tuple(dict.fromkeys(numbers))
    wrong = [number for number in chosen if not 0 <= number < count]
    if wrong or not chosen:
        raise ValueError(f"there is no {what} {wrong[0] if wrong else 'at all'}: this model has {what}s 0 to {count - 1}")
    return chosen


def _history(spec: ModelSpec, frames: Images, past_actions: FloatArray) -> tuple[Images, FloatArray]:
    """As long as the model's context."""
    lengths = {len(array) for array in frames.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"cameras gave {lengths or 'no'} frames: give every camera the same number, at least 1")
    past = np.asarray(past_actions, np.float32).reshape(-1, len(spec.actions.names))
    seen = {name: np.ascontiguousarray(pad_history(array, spec.context)) for name, array in frames.items()}
    return seen, pad_actions(past, lengths.pop(), spec.context)


def draw_canvas(spec: ModelSpec, seen: Images, actions: FloatArray, following: Images) -> UInt8Array:
    """Frames seen {camera: [context, H, W, 3]}, the actions after each [context, D] and the next frame, as one picture."""
    layout = Layout(spec)
    stacked = np.zeros((spec.context + 1, layout.height, layout.slot, 3), np.uint8)
    for camera, top in zip(spec.cameras, layout.tops, strict=True):
        place = stacked[:, top : top + camera.height, : camera.width]
        place[:-1], place[-1] = seen[camera.name], following[camera.name]
    return canvas(stacked, actions, spec.actions, layout.separator)
