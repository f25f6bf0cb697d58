"""Before a recording: four decisions, recorded and converted as all others will be, and a person's word on what they look like."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from toddle.record.plan import Plan, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nodes.viewer.sinks import WindowSink

LONGER = 1.25
LIMIT_S = 120.0
AGAIN = "r again with a longer time, n nothing is recorded"
FILE = Path(__file__).resolve().parents[2] / "launch" / "record.yaml"


class VerificationFailed(Exception):
    """There is nothing to look at. One line: why."""


def verify(plan: Plan) -> Plan:
    """The plan that a person agrees to, with the time that an action is given then. Raises click.ClickException when they do not."""
    while True:
        sequence = plan.verification().sequence
        caption = f"{plan.joint} {', '.join(map(str, sequence))}: {plan.delta:g} in {plan.action_duration_s:.2f} s"
        click.echo(f"verification: {caption}")
        with tempfile.TemporaryDirectory(prefix="toddle-verification-") as folder:
            try:
                answer = ask(canvases(plan, Path(folder), caption))
            except VerificationFailed as error:
                click.echo(f"verification failed: {error}")
                answer = click.prompt(
                    "r again with a longer time, n nothing is recorded", type=click.Choice(["r", "n"]), show_choices=False
                )
        if answer == "y":
            return plan
        if answer == "n":
            raise click.ClickException("not accepted: nothing was recorded")
        plan = msgspec.structs.replace(plan, action_duration_s=round(plan.action_duration_s * LONGER, 2))


def canvases(plan: Plan, folder: Path, caption: str) -> NDArray[np.uint8]:
    """Record one episode in `folder`, make decisions of it, and canvases of these. Raises VerificationFailed."""
    from storage.errors import StorageError
    from storage.exchange.decisions import import_decisions
    from toddle.record.canvases import picture_of

    asked = plan.verification()
    args = {**asked.args(), "root": str(folder / "sessions"), "viewer": False}
    line = [sys.executable, "-m", "toddle", "launch", str(FILE), *words(args), "--name", "verification", "--runs", str(folder / "runs")]
    try:
        done = subprocess.run(line, timeout=LIMIT_S + asked.episode_time_s, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise VerificationFailed(f"the recording did not end within {error.timeout:.0f} s") from None
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("ERROR", "ALARM", "verification:"))]
        raise VerificationFailed(said[-1] if said else (done.stderr or done.stdout).strip()[-300:])
    try:
        import_decisions(folder / "sessions" / "verification", None, folder / "sessions" / "decisions")
        return picture_of(folder / "sessions" / "decisions", caption)
    except (StorageError, ValueError) as error:
        raise VerificationFailed(str(error)) from None


def ask(picture: NDArray[np.uint8]) -> str:
    """Show it in a window, or as a file where there is no display; y, n or r."""
    from nodes.viewer.sinks import WindowSink, tried_display, write_png

    question = f"y that is right, {AGAIN}"
    with tried_display() as problem:
        if problem is None:
            window = WindowSink("toddle: verification", (picture.shape[1], picture.shape[0]))
            try:
                return _ask_beside(window, picture, question)
            finally:
                window.close()
    path = Path(tempfile.mkdtemp(prefix="toddle-")) / "verification.png"
    write_png(path, picture)
    click.echo(f"no window ({problem}); look at {path}")
    answer: str = click.prompt(question, type=click.Choice(["y", "r", "n"]), show_choices=False)
    return answer


def _ask_beside(window: WindowSink, picture: NDArray[np.uint8], question: str) -> str:
    """A key, in the window or in the terminal."""
    from launch.keys import Keys

    click.echo(question)
    keys = Keys()
    try:
        while not window.closed:
            window.show(picture)
            pressed = [window.poll_key() or "", *keys.read()]
            if found := [key for key in pressed if key in ("y", "n", "r")]:
                return found[0]
            time.sleep(0.02)
    finally:
        keys.close()
    return "n"
