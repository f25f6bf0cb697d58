"""Writes the numbers of a session as CSV: `steps.csv`, `metrics.csv`, `episodes.csv`.

Every number is written so that reading it gives the same one again. What a step does not have is empty.
"""

import csv
from pathlib import Path
from typing import Any

from protocol.clock import NS_PER_S
from protocol.messages import Metrics, Robot
from storage.exchange.common import ExportReport, Notes, Tell, appearing, quiet
from storage.exchange.steps import Step, marks, robot_of, steps
from storage.reader import SessionReader
from storage.views import open_session

STEP_COLUMNS = ["episode", "step", "t_ns", "mono_ns", "seconds", "held_out", "last"]
ACTION_COLUMNS = ["by", "start_ns", "end_ns", "success", "safe"]
METRIC_COLUMNS = ["t_ns", "topic", "episode", "step", "name", "value"]
EPISODE_COLUMNS = ["episode", "first_step", "last_step", "frames", "actions", "held_out", "seconds", "marks"]


def export_csv(session: Path, target: Path, *, tell: Tell = quiet) -> ExportReport:
    """Write the tables of the session at `session` into the folder `target`. Raises ExportProblem; nothing is left there then."""
    notes, count = Notes(), 0
    with open_session(session) as reader, appearing(target) as part:
        robot = robot_of(reader)
        part.mkdir(parents=True)
        with _opened(part / "steps.csv") as file:
            table = csv.writer(file, lineterminator="\n")
            actions = [f"action/{name}" for name in robot.actions.names]
            table.writerow([*STEP_COLUMNS, *actions, *ACTION_COLUMNS, *(f"state/{name}" for name in _state_names(robot, reader))])
            episode, first_ns, seen = -1, 0, set[int]()
            for step in steps(reader, notes, tell):
                if step.episode != episode:
                    episode, first_ns = step.episode, step.frame.envelope.mono_ns
                    seen.add(episode)
                table.writerow(_row(step, robot, first_ns))
                count += 1
        _metrics(reader, part / "metrics.csv")
        _episodes(reader, part / "episodes.csv")
    return ExportReport(path=str(target), episodes=len(seen), frames=count, skipped=[], notes=notes.lines())


def _opened(path: Path) -> Any:
    return path.open("w", encoding="utf-8", newline="")


def _state_names(robot: Robot, reader: SessionReader) -> list[str]:
    """The robot's names; numbers where it has states without names."""
    if robot.state_names:
        return robot.state_names
    first = next(iter(steps(reader)), None)
    state = first.state if first else None
    return [] if state is None else [str(place) for place in range(len(state))]


def _row(step: Step, robot: Robot, first_ns: int) -> list[Any]:
    envelope, taken, state = step.frame.envelope, step.taken, step.state
    action = taken.action if taken else {}
    done = [taken.by, taken.start_ns, taken.end_ns, int(taken.success), int(taken.safe)] if taken else [""] * len(ACTION_COLUMNS)
    return [
        step.episode, step.step, envelope.t_ns, envelope.mono_ns, (envelope.mono_ns - first_ns) / NS_PER_S, int(step.seen.held_out),
        int(step.seen.last), *(action.get(name, "") for name in robot.actions.names), *done,
        *([] if state is None else [float(value) for value in state]),
    ]  # fmt: skip


def _metrics(reader: SessionReader, path: Path) -> None:
    with _opened(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(METRIC_COLUMNS)
        for message in reader.topic_messages("metrics"):
            envelope, body = message.envelope, message.body
            if isinstance(body, Metrics):
                place = [envelope.t_ns, envelope.topic, envelope.episode, envelope.step]
                table.writerows([*place, name, value] for name, value in body.values.items())


def _episodes(reader: SessionReader, path: Path) -> None:
    rows = marks(reader)
    with _opened(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(EPISODE_COLUMNS)
        for row in reader.episodes():
            told = " ".join(one.mark.mark for one in rows.get(row.episode, []))
            seconds = (row.last_t_ns - row.first_t_ns) / NS_PER_S
            table.writerow([row.episode, row.first_step, row.last_step, row.frames, row.actions, int(row.held_out), seconds, told])
