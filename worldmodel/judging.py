"""What repeated judgements of training say together: a factor of the learning rate, and whether to stop."""

import msgspec

from worldmodel.divergence import Divergence
from worldmodel.plateau import Plateau, Stall
from worldmodel.trainconfig import TrainConfig


class Judgement(msgspec.Struct, frozen=True):
    """Kept in checkpoints, so that a resumed run stops where the whole one would."""

    plateau: Plateau = Plateau()
    stall: Stall = Stall()
    divergence: Divergence = Divergence()

    def step(self, train: float, held_out: float | None, config: TrainConfig) -> "Judgement":
        """After one judgement: mean squared errors of a fixed sample of either side, by the same weights.

        Without a held-out side there is no divergence, and the others go by the training side.
        """
        value = train if held_out is None else held_out
        divergence = self.divergence if held_out is None else self.divergence.step(train, held_out, config)
        plateau = self.plateau
        if config.schedule == "plateau":
            plateau = plateau.step(value, config.plateau_patience, config.plateau_factor, config.lr_min_ratio)
        stall = self.stall.step(value, config.stop_patience, config.stop_min_improvement, config.judge_smoothing)
        return Judgement(plateau, stall, divergence)

    def stop(self, config: TrainConfig) -> tuple[str, str] | None:
        """(outcome, why) when training is to stop."""
        if config.stop_on_divergence and self.divergence.stopped:
            return "diverged", self.divergence.reason
        if config.stop_on_plateau and self.stall.stopped:
            return "plateau", f"no improvement above {config.stop_min_improvement:.2%} in {self.stall.bad} judgements"
        return None


def judges(config: TrainConfig) -> bool:
    """Whether judgements are of any use to this training."""
    return config.stop_on_divergence or config.stop_on_plateau or config.schedule == "plateau"
