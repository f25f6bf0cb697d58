"""Writes a session as a Donkeycar tub (format v2), one record a step.

Donkeycar reads what it knows: picture, angle, throttle, mode, time in milliseconds, and each number of the
state under its name. Fields that begin with `toddle/` say what a tub has no place for (episode, step, times
in nanoseconds, marks), so that the tub comes back as the session that it was.
"""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.messages import ActionTaken, Robot
from storage.errors import ExportProblem
from storage.exchange.common import ExportReport, LeftOut, Notes, Tell, appearing, quiet
from storage.exchange.images import write_jpeg
from storage.exchange.steps import MarkRow, Step, bad_action, marks, not_exported, robot_of, steps
from storage.exchange.tub import ANGLE, IMAGE, MODE, OWN, THROTTLE, Own
from storage.views import open_session

CATALOG_LINES = 1000
MOST_NAMES = 8
"""Of another robot's actions that an error lists."""
FIELDS = {
    IMAGE: "image_array", ANGLE: "float", THROTTLE: "float", MODE: "str",
    **{f"{OWN}{name}": "int" for name in ("episode", "step", "t_ns", "mono_ns", "acted_ns", "acted_mono_ns", "start_ns", "end_ns")},
    **{f"{OWN}{name}": "boolean" for name in ("success", "safe", "held_out", "last")}, f"{OWN}by": "str", f"{OWN}marks": "str",
}  # fmt: skip


def export_tub(session: Path, target: Path, *, camera: str = "", strict: bool = True, tell: Tell = quiet) -> ExportReport:
    """Write the session at `session` as a tub at `target`. Of several cameras `camera` says which.

    Steps without an action or without a picture have no place in a tub: they are told. Actions that are no
    numbers are refused when `strict`, else left out. Raises ExportProblem; nothing is left at `target` then.
    """
    notes, left_out, count = Notes(), LeftOut(session, strict=strict, kind=ExportProblem), 0
    episodes: set[int] = set()
    with open_session(session) as reader, appearing(target) as part:
        robot = robot_of(reader)
        camera = _checked(robot, camera)
        if not robot.state_names and any(step.state is not None for step in islice(steps(reader), 1)):
            notes.add("the numbers of the state have no names: they are not exported")
        rows = marks(reader)
        if others := [name for name in robot.actions.names if name not in ("angle", "throttle")]:
            notes.add(f"actions that a tub has no place for, not exported: {', '.join(others)}")
        with _Writer(part, robot, camera) as writer:
            for step in steps(reader, notes, tell):
                image, taken = step.images.get(camera), step.taken
                if image is None or taken is None:
                    notes.add(f"{step.where} has no {'picture' if image is None else 'action'}: a tub has no place for it")
                    continue
                if bad := bad_action(step):
                    left_out.add(bad)
                    continue
                writer.add(step, image, taken, [] if step.episode in episodes else rows.get(step.episode, []))
                episodes.add(step.episode)
                count += 1
        for line in not_exported(reader, *(f"{kind}/{robot.robot}" for kind in ("robot", "frame", "action", "episode"))):
            notes.add(line)
        if not count:
            raise ExportProblem(f"session {reader.header.name} has no step with a picture and an action: nothing to export")
    return ExportReport(path=str(target), episodes=len(episodes), frames=count, skipped=left_out.told(), notes=notes.lines())


def _checked(robot: Robot, camera: str) -> str:
    """The camera to export. Raises ExportProblem when a tub cannot hold this robot."""
    if not {"angle", "throttle"} <= set(robot.actions.names):
        names = robot.actions.names
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        raise ExportProblem(
            f"a tub has the actions angle and throttle, this robot has {', '.join(names[:MOST_NAMES]) or 'none'}{more}: use another format"
        )
    names = [one.name for one in robot.cameras]
    if camera and camera not in names:
        raise ExportProblem(f"this robot has no camera {camera!r}: it has {', '.join(names)}")
    if not camera and len(names) != 1:
        raise ExportProblem(f"a tub has one camera, this robot has {', '.join(names) or 'none'}: say which with --camera")
    return camera or names[0]


