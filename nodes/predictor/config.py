"""What a launch file may say about a predictor node."""

from typing import Any, Literal

import msgspec


class PredictorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`model`: follow (the trainer's weights) or none (only select; torch is never imported).

    `selector`: constant, sequence, random, recorded, person, joint (of an arm), or none (somebody else acts: a replay);
    `selector_options` are its own. With `confirm` a person says yes to each action, or names another.
    A command is good for `deadline_s` from the moment of the frame that it answers; the time that a person
    takes does not count. Predictions are made at most `max_hz` times a second (0: for every
    frame); a continuous space is sampled at `candidates` points. With `gate` above 0 a frame is answered only when the trainer,
    which has the same setting, lets it through.
    """

    model: Literal["follow", "none"] = "follow"
    selector: Literal["constant", "sequence", "random", "recorded", "person", "joint", "none"] = "random"
    selector_options: dict[str, Any] = {}
    confirm: bool = False
    deadline_s: float = 2.0
    max_hz: float = 5.0
    candidates: int = 6
    gate: float = 0.0
    device: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.deadline_s <= 0 or min(self.max_hz, self.gate) < 0 or self.candidates < 1:
            raise ValueError("deadline_s must be above 0, max_hz and gate at least 0, candidates at least 1")
