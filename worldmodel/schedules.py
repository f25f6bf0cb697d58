"""Learning rates: pure functions of the configuration and of the samples seen.

    lr = rate(config, samples)

A rate is warmed up linearly, never falls below `lr_min_ratio` of its peak, and knows no clock and no history: resumed
anywhere it is what it would have been. What the plateau rule has learned comes in as `factor` (`plateau.py`).
"""

import math

import msgspec

from worldmodel.trainconfig import TrainConfig


def peak(config: TrainConfig) -> float:
    """The highest rate."""
    return config.lr * (config.batch_size if config.scale_lr else 1)


def rate(config: TrainConfig, samples: int, factor: float = 1.0) -> float:
    """Learning rate of the step that starts after so many samples. ValueError for a cosine without an end."""
    end = config.resumed_at + config.resumed_warmup
    if samples < end and config.resumed_lr > 0:
        share = max(0, samples - config.resumed_at) / config.resumed_warmup
        lr = config.resumed_lr + share * (_scheduled(config, end, factor) - config.resumed_lr)
    else:
        lr = _scheduled(config, samples, factor)
    return max(lr, floor(config))


def floor(config: TrainConfig) -> float:
    """What no rate falls below."""
    return peak(config) * config.lr_min_ratio


def _scheduled(config: TrainConfig, samples: int, factor: float) -> float:
    warm = min(1.0, (samples + config.batch_size) / max(1, config.warmup_samples))
    return peak(config) * warm * _shape(config, samples) * factor


def _shape(config: TrainConfig, samples: int) -> float:
    """Share of the peak, the warm-up aside."""
    if config.schedule == "inverse-sqrt":
        return math.sqrt(config.decay_from_samples / max(config.decay_from_samples, samples))
    if config.schedule == "cosine":
        if config.total_samples <= 0:
            raise ValueError("the cosine schedule needs an end: set total_samples, or take inverse-sqrt")
        length = max(1, config.total_samples - config.warmup_samples)
        done = min(1.0, max(0, samples - config.warmup_samples) / length)
        return config.lr_min_ratio + (1 - config.lr_min_ratio) * (1 + math.cos(math.pi * done)) / 2
    return 1.0  # constant, plateau (by its factor), schedule-free


def taken_over(config: TrainConfig, samples: int, lr: float, share: float = 0.05) -> TrainConfig:
    """The same, for a run that goes on after `samples` from a rate `lr`: it comes to its own rate in that share of what is left.

    The position in the schedule is that of all samples, the earlier ones included: a short piece is no schedule of its own.
    """
    left = max(0, config.total_samples - samples)
    warmup = min(int(share * left), left // 4) if left else config.warmup_samples
    return msgspec.structs.replace(config, resumed_at=samples, resumed_lr=lr if warmup else 0.0, resumed_warmup=warmup)
