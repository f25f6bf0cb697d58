"""The tables that `toddle evaluate` prints: 100 columns, a heading for each set of cases."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nodes.trainer.evaluation import Row
from nodes.trainer.progress import Progress
from worldmodel.scores.calibration import Calibration
from worldmodel.scores.intervals import Figure
from worldmodel.scores.original import Divergence
from worldmodel.scores.results import Pixels, Place, RolloutReport, SomeCases
from worldmodel.scores.rollouts import SHOWN

WIDTH = 100
NONE = "-"


def show(path: Path, rows: Sequence[Row], progress: Progress | None) -> None:
    """Everything, session by session, then the original's figures side by side, then how fast it was learned."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(f"[bold]{path.name}[/]   95 % intervals in brackets; {NONE}: does not apply, --json says why")
    for row in rows:
        _row(console, row)
    _original(console, rows)
    if progress is not None and progress.points:
        _progress(console, progress)


def _row(console: Console, row: Row) -> None:
    report = row.states or row.windows
    if report is None:
        return
    seen = " [yellow](learned from)[/]" if row.seen_in_training else ""
    console.print(f"\n[bold]{row.session}: {row.on}[/]{seen}, {row.cases} predictions, intervals over {report.groups} groups")
    _pixels(console, report.pixels)
    lines: list[tuple[str, str]] = []
    if row.states is not None:
        truth = row.states.counterfactual
        lines += [
            ("right action, of " + str(truth.actions), f"{percent(truth.accuracy)} by pixels, {percent(truth.placed)} by position"),
            ("obedience", f"{figure(truth.skill)}   (1 perfect, 0 deaf to actions)"),
            ("divergence", f"{figure(truth.divergence, 2)} of the true one"),
            ("right over random action", f"{number(truth.delta_psnr, 1)} dB"),
            *_place(row.states.place),
        ]
    if row.windows is not None:
        lines.append(("right over another's action", f"{number(row.windows.delta_psnr, 2)} dB"))
        read, matched = row.windows.inference, row.windows.matched
        if read is not None:
            shown = percent if read.kind == "accuracy" else figure
            lines.append((f"action read ({read.kind})", f"{shown(read.real)} of true frames, {shown(read.predicted)} of predicted"))
            lines.append(("  told another action", f"{shown(read.permuted)} still the true one, {shown(read.obeys)} the one told"))
        if matched is not None:
            lines.append(("matched pairs", f"{percent(matched.accuracy)} nearer to what followed, {matched.pairs} pairs"))
    lines += _calibration(report.calibration)
    for name, text in lines:
        console.print(f"  {name:<28}{text}", soft_wrap=True)
    _kinds(console, [*([report.switch] if report.switch else []), *report.actions])
    if row.rollouts is not None:
        _rollouts(console, row.rollouts)


def _pixels(console: Console, pixels: Pixels) -> None:
    table = _table(("", "<"), ("error", ">"), ("PSNR dB", ">"), ("SSIM", ">"), ("skill over it", "<"), ("where it changed", "<"))
    changed = f"{pixels.changed_share:.1%} did: error {number(pixels.changed_mse, 4)}"
    table.add_row("[bold]model[/]", f"{pixels.mse:.6f}", number(pixels.psnr, 2), number(pixels.ssim, 4), "", changed)
    for one in pixels.references:
        psnr, ssim = number(one.psnr, 2), number(one.ssim, 4)
        table.add_row(one.name, f"{one.mse:.6f}", psnr, ssim, figure(one.skill), figure(one.changed_skill))
    if pixels.headline is not None:
        console.print(f"  [bold]least skill {figure(pixels.headline)}[/], over {pixels.headline_over}")
    console.print(table)


def _place(place: Place | None) -> Iterable[tuple[str, str]]:
    if place is None:
        return
    oracle = f"{number(place.oracle_median_px, 2)} median, {number(place.oracle_p95_px, 2)} p95"
    yield "position error, px", f"{number(place.median_px, 2)} median, {number(place.p95_px, 2)} p95   (of true pictures {oracle})"
    yield "within 3 px", percent(place.hit)
    yield "mass, ghosts, peak", f"{figure(place.mass)}, {figure(place.ghost)}, {number(place.peak, 2)}   shows nothing: {place.lost:.1%}"


def _calibration(found: Calibration | None) -> Iterable[tuple[str, str]]:
    if found is None:
        return
    frame = found.frame
    yield "uncertainty of frames", f"rank correlation {figure(frame.spearman)}, AUSE {frame.ause:.3f} (no order {frame.ause_random:.3f})"
    yield (
        "  its intervals",
        f"coverage error {number(frame.coverage_error)}, CRPS skill {number(frame.crps_skill)}, error / spread {frame.error_to_std:.2f}",
    )
    for name, one in (("uncertainty of pixels, raw", found.raw), ("  recalibrated", found.recalibrated)):
        if one is not None:
            yield name, f"coverage error {one.coverage_error:.3f}, CRPS {one.crps:.4f}, NLL {one.nll:.2f}"
    yield "novel against seen, AUROC", number(found.auroc_novel)


