"""Reads the discrete-action logs that LeRobot recordings of the original system carry: one line a decision.

The decision that a line tells was made at video frame `frame_index` of its episode; the frame of the next
decision, or the last one of the episode, shows what it led to.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from storage.errors import ImportProblem

STAY, CHOICES = 0, (0, 1, 2)


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision. `where` names file and line for people; `t_s` is wall clock."""

    where: str
    choice: int
    frame_index: int
    t_s: float


class ActionLog(msgspec.Struct, frozen=True, kw_only=True):
    """The log of one episode: its header as it stands there, and its decisions in order."""

    path: Path
    header: dict[str, Any]
    decisions: list[Decision]

    @property
    def trimmed(self) -> list[Decision]:
        """Without the stays at the end: a sequence that is over stays for ever. None is left of an episode of stays."""
        end = max((place for place, one in enumerate(self.decisions, start=1) if one.choice != STAY), default=0)
        return self.decisions[:end]

    def number(self, name: str) -> float | None:
        """A number of the header; None when it has none of that name."""
        value = self.header.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def read_logs(folder: Path) -> list[ActionLog]:
    """The logs in `folder`, in order: the n-th is of episode n. Those with a header alone are of no episode.

    Raises ImportProblem on anything else than such logs: a decision at the wrong frame cannot be told from a right one.
    """
    files = sorted(folder.glob("episode_*.jsonl"))
    if not files:
        raise ImportProblem(f"{folder} has no discrete-action logs: they are called episode_000000.jsonl and so on")
    return [log for log in map(read_log, files) if log.decisions]


def read_log(file: Path) -> ActionLog:
    """One log. Raises ImportProblem."""
    header: dict[str, Any] = {}
    decisions: list[Decision] = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            data = json.loads(line)
            if data["type"] == "header":
                header = data
                continue
            if "frame_index" not in data:
                raise ValueError("frame_index is missing: at which frame it was decided cannot be told")
            one = Decision(
                where=where, choice=int(data["discrete_action"]), frame_index=int(data["frame_index"]), t_s=float(data["timestamp"])
            )
            if one.choice not in CHOICES:
                raise ValueError(f"discrete_action is {one.choice}, expected 0, 1 or 2")
            if one.frame_index <= (decisions[-1].frame_index if decisions else -1):
                raise ValueError(f"frame_index {one.frame_index} does not come after the one before")
        except (ValueError, KeyError, TypeError) as error:
            what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            raise ImportProblem(f"{where}: {what}") from None
        decisions.append(one)
    return ActionLog(path=file, header=header, decisions=decisions)
