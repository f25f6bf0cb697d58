"""What scoring says. None where a score does not apply; `missing` of a report says why. All errors are on pictures in [0, 1]."""

import msgspec

from worldmodel.scores.calibration import Calibration
from worldmodel.scores.intervals import Figure
from worldmodel.scores.original import Divergence


class Reference(msgspec.Struct, frozen=True):
    """A baseline, and the model's skill over it: 1 - error / error of the baseline."""

    name: str
    mse: float
    psnr: float | None
    ssim: float | None
    skill: Figure | None
    changed_skill: Figure | None


class Pixels(msgspec.Struct, frozen=True):
    """Mean errors; PSNR of the mean. `headline` is the least skill over the references that a predictor could be.

    `changed_mse` and `changed_skill` count only where the picture changed, `changed_share` says how much of it that is.
    """

    cases: int
    mse: float
    psnr: float | None
    ssim: float | None
    changed_mse: float | None
    changed_share: float
    references: list[Reference]
    headline: Figure | None
    headline_over: str | None

    def over(self, name: str) -> Reference | None:
        """The reference of this name."""
        return next((one for one in self.references if one.name == name), None)


class Place(msgspec.Struct, frozen=True):
    """Of the object's position: distances in pixels, `oracle` what reading the true picture gives; `hit` within 3 px.

    mass: brightness as a share of the true one's; peak: of its brightest pixel; ghost: share of the mass at another action's outcome;
    lost: share of the pictures that show nothing.
    """

    cases: int
    median_px: float | None
    p95_px: float | None
    oracle_median_px: float | None
    oracle_p95_px: float | None
    hit: Figure | None
    mass: Figure | None
    peak: float | None
    ghost: Figure | None
    lost: float


class Counterfactual(msgspec.Struct, frozen=True):
    """Whether the action is obeyed, against the truth of every action. Chance of `accuracy` is 1 / actions.

    accuracy: the prediction is nearest to its own action's outcome by pixels, `placed` by position. skill: 1 is perfect, 0 deaf to
    actions, below 0 worse than ignoring them. divergence: how far predictions lie apart over how far outcomes do.
    delta_psnr: what the right action is worth over a random one, in decibels.
    """

    actions: int
    accuracy: Figure | None
    placed: Figure | None
    skill: Figure | None
    divergence: Figure | None
    delta_psnr: float | None


class SomeCases(msgspec.Struct, frozen=True):
    """The main scores on some of the cases: of one action, or where the action is another than the one before."""

    name: str
    cases: int
    mse: float
    psnr: float | None
    skill_copy_last: Figure | None
    accuracy: Figure | None = None
    hit: Figure | None = None


class StateReport(msgspec.Struct, frozen=True):
    """Everything about states with the truth of every action."""

    states: int
    groups: int
    pixels: Pixels
    counterfactual: Counterfactual
    place: Place | None
    switch: SomeCases | None
    actions: list[SomeCases]
    original: Divergence | None
    calibration: Calibration | None
    missing: dict[str, str]


class Inference(msgspec.Struct, frozen=True):
    """The action read from (last frame, next frame) by a small network that was taught on true pairs.

    `kind` is accuracy (discrete) or r2 (continuous, mean over the numbers). real: on true pairs, the most there is to read;
    predicted: on predicted next frames; permuted: on those predicted for another case's action, which is what can be read without
    obeying. obeys: as predicted, but against the other case's action that was told.
    """

    kind: str
    real: Figure | None
    predicted: Figure | None
    permuted: Figure | None
    obeys: Figure | None


class Matched(msgspec.Struct, frozen=True):
    """Pairs of recorded states that look alike and in which different actions were taken: each stands for the other's counterfactual.

    accuracy: how often the prediction for either action is nearer to what followed that action.
    """

    pairs: int
    accuracy: Figure | None


class WindowReport(msgspec.Struct, frozen=True):
    """Everything about recorded transitions, where only what really happened is known."""

    transitions: int
    groups: int
    pixels: Pixels
    delta_psnr: float | None
    switch: SomeCases | None
    actions: list[SomeCases]
    inference: Inference | None
    matched: Matched | None
    original: Divergence | None
    calibration: Calibration | None
    missing: dict[str, str]


class RolloutStep(msgspec.Struct, frozen=True):
    """After so many steps on its own predictions. `copy_last_mse` repeats the last frame that was seen."""

    horizon: int
    mse: float
    psnr: float | None
    copy_last_mse: float
    skill: Figure | None
    median_px: float | None = None
    hit: Figure | None = None
    mass: Figure | None = None


class RolloutReport(msgspec.Struct, frozen=True):
    """valid_horizon: how many steps the median position error stays within the radius and the skill over copying is not below 0;
    `ended_by` says which failed first, None when neither did within the steps rolled out.
    """

    rollouts: int
    groups: int
    steps: list[RolloutStep]
    valid_horizon: int
    ended_by: str | None
    missing: dict[str, str]
