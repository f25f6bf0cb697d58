"""Writes a session as one npz file an episode, with the keys of openpi's converter.

    observation/state [N, S] float32       observation/image [N, H, W, 3] uint8    observation/wrist_image, where there is one
    action [N, A] float32                  language_instruction                    is_first, is_last, is_terminal [N] bool
    step, t_ns [N] int64: where each row is from, which openpi does not ask for

Pictures go to the file one by one; of an episode only its numbers are held.
"""

import zipfile
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.messages import Robot
from storage.errors import ExportProblem
from storage.exchange.common import ExportReport, LeftOut, Notes, Tell, appearing, quiet
from storage.exchange.steps import Step, bad_action, robot_of, steps, tasks
from storage.views import open_session

MAIN, WRIST, DEPTH = "overhead_cam", "wrist", "_depth"


def export_npz(session: Path, target: Path, *, task: str = "", strict: bool = True, tell: Tell = quiet) -> ExportReport:
    """Write the session at `session` into the folder `target`.

    `task` is the language instruction, without it each episode's own. Steps without an action or a picture have
    no row: they are told. Actions that are no numbers are refused when `strict`, else left out. Raises
    ExportProblem; nothing is left at `target` then.
    """
    notes, left_out = Notes(), LeftOut(session, strict=strict, kind=ExportProblem)
    count = episodes = 0
    with open_session(session) as reader, appearing(target) as part:
        robot = robot_of(reader)
        main, wrist = choose_cameras(robot)
        if not wrist:
            notes.add("no camera is called wrist: there is no observation/wrist_image")
        part.mkdir(parents=True)
        said = tasks(reader)
        for episode, group in groupby(steps(reader, notes, tell), key=lambda step: step.episode):
            told = [text for (of, _), text in said.items() if of == episode]
            if len(set(told)) > 1 and not task:
                notes.add(f"episode {episode} has several tasks: its language_instruction is the first, {told[0]!r}")
            file = _Episode(part / f"episode_{episode:06d}.npz", robot, main, wrist, task or next(iter(told), ""))
            with file:
                for step in group:
                    if why := _unfit(step, main, wrist):
                        notes.add(f"{step.where} {why}: it has no row")
                    elif bad := bad_action(step):
                        left_out.add(bad)
                    else:
                        if file.rows and step.step != file.rows[-1][0] + 1:
                            notes.add(f"{step.where}: the row before it is step {file.rows[-1][0]}, no neighbour")
                        file.add(step)
            count += len(file.rows)
            episodes += bool(file.rows)
        if not count:
            raise ExportProblem(f"session {reader.header.name} has no step with a picture and an action: nothing to export")
    return ExportReport(path=str(target), episodes=episodes, frames=count, skipped=left_out.told(), notes=notes.lines())


def choose_cameras(robot: Robot) -> tuple[str, str]:
    """The main camera and the one at the wrist, "" for none, as openpi's converter chooses them. Raises ExportProblem."""
    names = [one.name for one in robot.cameras if not one.name.endswith(DEPTH)]
    wrist = next((name for name in names if WRIST in name), "")
    others = [name for name in names if name != wrist] or names
    if not others:
        raise ExportProblem("this robot has no camera: there is no observation/image to write")
    return (MAIN if MAIN in others else others[0]), wrist if others[0] != wrist else ""


def _unfit(step: Step, main: str, wrist: str) -> str:
    """Why a step can be no row; "" when it can."""
    missing = [name for name in (main, wrist) if name and name not in step.images]
    return f"has no picture of {', '.join(missing)}" if missing else "" if step.taken else "has no action"


class _Episode:
    """One file. Pictures go to plain files beside it first: how many there are stands before them in the npz."""

    def __init__(self, path: Path, robot: Robot, main: str, wrist: str, task: str) -> None:
        self.rows: list[tuple[int, int]] = []
        """Step and time in ns."""
        self._path = path
        self._robot = robot
        self._cameras = {"observation/image": main, **({"observation/wrist_image": wrist} if wrist else {})}
        self._task = task
        self._actions: list[list[float]] = []
        self._states: list[NDArray[np.float32]] = []
        self._files: dict[str, Any] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def __enter__(self) -> "_Episode":
        for key in self._cameras:
            self._files[key] = self._path.with_name(f".{key.partition('/')[2]}").open("w+b")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self.rows:
                self._write()
        finally:
            for file in self._files.values():
                file.close()
                Path(file.name).unlink(missing_ok=True)

    def add(self, step: Step) -> None:
        taken, state = step.taken, step.state
        assert taken is not None
        for key, camera in self._cameras.items():
            image = step.images[camera]
            if image.shape != self._shapes.setdefault(key, image.shape):
                raise ExportProblem(f"{step.where}: the picture of {camera} has another size than those before it")
            self._files[key].write(np.ascontiguousarray(image).data)
        self._actions.append([taken.action.get(name, 0.0) for name in self._robot.actions.names])
        self._states.append(np.zeros(0, np.float32) if state is None else np.asarray(state, np.float32))
        self.rows.append((step.step, step.frame.envelope.t_ns))

    def _write(self) -> None:
        count = len(self.rows)
        last = np.zeros(count, bool)
        last[-1] = True
        numbers: dict[str, NDArray[Any]] = {
            "observation/state": np.stack(self._states), "action": np.array(self._actions, np.float32),
            "language_instruction": np.array(self._task), "is_first": np.arange(count) == 0, "is_last": last, "is_terminal": last,
            "step": np.array([step for step, _ in self.rows], np.int64), "t_ns": np.array([t_ns for _, t_ns in self.rows], np.int64),
        }  # fmt: skip
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for key, array in numbers.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)  # type: ignore[no-untyped-call]
            for key, file in self._files.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    shape = (count, *self._shapes[key])
                    np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": shape})  # type: ignore[no-untyped-call]
                    file.seek(0)
                    while block := file.read(1 << 20):
                        member.write(block)
