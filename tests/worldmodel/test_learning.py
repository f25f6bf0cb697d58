"""Does it learn? Counted in samples, so the answer does not depend on the machine."""

import pytest

from nodes.trainer.buffer import ReplayBuffer
from worldmodel.evaluate import Scores, score_probe
from worldmodel.learner import Learner, TrainConfig
from worldmodel.predictor import FramePredictor
from worldmodel.spec import model_spec

SAMPLES_PER_FRAME = 8  # a live stream on a slow machine: few new frames for every sample trained


@pytest.mark.learning
@pytest.mark.timeout(300)
@pytest.mark.parametrize("further", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_live_dot_world_is_learned_in_a_few_thousand_samples(world, tmp_path, further: bool) -> None:  # type: ignore[no-untyped-def]
    spec = model_spec(world.cameras, world.space)
    learner = Learner(spec, TrainConfig(), "cpu")
    buffer = ReplayBuffer(spec.cameras, action_size=1, context=spec.context, capacity_frames=10_000)
    stream = world.live(learner.rng)
    probe = world.probe(spec.context)
    seen = 0

    def see(frames: int) -> None:
        nonlocal seen
        while seen < frames:
            episode, step, image, action = next(stream)
            buffer.add_frame(episode, step, {"top": image})
            buffer.add_action(episode, step, action)
            seen += 1

    def train(samples: int) -> Scores:
        while learner.samples < samples:
            see(70 + learner.samples // SAMPLES_PER_FRAME)
            learner.step(learner.draw(buffer))
        return score_probe(FramePredictor(spec, learner.weights_bytes(), "cpu"), probe)

    early = train(2000)
    assert early.cf_accuracy is not None
    assert early.cf_accuracy >= 0.99
    assert early.hit_at_3px is not None
    assert early.hit_at_3px >= 0.9
    assert early.skill_action_blind is not None
    assert early.skill_action_blind >= 0.5
    if not further:
        return
    late = train(4000)
    assert late.hit_at_3px is not None
    assert late.hit_at_3px >= 0.98
    assert late.skill_copy_last is not None
    assert late.skill_copy_last >= 0.85
