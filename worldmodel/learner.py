"""Learning live: one training step at a time, from whatever has been seen so far.

    learner = Learner(spec, TrainConfig())
    report = learner.step(buffer.sample(learner.config.batch_size, learner.rng))
    weights = learner.weights_bytes()          # safetensors: what a predictor loads

Nothing here knows when training ends: the learning rate is warmed up and then falls with the inverse
square root of the samples, and the averaged (EMA) weights are the ones that are scored and sent.
"""

import math
from typing import Any, Literal

import msgspec
import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from worldmodel.batch import Batch
from worldmodel.devices import autocast, pick_device, pick_precision, use_threads
from worldmodel.losses import boost_at, pixel_loss
from worldmodel.models import make_model
from worldmodel.spec import ModelSpec

__all__ = ["Batch", "Learner", "TrainConfig"]


class TrainConfig(msgspec.Struct, frozen=True):
    """How to train. Counts are in samples, not in steps or seconds, so a slower machine learns the same."""

    batch_size: int = 16
    lr: float = 1e-3
    warmup_samples: int = 500
    decay_from_samples: int = 8000  # from here the rate falls with the inverse square root
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.95)
    grad_clip: float = 1.0
    ema_decay: float = 0.99  # per step, reached gradually
    boost: float = 5.0  # extra weight of changed pixels at the start, see losses.py
    anneal_samples: int = 5000
    seed: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: int = 0

    def lr_at(self, samples: int) -> float:
        """Learning rate for the step that starts after so many samples."""
        warm = min(1.0, (samples + self.batch_size) / max(1, self.warmup_samples))
        return self.lr * warm * math.sqrt(self.decay_from_samples / max(self.decay_from_samples, samples))


