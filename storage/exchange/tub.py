"""Reads a Donkeycar tub (format v2): its records in order, and everything that is wrong with them, by file and line.

Records are streamed, never held: `survey` goes through all lines once and says what the tub is, `records`
goes through them again.
"""

import hashlib
import json
import math
import statistics
from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from protocol.messages import Robot
from storage.errors import ImportProblem
from storage.exchange.common import LeftOut, Notes, Skipped, Tell, quiet, whole
from storage.exchange.images import missing_image
from storage.exchange.steps import MarkRow

IMAGE, ANGLE, THROTTLE, MODE = "cam/image_array", "user/angle", "user/throttle", "user/mode"
PILOT = {"local": ("pilot/angle", "pilot/throttle"), "local_angle": ("pilot/angle", THROTTLE)}
"""In these modes the car did what its pilot said."""
OWN = "toddle/"
"""Fields of an exported session begin with this: they say what a tub has no place for."""
NS_PER_MS = 1_000_000
PLAUSIBLE_HZ = (0.5, 150.0)
"""Times whose typical distance is outside this are not capture times (a conversion wrote them)."""


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What `toddle sessions export donkeycar` adds to a record; an episode's first record has its marks."""

    episode: int
    step: int
    t_ns: int
    mono_ns: int
    acted_ns: int
    acted_mono_ns: int
    by: str
    start_ns: int
    end_ns: int
    success: bool = True
    safe: bool = False
    held_out: bool = False
    last: bool = False
    marks: list[MarkRow] = []


class TubRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a catalog. `line` names file and line for people; `state` has the tub's other numbers."""

    index: int
    line: str
    image: Path
    angle: float
    throttle: float
    mode: str
    t_ms: int | None
    drive: str = ""
    state: list[float] = []
    own: Own | None = None


class Tub(msgspec.Struct, frozen=True, kw_only=True):
    """What a tub says of itself, and which of its catalogs are there."""

    path: Path
    created_s: float | None
    catalogs: list[Path]
    current_index: int | None
    deleted: frozenset[int]
    state_names: list[str]
    others: list[str]
    robot: Robot | None = None


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What a tub's lines say: `records` of them are to be imported. `rate_hz` is None where their times say nothing."""

    records: int
    first: int
    last: int
    rate_hz: float | None
    first_t_ns: int
    faults: LeftOut
    notes: list[str]
    reverse: bool
    own: bool
    sha256: str


def read_manifest(path: Path) -> Tub:
    """The tub at `path`; its records are not read. Raises ImportProblem when it is none."""
    manifest = path / "manifest.json"
    if not manifest.is_file():
        raise ImportProblem(f"{path} is not a Donkeycar tub: it has no manifest.json; give the folder that holds it")
    try:
        lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not lines or not isinstance(lines[-1], dict):
            raise TypeError("its last line is no JSON object")
        told, about = lines[-1], lines[2] if len(lines) > 3 and isinstance(lines[2], dict) else {}
        inputs = dict(zip(map(str, lines[0]), map(str, lines[1]), strict=False)) if len(lines) > 3 else {}
        known = {IMAGE, ANGLE, THROTTLE, MODE, "timestamp", "pilot/angle", "pilot/throttle"}
        extra = {name: kind for name, kind in inputs.items() if name not in known and not name.startswith(OWN)}
        created = [float(line["created_at"]) for line in lines if isinstance(line, dict) and "created_at" in line]
        for at in created:
            whole(at * 1000 * NS_PER_MS, "created_at in ns")
        return Tub(
            path=path, created_s=next(iter(created), None),
            catalogs=[path / Path(str(name)).name for name in told["paths"]],
            current_index=int(told["current_index"]) if "current_index" in told else None,
            deleted=frozenset(int(index) for index in told.get("deleted_indexes", [])),
            state_names=[name for name, kind in extra.items() if kind in ("float", "int")],
            others=[name for name, kind in extra.items() if kind not in ("float", "int")],
            robot=msgspec.convert(about["toddle"], Robot) if "toddle" in about else None,
        )  # fmt: skip
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
        raise ImportProblem(
            f"{manifest} is not the manifest of a tub v2: {what}; older tubs convert with donkeycar's `donkey tub`"
        ) from None


def survey(tub: Tub, tell: Tell = quiet) -> Survey:
    """Go through every line of the tub. Raises nothing: what is wrong is in `faults` and `notes`."""
    times, faults, notes = array("q"), LeftOut(tub.path), Notes()
    count, outside, untimed, own = 0, 0, 0, True
    first = last = None
    reverse = False
    for item in records(tub):
        tell(0, 1)
        if isinstance(item, Skipped):
            faults.add(item)
            continue
        if not item.image.is_file():  # what shows only when it is decoded comes later
            faults.add(Skipped(where=item.line, why=missing_image(item.image)))
        count, first, last = count + 1, item if first is None else first, item
        outside += abs(item.angle) > 1.0 or abs(item.throttle) > 1.0
        reverse |= item.throttle < 0
        own &= item.own is not None
        if item.t_ms is None:
            untimed += 1
        else:
            times.append(item.t_ms)
    if tub.deleted:
        notes.add(f"deleted in the tub, not imported: {len(tub.deleted)} records")
    if tub.others:
        notes.add(f"fields that are no numbers, not imported: {', '.join(tub.others)}")
    if outside:
        notes.add(f"{outside} actions are outside -1 to 1; they are kept as they are")
    if untimed:
        notes.add(f"{untimed} records have no _timestamp_ms")
    for line in _contradictions(tub):
        notes.add(line)
    return Survey(
        records=count, first=first.index if first else 0, last=last.index if last else -1,
        rate_hz=rate_hz(times) if len(times) > count // 2 else None,
        first_t_ns=first.own.t_ns if first and first.own else times[0] * NS_PER_MS if times else int((tub.created_s or 0.0) * 1e9),
        faults=faults, notes=notes.lines(), reverse=reverse, own=own and count > 0, sha256=_sha256(tub),
    )  # fmt: skip


