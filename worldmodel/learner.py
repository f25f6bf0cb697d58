"""Learning: one training step at a time, live from what has been seen so far or from recordings.

    learner = Learner(spec, TrainConfig())
    report = learner.step(learner.draw(source))
    weights = learner.weights_bytes()          # safetensors: what a predictor loads

One step function for all. The averaged (EMA) weights are the ones that are scored and sent. `state` holds all that an exact
resume needs: 2N steps are N steps, a new process, and N steps, bit for bit on a CPU.
"""

import dataclasses
import math
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from worldmodel import optimizing
from worldmodel.augment import augment, augments
from worldmodel.batch import Batch, FloatArray, UInt8Array
from worldmodel.devices import autocast, keep_freed_memory, pick_device, pick_precision, use_threads
from worldmodel.diagnostics import Updates, gradient_norms, of_pixels, whole_norms
from worldmodel.judging import Judgement
from worldmodel.losses import Case, check, combined
from worldmodel.losses.pixel import boost_at, mse
from worldmodel.masking import draw_mask
from worldmodel.models import make_model
from worldmodel.plateau import Plateau
from worldmodel.sampling import Drawn, Sampler
from worldmodel.schedules import rate
from worldmodel.source import Source
from worldmodel.spec import ModelSpec
from worldmodel.trainconfig import TrainConfig

__all__ = ["Batch", "Learner", "TrainConfig", "TrainingFailed"]


class TrainingFailed(Exception):
    """Training cannot go on. One line: what happened, what to try."""


