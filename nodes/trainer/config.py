"""What a launch file may say about a trainer node."""

from typing import Annotated, Any, Literal

import msgspec

from worldmodel.presets import PRESETS
from worldmodel.spec import check_settings
from worldmodel.trainconfig import train_config


class TrainerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`model` is a preset; `spec` and `train` override single fields of the model's spec and of TrainConfig.

    `goal`: scores on the held-out probe at which the world counts as learned; with `stop_when_learned` the
    run then ends. Times are seconds. `train_ratio` bounds training to that many samples per new frame (0:
    as fast as it can). Of a robot in lockstep the ratio is kept exactly: what a frame allows is trained before the next
    one is taken, so that a replay, with the same seed and threads, ends in the same weights as the live run. The newest
    `checkpoint_keep` checkpoints stay, and beside them the `checkpoint_best` by their held-out score. `resume` is a
    checkpoint to go on from: RUN, RUN/best, RUN/7 or a folder. `nice`, up to 19: how far it gives way to other processes.
    With `gate` above 0 the robot, in lockstep, acts on a frame only when the loss of what led to it is below that, or after
    `gate_steps` steps; the predictor needs the same setting. `tensorboard` and `wandb` have the log beside train.jsonl.
    """

    model: str = "small"
    spec: dict[str, Any] = {}
    train: dict[str, Any] = {}
    device: str = "auto"
    buffer_mb: int = 1024
    min_transitions: int = 32
    train_ratio: float = 0.0
    goal: dict[Literal["cf_accuracy", "hit_at_3px", "skill_copy_last", "skill_action_blind"], float] = {}
    stop_when_learned: bool = False
    eval_every_s: float = 15.0
    weights_every_s: float = 1.0
    checkpoint_every_s: float = 60.0
    checkpoint_keep: int = 3
    checkpoint_best: int = 1
    resume: str = ""
    gate: float = 0.0
    gate_steps: int = 100
    tensorboard: bool = False
    wandb: Literal["", "offline", "online"] = ""
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 0

    def __post_init__(self) -> None:
        check_settings(self.model, self.spec)
        train_config(self.train, **PRESETS[self.model]["train"])
        if self.buffer_mb < 1 or self.min_transitions < 1 or self.checkpoint_keep < 1:
            raise ValueError("buffer_mb, min_transitions and checkpoint_keep must be at least 1")
        if self.checkpoint_best < 0:
            raise ValueError(f"checkpoint_best is {self.checkpoint_best}; give how many of the best stay, 0 for none")
        if self.gate < 0 or self.gate_steps < 1:
            raise ValueError("gate must be at least 0, gate_steps at least 1")
        if self.gate and self.train_ratio:
            raise ValueError("gate trains as long as each frame needs, train_ratio so many samples a frame: set one of them")
        if min(self.eval_every_s, self.weights_every_s, self.checkpoint_every_s) <= 0:
            raise ValueError("eval_every_s, weights_every_s and checkpoint_every_s must be above 0")
