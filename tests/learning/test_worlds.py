"""The larger worlds, learned by the trainer's own core from a live-like stream; counted in samples, not seconds.

`make bench` measures the same over the whole graph, by time.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodes.predictor.selectors import Random, Seen
from nodes.robot.dot import ToroidalDot
from nodes.trainer.config import TrainerConfig
from nodes.trainer.core import TrainerCore
from protocol import messages as m
from storage.exchange.tub_import import import_tub
from storage.reader import SessionReader
from worldmodel.evaluate import Scores

EPISODE_STEPS = 32


def learn(core: TrainerCore, see: Callable[[], None], samples: int, samples_per_frame: int) -> Scores:
    """Train while new frames come, as many samples for each as a machine of two cores manages live."""
    while core.learner.samples < samples:
        while core.frames_seen < 50 + core.learner.samples // samples_per_frame:
            see()
        core.train()
    scores = core.score()
    assert scores is not None
    return scores


def message(kind: str, body: m.Body, arrays: dict, episode: int, step: int) -> m.Message:
    envelope = m.Envelope(topic=f"{kind}/robot", source="robot", run="r", seq=0, t_ns=0, mono_ns=0, episode=episode, step=step)
    return m.Message(envelope=envelope, body=body, arrays=arrays)


def live(driver: ToroidalDot, core: TrainerCore) -> Iterator[None]:
    """Steps of a dot that acts at random, as the bus would bring them."""
    select = Random(driver.action_space, seed=0).select
    episode = 0
    while True:
        for step in range(EPISODE_STEPS + 1):
            core.add_frame(message("frame", m.Frame(), {"image/top": driver.observe().images["top"]}, episode, step))
            action = select(Seen(episode, step, None))
            assert action is not None
            if step < EPISODE_STEPS:
                driver.execute(action)
                body = m.ActionTaken(action=action, by="random", start_ns=0, end_ns=0)
                core.add_action(message("action", body, {}, episode, step), held_out=False)
            yield
        driver.reset()
        episode += 1


@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("seed", "samples"), [(0, 6000), (1, 12_000), (2, 12_000)])
def test_the_original_dot_world(seed: int, samples: int) -> None:
    driver = ToroidalDot({}, seed=seed)
    robot = m.Robot(
        robot="dot", driver="toroidal_dot", params={}, cameras=[m.CameraInfo(name="top", height=224, width=224)],
        actions=driver.action_space, rate_hz=20, timing="lockstep", safe_action=driver.safe_action,
    )  # fmt: skip
    core = TrainerCore(TrainerConfig(), robot, seed=seed, start=None)
    probe = driver.probe()
    assert probe is not None
    core.set_probe(probe[1])
    stream = live(driver, core)
    scores = learn(core, lambda: next(stream), samples, samples_per_frame=3)
    assert scores.cf_accuracy is not None and scores.cf_accuracy >= 0.99
    assert scores.skill_copy_last is not None and scores.skill_copy_last >= 0.75
    assert scores.hit_at_3px is not None and scores.hit_at_3px >= 0.9


@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_real_car_on_episodes_never_trained_on(recordings: Path, tmp_path: Path) -> None:
    import_tub(recordings / "donkeycar_tub", tmp_path / "car", fps=20, episodes_at=[151, 514, 516, 527, 651, 666])
    with SessionReader(tmp_path / "car") as reader:
        robot = reader.robot
        assert robot is not None
        core = TrainerCore(TrainerConfig(), robot, seed=0, start=None)
        shown = iter([x for x in reader.events(kinds=("frame", "action")) if (x.envelope.episode or 0) < 6])
        held_out = [x for x in reader.events(kinds=("frame", "action")) if x.envelope.episode == 6]
    for x in held_out:
        if x.kind == "frame":
            core.add_frame(m.Message(envelope=x.envelope, body=m.Frame(held_out=True), arrays=x.arrays))
        else:
            core.add_action(x, held_out=True)

    def see() -> None:
        x = next(shown)
        core.add_frame(x) if x.kind == "frame" else core.add_action(x, held_out=False)

    scores = learn(core, see, samples=1600, samples_per_frame=3)
    assert scores.skill_copy_last is not None and scores.skill_copy_last >= 0.1