def rate_hz(times_ms: "array[int]") -> float | None:
    """Frames per second by the tub's own times; None when they stand still or go back too often."""
    steps = array("q", (b - a for a, b in pairwise(times_ms)))
    if not steps or sum(step < 0 for step in steps) > max(1, len(steps) // 10):
        return None
    typical = statistics.median(steps)
    return 1000.0 / typical if typical > 0 else None


def records(tub: Tub) -> Iterator[TubRecord | Skipped]:
    """The records in order, without deleted ones; for what cannot be read, and for rows that are not there, a Skipped."""
    last: int | None = None
    for catalog in tub.catalogs:
        if not catalog.is_file():
            yield Skipped(where=str(catalog), why="the manifest names this catalog, and it is not there")
            continue
        for number, line in _lines(catalog):
            where = f"{catalog}:{number}"
            try:
                index, data = _index(line)
                if last is not None and index <= last:
                    raise ValueError(f"index {index} is there already" if index == last else f"index {index} comes after {last}")
                if last is not None and index > last + 1:
                    gone = f"{last + 1} to {index - 1}" if index > last + 2 else f"{last + 1}"
                    yield Skipped(where=where, why=f"records {gone} are missing before this one")
                last = index
                if index not in tub.deleted:
                    yield _record(tub, where, index, data)
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
                yield Skipped(where=where, why=f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error))
    if tub.current_index is not None and last is not None and last + 1 < tub.current_index:
        yield Skipped(
            where=str(tub.path / "manifest.json"), why=f"it tells of records up to {tub.current_index - 1}, and the last one is {last}"
        )


def _lines(catalog: Path) -> Iterator[tuple[int, str]]:
    with catalog.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.decode("utf-8", errors="replace").strip()
            if text:
                yield number, text


def _index(line: str) -> tuple[int, dict[str, Any]]:
    data: Any = json.loads(line)
    if not isinstance(data, dict):
        raise TypeError("not a JSON object")
    return whole(data["_index"], "_index"), data


def _record(tub: Tub, where: str, index: int, data: dict[str, Any]) -> TubRecord:
    time_ms, mode = data.get("_timestamp_ms"), str(data.get(MODE) or "user")
    t_ms = int(time_ms) if isinstance(time_ms, int | float) and math.isfinite(time_ms) else None
    whole((t_ms or 0) * NS_PER_MS, "_timestamp_ms in ns")
    pilot = PILOT.get(mode, (ANGLE, THROTTLE))
    angle, throttle = (name if name in data else person for name, person in zip(pilot, (ANGLE, THROTTLE), strict=True))
    own = {name.removeprefix(OWN): value for name, value in data.items() if name.startswith(OWN)}
    if "marks" in own:
        own["marks"] = json.loads(own["marks"])
    return TubRecord(
        index=index, line=where, image=tub.path / "images" / Path(str(data[IMAGE])).name,
        angle=_number(data, angle), throttle=_number(data, throttle), mode=mode,
        t_ms=t_ms,
        drive=str(data.get("_session_id", "")), state=[float(data.get(name, math.nan)) for name in tub.state_names],
        own=msgspec.convert(own, Own) if own else None,
    )  # fmt: skip


def _number(data: dict[str, Any], name: str) -> float:
    value = data[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, expected a finite number")
    return float(value)


def _contradictions(tub: Tub) -> Iterator[str]:
    """What the catalogs' manifests say that the catalogs do not."""
    for catalog in tub.catalogs:
        manifest = catalog.with_suffix(".catalog_manifest")
        if not catalog.is_file() or not manifest.is_file():
            continue
        try:
            lengths = json.loads(manifest.read_text(encoding="utf-8").partition("\n")[0])["line_lengths"]
        except (ValueError, KeyError, TypeError) as error:
            yield f"{manifest} cannot be read ({type(error).__name__}: {error}); {catalog.name} itself is what counts"
            continue
        with catalog.open("rb") as file:
            found = [len(line) for line in file]
        if found != lengths:
            at = next((number for number, (a, b) in enumerate(zip(found, lengths, strict=False), start=1) if a != b), None)
            where = f"{len(lengths)} lines, it has {len(found)}" if at is None else f"another length of line {at}"
            yield f"{manifest} tells of {where}; {catalog.name} itself is what counts"
    named = {catalog.name for catalog in tub.catalogs}
    for other in sorted(tub.path.glob("*.catalog")):
        if other.name not in named:
            yield f"{other} is not named in the manifest, not imported"


def _sha256(tub: Tub) -> str:
    """Of all lines: the same tub gives the same number, so that two imports of it are the same, event for event."""
    digest = hashlib.sha256()
    for catalog in tub.catalogs:
        if catalog.is_file():
            with catalog.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
