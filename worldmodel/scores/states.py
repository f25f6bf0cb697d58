"""A predictor against the truth of every action: all that can be said of a probe. See worldmodel/evaluate.py."""

from typing import cast

import numpy as np

from worldmodel.scores.calibration import Spreads
from worldmodel.scores.cases import Tally, counterfactual_cases, pixel_cases, place_cases, spread_cases, spreads
from worldmodel.scores.intervals import Bootstrap
from worldmodel.scores.original import OBSERVATIONS, divergence
from worldmodel.scores.pixels import absolute
from worldmodel.scores.place import marker_of
from worldmodel.scores.probe import Array, Images, IntArray, Predictor, Probe, Spreader
from worldmodel.scores.results import Counterfactual, SomeCases, StateReport
from worldmodel.scores.summary import NO_SPREAD, OPTIMUM, Baselines, Uncertainty, calibrated, decibels, pixels_of, place_of, some_cases

MOST_SSIM = 128  # pictures
NO_POSITION = "the probe does not say where the object is"


def score_states(
    predictor: Predictor,
    probe: Probe,
    baselines: Baselines | None = None,
    groups: IntArray | None = None,
    seed: int = 0,
    uncertainty: Uncertainty | None = None,
) -> StateReport:
    """Everything of 2.1, 2.2, 2.4 and 2.5 that a probe allows. A probe of 512 states and 2 actions of 224x224 takes some 100 MB.

    groups: int [N], what the bootstrap draws together (rows, sessions); each state by itself when not given.
    """
    baselines = baselines or Baselines()
    groups = np.arange(len(probe)) if groups is None else groups
    tally, shown = _gather(predictor, probe, baselines, uncertainty, seed)
    boot = Bootstrap(groups, seed)
    missing = baselines.missing()
    if "ssim" not in tally:
        missing["ssim"] = "the pictures are smaller than its window of 11 pixels"
    if probe.position is None:
        missing["place"] = NO_POSITION
    calibration = None if uncertainty is None else calibrated(tally, groups, uncertainty, seed)
    if calibration is None:
        missing["calibration"] = NO_SPREAD
    switch = _switch(tally, boot, probe)
    if switch is None:
        missing["switch"] = "no action before the tried one is known"
    told = cast("list[list[float]]", probe.candidates.tolist())
    every = np.ones_like(tally["error"], bool)
    return StateReport(
        states=len(probe), groups=boot.groups, pixels=pixels_of(tally, boot), counterfactual=_counterfactual(tally, boot, seed),
        place=None if probe.position is None else place_of(tally, boot), switch=switch,
        actions=[
            one for a, action in enumerate(told)
            if (one := some_cases(_name(action), tally, boot, every & (np.arange(every.shape[1]) == a)))
        ],
        original=divergence(shown, float(tally["moved"].mean())), calibration=calibration, missing=missing,
    )  # fmt: skip


def probe_spreads(spreader: Spreader, probe: Probe, groups: IntArray | None = None, seed: int = 0) -> Spreads:
    """What the predictor says of its errors on a probe, to fit or to judge a calibration with."""
    random, tally = np.random.default_rng(seed), Tally()
    for part in probe.parts():
        tally.take(spread_cases(spreader, part.frames, part.past_actions, part.candidates[None], part.next, random))
    return spreads(tally["frame"], tally["stakes"], np.arange(len(probe)) if groups is None else groups)


def _gather(predictor: Predictor, probe: Probe, baselines: Baselines, uncertainty: Uncertainty | None, seed: int) -> tuple[Tally, Images]:
    """Numbers per case; and the predictions for some states, spread evenly, for the original's divergence."""
    random, tally, marker = np.random.default_rng(seed), Tally(), marker_of(probe)
    wanted = set(random.permutation(len(probe))[:OBSERVATIONS].tolist())
    shown: dict[str, list[Array]] = {name: [] for name in probe.next}
    start, each = 0, -(-len(probe) * len(probe.candidates) // MOST_SSIM)
    for part in probe.parts():
        tried = part.candidates[None]
        predicted = predictor.predict_batch(part.frames, part.past_actions, tried)
        last = {name: array[:, -1:] for name, array in part.frames.items()}
        references = baselines.pictures(part.frames, part.past_actions, tried)
        references[OPTIMUM] = {name: array.mean(axis=1, keepdims=True, dtype=np.float32) for name, array in part.next.items()}
        tally.take(pixel_cases(predicted, part.next, last, references, (start + np.arange(len(part))) % each == 0))
        tally.take(counterfactual_cases(predicted, part.next))
        tally.add(moved=absolute(last, part.next))
        if part.position is not None:
            tally.take(place_cases(predicted, part.next, part.position, marker))
        if uncertainty is not None:
            tally.take(spread_cases(uncertainty.predictor, part.frames, part.past_actions, tried, part.next, random))
        rows = [row for row in range(len(part)) if start + row in wanted]
        for name, array in predicted.items():
            shown[name].append(array[rows])
        start += len(part)
    tally.add(numbers=np.array([sum(int(np.prod(array.shape[-3:])) for array in probe.next.values())]))
    return tally, {name: np.concatenate(parts) for name, parts in shown.items()}


def _counterfactual(tally: Tally, boot: Bootstrap, seed: int) -> Counterfactual:
    pairs = tally["pairs"].astype(np.float64)
    count, actions = pairs.shape[:2]
    own = np.diagonal(pairs, axis1=1, axis2=2)
    other = None
    if actions > 1:  # the prediction for another action than a, drawn at random, against a's outcome
        told = (np.arange(actions) + np.random.default_rng(seed).integers(1, actions, (count, actions))) % actions
        other = np.take_along_axis(pairs.transpose(0, 2, 1), told[..., None], axis=2)[..., 0]
    return Counterfactual(
        actions=actions, accuracy=boot.ratio(tally["nearest"]), placed=boot.ratio(tally["placed"]) if "placed" in tally else None,
        skill=boot.skill(tally["wrong"], tally["apart"]), divergence=boot.ratio(tally["told"], tally["true"]),
        delta_psnr=None if other is None else decibels(own, other),
    )  # fmt: skip


def _switch(tally: Tally, boot: Bootstrap, probe: Probe) -> SomeCases | None:
    """Where the action is another than the one before."""
    if probe.past_actions.shape[1] == 0:
        return None
    before = probe.past_actions[:, -1]
    known: Array = ~np.asarray(np.isnan(before).any(axis=1))
    away: Array = np.abs(probe.candidates[None] - np.nan_to_num(before)[:, None]).max(axis=2)
    return some_cases("the action changes", tally, boot, (away > 1e-6) & known[:, None])


def _name(action: list[float]) -> str:
    return ", ".join(f"{number:g}" for number in action)
