"""Reads a session folder of the original system: `session_meta.json`, shards of events as JSON lines, frames as pictures.

One counter numbers observations and actions; an action led from the observation before it to the one after
it. Events are streamed, shard by shard.
"""

import json
import math
import statistics
from array import array
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from protocol.clock import NS_PER_S
from protocol.messages import Action, Robot
from storage.errors import ImportProblem
from storage.exchange.common import Skipped, whole
from storage.exchange.steps import MarkRow

META = "session_meta.json"
OWN = "toddle"
"""The key under which an exported session says what the format has no place for."""
EARLIEST_S = 1e6
"""Times before this are no wall clock: the original system's converter counts from 0."""


class OwnFolder(msgspec.Struct, frozen=True, kw_only=True):
    """What an export adds to the metadata. A hole in an episode divides it into several folders: `part`s."""

    session: str
    episode: int
    part: int
    robot: Robot
    marks: list[MarkRow] = []


class OwnSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What an export adds to an observation."""

    step: int
    t_ns: int
    mono_ns: int
    held_out: bool = False
    last: bool = False
    state: list[float] | None = None


class OwnTaken(msgspec.Struct, frozen=True, kw_only=True):
    """What an export adds to an action."""

    t_ns: int
    mono_ns: int
    by: str
    start_ns: int
    end_ns: int
    success: bool = True
    safe: bool = False


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """An observation: the `count`-th of its folder. `where` names file and line for people."""

    where: str
    step: int
    count: int
    t_ns: int
    image: Path
    own: OwnSeen | None = None


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """An action."""

    where: str
    step: int
    t_ns: int
    action: Action
    own: OwnTaken | None = None


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """An observation, and the one action that led to the next one. `hole`: something is missing between this and the next."""

    seen: Seen
    taken: Taken | None
    hole: bool = False


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A session folder as its metadata tells."""

    path: Path
    robot_type: str
    choices: list[Action]
    meta: dict[str, Any]
    own: OwnFolder | None = None

    @property
    def episodes(self) -> int:
        """How many episodes the original system's converter put into this folder."""
        told, count = self.meta.get("combined_episodes"), self.meta.get("num_episodes")
        count = count if isinstance(count, int) else len(told) if isinstance(told, list) else 1
        return count if told else 1


def read_folders(path: Path) -> tuple[list[Folder], list[Skipped]]:
    """The session folder at `path`, or all that lie in it; and those that say nothing of themselves. Raises ImportProblem."""
    if (path / META).is_file():
        return [_read_folder(path)], []
    inside = {entry.parent for name in (META, "events_shard_*.jsonl") for entry in path.glob(f"*/{name}")} if path.is_dir() else set()
    if not any((one / META).is_file() for one in inside):
        raise ImportProblem(f"{path} is no session of the original system: neither it nor a folder in it has a {META}")
    folders, unread = [], []
    for one in sorted(inside):
        try:
            folders.append(_read_folder(one))
        except ImportProblem as error:
            unread.append(Skipped(where=str(one), why=str(error).removeprefix(f"{one}/")))
    if not folders:
        raise ImportProblem(str(unread[0]))
    return folders, unread


def _read_folder(path: Path) -> Folder:
    """The metadata at `path`. Raises ImportProblem when they are none."""
    file = path / META
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(meta, dict):
            raise TypeError("not a JSON object")
        own = meta.get(OWN)
        return Folder(
            path=path, robot_type=str(meta.get("robot_type") or "unknown"), meta={key: value for key, value in meta.items() if key != OWN},
            choices=[_numbers(choice) for choice in meta.get("action_space") or []], own=msgspec.convert(own, OwnFolder) if own else None,
        )  # fmt: skip
    except FileNotFoundError:
        raise ImportProblem(f"{file} is missing") from None
    except (OSError, ValueError, TypeError, AttributeError, msgspec.MsgspecError) as error:
        raise ImportProblem(f"{file} is not the metadata of a session: {error}") from None


