"""`toddle sessions verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toddle.sessions.common import cut, echo_json, find, json_option, name_argument, root_option

if TYPE_CHECKING:
    from storage.verify import Report


@click.command()
@name_argument
@root_option
@json_option
@click.pass_context
def verify(ctx: click.Context, name: str, root: str | None, as_json: bool) -> None:
    """Is every byte of session NAME what was written?

    Ends with 0 when it is and nothing is missing, 3 when messages are known to be missing, 1 when it is damaged.
    """
    from storage.verify import verify as check

    report = check(find(root, name))
    if as_json:
        import msgspec

        echo_json({**msgspec.to_builtins(report), "verdict": report.verdict})
    else:
        click.echo("\n".join(_report_lines(report)))
    ctx.exit(report.exit_code)


def _report_lines(report: Report) -> list[str]:
    lines = [f"{report.session}: {report.verdict}, {report.events_checked} events checked"]
    lines += cut([f"  damaged   event {damage.event} in segment {damage.segment}: {damage.why}" for damage in report.corrupt])
    lines += cut([f"  damaged   {text}" for text in report.problems + report.index_mismatches])
    lines += cut(
        [f"  unknown   {hole.topic} {hole.first} to {hole.last} of run {hole.run}: not there, and no gap says so" for hole in report.holes]
    )
    lines += cut(
        [f"  missing   {gap.topic} {gap.first} to {gap.last} of run {gap.run}: never came, known when recorded" for gap in report.gaps]
    )
    return lines
