"""Curves: how errors grow on a model's own predictions, how they fell while it learned, and the original's histogram. By matplotlib."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nodes.trainer.evaluation import Row
from nodes.trainer.progress import Progress
from toddle.evaluation.pictures import DPI, FAINT, INK

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # after Okabe and Ito


def draw_curves(folder: Path, rows: Sequence[Row], progress: Progress | None) -> None:
    """Those there is something for."""
    _horizons(folder / "horizons.png", [row for row in rows if row.rollouts is not None])
    _histogram(folder / "losses.png", [row for row in rows if row.losses is not None])
    if progress is not None and progress.points:
        _learning(folder / "learning.png", progress)


def _horizons(path: Path, rows: Sequence[Row]) -> None:
    if not rows:
        return
    figure = Figure(figsize=(9, 3.2), dpi=DPI, layout="constrained")
    error, skill = figure.subplots(1, 2)
    _style(error, "Error on its own predictions", "steps", "mean squared error")
    _style(skill, "Skill over copying the last frame seen", "steps", "1 - error / its error")
    for row, colour in zip(rows, COLOURS * len(rows), strict=False):
        assert row.rollouts is not None
        steps = row.rollouts.steps
        x = [step.horizon for step in steps]
        name = f"{row.session}: {row.on}"
        error.plot(x, [step.mse for step in steps], color=colour, label=name)
        error.plot(x, [step.copy_last_mse for step in steps], color=colour, linestyle=":", label="copy last" if row is rows[0] else None)
        known = [step for step in steps if step.skill is not None]
        skill.plot([s.horizon for s in known], [s.skill.value for s in known if s.skill], color=colour, label=name)
        low, high = (
            [limit if limit is not None else s.skill.value for s in known if s.skill for limit in [getattr(s.skill, end)]]
            for end in ("low", "high")
        )
        skill.fill_between([s.horizon for s in known], low, high, color=colour, alpha=0.15, linewidth=0)
    error.set_yscale("log")
    skill.axhline(0.0, color=FAINT, linewidth=0.8)
    skill.set_ylim(bottom=max(skill.get_ylim()[0], -1.0), top=1.02)
    error.legend(fontsize=7, frameon=False)
    figure.savefig(path)


def _histogram(path: Path, rows: Sequence[Row]) -> None:
    if not rows:
        return
    figure = Figure(figsize=(9, 2.8), dpi=DPI, layout="constrained")
    for axes, row in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
        assert row.losses is not None
        losses = row.losses.hybrid
        _style(axes, f"{row.session}: {row.on}", "the original's hybrid loss", "observations")
        axes.stairs(losses.counts, losses.edges, fill=True, color=COLOURS[0], alpha=0.8)
        for value, name in ((losses.median, "median"), (losses.percentiles["p95"], "p95")):
            axes.axvline(value, color=COLOURS[1], linewidth=1)
            axes.annotate(name, (value, 0.97), xycoords=("data", "axes fraction"), fontsize=7, color=COLOURS[1], va="top")
    figure.savefig(path)


def _learning(path: Path, progress: Progress) -> None:
    figure = Figure(figsize=(9, 2.8), dpi=DPI, layout="constrained")
    points = progress.points
    for axes, (name, x) in zip(
        figure.subplots(1, 3, sharey=True),
        (
            ("frames seen", [p.frames for p in points]),
            ("samples trained", [p.samples for p in points]),
            ("seconds", [p.seconds for p in points]),
        ),
        strict=True,
    ):
        _style(axes, "", name, "")
        axes.plot(x, [point.scores["prediction_error"] for point in points], color=COLOURS[0], marker=".")
        axes.set_yscale("log")
    figure.axes[0].set_ylabel("error, held out", fontsize=8, color=FAINT)
    figure.savefig(path)


def _style(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=8, color=FAINT)
    axes.set_ylabel(y, fontsize=8, color=FAINT)
    axes.tick_params(labelsize=7, colors=FAINT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(alpha=0.2)
