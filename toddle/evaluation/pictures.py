"""Pictures of what a model predicts: strips per action, maps of the error, counterfactual grids, rollouts. PNG, by matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nodes.trainer.evaluation import Sample
from worldmodel.scores.probe import IntArray
from worldmodel.scores.rollouts import SHOWN, roll
from worldmodel.scores.transitions import kinds

Array = np.ndarray[Any, Any]

STATES, ACTIONS, KINDS, ROLLS, MAPPED = 4, 4, 6, 2, 64
CELL_IN, LABELS_IN, DPI = 1.25, 0.8, 110
FAINTEST = 16.0  # grey levels: a scale of errors ends no lower
INK, PAPER, FAINT = "#1c2733", "white", "#5b6b7a"


def draw(folder: Path, sample: Sample) -> None:
    """Write all pictures of one row; their names begin with its session and what it is of."""
    name = f"{sample.row.session}-{sample.row.on.replace(',', '').replace(' ', '-')}"
    if sample.probe is not None:
        _counterfactuals(folder / f"{name}-counterfactuals.png", sample)
    elif sample.source is not None and sample.ids is not None:
        _predictions(folder / f"{name}-predictions.png", sample, sample.ids)
        _errors(folder / f"{name}-errors.png", sample, sample.ids)
        if sample.long_ids is not None:
            _rollouts(folder / f"{name}-rollouts.png", sample, sample.long_ids)


def _counterfactuals(path: Path, sample: Sample) -> None:
    """A row a state: the last frame, then for each action what comes, what was predicted and where that is wrong."""
    probe = sample.probe
    assert probe is not None
    part = probe.part(np.linspace(0, len(probe) - 1, min(STATES, len(probe))).round().astype(np.int64))
    predicted = together(sample.predictor.predict_batch(part.frames, part.past_actions, part.candidates[None]))
    truth, last = together(part.next), together(part.frames)[:, -1]
    actions = np.linspace(0, truth.shape[1] - 1, min(ACTIONS, truth.shape[1])).round().astype(int)
    names = [", ".join(f"{number:g}" for number in candidate) for candidate in part.candidates]
    grid = Grid(len(part), 1 + 3 * len(actions), last.shape[1:3], "What each action does: true, predicted, and the error of the prediction")
    for row in range(len(part)):
        grid.show(row, 0, last[row], "last frame")
        for place, action in enumerate(actions):
            column = 1 + 3 * place
            grid.show(row, column, truth[row, action], f"{names[action]}: true")
            grid.show(row, column + 1, predicted[row, action], f"{names[action]}: predicted")
            grid.heat(row, column + 2, apart(predicted[row, action], truth[row, action]), "error")
    grid.save(path)


def _predictions(path: Path, sample: Sample, ids: IntArray) -> None:
    """A row for each kind of action, the transition that moved most of a few."""
    source = sample.source
    assert source is not None
    few = ids[np.linspace(0, len(ids) - 1, min(MAPPED, len(ids))).round().astype(np.int64)]
    batch = source.windows(few)
    found = [(name, np.flatnonzero(rows)) for name, rows in kinds(batch.actions[:, -1], sample.predictor.spec.actions)]
    found = [(name, rows) for name, rows in found if len(rows)][:KINDS]
    frames = together(batch.frames)
    moved = np.abs(frames[:, -1].astype(np.int16) - frames[:, -2]).mean(axis=(1, 2, 3))
    picked = [(name, int(rows[moved[rows].argmax()])) for name, rows in found]
    rows = np.array([row for _, row in picked])
    predicted = _predict(sample, {name: array[rows] for name, array in batch.frames.items()}, batch.actions[rows])
    grid = Grid(len(rows), 5, frames.shape[2:4], "One prediction for each kind of action, the liveliest of a few", left_in=LABELS_IN)
    scale = max(float(apart(frames[rows, -2], frames[rows, -1]).max()), FAINTEST)
    for row, (name, case) in enumerate(picked):
        last, truth = frames[case, -2], frames[case, -1]
        for column, (picture, title) in enumerate(((last, "last frame"), (truth, "true next"), (predicted[row], "predicted"))):
            grid.show(row, column, picture, title)
        grid.heat(row, 3, apart(predicted[row], truth), "error", scale)
        grid.heat(row, 4, apart(last, truth), "true change", scale)
        grid.label(row, name)
    grid.save(path)


def _errors(path: Path, sample: Sample, ids: IntArray) -> None:
    """Where the error lies, in the mean over some transitions, beside that of copying the last frame."""
    source = sample.source
    assert source is not None
    few = ids[np.linspace(0, len(ids) - 1, min(MAPPED, len(ids))).round().astype(np.int64)]
    batch = source.windows(few)
    frames = together(batch.frames)
    predicted = _predict(sample, batch.frames, batch.actions)
    ours, copied = (apart(one, frames[:, -1]).mean(axis=0) for one in (predicted, frames[:, -2]))
    scale = max(float(copied.max()), float(ours.max()), 1e-3)
    title = f"Mean absolute error over {len(few)} transitions, grey levels up to {scale:.1f}"
    grid = Grid(1, 3, frames.shape[2:4], title, cell=2.2)
    grid.show(0, 0, frames[len(few) // 2, -1], "an example")
    grid.heat(0, 1, ours, f"model, mean {ours.mean():.2f}", scale)
    grid.heat(0, 2, copied, f"copy last, mean {copied.mean():.2f}", scale)
    grid.save(path)


def _rollouts(path: Path, sample: Sample, ids: IntArray) -> None:
    """True frames above the model's own, after 1, 2, 4, 8 and 16 steps."""
    source, context = sample.source, sample.predictor.spec.context
    assert source is not None
    picked = ids[np.linspace(0, len(ids) - 1, min(ROLLS, len(ids))).round().astype(np.int64)]
    batch = source.windows(picked, sample.horizon)
    steps = [together(predicted)[:, 0] for predicted, _ in roll(sample.predictor, batch, context)]
    shown = [step for step in SHOWN if step <= sample.horizon]
    frames = together(batch.frames)
    grid = Grid(2 * len(picked), 1 + len(shown), frames.shape[2:4], "On its own predictions, with the true actions", left_in=LABELS_IN)
    for rollout in range(len(picked)):
        top = 2 * rollout
        for row, name in ((top, "true"), (top + 1, "predicted")):
            grid.show(row, 0, frames[rollout, context - 1], "last seen")
            grid.label(row, name)
        for column, step in enumerate(shown, 1):
            plural = "" if step == 1 else "s"
            grid.show(top, column, frames[rollout, context - 1 + step], f"{step} step{plural}")
            grid.show(top + 1, column, steps[step - 1][rollout], "")
    grid.save(path)


