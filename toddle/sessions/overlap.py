"""`toddle sessions overlap`: what would a validation only repeat?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toddle.sessions.common import complete_session, dry_option, echo_json, echo_made, find, json_option, root_option

if TYPE_CHECKING:
    from storage.editing.overlap import Overlap


@click.command()
@click.argument("train", shell_complete=complete_session)
@click.argument("validation", shell_complete=complete_session)
@click.option(
    "--perceptual", type=click.IntRange(0, 64), metavar="BITS", help="Those that look the same: dHashes at most BITS of 64 apart."
)
@click.option("--as", "target", metavar="NEW", help="Make split NEW of VALIDATION without them.")
@root_option
@dry_option
@json_option
def overlap(
    train: str, validation: str, perceptual: int | None, target: str | None, root: str | None, dry_run: bool, as_json: bool
) -> None:  # fmt: skip
    """Which transitions of VALIDATION are in TRAIN too?

    A transition is a frame, the action after it, and the next frame: identical byte for byte, or with --perceptual
    alike by the dHash of both frames (and the action, where actions are discrete). Both may be sessions or splits.
    """
    from storage.editing.overlap import find_overlap, without
    from storage.editing.source import Source
    from storage.views import open_session

    path = find(root, validation)
    with open_session(find(root, train)) as ours, open_session(path) as theirs:
        found = find_overlap(ours, theirs, perceptual)
    made = []
    if target is not None:
        with Source(path) as source:
            division = without(source, found, target)
            made = division.preview() if dry_run else division.write()
    if as_json:
        echo_json({"overlap": found, "made": made})
        return
    click.echo("\n".join(_lines(found)))
    echo_made(made, dry_run, as_json=False)


def _lines(found: Overlap) -> list[str]:
    rule = "identical" if found.bits is None else f"at most {found.bits} of 64 bits of dHash apart"
    ours, theirs = f"the {found.train_transitions} of {found.train}", f"{found.transitions} transitions of {found.validation}"
    lines = [f"{found.shared} of {theirs} are among {ours} ({rule})"]
    if found.first:
        places = ", ".join(f"{episode}:{step}" for episode, step in found.first)
        lines.append(f"  from      {places}" + (" and more" if found.shared > len(found.first) else ""))
    return lines
