"""How to train: every choice by name, with the value it has when nothing is said."""

import math
from typing import Literal

import msgspec

from worldmodel.words import hint, typed

LOSSES = ("mse", "changed", "focal", "hybrid", "capped-focal", "normalised", "rollout", "inverse", "perceptual", "ensemble")
SAMPLINGS = ("uniform", "recent", "epoch", "loss-weighted", "prioritised")

NOT_NEGATIVE = (
    "warmup_samples", "total_samples", "decay_from_samples", "weight_decay", "grad_clip", "nan_patience", "boost", "anneal_samples",
    "augment_shift", "augment_brightness", "augment_flip", "perceptual_cache_mb", "seed", "threads",
)  # fmt: skip


class TrainConfig(msgspec.Struct, frozen=True):
    """Counts are in samples, not in steps or seconds, so a slower machine learns the same.

    `loss` and `sampling` mix by name: weights of losses (`losses/`), shares of a batch (`sampling.py`). `lr` is the highest
    rate (`schedules.py`); with `scale_lr` it is that of one sample and multiplied by `batch_size`. `total_samples` is where
    training ends, 0 where it does not; the cosine needs it. Judging compares a fixed sample of what is learned from with one
    of what is held out, every `judge_every_samples` (`divergence.py`, `plateau.py`).
    """

    batch_size: int = 16
    lr: float = 2e-3
    scale_lr: bool = False
    optimizer: Literal["muon", "adamw"] = "muon"  # schedule-free is a form of AdamW, whatever stands here
    schedule: Literal["inverse-sqrt", "cosine", "constant", "plateau", "schedule-free"] = "inverse-sqrt"
    warmup_samples: int = 500
    total_samples: int = 0
    decay_from_samples: int = 8000  # from here the inverse square root falls
    lr_min_ratio: float = 0.001
    plateau_factor: float = 0.8
    plateau_patience: int = 15  # judgements
    resumed_at: int = 0  # samples: where a run with another end or rate took over ...
    resumed_lr: float = 0.0  # ... the rate that it found ...
    resumed_warmup: int = 0  # ... and in how many samples it comes to its own
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.95)
    grad_clip: float = 1.0  # 0: none
    ema_decay: float = 0.99  # per step, reached gradually; 0: the weights themselves are scored and sent
    nan_patience: int = 100  # updates in a row that are not finite, until training ends; 0: never

    loss: dict[str, float] = msgspec.field(default_factory=lambda: {"changed": 1.0})
    boost: float = 5.0  # extra weight of changed pixels at the start
    anneal_samples: int = 2000
    focal_alpha: float = 0.1  # share of the plain error in the hybrid loss
    focal_beta: float = 5.0
    rollout_steps: int = 2
    perceptual_weights: str = ""  # file of VGG16's weights; "": torchvision's own cache
    perceptual_cache_mb: int = 256
    mask_ratio: tuple[float, float] = (1.0, 1.0)  # share of the last frame's patches that is hidden, drawn for each sample

    sampling: dict[str, float] = msgspec.field(default_factory=lambda: {"uniform": 0.75, "recent": 0.25})
    recent_window: int = 256  # transitions
    loss_temperature: float = 0.5
    loss_refresh: int = 50  # batches
    priority_exponent: float = 0.6
    priority_correction: float = 0.4  # exponent of the importance weights; 1 corrects wholly

    augment_shift: int = 0  # pixels, up to
    augment_brightness: float = 0.0  # a share, up to
    augment_flip: float = 0.0  # probability of a mirror image: only where actions know no left and right
    action_blind: bool = False  # every action is unknown

    judge_every_samples: int = 2000
    judge_windows: int = 128
    judge_smoothing: float = 0.3  # weight of the newest judgement in the average
    stop_on_divergence: bool = False
    divergence_gap: float = 0.02
    divergence_ratio: float = 2.0
    divergence_patience: int = 30
    divergence_min_updates: int = 10
    spike_threshold: float = 2.0
    spike_window: int = 15
    spike_frequency: float = 0.75
    stop_on_plateau: bool = False
    stop_patience: int = 25
    stop_min_improvement: float = 0.0015  # relative

    seed: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        _names("loss", self.loss, LOSSES)
        _names("sampling", self.sampling, SAMPLINGS)
        if min(self.batch_size, self.loss_refresh, self.judge_every_samples, self.judge_windows, self.spike_window) < 1:
            raise ValueError("batch_size, loss_refresh, judge_every_samples, judge_windows and spike_window must be at least 1")
        if not (0 < self.lr < math.inf and self.loss_temperature > 0 and 0 <= self.lr_min_ratio <= 1):
            raise ValueError("lr and loss_temperature must be above 0, lr_min_ratio from 0 to 1")
        if not (0 <= self.ema_decay < 1 and 0 <= self.betas[0] < 1 and 0 <= self.betas[1] < 1 and 0 < self.judge_smoothing <= 1):
            raise ValueError("ema_decay and betas must be from 0 up to below 1, judge_smoothing above 0 and up to 1")
        for name in NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 0")
        if self.recent_window < 1:
            raise ValueError(f"recent_window is {self.recent_window}: it must be at least 1 transition")
        if "rollout" in self.loss and self.rollout_steps < 2:
            raise ValueError(f"rollout_steps is {self.rollout_steps}: the rollout loss begins with the second step")
        if not 0 < self.mask_ratio[0] <= self.mask_ratio[1] <= 1:
            raise ValueError(f"mask_ratio is {self.mask_ratio}: give the lowest and the highest share, above 0 and up to 1")

    @property
    def horizon(self) -> int:
        """Frames to predict in a window of this training."""
        return self.rollout_steps if "rollout" in self.loss else 1


def _names(what: str, given: dict[str, float], known: tuple[str, ...]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{what} knows no {unknown[0]!r}; {hint(unknown[0], known)}")
    if not given or min(given.values()) < 0 or sum(given.values()) <= 0:
        raise ValueError(f"{what} is {given}: give at least one of {', '.join(known)} a number above 0")


def train_config(overrides: dict[str, object], **otherwise: object) -> TrainConfig:
    """The configuration with these fields, as a launch file says them, over `otherwise`. ValueError in one line."""
    unknown = sorted(set(overrides) - set(TrainConfig.__struct_fields__))
    if unknown:
        raise ValueError(f"train has no setting {unknown[0]!r}; {hint(unknown[0], TrainConfig.__struct_fields__)}")
    return typed({**otherwise, **overrides}, TrainConfig, "train")