def _predict(sample: Sample, frames: dict[str, Array], actions: Array) -> Array:
    """[n, H, W, 3] of windows, all cameras together."""
    seen = {name: array[:, :-1] for name, array in frames.items()}
    return together(sample.predictor.predict_batch(seen, actions[:, :-1], actions[:, -1:]))[:, 0]


def together(images: dict[str, Array]) -> Array:
    """All cameras below one another: {camera: [..., H, W, 3]} -> [..., sum of H, largest W, 3]."""
    width = max(array.shape[-2] for array in images.values())
    parts = []
    for array in images.values():
        room = [(0, 0)] * (array.ndim - 2) + [(0, width - array.shape[-2]), (0, 0)]
        parts.append(np.pad(array, room))
    return np.concatenate(parts, axis=-3)


def apart(ours: Array, theirs: Array) -> Array:
    """Mean absolute difference over the colours, grey levels: [..., H, W]."""
    return np.abs(ours.astype(np.float32) - theirs).mean(axis=-1)


class Grid:
    """Rows and columns of small pictures, each with a title in the first row."""

    def __init__(self, rows: int, columns: int, size: Sequence[int], title: str, cell: float = CELL_IN, left_in: float = 0.1) -> None:
        height, width = cell * size[0] / max(size), cell * size[1] / max(size)
        room = (left_in + 0.1 + columns * (width + 0.12), 0.75 + rows * (height + 0.12))
        self.figure = Figure(figsize=(max(room[0], 5.5), room[1]), dpi=DPI, facecolor=PAPER)
        self._axes = self.figure.subplots(rows, columns, squeeze=False)
        left = left_in / self.figure.get_figwidth()
        top = 1 - 0.6 / room[1]
        self.figure.subplots_adjust(left=left, right=1 - 0.1 / room[0], top=top, bottom=0.1 / room[1], wspace=0.08, hspace=0.08)
        self.figure.text(0.1 / room[0], 1 - 0.12 / room[1], title, va="top", color=INK, fontsize=9, weight="bold")
        for axes in self._axes.ravel():
            axes.axis("off")

    def show(self, row: int, column: int, picture: Array, title: str) -> None:
        self._put(row, column, picture, title)

    def heat(self, row: int, column: int, values: Array, title: str, scale: float = 255.0) -> None:
        self._put(row, column, values, title, cmap="inferno", vmin=0.0, vmax=scale)

    def _put(self, row: int, column: int, picture: Array, title: str, **how: Any) -> None:
        axes: Axes = self._axes[row, column]
        axes.imshow(picture, interpolation="nearest", **how)
        if row == 0 and title:
            axes.set_title(title, fontsize=6.5, color=FAINT, pad=2)

    def label(self, row: int, text: str) -> None:
        """Left of a row."""
        box = self._axes[row, 0].get_position()
        self.figure.text(
            box.x0 - 0.06 / self.figure.get_figwidth(),
            (box.y0 + box.y1) / 2,
            text,
            ha="right",
            va="center",
            fontsize=6.5,
            color=INK,
            wrap=True,
        )

    def save(self, path: Path) -> None:
        self.figure.savefig(path)
