"""Reads a Donkeycar tub (format v2): its records in order, and everything that is wrong with them, by file and line."""

import json
import math
import statistics
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.errors import ImportProblem

IMAGE, ANGLE, THROTTLE, MODE = "cam/image_array", "user/angle", "user/throttle", "user/mode"
PLAUSIBLE_HZ = (0.5, 150.0)
"""Times whose typical distance is outside this are not capture times (a conversion wrote them)."""


class TubRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a catalog. `line` names file and line for people."""

    index: int
    line: str
    image: Path
    angle: float
    throttle: float
    mode: str
    t_ms: int | None


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is not imported, and why."""

    where: str
    why: str


class Tub(msgspec.Struct, frozen=True, kw_only=True):
    """A tub's records sorted by index, without deleted and unreadable ones."""

    path: Path
    created_s: float | None
    records: list[TubRecord]
    deleted: list[int]
    skipped: list[Skipped]


def read_tub(path: Path) -> Tub:
    """The tub at `path`; images are not opened. Raises ImportProblem when it is none."""
    manifest = path / "manifest.json"
    if not manifest.is_file():
        raise ImportProblem(f"{path} is not a Donkeycar tub: it has no manifest.json; give the folder that holds it")
    try:
        lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line.strip()]
        catalogs = [path / str(name) for name in lines[-1]["paths"]]
        deleted = sorted(int(index) for index in lines[-1].get("deleted_indexes", []))
        created = next((float(line["created_at"]) for line in lines if isinstance(line, dict) and "created_at" in line), None)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ImportProblem(
            f"{manifest} is not the manifest of a tub v2: {type(error).__name__}: {error}; older tubs convert with donkeycar's `donkey tub`"
        ) from None
    records: list[TubRecord] = []
    skipped: list[Skipped] = []
    for catalog in catalogs:
        if not catalog.is_file():
            skipped.append(Skipped(where=str(catalog), why="the manifest names this catalog, and it is not there"))
            continue
        for line_number, line in enumerate(catalog.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{catalog}:{line_number}"
            try:
                records.append(_record(path, where, line))
            except (ValueError, KeyError, TypeError) as error:
                what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
                skipped.append(Skipped(where=where, why=what))
    kept, twice = _unique(records)
    gone = set(deleted)
    return Tub(
        path=path,
        created_s=created,
        records=[record for record in kept if record.index not in gone],
        deleted=deleted,
        skipped=skipped + twice,
    )


def tub_rate_hz(records: list[TubRecord]) -> float | None:
    """Frames per second by the tub's own times; None when they cannot be capture times."""
    times = [record.t_ms for record in records]
    steps = [b - a for a, b in pairwise(times) if a is not None and b is not None]
    if len(steps) < max(1, len(times) // 2) or min(steps) < 0:
        return None
    typical = statistics.median(steps)
    rate = 1000.0 / typical if typical > 0 else math.inf
    return rate if PLAUSIBLE_HZ[0] <= rate <= PLAUSIBLE_HZ[1] else None


def read_image(file: Path) -> NDArray[np.uint8]:
    """The picture as [H, W, 3] uint8 RGB. Raises ValueError that says what is wrong with it."""
    try:
        import cv2  # only imports need it: opencv is an extra
    except ImportError:
        raise ImportProblem(
            "importing a tub decodes JPEG with OpenCV, which is not installed: pip install 'toddle-robotics[viewer]'"
        ) from None

    try:
        data = file.read_bytes()
    except OSError:
        raise ValueError(f"image {file.name} is missing") from None
    # a JPEG that was cut decodes without complaint, its rest grey: only its end mark tells
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-64:]:
        raise ValueError(f"image {file.name} is cut off")
    decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR) if data else None
    if decoded is None:
        raise ValueError(f"image {file.name} cannot be decoded")
    return np.ascontiguousarray(decoded[:, :, ::-1], dtype=np.uint8)


def _record(path: Path, where: str, line: str) -> TubRecord:
    data: Any = json.loads(line)
    if not isinstance(data, dict):
        raise TypeError("not a JSON object")
    time_ms = data.get("_timestamp_ms")
    return TubRecord(
        index=int(data["_index"]), line=where, image=path / "images" / Path(str(data[IMAGE])).name,
        angle=_number(data, ANGLE), throttle=_number(data, THROTTLE), mode=str(data.get(MODE) or "user"),
        t_ms=int(time_ms) if isinstance(time_ms, int | float) and math.isfinite(time_ms) else None,
    )  # fmt: skip


def _number(data: dict[str, Any], name: str) -> float:
    value = data[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, expected a finite number")
    return float(value)


def _unique(records: list[TubRecord]) -> tuple[list[TubRecord], list[Skipped]]:
    """Sorted by index; of records with one index the first is kept."""
    by_index: dict[int, TubRecord] = {}
    skipped: list[Skipped] = []
    for record in records:
        if by_index.setdefault(record.index, record) is not record:
            skipped.append(Skipped(where=record.line, why=f"index {record.index} is there already"))
    return sorted(by_index.values(), key=lambda record: record.index), skipped


def chunked_episodes(records: list[TubRecord], starts: list[int]) -> Iterator[tuple[int, list[TubRecord]]]:
    """Per episode the index of its step 0 and its records: a new episode begins at each index in `starts`."""
    if not records:
        return
    edges = [records[0].index, *(start for start in sorted(set(starts)) if start > records[0].index), math.inf]
    for first, after in pairwise(edges):
        chosen = [record for record in records if first <= record.index < after]
        if chosen:
            yield int(first), chosen
