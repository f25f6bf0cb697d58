"""What training costs beside its steps: the log, waiting for data, sampling."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nodes.trainer.buffer import ReplayBuffer
from nodes.trainer.journal import Journal
from nodes.trainer.watching import Watch
from worldmodel.learner import Learner
from worldmodel.spec import ActionSpace, Camera, model_spec
from worldmodel.trainconfig import TrainConfig

LOG_LIMIT, DRAW_LIMIT = 0.02, 0.05
FRAMES = 4000


def bench(echo: Callable[[str], None], seconds: float = 30.0) -> bool:
    """Print the table; whether the targets are met."""
    spec = model_spec((Camera("top", 64, 64),), ActionSpace(("action",), ((0.0,), (1.0,))))
    buffer = filled(spec.cameras)
    learner = Learner(spec, TrainConfig(), "cpu")
    for _ in range(10):
        learner.step(learner.draw(buffer))
    draw_s, step_s, logged_s = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(learner, Journal(Path(folder) / "train.jsonl"))
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            for times, step in ((step_s, learner.step), (logged_s, watch.step)):  # turn by turn: both see the same machine
                start_s = time.perf_counter()
                batch = learner.draw(buffer)
                drawn_s = time.perf_counter()
                step(batch)
                times.append(time.perf_counter() - drawn_s)
                draw_s.append(drawn_s - start_s)
    log = float(np.sum(logged_s) / np.sum(step_s) - 1)
    draw = float(np.median(draw_s) / np.median(step_s))
    echo("| 64x64, batch 16 | ms a step | share of a step | target |\n|---|---:|---:|---:|")
    echo(f"| step | {1e3 * float(np.median(step_s)):.1f} | | |")
    echo(f"| drawing a batch | {1e3 * float(np.median(draw_s)):.2f} | {draw:.2%} | {DRAW_LIMIT:.0%} |")
    echo(f"| the log, in the mean | {1e3 * float(np.mean(logged_s) - np.mean(step_s)):.2f} | {log:.2%} | {LOG_LIMIT:.0%} |")
    for name in ("uniform", "recent", "epoch", "loss-weighted", "prioritised"):
        other = Learner(spec, TrainConfig(sampling={name: 1.0}), "cpu")
        other.sampler.learn(buffer.ids(), np.random.default_rng(0).random(len(buffer), np.float32))
        times = []
        for _ in range(200):
            start_s = time.perf_counter()
            other.draw(buffer)
            times.append(time.perf_counter() - start_s)
        drawn = float(np.median(times))
        echo(f"| drawing, {name} of {len(buffer)} | {1e3 * drawn:.2f} | {drawn / float(np.median(step_s)):.2%} | |")
    return log < LOG_LIMIT and draw < DRAW_LIMIT


def filled(cameras: tuple[Camera, ...]) -> ReplayBuffer:
    buffer = ReplayBuffer(cameras, 1, 2, capacity_frames=FRAMES)
    rng = np.random.default_rng(0)
    for number in range(FRAMES):
        picture = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        buffer.add_frame(number // 32, number % 32, {"top": picture})
        buffer.add_action(number // 32, number % 32, rng.integers(0, 2, 1).astype(np.float32))
    return buffer