def _kinds(console: Console, kinds: list[SomeCases]) -> None:
    if not kinds:
        return
    table = _table(
        ("action", "<"), ("cases", ">"), ("error", ">"), ("skill over copy last", "<"), ("right action", "<"), ("within 3 px", "<")
    )
    for one in kinds:
        skill = figure(one.skill_copy_last)
        table.add_row(one.name, str(one.cases), f"{one.mse:.6f}", skill, percent(one.accuracy), percent(one.hit))
    console.print(table)


def _rollouts(console: Console, report: RolloutReport) -> None:
    ended = f"then {report.ended_by} fails" if report.ended_by else "the whole way"
    console.print(f"  on its own predictions, {report.rollouts} rollouts: good for {report.valid_horizon} steps, {ended}")
    table = _table(("steps", ">"), ("error", ">"), ("copy last", ">"), ("skill over it", "<"), ("median px", ">"), ("mass", "<"))
    for step in report.steps:
        if step.horizon in SHOWN:
            place = number(step.median_px, 2), figure(step.mass)
            table.add_row(str(step.horizon), f"{step.mse:.6f}", f"{step.copy_last_mse:.6f}", figure(step.skill), *place)
    console.print(table)


def _original(console: Console, rows: Sequence[Row]) -> None:
    found = [
        (row, report.original) for row in rows if (report := row.states or row.windows) is not None and (row.losses or report.original)
    ]
    if not found:
        return
    console.print("\n[bold]the original's figures[/], in-sample beside held out: no truth behind the divergence (0 to 255)")
    several = len({row.session for row, _ in found}) > 1
    names = [("", "<"), ("observations", ">"), ("hybrid", ">"), ("standard", ">"), ("median", ">"), ("p95", ">"), ("p99", ">")]
    table = _table(*names, ("divergence", ">"), ("of motion", ">"))
    for row, divergence in found:
        losses: tuple[str, ...] = (NONE,) * 6
        if row.losses is not None:
            hybrid, standard = row.losses.hybrid, row.losses.standard
            high = (f"{hybrid.percentiles[name]:.5f}" for name in ("p95", "p99"))
            losses = (str(row.losses.observations), f"{hybrid.mean:.5f}", f"{standard.mean:.5f}", f"{hybrid.median:.5f}", *high)
        table.add_row(_short(row, several), *losses, *_divergence(divergence))
    console.print(table)


def _short(row: Row, several: bool) -> str:
    name = row.on.replace("episodes ", "").replace(" episodes", "")
    return f"{row.session}: {name}" if several else name


def _divergence(found: Divergence | None) -> tuple[str, str]:
    return (NONE, NONE) if found is None else (f"{found.overall_mean_divergence:.3f}", number(found.per_motion, 2))


def _progress(console: Console, progress: Progress) -> None:
    prequential = number(progress.prequential_error, 6)
    console.print(
        f"\n[bold]while it learned[/]: prequential error {prequential} over {progress.predictions} predictions, "
        f"skill over copy last {number(progress.prequential_skill)}"
    )
    table = _table(
        ("seconds", ">"), ("frames", ">"), ("samples", ">"), ("error", ">"), ("skill over copy last", ">"), ("right action", ">")
    )
    every = max(1, len(progress.points) // 8)
    for point in progress.points[::-every][::-1]:
        scores = point.scores
        last = number(scores.get("skill_copy_last")), number(scores.get("cf_accuracy"))
        table.add_row(f"{point.seconds:.0f}", str(point.frames), str(point.samples), f"{scores['prediction_error']:.6f}", *last)
    console.print(table)


def figure(one: Figure | None, digits: int = 3) -> str:
    """A number and its interval."""
    if one is None:
        return NONE
    return f"{one.value:.{digits}f}" + (f" [{one.low:.{digits}f} {one.high:.{digits}f}]" if one.low is not None else "").replace("[", "\\[")


def percent(one: Figure | None) -> str:
    if one is None:
        return NONE
    return f"{one.value:.1%}" + (f" \\[{100 * one.low:.1f} {100 * one.high:.1f}]" if one.low is not None else "")


def number(value: float | None, digits: int = 3) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=True, padding=(0, 2, 0, 0))
    for name, side in columns:
        table.add_column(
            name, no_wrap=name not in ("", "action"), justify="left" if side == "<" else "right", header_style="dim", overflow="fold"
        )
    return table
