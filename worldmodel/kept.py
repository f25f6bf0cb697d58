"""A folder of checkpoints, without their tensors: what is there, which are best, which go.

    for one in listed("checkpoints"):
        print(one.path.name, one.samples, one.score)

The newest `keep` stay and, beside them, the `best` by a score on held-out cases; one that is both is kept by either.
By which score, a checkpoint's metadata says, as whoever trained wrote it:

    {"scores": {"skill_copy_last": 0.93}, "held_out": {"score": "skill_copy_last", "better": "higher", "cases": 128}}

A score of few cases is noise, and one that is missing or not finite is none: such a checkpoint is never a best one.
No torch here: who lists checkpoints does not wait for the import.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
from safetensors import SafetensorError, safe_open

from worldmodel.spec import ModelSpec, SpecError

FORMAT = 2
"""1 counted a motion of the target `flow` in patch sides, not in eighths of them: its weights would predict something else."""
PATTERN = "[0-9][0-9][0-9][0-9][0-9][0-9]-samples-*"
TENSORS, RECORD = "tensors.safetensors", "checkpoint.json"
FEWEST_CASES = 32


class CheckpointError(Exception):
    """A checkpoint that is missing, damaged or of another format."""


class HeldOut(msgspec.Struct, frozen=True):
    """By which of its scores a checkpoint is compared, and on how many held-out cases they were measured."""

    score: str
    better: Literal["higher", "lower"]
    cases: int


class Record(msgspec.Struct, frozen=True):
    """What `checkpoint.json` holds. `made`: when, and with which versions; empty in old ones."""

    format: int
    spec: dict[str, Any]
    spec_hash: str
    values: dict[str, Any]
    metadata: dict[str, Any]
    made: dict[str, Any] = {}


@dataclass(frozen=True)
class Kept:
    """A checkpoint without its tensors."""

    path: Path
    spec: ModelSpec
    record: Record

    @property
    def samples(self) -> int:
        return int(self.record.values.get("samples", 0))

    @property
    def scores(self) -> dict[str, Any]:
        found = self.record.metadata.get("scores")
        return found if isinstance(found, dict) else {}

    @property
    def held_out(self) -> HeldOut | None:
        """None where nothing was held out, or nobody said so."""
        try:
            return msgspec.convert(self.record.metadata["held_out"], HeldOut)
        except (KeyError, msgspec.ValidationError):
            return None

    @property
    def score(self) -> float | None:
        """The held-out score that it is compared by; None where it has none that counts."""
        judged = self.held_out
        value = self.scores.get(judged.score) if judged is not None and judged.cases >= FEWEST_CASES else None
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.path.iterdir())


def complete(root: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in root.glob(PATTERN) if (path / RECORD).is_file() and (path / TENSORS).is_file())


def newest_number(root: Path) -> int:
    """Of the newest checkpoint, complete or not; 0 when there is none."""
    return max((int(path.name.split("-")[0]) for path in root.glob(PATTERN)), default=0)


def latest(folder: str | os.PathLike[str]) -> Path | None:
    """The newest complete checkpoint in the folder, or None."""
    root = Path(folder)
    found = complete(root) if root.is_dir() else []
    return found[-1] if found else None


def read(path: str | os.PathLike[str]) -> Kept:
    """A checkpoint's record; that its tensors are whole is seen from their header. CheckpointError when it is not a good one."""
    place = Path(path)
    try:
        found = json.loads((place / RECORD).read_bytes())
        shapes(place)
    except FileNotFoundError as error:
        missing = Path(error.filename or TENSORS).name
        raise CheckpointError(f"{place.name} is no complete checkpoint: {missing} is missing") from error
    except (ValueError, OSError) as error:
        raise CheckpointError(f"checkpoint {place.name} is damaged: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {place.name} is not of format {FORMAT}: it was written by another version; train anew")
    try:
        record = msgspec.convert(found, Record)
        spec = ModelSpec.from_json(json.dumps(record.spec))
    except (msgspec.ValidationError, SpecError) as error:
        raise CheckpointError(f"checkpoint {place.name} is damaged: {error}") from error
    # of the spec as it was written: fields that came later have their defaults
    if hashlib.sha256(msgspec.json.encode(record.spec, order="sorted")).hexdigest() != record.spec_hash:
        raise CheckpointError(f"checkpoint {place.name} was edited: its spec does not match its hash")
    return Kept(place, spec, record)


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Of every tensor of a checkpoint, without reading them. CheckpointError when the file is damaged."""
    try:
        with safe_open(path / TENSORS, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise CheckpointError(f"checkpoint {path.name} is damaged: {error}") from error


def listed(folder: str | os.PathLike[str]) -> list[Kept]:
    """The checkpoints that can be read, oldest first."""
    found = []
    for path in complete(Path(folder)):
        with suppress(CheckpointError):
            found.append(read(path))
    return found


def best_of(found: Iterable[Kept], count: int) -> list[Kept]:
    """The `count` best, the best first; of equal ones the newer.

    Compared by what the newest one with a score is compared by; one that was compared by another score is not among them.
    """
    scored = [one for one in found if one.score is not None]
    if not scored or not scored[-1].held_out:
        return []
    judged = scored[-1].held_out
    sign = 1.0 if judged.better == "higher" else -1.0
    alike = [one for one in scored if one.held_out and (one.held_out.score, one.held_out.better) == (judged.score, judged.better)]
    return sorted(alike, key=lambda one: (sign * (one.score or 0.0), one.path.name), reverse=True)[:count]


def superfluous(folder: str | os.PathLike[str], keep: int, best: int) -> list[Path]:
    """Checkpoints that are neither of the newest `keep` nor of the `best`; the newest is never among them."""
    paths = complete(Path(folder))
    stay = set(paths[-max(1, keep) :])
    if best:
        stay |= {one.path for one in best_of(listed(folder), best)}
    return [path for path in paths if path not in stay]


def drop(path: Path) -> None:
    """Delete a checkpoint: it is hidden at once, so that a crash in the middle leaves no half one under its name.

    One that is gone already is none to delete: a training and a person may prune at the same time.
    """
    hidden = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
    with suppress(FileNotFoundError):
        os.rename(path, hidden)
        shutil.rmtree(hidden)


def sweep(root: Path) -> None:
    """Delete what processes that are gone left half written or half deleted."""
    for path in root.glob(".*-samples-*.tmp"):
        number = path.name.removesuffix(".tmp").removesuffix(".old").rpartition(".")[2]
        if number.isdigit() and (int(number) == os.getpid() or not _alive(int(number))):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
