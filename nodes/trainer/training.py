"""A training from recorded sessions, made from what was asked for: data, model, configuration, end.

made = prepare(order, readers, start)          # or resumed(order, readers, found, before)
print(made.said)
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from nodes.trainer.learned import Learned, spans
from nodes.trainer.offline import OPEN_END, End
from nodes.trainer.recorded import Recorded
from nodes.trainer.sessions import divided, held_out_of
from nodes.trainer.sinks import Wandb
from nodes.trainer.starting import OF_ONE_RUN, start_config
from nodes.worlds import model_actions, model_cameras
from protocol.files import write_whole
from protocol.messages import Robot
from storage.reader import SessionReader
from worldmodel.checkpoint import Checkpoint, SpecMismatch
from worldmodel.judging import judges
from worldmodel.learner import Learner
from worldmodel.loading import fit
from worldmodel.presets import PRESETS
from worldmodel.schedules import rate, taken_over
from worldmodel.spec import ModelSpec, changed, model_spec
from worldmodel.trainconfig import TrainConfig

FEW = 32


class TrainingRefused(Exception):
    """What was asked for cannot be trained. One line: what, and what to change."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; kept in the run's `run.json`, from which `--resume` goes on."""

    sessions: tuple[str, ...] = ()
    model: str = ""
    spec: dict[str, Any] = {}
    train: dict[str, Any] = {}
    seconds: float | None = None
    samples: int | None = None
    total_samples: int | None = None
    start: str | None = None
    grow: bool = False
    partial: bool = False
    resume: str | None = None
    held_out: tuple[str, ...] = ()
    blind: bool = False
    seed: int = 0
    device: str = "auto"
    name: str | None = None
    every_s: float = 60.0
    tensorboard: bool = False
    wandb: Wandb = ""


class Made(msgspec.Struct, frozen=True):
    """Everything a run needs. `said`: lines for a person."""

    learner: Learner
    learned: Recorded
    held_out: Recorded
    end: End
    metadata: dict[str, Any]
    said: list[str]

    @property
    def spans(self) -> Learned:
        return Learned(spans(self.learned), spans(self.held_out))


def prepare(order: Order, readers: Sequence[SessionReader], start: Checkpoint | None) -> Made:
    """A new run. Raises TrainingRefused, SpecMismatch, ValueError, StorageError: each one line."""
    spec = _spec(order, readers, start)
    whole = start is not None and start.spec == spec and not (order.grow or order.partial)
    if start is not None and not whole and not (order.grow or order.partial):
        raise SpecMismatch(start.path, start.spec.differing_fields(spec))
    before = int(start.values["samples"]) if start is not None and whole else 0
    total = _total(order, before)
    explicit = {**({"action_blind": True} if order.blind else {}), **order.train}
    if total:
        explicit.setdefault("total_samples", total)
    preset = PRESETS.get(order.model or "small", {}).get("train", {})
    given: dict[str, Any] = {"seed": order.seed}
    if start is not None and not order.model:
        given = {name: value for name, value in msgspec.to_builtins(start.config).items() if name not in (*OF_ONE_RUN, "lr")} | given
    elif "sampling" not in preset:
        given["sampling"] = {"epoch": 1.0}  # of what is recorded, nothing is newer than the rest
    if order.seconds and not total and {**preset, **given, **explicit}.get("schedule") == "cosine":
        explicit.setdefault("total_samples", OPEN_END)
    config, rate_said = start_config(explicit, order.model or ("" if start else "small"), start, whole=whole, **given)
    said = [rate_said]
    learner = Learner(spec, config, order.device)
    if start is not None and whole:
        learner.load_state(start.tensors, start.values)
        learner.forget_source()
        said.append(f"goes on from {start.path.name}, {before} samples")
    elif start is not None:
        loaded = fit(spec, start.weights(), "grow" if order.grow else "partial", config.seed)
        learner.begin_with(loaded.state)
        said += [f"weights of {start.path.name}:", loaded.table()]
    end = End(total or (0 if config.total_samples >= OPEN_END else config.total_samples), order.seconds or 0.0)
    if not end.total_samples and not end.seconds and not (judges(config) and (config.stop_on_divergence or config.stop_on_plateau)):
        raise TrainingRefused("say when training ends: --seconds, --samples or --total-samples, or train.stop_on_plateau=true")
    return _made(order, readers, learner, end, said)


