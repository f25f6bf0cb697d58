"""A predictor on recorded transitions, where only what really happened is known. See worldmodel/evaluate.py."""

from typing import TYPE_CHECKING

import numpy as np

from worldmodel.scores.baselines import copy_last, describe
from worldmodel.scores.calibration import Spreads
from worldmodel.scores.cases import Tally, pixel_cases, spread_cases, spreads
from worldmodel.scores.intervals import Bootstrap
from worldmodel.scores.original import OBSERVATIONS, divergence
from worldmodel.scores.pixels import absolute, mse
from worldmodel.scores.probe import CHUNK_BYTES, Array, FloatArray, Images, IntArray, Predictor, Spreader
from worldmodel.scores.results import Inference, Matched, WindowReport
from worldmodel.scores.summary import NO_SPREAD, NO_TRAINING, Baselines, Uncertainty, calibrated, decibels, pixels_of, some_cases
from worldmodel.source import Source
from worldmodel.spec import ActionSpace

if TYPE_CHECKING:  # it brings torch
    from worldmodel.scores.inference import ActionInference

LEAST_AT_ONCE = 8  # cases: each is also given the action of its neighbour
MOST_COMPARED, MOST_PAIRS, MOST_SSIM = 1024, 64, 128


def score_windows(
    predictor: Predictor,
    source: Source,
    ids: IntArray,
    space: ActionSpace,
    baselines: Baselines | None = None,
    groups: IntArray | None = None,
    seed: int = 0,
    inference: "ActionInference | None" = None,
    uncertainty: Uncertainty | None = None,
) -> WindowReport:
    """Everything of 2.1, 2.4 and 2.5 that these transitions allow; a few windows are held at a time. Raises ValueError for no ids.

    groups: int [n], what the bootstrap draws together, see `groups_of`; each transition by itself when not given. inference: taught
    on other transitions. The rest as in `score_states`.
    """
    if not len(ids):
        raise ValueError("no transition to score on")
    baselines = baselines or Baselines()
    # in a random order a neighbour's action is anybody's, and the first cases are a fair sample
    order = np.random.default_rng(seed).permutation(len(ids))
    ids, groups = ids[order], (np.arange(len(ids)) if groups is None else groups)[order]
    tally, shown = _gather(predictor, source, ids, space, baselines, inference, uncertainty, seed)
    boot = Bootstrap(groups, seed)
    missing = baselines.missing()
    calibration = None if uncertainty is None else calibrated(tally, groups, uncertainty, seed)
    for name, absent, reason in (
        ("ssim", "ssim" not in tally, "the pictures are smaller than its window of 11 pixels"),
        ("inference", inference is None, NO_TRAINING),
        ("calibration", calibration is None, NO_SPREAD),
        ("place", True, "recordings do not say where the object is"),
        ("counterfactual", True, "only a simulator knows what other actions would have done; see inference, matched and original"),
    ):
        if absent:
            missing[name] = reason
    changes = tally["changes"]
    switch = some_cases("the action changes", tally, boot, changes == 1)
    if switch is None:
        missing["switch"] = "no transition whose action differs from a known one before it"
    matched = _matched(predictor, source, ids, tally, space, groups, seed)
    if matched is None:
        missing["matched"] = "no two states look alike in which different actions were taken"
    return WindowReport(
        transitions=len(ids), groups=boot.groups, pixels=pixels_of(tally, boot),
        delta_psnr=decibels(tally["error"], tally["told another"]), switch=switch,
        actions=[one for name, rows in kinds(tally["action"], space) if (one := some_cases(name, tally, boot, rows[:, None]))],
        inference=None if inference is None else _inference(tally, boot, inference), matched=matched,
        original=divergence(shown, float(tally["moved"].mean())), calibration=calibration, missing=missing,
    )  # fmt: skip


def window_spreads(spreader: Spreader, source: Source, ids: IntArray, groups: IntArray | None = None, seed: int = 0) -> Spreads:
    """What the predictor says of its errors on transitions, to fit or to judge a calibration with."""
    random, tally = np.random.default_rng(seed), Tally()
    for rows in _pieces(source, ids):
        frames, past, action, truth = _cut(source, ids[rows])
        tally.take(spread_cases(spreader, frames, past, action, truth, random))
    return spreads(tally["frame"], tally["stakes"], np.arange(len(ids)) if groups is None else groups)


def _cut(source: Source, ids: IntArray) -> tuple[Images, FloatArray, FloatArray, Images]:
    """(histories, past actions, action [n, 1, D], truth [n, 1, H, W, 3]) of transitions."""
    batch = source.windows(ids)
    frames = {name: array[:, :-1] for name, array in batch.frames.items()}
    return frames, batch.actions[:, :-1], batch.actions[:, -1:], {name: array[:, -1:] for name, array in batch.frames.items()}


