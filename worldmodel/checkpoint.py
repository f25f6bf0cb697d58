"""Checkpoints: one folder each, seen only when complete.

    save("checkpoints", learner, {"note": "before lunch"})
    learner = load(latest("checkpoints")).learner()

A checkpoint `000007-samples-12000` (the seventh written here) holds `tensors.safetensors` (weights, average, optimizer) and
`checkpoint.json` (spec and its hash, counters, config, metadata, when and with what it was made). It is written under a
temporary name, synced to disk and renamed: after a crash there is the old one or the new one, never half of one.
Which of them stay: see kept.py.
"""

import json
import os
import platform
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from worldmodel import kept
from worldmodel.kept import FORMAT, RECORD, TENSORS, CheckpointError, latest
from worldmodel.learner import Learner, TrainConfig
from worldmodel.spec import ModelSpec

__all__ = ["Checkpoint", "CheckpointError", "SpecMismatch", "latest", "load", "save"]

PACKAGES = ("toddle-robotics", "torch", "numpy", "safetensors")


class SpecMismatch(CheckpointError):
    """A checkpoint of another model. `fields`: name -> (in the checkpoint, wanted)."""

    def __init__(self, path: Path, fields: dict[str, tuple[Any, Any]]) -> None:
        self.fields = fields
        listed = "; ".join(f"{name}: checkpoint {theirs!r}, wanted {mine!r}" for name, (theirs, mine) in fields.items())
        super().__init__(
            f"checkpoint {path.name} belongs to another model ({listed}). Give the model these values, or start without this checkpoint"
        )


@dataclass(frozen=True)
class Checkpoint:
    """What `load` found."""

    path: Path
    spec: ModelSpec
    tensors: dict[str, Tensor]
    values: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def config(self) -> TrainConfig:
        """The training configuration it was made with."""
        return msgspec.convert(self.values["config"], TrainConfig)

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights, for a FramePredictor."""
        return {name[4:]: tensor for name, tensor in self.tensors.items() if name.startswith("ema.")}

    def learner(self, config: TrainConfig | None = None, device: str = "auto") -> Learner:
        """A learner that continues exactly here, with its own configuration or another one."""
        learner = Learner(self.spec, config or self.config, device)
        learner.load_state(self.tensors, self.values)
        return learner


def save(folder: str | os.PathLike[str], learner: Learner, metadata: dict[str, Any] | None = None, keep: int = 3, best: int = 0) -> Path:
    """Write a checkpoint and return its path; only the newest `keep` stay, and the `best` by the score that the metadata names.

    metadata must be JSON-able. Raises CheckpointError when it is not, OSError when the disk refuses.
    """
    if keep < 1:
        raise CheckpointError(f"keep is {keep}: at least the checkpoint just written must stay")
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    kept.sweep(root)
    tensors, values = learner.state()
    record = {
        "format": FORMAT,
        "spec": json.loads(learner.spec.to_json()),
        "spec_hash": learner.spec.hash,
        "values": values,
        "metadata": metadata or {},
        "made": {"at": datetime.now(UTC).isoformat(timespec="seconds"), "versions": _versions()},
    }
    try:
        text = json.dumps(record, indent=1, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the metadata cannot be written as JSON: {error}") from error
    # A serial number, not the sample count, says which is newest: a new run may share the folder.
    final = root / f"{kept.newest_number(root) + 1:06d}-samples-{learner.samples}"
    temporary = root / f".{final.name}.{os.getpid()}.tmp"
    temporary.mkdir()
    try:
        _write(temporary / TENSORS, safetensors.torch.save(tensors))
        _write(temporary / RECORD, text.encode())
        _sync_folder(temporary)
        os.rename(temporary, final)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)  # a full disk needs the room
        raise
    _sync_folder(root)
    for path in kept.superfluous(root, keep, best):
        kept.drop(path)
    return final


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a checkout that is not installed
            continue
    return found


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(path: str | os.PathLike[str], spec: ModelSpec | None = None) -> Checkpoint:
    """Read a checkpoint; with `spec`, refuse one of another model.

    Raises SpecMismatch for another model, CheckpointError for a missing or damaged checkpoint.
    """
    place = Path(path)
    found = kept.read(place)
    try:
        tensors = safetensors.torch.load((place / TENSORS).read_bytes())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {place.name} is damaged: {error}") from error
    if spec is not None and found.spec != spec:
        raise SpecMismatch(place, found.spec.differing_fields(spec))
    return Checkpoint(place, found.spec, tensors, found.record.values, found.record.metadata)
