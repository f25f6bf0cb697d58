"""`toddle sessions split`: parts of a session that open like sessions, without a copy of a single frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toddle.sessions.common import dry_option, echo_made, find, json_option, name_argument, root_option

if TYPE_CHECKING:
    from storage.editing.source import Source
    from storage.editing.splits import Division

DOUBLING = "doubling"


@click.command()
@name_argument
@click.option("--by", type=click.Choice(["episode", "session", "time"]), help="Whole episodes, whole sessions of the robot, or time.")
@click.option("--stages", metavar="doubling|N", help="Progressive stages: twice the frames each time, or N equal steps.")
@click.option("--train", type=click.IntRange(1, 99), metavar="PERCENT", help="Share to train on, the rest to validate on; default 70.")
@click.option("--validate", metavar="N,N-N,...", help="With --by episode: validate on these, train on the rest.")
@click.option("--guard", default="0", metavar="N|Ns", help="Frames, or seconds, left out of the validation where it touches the training.")
@click.option("--each", is_flag=True, help="With --by episode or session: a part for each, instead of two parts.")
@click.option("--every", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="With --by time: a part for so many seconds.")
@click.option("--first", type=click.IntRange(1), default=10, show_default=True, help="Frames of the first of the doubling stages.")
@click.option("--as", "prefix", metavar="PREFIX", help="What the names of the parts begin with; default: NAME.")
@root_option
@dry_option
@json_option
def split(name: str, prefix: str | None, root: str | None, dry_run: bool, as_json: bool, **how: str) -> None:
    """Divide session NAME into parts.

    The parts lie beside NAME and open by their names wherever a session does: PREFIX_train_700 and
    PREFIX_validate_300, with the number of their frames. They hold ranges of NAME, which cannot be deleted while there are any.
    """
    from storage.editing.source import Source

    with Source(find(root, name)) as source:
        division = _divide(source, prefix or source.path.name, **how)
        echo_made(division.preview() if dry_run else division.write(), dry_run, as_json)


def _divide(  # noqa: PLR0913 - an option each
    source: Source, prefix: str, *, by: str | None, stages: str | None, train: int | None, validate: str | None, guard: str,
    each: bool, every: float | None, first: int,
) -> Division:  # fmt: skip
    from storage.editing import splits, wanted

    apart, percent = wanted.guard(guard), train or splits.PERCENT
    if (by is None) == (stages is None):
        raise click.UsageError("how? give either --by or --stages")
    if stages is not None:
        if stages != DOUBLING and not stages.isdigit():
            raise click.BadParameter(f"{stages!r}: give {DOUBLING} or a number", param_hint="--stages")
        return splits.in_stages(source, prefix, first, None if stages == DOUBLING else int(stages), percent, apart)
    if (validate is not None and by != "episode") or (every is not None and by != "time") or (each and by == "time"):
        raise click.UsageError("--validate goes with --by episode, --every with --by time, --each with the other two")
    if each or every is not None:
        return splits.by_unit(source, prefix, by, every)
    if validate is not None:
        return splits.by_episodes(source, prefix, validate, apart)
    return splits.in_two(source, prefix, by, percent, apart)