def _pieces(source: Source, ids: IntArray) -> list[slice]:
    each = sum(int(np.prod(array.shape[1:])) for array in source.windows(ids[:1]).frames.values())
    size = max(LEAST_AT_ONCE, 2 * CHUNK_BYTES // each)
    return [slice(start, min(start + size, len(ids))) for start in range(0, len(ids), size)]


def _gather(
    predictor: Predictor,
    source: Source,
    ids: IntArray,
    space: ActionSpace,
    baselines: Baselines,
    inference: "ActionInference | None",
    uncertainty: Uncertainty | None,
    seed: int,
) -> tuple[Tally, Images]:
    """Numbers per case; and for the first 30 the predictions for every candidate."""
    random, tally = np.random.default_rng(seed), Tally()
    shown: dict[str, list[Array]] = {}
    numbers = 0
    for rows in _pieces(source, ids):
        frames, past, action, truth = _cut(source, ids[rows])
        last = dict(copy_last(frames))
        other = np.roll(action, 1, axis=0)
        both = predictor.predict_batch(frames, past, np.concatenate((action, other), axis=1))
        predicted, misled = ({name: array[:, n : n + 1] for name, array in both.items()} for n in (0, 1))
        tally.take(
            pixel_cases(predicted, truth, last, baselines.pictures(frames, past, action), (rows.start + np.arange(len(past))) < MOST_SSIM)
        )
        tally.add(action=action[:, 0], changes=_changes(past, action), moved=absolute(last, truth))
        tally.take({"told another": mse(misled, truth), "state": describe(frames).astype(np.float16), "step": _small_step(last, truth)})
        if inference is not None:
            _add_inference(tally, inference, last, {"real": truth, "predicted": predicted, "permuted": misled}, other[:, 0])
        if uncertainty is not None:
            tally.take(spread_cases(uncertainty.predictor, frames, past, action, truth, random))
        if rows.start < OBSERVATIONS:
            left = OBSERVATIONS - rows.start
            tried = predictor.predict_batch({name: array[:left] for name, array in frames.items()}, past[:left], space.candidates()[None])
            for name, array in tried.items():
                shown.setdefault(name, []).append(array)
        numbers = sum(int(np.prod(array.shape[-3:])) for array in truth.values())
    tally.add(numbers=np.array([numbers]))
    return tally, {name: np.concatenate(parts) for name, parts in shown.items()}


def _changes(past: FloatArray, action: FloatArray) -> Array:
    """1 where the action is another than the one before, 0 where not, NaN where none is known: [n, 1]."""
    if past.shape[1] == 0:
        return np.full((len(action), 1), np.nan)
    before = past[:, -1]
    other = np.abs(action[:, 0] - before).max(axis=1) > 1e-6
    return np.where(np.isnan(before).any(axis=1), np.nan, other.astype(np.float64))[:, None]


def _small_step(last: Images, truth: Images) -> Array:
    """How far the picture moved, as `describe` sees it: [n]."""
    return np.asarray(np.square(describe(dict(last)) - describe(truth)).mean(axis=1))


def kinds(actions: FloatArray, space: ActionSpace) -> list[tuple[str, Array]]:
    """Names of kinds of actions, and which cases are of each: the choices, or thirds of every number."""
    if space.discrete:
        chosen = space.encode(actions).argmax(axis=-1)
        return [(", ".join(f"{number:g}" for number in choice), chosen == index) for index, choice in enumerate(space.choices)]
    out = []
    for column, name in enumerate(space.names):
        values = actions[:, column]
        low, high = np.quantile(values, (1 / 3, 2 / 3))
        if low == high:
            continue
        out += [
            (f"{name} up to {low:.2g}", values <= low),
            (f"{name} to {high:.2g}", (values > low) & (values <= high)),
            (f"{name} above {high:.2g}", values > high),
        ]
    return out


def _add_inference(tally: Tally, inference: "ActionInference", last: Images, following: dict[str, Images], told: FloatArray) -> None:
    tally.add(told=told, **{f"read/{name}": inference.read(dict(last), dict(pictures)) for name, pictures in following.items()})


def _inference(tally: Tally, boot: Bootstrap, inference: "ActionInference") -> Inference:
    action, told = tally["action"], tally["told"]
    against = {name: boot.skill(*inference.judge(tally[f"read/{name}"], action)) for name in ("real", "predicted", "permuted")}
    obeys = boot.skill(*inference.judge(tally["read/permuted"], told))
    return Inference("accuracy" if inference.space.discrete else "r2", obeys=obeys, **against)


def _matched(
    predictor: Predictor, source: Source, ids: IntArray, tally: Tally, space: ActionSpace, groups: IntArray, seed: int
) -> Matched | None:
    """States count as alike when they differ by less than half of what a step changes, in the median."""
    state, action = tally["state"][:MOST_COMPARED].astype(np.float32), tally["action"][:MOST_COMPARED]
    norm = np.square(state).sum(axis=1)
    distance = (norm[:, None] + norm[None] - 2.0 * state @ state.T) / state.shape[1]
    if space.discrete:
        kind = space.encode(action).argmax(axis=-1)
        differ = kind[:, None] != kind[None]
    else:
        scaled = action / np.maximum(action.std(axis=0), 1e-6)
        differ = np.abs(scaled[:, None] - scaled[None]).max(axis=2) > 1.0
    alike = differ & (distance < np.median(tally["step"]) / 4.0)
    pairs: list[tuple[int, int]] = []
    used: set[int] = set()
    rows, columns = np.nonzero(np.triu(alike, 1))
    for place in np.argsort(distance[rows, columns], kind="stable"):
        i, j = int(rows[place]), int(columns[place])
        if len(pairs) < MOST_PAIRS and not {i, j} & used:
            pairs.append((i, j))
            used |= {i, j}
    if not pairs:
        return None
    right = np.stack([_nearer(predictor, source, ids[[i, j]]) for i, j in pairs])
    return Matched(len(pairs), Bootstrap(groups[[i for i, _ in pairs]], seed).ratio(right))


def _nearer(predictor: Predictor, source: Source, pair: IntArray) -> Array:
    """Of each state and each of the two actions, whether the prediction is nearer to what followed that action: float [4]."""
    frames, past, action, truth = _cut(source, pair)
    predicted = predictor.predict_batch(frames, past, action[None, :, 0])
    errors = np.stack([mse(predicted, {name: array[b : b + 1] for name, array in truth.items()}) for b in (0, 1)], axis=-1)
    return np.asarray(errors.argmin(axis=-1) == np.arange(2), np.float64).reshape(-1)
