"""Imagining: what would the next frame be, for each action one could take now?

predictor = FramePredictor(spec, weights)          # weights: bytes from Learner.weights_bytes
images = predictor.predict({"front": history}, past_actions, space.candidates())
"""

from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from worldmodel.devices import autocast, keep_freed_memory, pick_device, pick_precision, use_threads
from worldmodel.loading import misfits
from worldmodel.models import make_model
from worldmodel.spec import ModelSpec

UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]
FloatArray = np.ndarray[Any, np.dtype[np.float32]]


class FramePredictor:
    """A model that only predicts. Weights can be swapped while it lives."""

    def __init__(
        self, spec: ModelSpec, weights: bytes | dict[str, Tensor], device: str = "auto", threads: int = 0, precision: str = "auto"
    ) -> None:
        use_threads(threads)
        keep_freed_memory()
        self.spec = spec
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        self.model = make_model(spec).to(self.device).eval().requires_grad_(False)
        self.swap(weights)

    def swap(self, weights: bytes | dict[str, Tensor]) -> None:
        """Take new weights; on an error the old ones stay. Raises ValueError when they do not fit the spec."""
        tensors = _read(weights) if isinstance(weights, bytes) else weights
        own = dict(self.model.named_parameters())
        wrong = misfits(own, tensors)
        if wrong:
            raise ValueError(
                f"the weights do not fit the model spec {self.spec.hash[:12]}: {len(wrong)} tensors are missing, "
                f"unknown or of another shape, first {wrong[:3]}; start the predictor with the trainer's spec"
            )
        self.model.load_state_dict({name: tensors[name] for name in own}, strict=True)

    def predict(self, history: dict[str, UInt8Array], past_actions: FloatArray, candidates: FloatArray) -> dict[str, UInt8Array]:
        """One state, A imagined actions.

        history: {camera: uint8 [n, H, W, 3]}, the newest last; n above the context uses the newest, n below
        repeats the oldest. past_actions: float32 [n - 1, D] between them. candidates: float32 [A, D].
        Returns {camera: uint8 [A, H, W, 3]}. Raises ValueError when shapes do not fit.
        """
        length = {len(frames) for frames in history.values()}
        if len(length) != 1 or 0 in length:
            raise ValueError(f"cameras gave {length or 'no'} frames: give every camera the same number, at least 1")
        names = len(self.spec.actions.names)
        past = np.asarray(past_actions, np.float32).reshape(-1, names)
        frames = {name: pad_history(array, self.spec.context) for name, array in history.items()}
        past = pad_actions(past, length.pop(), self.spec.context)
        images = self.predict_batch({n: a[None] for n, a in frames.items()}, past[None], np.asarray(candidates)[None])
        return {name: image[0] for name, image in images.items()}

    def predict_batch(self, frames: dict[str, UInt8Array], past_actions: FloatArray, candidates: FloatArray) -> dict[str, UInt8Array]:
        """B states: frames {camera: uint8 [B, context, H, W, 3]}, past_actions [B, context - 1, D], candidates [B or 1, A, D].

        Returns {camera: uint8 [B, A, H, W, 3]}; every history is encoded once.
        """
        with torch.inference_mode(), autocast(self.device, self.precision):
            answer = self.model.decode(*self._encoded(frames, past_actions, candidates))
            pictures = answer.mul_(255.0).round_().clamp_(0.0, 255.0).to(torch.uint8)
            return self._paste(pictures)

    def predict_spread(
        self, frames: dict[str, UInt8Array], past_actions: FloatArray, candidates: FloatArray
    ) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
        """As `predict_batch`, what the members of the ensemble say: their mean in [0, 1] and their standard deviation, larger the
        less a state is like those that were learned from (`familiar.py`).

        Both {camera: float32 [B, A, H, W, 3]}. A model of one member has a deviation of 0.
        """
        with torch.inference_mode(), autocast(self.device, self.precision):
            memory, last, options = self._encoded(frames, past_actions, candidates)
            members = self.model.decode_members(memory, last, options).clamp_(0.0, 1.0)
            spread = members.std(dim=2, correction=0)
            if self.model.familiar is not None:
                spread *= self.model.familiar.doubt(last)[:, None, None, None]
            return self._paste(members.mean(dim=2)), self._paste(spread)

    def _encoded(self, frames: dict[str, UInt8Array], past_actions: FloatArray, candidates: FloatArray) -> tuple[Tensor, Tensor, Tensor]:
        """Memory [B, M, width], last patches [B, N, P] and encoded candidates [B, A, E]: what `Model.decode` takes."""
        encode = self.spec.actions.encode
        past = torch.from_numpy(encode(past_actions)).to(self.device)
        options = torch.from_numpy(encode(candidates)).to(self.device)
        arrays = {n: torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for n, a in frames.items()}
        seen = self.model.patches.cut(arrays).float().mul_(1.0 / 255.0)
        if seen.shape[1] != self.spec.context:
            raise ValueError(f"histories hold {seen.shape[1]} frames: the model needs {self.spec.context}")
        return self.model.encode(seen, past), seen[:, -1], options.expand(len(seen), -1, -1)

    def _paste(self, patches: Tensor) -> dict[str, np.ndarray[Any, Any]]:
        return {n: p.contiguous().cpu().numpy() for n, p in self.model.patches.paste(patches).items()}


def _read(weights: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(weights)
    except safetensors.SafetensorError as error:
        raise ValueError(f"these bytes are no safetensors file: {error}") from error


def pad_history(frames: UInt8Array, context: int) -> UInt8Array:
    """The newest `context` of frames [n, ...]; the oldest is repeated in front when there are fewer."""
    frames = frames[-context:]
    if len(frames) == context:
        return frames
    return np.concatenate((np.repeat(frames[:1], context - len(frames), axis=0), frames))


def pad_actions(past: FloatArray, frames: int, context: int) -> FloatArray:
    """The actions between those frames, [context - 1, D]; NaN rows stand before the first frame."""
    if len(past) != frames - 1:
        raise ValueError(f"{frames} frames need {frames - 1} actions between them; got {len(past)}")
    past = past[len(past) - min(len(past), context - 1) :]
    missing = np.full((context - 1 - len(past), past.shape[1]), np.nan, np.float32)
    return np.concatenate((missing, past)).astype(np.float32)