class Learner:
    """A model, its averaged twin, its optimizer, and what samples and judges for it."""

    def __init__(self, spec: ModelSpec, config: TrainConfig, device: str = "auto") -> None:
        use_threads(config.threads)
        keep_freed_memory()
        rate(config, 0)  # a schedule that lacks something says so now
        self.spec = spec
        self.config = config
        self.device = pick_device(device)
        self.precision = pick_precision(config.precision, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = make_model(spec).to(self.device)
        check(self.model, config)
        self.rng = np.random.default_rng(config.seed)  # of sampling, augmentation and masks; saved with the state
        self.sampler = Sampler(config)
        self.pending: deque[Drawn] = deque()
        """Drawn and not yet learned from: who reads ahead leaves them here, so that they are saved with the state."""
        self.judgement = Judgement()
        self.samples = 0
        self.steps = 0
        self.skipped_nan = 0
        self.sample_losses: FloatArray = np.empty(0, np.float32)
        """What each window of the newest batch cost, before the update."""
        self._nan_row = 0
        self._named = list(self.model.named_parameters())
        self._parameters = [parameter for _, parameter in self._named]
        self._weights = [parameter.detach() for parameter in self._parameters]  # the same memory
        self._averages = config.ema_decay > 0 and config.schedule != "schedule-free"
        # what is not trained is not averaged either
        self._ema = [p.detach().clone() if self._averages and p.requires_grad else p.detach() for p in self._parameters]
        self._optimizer = optimizing.make_optimizer(config, self._parameters)

    # -- steps ------------------------------------------------------------------------------------

    @property
    def lr(self) -> float:
        """The rate of the next step."""
        return rate(self.config, self.samples, self.judgement.plateau.factor)

    def draw(self, source: Source, first: int | None = None) -> Batch:
        """The next batch, as this training samples, with the transition `first` at its head if one is given.

        Raises ValueError when there is nothing to learn from.
        """
        horizon = self.config.horizon
        drawn = self.sampler.draw(source.ids(horizon), self.config.batch_size, self.rng)
        if first is not None:
            drawn.ids[0] = first
            if drawn.weights is not None:
                drawn.weights[0] = 1.0
        return dataclasses.replace(source.windows(drawn.ids, horizon), ids=drawn.ids, weights=drawn.weights)

    def step(self, batch: Batch, watch: bool = False) -> dict[str, float]:
        """Learn from one batch. Returns the numbers of this step.

        loss, loss_<part>, mse, copy_last_mse, grad_norm, lr, boost, skipped_nan (how many updates so far were skipped
        because the loss or the gradient was not finite), samples and steps (after this one); with `watch` those of
        `diagnostics.py` too. Raises ValueError when the batch does not fit, TrainingFailed when nothing is finite any more.
        """
        lr = self.lr
        case = self._case(batch)
        total, parts, samples = combined(case, self.config.loss)
        with torch.no_grad():
            plain = mse(case).total
            copied = mse(dataclasses.replace(case, prediction=case.last)).total
        torch.autograd.backward(total)
        norm = self._clip()
        numbers = torch.stack([total.detach(), plain, copied, norm, *parts.values()])
        told = torch.cat((numbers, samples)).tolist()  # one wait for the device
        names = ("loss", "mse", "copy_last_mse", "grad_norm", *(f"loss_{name}" for name in parts))
        report = dict(zip(names, told, strict=False))
        self.sample_losses = np.asarray(told[len(numbers) :], np.float32)
        if batch.ids is not None:
            self.sampler.learn(batch.ids, self.sample_losses)
        self.samples += len(batch)
        self.steps += 1
        finite = math.isfinite(report["loss"]) and math.isfinite(report["grad_norm"])
        if watch and finite:
            updates = Updates(self._named)
            report |= of_pixels(case) | gradient_norms(self._named)
            self._update(lr)
            report |= updates.ratios() | whole_norms(self._named, self._optimizer)
        elif finite:
            self._update(lr)
        if finite and self.model.familiar is not None:
            self.model.familiar.learn(self._last(batch))
        self._optimizer.zero_grad(set_to_none=True)
        self._count_nan(finite)
        boost = boost_at(self.samples - len(batch), self.config.boost, self.config.anneal_samples)
        counts = {"skipped_nan": float(self.skipped_nan), "samples": float(self.samples), "steps": float(self.steps)}
        return {**report, "lr": lr, "boost": boost, **counts}

    def _case(self, batch: Batch) -> Case:
        """The batch on the device, and what the model says of it."""
        seen, targets, taken = self._load(batch)
        actions = torch.full_like(taken, float("nan")) if self.config.action_blind else taken
        told = actions[:, : self.spec.context]
        hidden = members = None
        if self.config.mask_ratio != (1.0, 1.0):
            hidden = draw_mask(len(targets), targets.shape[2], self.config.mask_ratio, self.rng).to(self.device)
        with autocast(self.device, self.precision):
            if hidden is not None:
                prediction = self.model.forward_masked(seen, told, targets[:, 0], hidden)
            elif "ensemble" in self.config.loss:
                members = self.model.forward_members(seen, told)
                prediction = members.mean(dim=1)
            else:
                prediction = self.model(seen, told)
        return Case(
            model=self.model, config=self.config, samples=self.samples, seen=seen, targets=targets, actions=actions, taken=taken,
            prediction=prediction, members=members, hidden=None if hidden is None else hidden.float(),
            real=self.model.patches.real if self.model.patches.padded else None,
            weights=None if batch.weights is None else torch.from_numpy(batch.weights).to(self.device),
            ids=None if batch.ids is None else tuple(int(number) for number in batch.ids),
            steady=not augments(self.config), precision=self.precision,
        )  # fmt: skip

    def _load(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Batch -> history [B, context, N, P] and targets [B, horizon, N, P] in [0, 1], encoded actions."""
        context, horizon = self.spec.context, self.config.horizon
        moves = context + horizon - 1
        if batch.actions.ndim != 3 or batch.actions.shape[1] != moves:
            raise ValueError(f"actions are {batch.actions.shape}: the model needs [B, {moves}, {len(self.spec.actions.names)}]")
        frames = {name: torch.from_numpy(array).to(self.device) for name, array in batch.frames.items()}
        if augments(self.config):
            frames = augment(frames, self.config, self.rng)
        patches = self.model.patches.cut(frames).float().mul_(1.0 / 255.0)
        if patches.ndim != 4 or patches.shape[1] != context + horizon:
            raise ValueError(f"windows hold {patches.shape[1]} frames: the model needs {context} seen and {horizon} to predict")
        actions = torch.from_numpy(self.spec.actions.encode(batch.actions)).to(self.device)
        return patches[:, :context], patches[:, context:], actions

    def _last(self, batch: Batch) -> Tensor:
        """The newest frames seen, as they were before any augmentation: patches [B, N, P] in [0, 1]."""
        newest = self.spec.context - 1
        frames = {name: torch.from_numpy(array[:, newest]).to(self.device) for name, array in batch.frames.items()}
        return self.model.patches.cut(frames).float().mul_(1.0 / 255.0)

    def _clip(self) -> Tensor:
        if self.config.grad_clip > 0:
            return torch.nn.utils.clip_grad_norm_(self._parameters, self.config.grad_clip, foreach=True)
        return torch.nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None], foreach=True)

    def _update(self, lr: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.step()
        if self._averages:
            # The average starts short, or the first random weights would stay in it for long.
            decay = min(self.config.ema_decay, (1.0 + self.steps) / (10.0 + self.steps))
            with torch.no_grad():
                torch._foreach_lerp_(self._ema, self._weights, 1.0 - decay)

    def _count_nan(self, finite: bool) -> None:
        self.skipped_nan += not finite
        self._nan_row = 0 if finite else self._nan_row + 1
        if self.config.nan_patience and self._nan_row >= self.config.nan_patience:
            raise TrainingFailed(
                f"{self._nan_row} updates in a row were not finite, after {self.samples} samples: lower train.lr, or set train.grad_clip"
            )

    def begin_with(self, weights: Mapping[str, Tensor]) -> None:
        """Take these as the weights to start from, by name (`loading.fit`); the optimizer begins anew."""
        with torch.no_grad():
            for (name, parameter), average in zip(self._named, self._ema, strict=True):
                parameter.copy_(weights[name])
                average.copy_(weights[name])

    def forget_source(self) -> None:
        """Transitions come from elsewhere now: what was remembered of others, and how they were judged, is dropped."""
        self.sampler = Sampler(self.config)
        self.pending.clear()
        self.judgement = Judgement(Plateau(factor=self.judgement.plateau.factor))

    # -- judging ----------------------------------------------------------------------------------

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model has the averaged weights."""
        mine = [weight.clone() for weight in self._weights]
        try:
            torch._foreach_copy_(self._weights, self._average())
            yield
        finally:
            torch._foreach_copy_(self._weights, mine)

    def error(self, batch: Batch) -> float:
        """Plain mean squared error of the averaged weights on windows of horizon 1; nothing is learned."""
        real, sums = self.model.patches.real, 0.0
        for prediction, target in self._answers(batch):
            sums += float((torch.square(prediction - target) * real).mean(dim=(1, 2)).sum())
        return sums / len(batch) / float(real.mean())

    def imagine(self, batch: Batch) -> dict[str, UInt8Array]:
        """The last frame of windows of horizon 1 as the averaged weights predict it: {camera: uint8 [B, H, W, 3]}."""
        patches = torch.cat([prediction for prediction, _ in self._answers(batch)])
        pictures = patches.mul(255.0).round_().clamp_(0.0, 255.0).to(torch.uint8)
        return {name: picture.contiguous().cpu().numpy() for name, picture in self.model.patches.paste(pictures).items()}

    def _answers(self, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
        """Predicted and true patches [b, N, P], a few windows at a time."""
        context, size = self.spec.context, self.config.batch_size
        with self.averaged(), torch.inference_mode(), autocast(self.device, self.precision):
            for start in range(0, len(batch), size):
                frames = {n: torch.from_numpy(a[start : start + size]).to(self.device) for n, a in batch.frames.items()}
                patches = self.model.patches.cut(frames).float().mul_(1.0 / 255.0)
                actions = torch.from_numpy(self.spec.actions.encode(batch.actions[start : start + size])).to(self.device)
                if self.config.action_blind:
                    actions.fill_(float("nan"))
                yield self.model(patches[:, :context], actions), patches[:, context]

    def judge(self, train: Batch, held_out: Batch | None) -> dict[str, float]:
        """Compare a fixed sample of either side and take note; the numbers."""
        ours, theirs = self.error(train), None if held_out is None else self.error(held_out)
        self.judgement = self.judgement.step(ours, theirs, self.config)
        return {"train_mse": ours, "plateau_factor": self.judgement.plateau.factor, **({} if theirs is None else {"held_out_mse": theirs})}

    # -- weights and state ------------------------------------------------------------------------

    def _average(self) -> list[Tensor]:
        if self.config.schedule == "schedule-free":
            return optimizing.averaged(self._optimizer, self._parameters)
        return self._ema

    def ema_state(self) -> dict[str, Tensor]:
        """Averaged weights by name, fp32, copies."""
        return {name: tensor.clone() for (name, _), tensor in zip(self._named, self._average(), strict=True)}

    def weights_bytes(self) -> bytes:
        """The averaged weights as safetensors, fp32, with the spec's hash inside."""
        tensors = {name: tensor.cpu() for name, tensor in self.ema_state().items()}
        return safetensors.torch.save(tensors, metadata={"spec_hash": self.spec.hash})

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that an exact resume needs: tensors by name, and values that JSON can hold."""
        tensors = {f"model.{name}": p.detach().cpu().clone() for name, p in self._named}
        tensors |= {f"ema.{name}": tensor.cpu() for name, tensor in self.ema_state().items()}
        slots, groups = optimizing.optimizer_state(self._optimizer, self._named)
        arrays, sampling = self.sampler.state()
        tensors |= slots | {f"sampler.{name}": torch.from_numpy(array.copy()) for name, array in arrays.items()}
        pending = [[drawn.ids.tolist(), None if drawn.weights is None else drawn.weights.tolist()] for drawn in self.pending]
        values = {
            "samples": self.samples,
            "steps": self.steps,
            "skipped_nan": self.skipped_nan,
            "nan_row": self._nan_row,
            "rng": self.rng.bit_generator.state,
            "config": msgspec.to_builtins(self.config),
            "optimizer_groups": groups,
            "sampler": sampling,
            "pending": pending,
            "judgement": msgspec.to_builtins(self.judgement),
        }
        return tensors, values

    def load_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Continue from `state()`. Raises ValueError when a tensor is missing, left over or of another shape.

        Another optimizer begins anew, with the averaged weights; another rate or schedule without what the plateau rule took off.
        """
        left, before = dict(tensors), values["config"]
        same = optimizing.kind(before) == optimizing.kind(msgspec.to_builtins(self.config))
        with torch.no_grad():
            for (name, parameter), average in zip(self._named, self._ema, strict=True):
                averaged, trained = (_take(left, f"{prefix}.{name}", parameter.shape) for prefix in ("ema", "model"))
                average.copy_(averaged)
                parameter.copy_(trained if same else averaged)
        if not same:
            left = {name: tensor for name, tensor in left.items() if not name.startswith("optimizer.")}
        arrays = {name.removeprefix("sampler."): left.pop(name).numpy() for name in list(left) if name.startswith("sampler.")}
        optimizing.load_optimizer(self._optimizer, self._named, left, values.get("optimizer_groups", []), self.device)
        if left:
            raise ValueError(f"the state holds tensors this model has no use for: {sorted(left)[:5]}")
        self.samples, self.steps = int(values["samples"]), int(values["steps"])
        self.skipped_nan, self._nan_row = int(values["skipped_nan"]), int(values.get("nan_row", 0))
        self.rng.bit_generator.state = values["rng"]
        if "sampler" in values:  # not in checkpoints of before
            self.sampler.load_state(arrays, values["sampler"])
            weights = ((i, None if w is None else np.array(w, np.float32)) for i, w in values["pending"])
            self.pending = deque(Drawn(np.array(ids, np.int64), weight) for ids, weight in weights)
            self.judgement = msgspec.convert(values["judgement"], Judgement)
            if (before["schedule"], before["lr"]) != (self.config.schedule, self.config.lr):
                self.judgement = msgspec.structs.replace(self.judgement, plateau=Plateau())


def _take(tensors: dict[str, Tensor], name: str, shape: torch.Size) -> Tensor:
    tensor = tensors.pop(name, None)
    if tensor is None:
        raise ValueError(f"the state has no tensor {name!r}: it belongs to another model")
    if tensor.shape != shape:
        raise ValueError(f"tensor {name!r} has shape {tuple(tensor.shape)}, the model has {tuple(shape)}")
    return tensor
