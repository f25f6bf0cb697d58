"""Which rate a training begins with."""

from pathlib import Path

import msgspec
import pytest

from nodes.trainer.starting import start_config
from worldmodel.checkpoint import Checkpoint
from worldmodel.schedules import rate
from worldmodel.spec import ActionSpace, Camera, model_spec
from worldmodel.trainconfig import TrainConfig

ASKED = {"schedule": "plateau", "warmup_samples": 0}


def test_a_rate_goes_on_from_where_the_plateau_rule_left_it() -> None:
    spec = model_spec((Camera("top", 32, 32),), ActionSpace(("move",), ((0.0,), (1.0,))))
    theirs = msgspec.to_builtins(TrainConfig(schedule="plateau", warmup_samples=0, lr=1e-3))
    judged = {"plateau": {"factor": 0.5}}
    start = Checkpoint(Path("000001"), spec, {}, {"config": theirs, "samples": 1000, "judgement": judged}, {})
    same, said = start_config(ASKED, "", start)
    assert said == "learning rate 0.001, from the checkpoint 000001; plateau"
    assert rate(same, 1000, 0.5) == pytest.approx(5e-4)
    assert same.resumed_lr == 0.0
    other, said = start_config({**ASKED, "lr": 1e-4, "total_samples": 2000}, "", start)
    assert said == "learning rate 0.0001, as set; plateau"
    assert rate(other, 1000) == pytest.approx(5e-4)
    assert rate(other, 1050) == pytest.approx(1e-4)
