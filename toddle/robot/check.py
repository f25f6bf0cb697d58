"""`toddle robot check`: does a driver keep the contract? It runs in a process of its own, so that it may hang or die.

toddle robot check my_robots.wheels:Wheels --set port=/dev/ttyUSB0
toddle robot check toroidal_dot --yes --json
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from signal import Signals
from threading import Thread
from typing import TYPE_CHECKING, Any

import click

from toddle.ask import named_value

if TYPE_CHECKING:
    from nodes.robot.contract.trial import Finding, Wanted

STYLES = {"ok": "green", "failed": "bold red", "not checked": "yellow"}
GRACE_S = 2.0
BEGIN_S = 60.0
"""So long the child may take to say its first word: a driver may import much."""


@click.command()
@click.argument("driver", metavar="MODULE:CLASS")
@click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="An option of the driver, as in a launch file.")
@click.option("--seed", default=0, show_default=True, help="Of a simulated robot, and of the actions in between.")
@click.option("--max-action-s", default=1.0, show_default=True, help="How long an action, or a reset, may take.")
@click.option("--limit-s", default=10.0, show_default=True, help="A call that takes longer hangs.")
@click.option("--yes", is_flag=True, help="Do not ask before it moves.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check(driver: str, sets: tuple[str, ...], seed: int, max_action_s: float, limit_s: float, yes: bool, as_json: bool) -> None:
    """Check a driver: your own as MODULE:CLASS, or a built-in one by its name. Every action is executed, its ends too.

    \b
    Exit codes: 0 it keeps the contract, 1 it does not, 2 wrong options.
    """
    from nodes.robot.contract.trial import Wanted

    options = dict(named_value(one) for one in sets)
    moves = yes or click.confirm(f"{driver} will make all its moves, the largest too. Is there room, and a hand on its switch?", err=True)
    wanted = Wanted(driver=driver, options=options, seed=seed, max_action_s=max_action_s, limit_s=limit_s, moves=moves)
    findings, timing = run(wanted)
    kept = all(one.outcome != "failed" for one in findings)
    if as_json:
        checks = [{"name": one.name, "outcome": one.outcome, "text": one.text} for one in findings]
        click.echo(json.dumps({"driver": driver, "ok": kept, "checks": checks, "timing": timing}, indent=2))
    else:
        _show(driver, findings, kept)
    sys.exit(0 if kept else 1)


def run(wanted: Wanted) -> tuple[list[Finding], dict[str, float]]:
    """The findings, one for each check whatever becomes of the process, and what was timed."""
    import msgspec

    from nodes.robot.contract.checks import NAMES
    from nodes.robot.contract.trial import Finding

    command = [sys.executable, "-P", "-m", "nodes.robot.contract", msgspec.json.encode(wanted).decode()]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    findings: list[Finding] = []
    timing: dict[str, float] = {}
    why = ""
    try:
        for word, value in _said(child, wanted.limit_s + GRACE_S):
            if word == "finding":
                findings.append(msgspec.convert(value, Finding))
            elif word == "timing":
                timing = value
            elif word == "hangs":
                why = f"the driver hangs, and nothing else in its process runs any more: {wanted.limit_s:g} s"
    finally:
        with suppress(subprocess.TimeoutExpired):  # interrupted: it stops the robot first
            child.wait(0 if why else GRACE_S)
        child.kill()
        code = child.wait()
    if len(findings) < len(NAMES):
        rest = NAMES[len(findings) :]
        findings.append(Finding(rest[0], "failed", why or f"the driver's process {_ended(code)}; what it said is above"))
        findings += [Finding(name, "not checked", "the driver's process has ended") for name in rest[1:]]
    return findings, timing


def _said(child: subprocess.Popen[bytes], patience_s: float) -> Iterator[tuple[str, Any]]:
    """What the child says; `hangs` when it is silent for too long."""
    lines: SimpleQueue[bytes | None] = SimpleQueue()

    def read() -> None:
        assert child.stdout is not None
        with child.stdout:
            for line in child.stdout:
                lines.put(line)
        lines.put(None)

    Thread(target=read, name="reader", daemon=True).start()
    begun = False
    while True:
        try:
            line = lines.get(timeout=patience_s if begun else BEGIN_S)
        except Empty:
            yield "hangs", None
            return
        if line is None:
            return
        begun = True
        word, *rest = json.loads(line)
        yield word, rest[0] if rest else None


def _ended(code: int) -> str:
    return f"was ended by {Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _show(driver: str, findings: list[Finding], kept: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=driver, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found", overflow="fold")
    for one in findings:
        table.add_row(one.name, Text(one.outcome, style=STYLES[one.outcome]), Text(one.text))
    console = Console()
    console.print(table)
    count = sum(one.outcome == "failed" for one in findings)
    skipped = sum(one.outcome == "not checked" for one in findings)
    more = f", {skipped} not checked" if skipped else ""
    console.print(f"it keeps the contract{more}" if kept else f"{count} failed{more}", highlight=False)
