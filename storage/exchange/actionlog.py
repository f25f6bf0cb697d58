"""Reads discrete-action logs: those of LeRobot recordings of the original system and of the policies here, one line a decision.

The decision that a line tells was made at video frame `frame_index` of its episode; the frame of the next
decision, or the last one of the episode, shows what it led to. A line `end` says where a sequence was over.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from storage.errors import ImportProblem

STAY, CHOICES = 0, (0, 1, 2)
EPISODE = "episode_index"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision. `where` names file and line, or session and step, for people; `t_s` is wall clock."""

    where: str
    choice: int
    frame_index: int
    t_s: float


class ActionLog(msgspec.Struct, frozen=True, kw_only=True):
    """The log of one episode: its header as it stands there, its decisions in order, and the frame at which they were over."""

    where: str
    header: dict[str, Any] = {}
    decisions: list[Decision] = []
    end_frame: int | None = None

    @property
    def trimmed(self) -> list[Decision]:
        """Without the stays at the end: a sequence that is over stays for ever. All of them where the end is told.

        None is left of an episode of stays.
        """
        if self.end_frame is not None:
            return self.decisions
        end = max((place for place, one in enumerate(self.decisions, start=1) if one.choice != STAY), default=0)
        return self.decisions[:end]

    @property
    def episode(self) -> int | None:
        """Its number, as the header says it."""
        number = self.header.get(EPISODE)
        return number if isinstance(number, int) and not isinstance(number, bool) else None

    def number(self, name: str) -> float | None:
        """A number of the header; None when it has none of that name."""
        value = self.header.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def read_logs(path: Path) -> list[ActionLog]:
    """The logs in the folder `path`, in order: the n-th is of episode n; or those of one file. Logs without a decision are of no episode.

    Raises ImportProblem on anything else than such logs: a decision at the wrong frame cannot be told from a right one.
    """
    files = [path] if path.is_file() else sorted(path.glob("episode_*.jsonl"))
    if not files:
        raise ImportProblem(f"{path} has no discrete-action logs: they are called episode_000000.jsonl and so on")
    return [log for file in files for log in _read(file) if log.decisions]


def fitting(logs: list[ActionLog], episodes: int) -> tuple[list[ActionLog], list[str]] | None:
    """One log for each of a recording's episodes, and what a person should know of that; None where they do not fit.

    By the numbers in their headers, the last of each: the others are of episodes that were thrown away. Only logs that
    have none, or not those of the episodes, are taken in their order, and only where there are just as many.
    """
    numbered = {log.episode: log for log in logs if log.episode is not None}
    if len(numbered) and all(log.episode is not None for log in logs) and set(range(episodes)) <= set(numbered):
        over = sorted(number for number in numbered if number is not None and number >= episodes)
        notes = [f"no episode {number} was recorded: its log is left out" for number in over]
        return [numbered[number] for number in range(episodes)], notes
    if len(logs) != episodes:
        return None
    odd = [str(log.episode) for log in logs if log.episode is not None]
    return logs, [f"the logs are taken in their order: their headers have the numbers {', '.join(odd)}"] if odd else []


def _read(file: Path) -> list[ActionLog]:
    """The logs of one file: a header begins one, the first may lack it. Raises ImportProblem."""
    logs = [ActionLog(where=str(file))]
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            data = json.loads(line)
            if data["type"] == "header":
                logs.append(ActionLog(where=str(file), header=data, decisions=[]))
            elif data["type"] == "end":
                logs[-1] = msgspec.structs.replace(logs[-1], end_frame=int(data["frame_index"]))
            else:
                _add(logs[-1], where, data)
        except (ValueError, KeyError, TypeError) as error:
            what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            raise ImportProblem(f"{where}: {what}") from None
    return logs


def _add(log: ActionLog, where: str, data: dict[str, Any]) -> None:
    """One decision more. Raises ValueError, KeyError."""
    if "frame_index" not in data:
        raise ValueError("frame_index is missing: at which frame it was decided cannot be told")
    one = Decision(where=where, choice=int(data["discrete_action"]), frame_index=int(data["frame_index"]), t_s=float(data["timestamp"]))
    if one.choice not in CHOICES:
        raise ValueError(f"discrete_action is {one.choice}, expected 0, 1 or 2")
    if one.frame_index <= (log.decisions[-1].frame_index if log.decisions else -1):
        raise ValueError(f"frame_index {one.frame_index} does not come after the one before")
    log.decisions.append(one)