class _Writer:
    """Lines, catalogs and pictures, as donkeycar writes them."""

    def __init__(self, path: Path, robot: Robot, camera: str) -> None:
        self._path = path
        self._robot = msgspec.structs.replace(robot, cameras=[one for one in robot.cameras if one.name == camera])
        self._index = 0
        self._lengths: list[int] = []
        self._catalogs: list[str] = []
        self._created_s = 0.0
        (path / "images").mkdir(parents=True)

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._end_catalog()
            self._manifest()

    def add(self, step: Step, image: NDArray[np.uint8], taken: ActionTaken, rows: list[MarkRow]) -> None:
        if len(self._lengths) == CATALOG_LINES:
            self._end_catalog()
        if not self._lengths:
            self._catalogs.append(f"catalog_{len(self._catalogs)}.catalog")
        envelope = step.frame.envelope
        acted = step.action.envelope if step.action else envelope
        self._created_s = self._created_s or envelope.t_ns / 1e9
        own = Own(
            episode=step.episode, step=step.step, t_ns=envelope.t_ns, mono_ns=envelope.mono_ns,
            acted_ns=acted.t_ns, acted_mono_ns=acted.mono_ns, by=taken.by, start_ns=taken.start_ns,
            end_ns=taken.end_ns, success=taken.success, safe=taken.safe, held_out=step.seen.held_out, last=step.seen.last,
        )  # fmt: skip
        name = f"{self._index}_cam_image_array_.jpg"
        record: dict[str, Any] = {
            "_index": self._index, "_session_id": f"episode_{step.episode}", "_timestamp_ms": round(envelope.t_ns / 1e6), IMAGE: name,
            ANGLE: taken.action["angle"], THROTTLE: taken.action["throttle"], MODE: "user" if taken.by in ("user", "person") else taken.by,
            **{f"{OWN}{key}": value for key, value in msgspec.to_builtins(own).items() if key != "marks"}, **self._state(step),
        }  # fmt: skip
        if rows:
            record[f"{OWN}marks"] = msgspec.json.encode(rows).decode()
        write_jpeg(self._path / "images" / name, image)
        line = json.dumps(record, allow_nan=False, sort_keys=True) + "\n"
        with (self._path / self._catalogs[-1]).open("a", encoding="utf-8", newline="\n") as file:
            file.write(line)
        self._lengths.append(len(line))
        self._index += 1

    def _state(self, step: Step) -> dict[str, float]:
        """Each number of the state under its name; one that is none is left out."""
        state = step.state
        if state is None:
            return {}
        return {name: float(value) for name, value in zip(self._robot.state_names, state, strict=False) if np.isfinite(value)}

    def _end_catalog(self) -> None:
        if not self._lengths:
            return
        catalog = self._catalogs[-1]
        told: dict[str, Any] = {
            "created_at": self._created_s, "line_lengths": self._lengths, "path": Path(catalog).with_suffix(".catalog_manifest").name,
            "start_index": self._index - len(self._lengths),
        }  # fmt: skip
        (self._path / told["path"]).write_text(json.dumps(told, allow_nan=False, sort_keys=True) + "\n", encoding="utf-8")
        self._lengths = []

    def _manifest(self) -> None:
        fields = {**FIELDS, **dict.fromkeys(self._robot.state_names, "float")}
        lines: list[Any] = [
            list(fields), list(fields.values()), {"toddle": msgspec.to_builtins(self._robot)}, {"created_at": self._created_s},
            {"paths": self._catalogs, "current_index": self._index, "max_len": CATALOG_LINES, "deleted_indexes": []},
        ]  # fmt: skip
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (self._path / "manifest.json").write_text(text, encoding="utf-8", newline="\n")
