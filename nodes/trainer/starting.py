"""How a training begins: which configuration counts, and from which weights it goes on.

A learning rate that is said counts first, then the checkpoint's, then the preset's or the default; which one it was is
said in one line.
"""

from typing import Any

import msgspec

from worldmodel.checkpoint import Checkpoint
from worldmodel.presets import PRESETS
from worldmodel.schedules import rate, taken_over
from worldmodel.trainconfig import TrainConfig, train_config

NOT_THE_SCHEDULE = ("total_samples", "resumed_at", "resumed_lr", "resumed_warmup")


def start_config(
    explicit: dict[str, Any], model: str, start: Checkpoint | None, *, whole: bool = True, **given: Any
) -> tuple[TrainConfig, str]:
    """The configuration, and where its learning rate comes from, in words.

    `given`: what only what is explicit overrides. `whole`: the checkpoint is gone on with, its optimizer and count of
    samples included; with another rate or end it keeps its place in the schedule, see `schedules.taken_over`.
    """
    preset = PRESETS.get(model, {}).get("train", {})
    base, origin = {**preset, **given}, f"from the preset {model}" if "lr" in preset else "the default"
    if "lr" in explicit:
        origin = "as set"
    elif start is not None:
        base["lr"], origin = start.config.lr, f"from the checkpoint {start.path.name}"
    config = train_config(explicit, **base)
    if start is not None and whole:
        config = _going_on(config, start)
    return config, f"learning rate {config.lr:g}, {origin}; {config.schedule}"


def _going_on(config: TrainConfig, start: Checkpoint) -> TrainConfig:
    theirs = start.config
    kept = msgspec.structs.replace(config, **{name: getattr(theirs, name) for name in NOT_THE_SCHEDULE[1:]})
    samples = int(start.values["samples"])
    before, after = rate(theirs, samples), rate(kept, samples)
    if abs(before - after) <= 1e-9 * before:
        return kept
    return taken_over(msgspec.structs.replace(kept, resumed_at=0, resumed_lr=0.0, resumed_warmup=0), samples, before)
