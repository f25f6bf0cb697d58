"""`toddle sessions check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from storage.quality.limits import Limits
from toddle.sessions.common import complete_session, cut, echo_json, find, json_option, root_option

if TYPE_CHECKING:
    from pathlib import Path

    from storage.quality.judge import Verdict

HELP = {
    "max_gaps": "Share of frames, and of actions, that never came; of frames without a picture.",
    "min_rate": "Share of the promised rate that frames must come at (paced robots).",
    "max_jitter": "By how much of its period the slowest 1 % of frames may be late (paced robots).",
    "max_frozen_s": "Seconds of moving in which a camera shows the same.",
    "max_dark": "Share of dark frames: no patch brighter than 32 of 255.",
    "max_saturated": "Share of saturated frames: no patch darker than 223 of 255.",
    "max_duplicates": "Share of moves (all but the safe action) after which the frame is identical.",
    "min_steps": "Steps to learn from: a frame, its action, the next frame.",
    "allow_untaken": "An action that was never taken is only a remark.",
    "allow_unfinished": "An episode without an end is only a remark.",
}


def _limits(command: Any) -> Any:
    """An option for each limit, with its default."""
    for name, value in reversed([(name, getattr(Limits(), name)) for name in Limits.__struct_fields__]):
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            option = click.option(flag, is_flag=True, help=HELP[name])
        else:
            bounds = click.IntRange(min=0) if isinstance(value, int) else click.FloatRange(min=0)
            option = click.option(flag, type=bounds, default=value, show_default=True, help=HELP[name])
        command = option(command)
    return command


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_session)
@root_option
@json_option
@_limits
@click.pass_context
def check(ctx: click.Context, names: tuple[str, ...], root: str | None, as_json: bool, **limits: Any) -> None:
    """Are sessions NAME... fit to learn from?

    Reads every frame and every byte. Ends with 0 when all are fit, 1 with the reasons when one is not, 2 when there
    is no such session. Remarks do not count.
    """
    paths = [find(root, name) for name in names]
    verdicts = [_verdict(path, Limits(**limits)) for path in paths]
    if as_json:
        echo_json(verdicts)
    else:
        click.echo("\n".join(line for verdict in verdicts for line in _lines(verdict)))
    ctx.exit(0 if all(verdict.fit for verdict in verdicts) else 1)


def _verdict(path: Path, limits: Limits) -> Verdict:
    """Bytes first, in a process of their own: what is damaged there cannot hurt the measuring."""
    from storage.errors import CorruptSession
    from storage.quality.judge import judge, unreadable
    from storage.verify import Report, verify
    from toddle.sessions.measuring import measured

    try:
        report = verify(path)
        if report.corrupt_count or report.problems:
            return unreadable(report)
        info, meter = measured(path)
    except CorruptSession as error:
        return unreadable(Report(session=path.name, problems=[str(error)]))
    return judge(info, meter.result(), report, limits)


def _lines(verdict: Verdict) -> list[str]:
    count = len(verdict.reasons)
    said = "fit" if verdict.fit else f"not fit, {count} reason{'s' * (count > 1)}"
    return [
        f"{verdict.session}: {said}; {verdict.steps} steps to learn from",
        *cut([f"  reason    {finding.what}: {finding.text}" for finding in verdict.reasons]),
        *cut([f"  remark    {finding.what}: {finding.text}" for finding in verdict.remarks]),
    ]
