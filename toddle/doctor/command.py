"""`toddle doctor`: is this machine ready, and if not, what to do.

toddle doctor             everything, in groups; problems again at the end
toddle doctor --json      the same for programs
toddle doctor --strict    warnings fail, too
"""

import sys
import time
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from toddle.doctor.examine import Topic
    from toddle.doctor.finding import Report

TORCH_S = 35.0  # more than the process that imports it is given
COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}
FAILED = 1


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs; docs/doctor.md has the keys.")
@click.option("--strict", is_flag=True, help="Warnings fail, too.")
def doctor(as_json: bool, strict: bool) -> None:
    """Look at this machine: Python, PyTorch, display, simulation, disk, sockets, clock, cameras, serial ports.

    \b
    Exit codes: 0 no problem, 1 a problem (or, with --strict, a warning).
    """
    try:
        from toddle.doctor.finding import exit_code

        found = look(quiet=as_json)
    except ImportError as error:
        click.echo(f"toddle doctor: {error}; python -m pip install -c constraints.txt -e . brings what toddle needs", err=True)
        sys.exit(FAILED)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        tell(found)
    sys.exit(exit_code(found, strict))


def look(quiet: bool) -> "Report":
    """Examine everything, with a sign of life in a terminal."""
    from toddle.launch import foreign_launch

    foreign = foreign_launch()
    if foreign:
        _use_our_launch()
    from rich.console import Console

    from toddle.doctor.examine import examine
    from toddle.doctor.finding import report
    from toddle.doctor.python import PACKAGE, installed

    start_s = time.monotonic()
    with Console(stderr=True, quiet=quiet).status("looking at this machine"):
        found = examine(topics(foreign))
    return report(found, installed(PACKAGE), time.monotonic() - start_s)


def _use_our_launch() -> None:
    """So that the rest can be looked at, too."""
    path = Path(__file__).resolve().parents[2] / "launch" / "__init__.py"
    spec = spec_from_file_location("launch", path)
    if path.exists() and spec is not None and spec.loader is not None:
        sys.modules["launch"] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


def topics(foreign: str) -> list["Topic"]:
    """Everything that is looked at; `foreign` is where another `launch` was found."""
    from toddle.doctor import clock, devices, disk, display, machine, own, python, simulation, sockets, torch
    from toddle.doctor.examine import Topic

    return [
        Topic("toddle", partial(own.gather, foreign), own.CHECKS),
        Topic("python", python.gather, python.CHECKS),
        Topic("torch", torch.gather, torch.CHECKS, TORCH_S),
        Topic("display", display.gather, display.CHECKS),
        Topic("simulation", simulation.gather, simulation.CHECKS),
        Topic("machine", machine.gather, machine.CHECKS),
        Topic("disk", disk.gather, disk.CHECKS),
        Topic("sockets", sockets.gather, sockets.CHECKS),
        Topic("clock", clock.gather, clock.CHECKS),
        Topic("devices", devices.gather, devices.CHECKS),
    ]


def tell(found: "Report") -> None:
    """For people: everything by topic, then the problems once more."""
    from rich.text import Text

    from launch.screen import Terminal

    console = Terminal(highlight=False, soft_wrap=True)
    width = max(len(finding.name) for findings in found.topics.values() for finding in findings)
    for topic, findings in found.topics.items():
        console.print(Text(topic, style="bold"))
        for one in findings:
            console.print(Text.assemble(f"  {one.name:{width}}  ", (f"{one.verdict:7}", COLOURS[one.verdict]), f"  {one.found}"))
            if one.fix and one.verdict != "ok":
                console.print(Text(f"  {'':{width}}           {one.fix}", style="dim"))
    console.print()
    for one in (finding for findings in found.topics.values() for finding in findings if finding.verdict == "problem"):
        console.print(Text.assemble((f"{one.name}: ", COLOURS["problem"]), one.found))
        console.print(f"  {one.fix}", markup=False)
    counts = ", ".join(
        f"{count} {verdict}{'s' if count != 1 and verdict != 'ok' else ''}" for verdict, count in found.counts.items() if count
    )
    console.print(f"{counts}; {found.seconds:.1f} s", markup=False)
