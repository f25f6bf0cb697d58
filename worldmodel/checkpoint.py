"""Checkpoints: one folder each, seen only when complete.

    save("checkpoints", learner, {"note": "before lunch"})
    learner = load(latest("checkpoints")).learner()

A checkpoint `000007-samples-12000` (the seventh written here) holds `tensors.safetensors` (weights, average, optimizer) and
`checkpoint.json` (spec and its hash, counters, config, metadata). It is written under a temporary name,
synced to disk and renamed: after a crash there is the old one or the new one, never half of one.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from worldmodel.learner import Learner, TrainConfig
from worldmodel.spec import ModelSpec

FORMAT = 1
PATTERN = "[0-9][0-9][0-9][0-9][0-9][0-9]-samples-*"
TENSORS, RECORD = "tensors.safetensors", "checkpoint.json"


class CheckpointError(Exception):
    """A checkpoint that is missing, damaged or of another format."""


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


def save(folder: str | os.PathLike[str], learner: Learner, metadata: dict[str, Any] | None = None, keep: int = 3) -> Path:
    """Write a checkpoint and return its path; only the newest `keep` stay.

    metadata must be JSON-able. Raises CheckpointError when it is not, OSError when the disk refuses.
    """
    if keep < 1:
        raise CheckpointError(f"keep is {keep}: at least the checkpoint just written must stay")
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    tensors, values = learner.state()
    record = {
        "format": FORMAT,
        "spec": json.loads(learner.spec.to_json()),
        "spec_hash": learner.spec.hash,
        "values": values,
        "metadata": metadata or {},
    }
    try:
        text = json.dumps(record, indent=1, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the metadata cannot be written as JSON: {error}") from error
    # A serial number, not the sample count, says which is newest: a new run may share the folder.
    final = root / f"{_serial(root) + 1:06d}-samples-{learner.samples}"
    temporary = root / f".{final.name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    _write(temporary / TENSORS, safetensors.torch.save(tensors))
    _write(temporary / RECORD, text.encode())
    _sync_folder(temporary)
    os.rename(temporary, final)
    _sync_folder(root)
    _drop_old(root, keep)
    return final


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


def _complete(root: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in root.glob(PATTERN) if (path / RECORD).is_file() and (path / TENSORS).is_file())


def _serial(root: Path) -> int:
    """Number of the newest checkpoint, complete or not; 0 when there is none."""
    return max((int(path.name.split("-")[0]) for path in root.glob(PATTERN)), default=0)


def _drop_old(root: Path, keep: int) -> None:
    for path in _complete(root)[:-keep]:
        # Renamed first, so that a crash in the middle does not leave half a checkpoint under its name.
        hidden = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
        os.rename(path, hidden)
        shutil.rmtree(hidden)


def latest(folder: str | os.PathLike[str]) -> Path | None:
    """The newest complete checkpoint in the folder, or None."""
    root = Path(folder)
    found = _complete(root) if root.is_dir() else []
    return found[-1] if found else None


def load(path: str | os.PathLike[str], spec: ModelSpec | None = None) -> Checkpoint:
    """Read a checkpoint; with `spec`, refuse one of another model.

    Raises SpecMismatch for another model, CheckpointError for a missing or damaged checkpoint.
    """
    place = Path(path)
    try:
        record = json.loads((place / RECORD).read_bytes())
        tensors = safetensors.torch.load((place / TENSORS).read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"{place.name} is no complete checkpoint: {Path(error.filename).name} is missing") from error
    except (ValueError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {place.name} is damaged: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {place.name} is not of format {FORMAT}: it was written by another version")
    found = ModelSpec.from_json(json.dumps(record["spec"]))
    if found.hash != record["spec_hash"]:
        raise CheckpointError(f"checkpoint {place.name} was edited: its spec does not match its hash")
    if spec is not None and found.hash != spec.hash:
        raise SpecMismatch(place, found.differing_fields(spec))
    return Checkpoint(place, found, tensors, record["values"], record["metadata"])