def moves(folder: Folder) -> Iterator[Move | Skipped]:
    """Every observation in order, with its action; for what cannot be read, or is not there, a Skipped."""
    seen: Seen | None = None
    taken: list[Taken] = []
    hole = False
    for item in _events(folder):
        if isinstance(item, Skipped):
            hole = True
            yield item
        elif isinstance(item, Seen):
            if seen is not None:
                yield Move(seen=seen, taken=_only(taken), hole=hole)
            seen, taken, hole = item, [], False
        elif seen is None:
            yield Skipped(where=item.where, why="an action before the first observation")
        elif hole:
            yield Skipped(where=item.where, why="an action whose observation is missing")
        else:
            taken.append(item)
            if len(taken) == 2:
                yield Skipped(
                    where=item.where, why=f"two actions follow the observation of step {seen.step}: neither led to the next alone"
                )
    if seen is not None:
        yield Move(seen=seen, taken=_only(taken), hole=hole)


def _only(taken: list[Taken]) -> Taken | None:
    return taken[0] if len(taken) == 1 else None


def _events(folder: Folder) -> Iterator[Seen | Taken | Skipped]:
    """What the shards say, line by line, in the order of steps."""
    last, events, count = -1, 0, 0
    for shard in _shards(folder):
        if isinstance(shard, Skipped):
            yield shard
            continue
        with shard.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                events += 1
                where = f"{shard}:{number}"
                try:
                    item = _event(folder, where, line, count)
                    if item.step <= last:
                        raise ValueError(f"step {item.step} comes after step {last}")
                    if item.step > last + 1:
                        gone = f"steps {last + 1} to {item.step - 1}" if item.step > last + 2 else f"step {last + 1}"
                        yield Skipped(where=where, why=f"{gone} missing before this one")
                    last = item.step
                    count += isinstance(item, Seen)
                    yield item
                except (ValueError, TypeError, KeyError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
                    yield Skipped(where=where, why=f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error))
                    last += 1
    told = folder.meta.get("total_steps")
    if isinstance(told, int) and told > events:
        yield Skipped(where=str(folder.path / META), why=f"it tells of {told} events, {events} are there")


def _shards(folder: Folder) -> Iterator[Path | Skipped]:
    """The files of events in order; a Skipped where some are not there."""
    found = {int(path.stem.rpartition("_")[2]): path for path in folder.path.glob("events_shard_*.jsonl") if path.stem[-1].isdigit()}
    told, after = folder.meta.get("total_shards"), 0
    for number in [*sorted(found), told if isinstance(told, int) else 0]:
        if number > after:
            more = f", nor those up to {number - 1}" if number > after + 1 else ""
            yield Skipped(where=str(folder.path / f"events_shard_{after:03d}.jsonl"), why=f"this shard is not there{more}")
        if number >= after and number in found:
            yield found[number]
        after = max(after, number + 1)


def _event(folder: Folder, where: str, line: bytes, count: int) -> Seen | Taken:
    data: Any = json.loads(line.decode("utf-8", errors="replace"), parse_float=Decimal)
    if not isinstance(data, dict) or not isinstance(data["data"], dict):
        raise TypeError("not an event as a JSON object")
    step, kind, body = whole(data["step"], "step"), data["type"], data["data"]
    whole(data["timestamp"], "timestamp")
    t_ns = whole(data["timestamp"] * NS_PER_S, "timestamp")
    own = _plain(data.get(OWN))
    if kind == "observation":
        image = folder.path / "frames" / Path(str(body["frame_path"])).name
        return Seen(where=where, step=step, count=count, t_ns=t_ns, image=image, own=msgspec.convert(own, OwnSeen) if own else None)
    if kind == "action":
        action = _numbers(body)
        if folder.choices and set(action) != set(folder.choices[0]):
            raise ValueError(f"the action has {', '.join(action)}, the action space {', '.join(folder.choices[0])}")
        return Taken(where=where, step=step, t_ns=t_ns, action=action, own=msgspec.convert(own, OwnTaken) if own else None)
    raise ValueError(f"an event of type {kind!r}: expected observation or action")


def _numbers(action: Any) -> Action:
    """A dict of finite numbers. Raises ValueError when it is none."""
    if not isinstance(action, dict):
        raise TypeError(f"the action is {str(action)[:60]!r}, expected a dict of numbers")
    for name, value in action.items():
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not math.isfinite(value):
            raise ValueError(f"{name!r} of the action is {value}, expected a finite number")
    return {str(name): float(value) for name, value in action.items()}


def _plain(value: Any) -> Any:
    """Decimals as floats again."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value


def rate_hz(times_ns: "array[int]") -> float | None:
    """Observations per second by their own times; None when these say nothing."""
    steps = array("q", (b - a for a, b in pairwise(times_ns) if b > a))
    return NS_PER_S / statistics.median(steps) if steps else None
