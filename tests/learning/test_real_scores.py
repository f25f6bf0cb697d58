"""A checkpoint scored on a real drive that it did not see, with its action-blind twin: everything there is to say of a recording."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from nodes.trainer.recorded import Recorded
from nodes.worlds import model_actions, model_cameras
from storage.exchange.tub_import import import_tub
from storage.views import open_session
from toddle.evaluate import evaluate
from worldmodel import checkpoint
from worldmodel.learner import Learner, TrainConfig
from worldmodel.spec import model_spec

pytestmark = pytest.mark.slow
STEPS, BATCH = 120, 16


@pytest.fixture(scope="module")
def sessions(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`car`, and two checkpoints of 120 steps: one told actions, one not."""
    root = tmp_path_factory.mktemp("real")
    import_tub(recordings / "donkeycar_tub", root / "car", fps=20, episodes_at=[151, 514, 516, 527, 651, 666])
    with open_session(root / "car") as reader:
        assert reader.robot is not None
        spec = model_spec(model_cameras(reader.robot.cameras), model_actions(reader.robot.actions), patch=20, width=64, ensemble=2)
        source = Recorded.whole([reader], [camera.name for camera in spec.cameras], spec.context)
        early = source.ids()[source.episode(source.ids()) <= 5]
        for name, blind in (("sees", False), ("blind", True)):
            learner = Learner(spec, TrainConfig(batch_size=BATCH, warmup_samples=200, action_blind=blind), "cpu")
            for _ in range(STEPS):
                learner.step(source.windows(learner.rng.choice(early, BATCH)))
            checkpoint.save(root / name, learner)
    return root


def test_everything_about_a_real_drive(sessions: Path, tmp_path: Path) -> None:
    told, blind = (next((sessions / name).iterdir()) for name in ("sees", "blind"))
    written = tmp_path / "scores.json"
    words = [str(told), "car", "--root", str(sessions), "--twin", str(blind), "--json", str(written), "--windows", "200"]
    done = CliRunner().invoke(evaluate, [*words, "--pictures", str(tmp_path / "pictures"), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    (row,) = msgspec.json.decode(written.read_bytes())["scores"]
    report = row["windows"]
    assert row["on"] == "unseen episodes" and row["losses"]["observations"] > 900
    assert {one["name"] for one in report["pixels"]["references"]} == {"copy last", "linear", "blind twin"}
    raw, again = (report["calibration"][name] for name in ("raw", "recalibrated"))
    assert again["nll"] < raw["nll"] - 1.0  # the likeliest temperature, of the drive's earlier half; its later half looks otherwise
    assert 0.0 < raw["coverage_error"] < 0.5 and 0.0 < again["coverage_error"] < 0.5
    assert len(report["actions"]) >= 3 and report["missing"]["inference"]
    assert row["rollouts"]["steps"][15]["skill"]["low"] < row["rollouts"]["steps"][15]["skill"]["high"]
    assert np.isfinite(report["original"]["overall_mean_divergence"])
    assert len(list((tmp_path / "pictures").iterdir())) == 5
