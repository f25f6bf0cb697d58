"""Runs topics side by side, each within its time; whatever fails or hangs becomes a finding."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from toddle.doctor.finding import Finding, not_checked

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Topic:
    """How facts are gathered, and the functions that judge them: each from the facts to a finding."""

    name: str
    gather: Callable[[], Any]
    checks: Sequence[Callable[[Any], Finding]]
    timeout_s: float = TIMEOUT_S


def examine(topics: Sequence[Topic]) -> dict[str, list[Finding]]:
    """The findings of every topic, in their order. A thread that hangs is left behind: nothing can end it."""
    start_s = time.monotonic()
    boxes: dict[str, SimpleQueue[list[Finding]]] = {topic.name: SimpleQueue() for topic in topics}
    for topic in topics:
        threading.Thread(target=lambda one=topic: boxes[one.name].put(_findings(one)), daemon=True).start()
    found: dict[str, list[Finding]] = {}
    for topic in topics:
        try:
            found[topic.name] = boxes[topic.name].get(timeout=max(0.0, start_s + topic.timeout_s - time.monotonic()))
        except Empty:
            found[topic.name] = [not_checked(topic.name, f"it took longer than {topic.timeout_s:g} s")]
    return found


def _findings(topic: Topic) -> list[Finding]:
    try:
        facts = topic.gather()
    except (Exception, SystemExit) as error:  # doctor is for what is broken: nothing may end it
        return [not_checked(topic.name, in_a_line(error))]
    return [_judged(check, facts) for check in topic.checks]


def _judged(check: Callable[[Any], Finding], facts: Any) -> Finding:
    try:
        finding = check(facts)
    except (Exception, SystemExit) as error:
        return not_checked(check_name(check), in_a_line(error))
    return Finding(finding.name, finding.verdict, printable(finding.found), printable(finding.fix))


def check_name(check: Callable[[Any], Finding]) -> str:
    """`socket_folder` gives the finding `socket folder`."""
    return check.__name__.replace("_", " ")


def in_a_line(error: BaseException) -> str:
    """An error's kind and first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def printable(text: str) -> str:
    """Paths and messages of others may hold anything; a terminal and JSON may not."""
    return "".join(char if char.isprintable() else "?" for char in text)[:1000]
