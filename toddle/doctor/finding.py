"""What a check says, and what all of them say together."""

from collections.abc import Iterable
from typing import Literal

import msgspec

Verdict = Literal["ok", "note", "warning", "problem"]
VERDICTS: tuple[Verdict, ...] = ("ok", "note", "warning", "problem")
"""From good to bad. A note is something to know; a warning hurts some uses; with a problem something will not work."""


class Finding(msgspec.Struct, frozen=True):
    """What one check found, in one line, and what to do about it, in one line."""

    name: str
    verdict: Verdict
    found: str
    fix: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, as `--json` prints it."""

    version: int = 1
    toddle: str
    verdict: Verdict
    counts: dict[Verdict, int]
    seconds: float
    topics: dict[str, list[Finding]]


def report(topics: dict[str, list[Finding]], toddle: str, seconds: float) -> Report:
    """The findings with their worst verdict and how many there are of each."""
    verdicts = [finding.verdict for findings in topics.values() for finding in findings]
    counts: dict[Verdict, int] = {verdict: verdicts.count(verdict) for verdict in VERDICTS}
    return Report(toddle=toddle, verdict=worst(verdicts), counts=counts, seconds=round(seconds, 2), topics=topics)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    return max(verdicts, key=VERDICTS.index, default="ok")


def exit_code(found: Report, strict: bool = False) -> int:
    """0, or 1 when there is a problem; `strict` counts warnings too."""
    return int(found.verdict == "problem" or (strict and found.verdict == "warning"))


def not_checked(name: str, why: str) -> Finding:
    """For a check that failed itself."""
    return Finding(name, "warning", f"could not be checked: {why}")