def resumed(order: Order, readers: Sequence[SessionReader], found: Checkpoint, now: Order) -> Made:
    """The run of `order`, exactly where its newest checkpoint left off; `now` may give it another end."""
    samples, config = int(found.values["samples"]), found.config
    total, seconds = config.total_samples, max(0.0, (order.seconds or 0.0) - found.metadata.get("trained_s", 0.0))
    said = [f"goes on from {found.path.name}, {samples} samples"]
    if now.samples or now.total_samples or now.seconds:
        total, seconds = _total(now, samples), now.seconds or 0.0
        if total != config.total_samples:
            config = _other_end(config, samples, total or OPEN_END)
            said.append(f"with another end: {total or f'{seconds:g} s'}")
    said.append(f"learning rate {config.lr:g}, from the checkpoint {found.path.name}; {config.schedule}")
    learner = found.learner(config, now.device if now.device != "auto" else order.device)
    end = End(0 if total >= OPEN_END else total, seconds)
    if not end.total_samples and not seconds and (order.seconds or total >= OPEN_END):
        raise TrainingRefused(f"run {order.name} has had its {order.seconds or 0:g} s: give it more with --seconds or --samples")
    if end.total_samples and samples >= end.total_samples:
        raise TrainingRefused(f"run {order.name} has had its {end.total_samples} samples: give it more with --samples or --total-samples")
    made = _made(order, readers, learner, end, said)
    made.metadata["trained_s"] = found.metadata.get("trained_s", 0.0)
    known = found.metadata.get("windows", len(made.learned))
    if known != len(made.learned):
        raise TrainingRefused(
            f"the sessions hold {len(made.learned)} transitions to learn from, they held {known} when this run began: they have changed; "
            f"take `toddle train ... --from {order.name}`"
        )
    return made


def _made(order: Order, readers: Sequence[SessionReader], learner: Learner, end: End, said: list[str]) -> Made:
    names = [reader.path.name for reader in readers]
    spec, config = learner.spec, learner.config
    held = held_out_of(order.held_out, names)
    learned, held_out = divided(readers, [camera.name for camera in spec.cameras], spec.context, held)
    if not len(learned.ids(config.horizon)):
        raise TrainingRefused(
            f"there is nothing to learn from in {', '.join(names)}: no {spec.context + config.horizon} frames in a row but what is held out"
        )
    if not len(held_out) and config.stop_on_divergence:
        raise TrainingRefused("stop_on_divergence needs held-out episodes: name some with --held-out")
    few = "; that is very little" if len(learned) < FEW else ""
    said.append(f"{len(learned)} transitions to learn from, {len(held_out)} held out{few}")
    metadata = {"run": order.name, "sessions": names, "action_names": list(spec.actions.names), "windows": len(learned)}
    return Made(learner, learned, held_out, end, metadata, said)


def _spec(order: Order, readers: Sequence[SessionReader], start: Checkpoint | None) -> ModelSpec:
    robots = [_robot(reader) for reader in readers]
    cameras, actions = model_cameras(robots[0].cameras), model_actions(robots[0].actions)
    if start is None or order.model:
        return model_spec(cameras, actions, order.model or "small", **order.spec)
    return changed({**msgspec.structs.asdict(start.spec), "cameras": cameras, "actions": actions}, order.spec)


def _robot(reader: SessionReader) -> Robot:
    if reader.robot is None:
        raise TrainingRefused(f"session {reader.path.name} holds no robot: nothing was recorded in it")
    return reader.robot


def _total(order: Order, before: int) -> int:
    """Samples in all at the end; 0 where none is given."""
    ends = [before + order.samples if order.samples else 0, order.total_samples or 0]
    return min((end for end in ends if end), default=0)


def _other_end(config: TrainConfig, samples: int, total: int) -> TrainConfig:
    after = msgspec.structs.replace(config, total_samples=total)
    if config.schedule != "cosine":
        return after
    return taken_over(after, samples, rate(config, samples))


def save_order(folder: Path, order: Order, versions: dict[str, str]) -> None:
    """The run's `run.json`; `pid` says whose run it is while that process lives."""
    facts = {
        "run": order.name, "kind": "train", "pid": os.getpid(), "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "versions": versions,
        "order": msgspec.to_builtins(order),
    }  # fmt: skip
    write_whole(folder / "run.json", msgspec.json.format(msgspec.json.encode(facts), indent=1))


def order_of(folder: Path) -> Order:
    """What a run was begun with. TrainingRefused when it was no training from sessions."""
    try:
        return msgspec.convert(msgspec.json.decode((folder / "run.json").read_bytes())["order"], Order)
    except (OSError, msgspec.MsgspecError, KeyError, TypeError):
        raise TrainingRefused(f"{folder} is no run of `toddle train`: nothing to resume; for another run's weights take --from") from None