class Learner:
    """A model, its averaged twin and its optimizer."""

    def __init__(self, spec: ModelSpec, config: TrainConfig, device: str = "auto") -> None:
        use_threads(config.threads)
        self.spec = spec
        self.config = config
        self.device = pick_device(device)
        self.precision = pick_precision(config.precision, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = make_model(spec).to(self.device)
        self.rng = np.random.default_rng(config.seed)  # for the caller's sampling; saved with the state
        self.samples = 0
        self.steps = 0
        self.skipped_nan = 0
        self._parameters = list(self.model.parameters())
        self._weights = [parameter.detach() for parameter in self._parameters]  # the same memory
        self._ema = [weight.clone() for weight in self._weights]
        self._optimizer = self._make_optimizer()

    def _make_optimizer(self) -> torch.optim.Optimizer:
        config = self.config
        # Only matrices decay: pulling biases, norms and embeddings to zero buys nothing.
        groups = [
            {"params": [p for p in self._parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in self._parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)

    def step(self, batch: Batch) -> dict[str, float]:
        """Learn from one batch. Returns the numbers of this step.

        loss, mse, copy_last_mse, grad_norm, lr, boost, skipped_nan (how many updates so far were skipped
        because the loss or the gradient was not finite), samples and steps (after this one).
        Raises ValueError when the batch does not fit the spec.
        """
        seen, target, actions = self._load(batch)
        lr = self.config.lr_at(self.samples)
        boost = boost_at(self.samples, self.config.boost, self.config.anneal_samples)
        last, real = seen[:, -1], self.model.patches.real if self.model.patches.padded else None
        with autocast(self.device, self.precision):
            prediction = self.model(seen, actions)
        loss, mse = pixel_loss(prediction, target, last, boost, real)
        copy_last = pixel_loss(last, target, last, 0.0, real)[1]
        torch.autograd.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.grad_clip, foreach=True)
        report = {"loss": loss.item(), "mse": mse.item(), "copy_last_mse": copy_last.item(), "grad_norm": norm.item()}
        self.samples += len(batch)
        self.steps += 1
        if math.isfinite(report["loss"]) and math.isfinite(report["grad_norm"]):
            self._update(lr)
        else:
            self.skipped_nan += 1
        self._optimizer.zero_grad(set_to_none=True)
        counts = {"skipped_nan": float(self.skipped_nan), "samples": float(self.samples), "steps": float(self.steps)}
        return {**report, "lr": lr, "boost": boost, **counts}

    def _load(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Batch -> history patches [B, context, N, P] and target patches [B, N, P] in [0, 1], encoded actions."""
        context = self.spec.context
        if batch.actions.ndim != 3 or batch.actions.shape[1] != context:
            raise ValueError(f"actions are {batch.actions.shape}: the model needs [B, {context}, {len(self.spec.actions.names)}]")
        frames = {name: torch.from_numpy(array).to(self.device) for name, array in batch.frames.items()}
        patches = self.model.patches.cut(frames).float().mul_(1.0 / 255.0)
        if patches.ndim != 4 or patches.shape[1] != context + 1:
            raise ValueError(f"windows hold {patches.shape[1]} frames: the model needs {context} seen and 1 to predict")
        actions = torch.from_numpy(self.spec.actions.encode(batch.actions)).to(self.device)
        return patches[:, :context], patches[:, context], actions

    def _update(self, lr: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.step()
        # The average starts short, or the first random weights would stay in it for long.
        decay = min(self.config.ema_decay, (1.0 + self.steps) / (10.0 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(self._ema, self._weights, 1.0 - decay)

    def ema_state(self) -> dict[str, Tensor]:
        """Averaged weights by name, fp32, copies."""
        names = [name for name, _ in self.model.named_parameters()]
        return {name: tensor.clone() for name, tensor in zip(names, self._ema, strict=True)}

    def weights_bytes(self) -> bytes:
        """The averaged weights as safetensors, fp32, with the spec's hash inside."""
        tensors = {name: tensor.cpu() for name, tensor in self.ema_state().items()}
        return safetensors.torch.save(tensors, metadata={"spec_hash": self.spec.hash})

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that an exact resume needs: tensors by name, and values that JSON can hold."""
        tensors = {f"model.{name}": p.detach().cpu().clone() for name, p in self.model.named_parameters()}
        tensors |= {f"ema.{name}": tensor.cpu() for name, tensor in self.ema_state().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = value.detach().cpu().clone()
        values = {
            "samples": self.samples,
            "steps": self.steps,
            "skipped_nan": self.skipped_nan,
            "rng": self.rng.bit_generator.state,
            "config": msgspec.to_builtins(self.config),
        }
        return tensors, values

    def load_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Continue from `state()`. Raises ValueError when a tensor is missing, left over or of another shape."""
        left = dict(tensors)
        with torch.no_grad():
            for (name, parameter), average in zip(self.model.named_parameters(), self._ema, strict=True):
                for prefix, into in (("model", parameter), ("ema", average)):
                    into.copy_(_take(left, f"{prefix}.{name}", into.shape))
        for name, parameter in self.model.named_parameters():
            keys = [key for key in left if key.startswith("optimizer.") and key.split(".", 2)[2] == name]
            slots = {key.split(".")[1]: left.pop(key).to(self.device) for key in keys}
            if slots:
                self._optimizer.state[parameter] = slots
        if left:
            raise ValueError(f"the state holds tensors this model has no use for: {sorted(left)[:5]}")
        self.samples, self.steps = int(values["samples"]), int(values["steps"])
        self.skipped_nan = int(values["skipped_nan"])
        self.rng.bit_generator.state = values["rng"]


def _take(tensors: dict[str, Tensor], name: str, shape: torch.Size) -> Tensor:
    tensor = tensors.pop(name, None)
    if tensor is None:
        raise ValueError(f"the state has no tensor {name!r}: it belongs to another model")
    if tensor.shape != shape:
        raise ValueError(f"tensor {name!r} has shape {tuple(tensor.shape)}, the model has {tuple(shape)}")
    return tensor
