"""Runs as the viewer sees them, made by hand: every message goes through `ViewState.update`."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from nodes.viewer.state import ViewState
from protocol import messages as m

Image = np.ndarray[Any, np.dtype[np.uint8]]
GRAPH = {"robot": "robot", "recorder": "recorder", "trainer": "trainer", "predictor": "predictor", "viewer": "viewer"}


class Run:
    """A viewer's state and the means to feed it; `now` is the viewer's monotonic clock in seconds."""

    def __init__(self, nodes: dict[str, str] | None = None, context: int = 2, run_name: str = "first-light") -> None:
        self.state = ViewState(run_name=run_name, nodes=GRAPH if nodes is None else nodes, context=context)
        self.now = 1000.0
        self._seq = itertools.count()

    def send(
        self, topic: str, body: m.Body, arrays: dict[str, np.ndarray] | None = None, episode: int | None = None,
        step: int | None = None, run: str = "run-1", session: str | None = None,
    ) -> None:  # fmt: skip
        envelope = m.Envelope(
            topic=topic, source=topic.partition("/")[2], run=run, seq=next(self._seq), t_ns=0,
            mono_ns=int(self.now * 1e9), session=session, episode=episode, step=step,
        )  # fmt: skip
        self.state.update(m.Message(envelope=envelope, body=body, arrays=arrays or {}), self.now)

    def robot(
        self, cameras: Sequence[tuple[str, int, int]], choices: Sequence[m.Action] = (), names: Sequence[str] = ("action",),
        driver: str = "toroidal_dot",
    ) -> None:  # fmt: skip
        low, high = ([], []) if choices else ([-1.0] * len(names), [1.0] * len(names))
        space = m.ActionSpaceInfo(names=list(names), choices=list(choices), low=low, high=high)
        body = m.Robot(
            robot="dot", driver=driver, params={}, cameras=[m.CameraInfo(name=n, height=h, width=w) for n, h, w in cameras],
            actions=space, rate_hz=10, timing="lockstep", safe_action=dict.fromkeys(names, 0.0),
        )  # fmt: skip
        self.send("robot/robot", body)

    def frame(self, step: int, images: dict[str, Image], episode: int = 0, held_out: bool = False, run: str = "run-1") -> None:
        arrays = {f"image/{camera}": image for camera, image in images.items()}
        self.send("frame/robot", m.Frame(held_out=held_out), arrays, episode, step, run)

    def action(self, step: int, action: m.Action, episode: int = 0, by: str = "predictor", **fields: Any) -> None:
        body = m.ActionTaken(action=action, by=by, start_ns=0, end_ns=1, **fields)
        self.send("action/robot", body, episode=episode, step=step)

    def prediction(
        self, step: int, candidates: Sequence[m.Action], images: dict[str, Image] | None, chosen: int | None = 0,
        episode: int = 0, **fields: Any,
    ) -> None:  # fmt: skip
        fields = {"weights_version": 37, "latency_ms": 8.2, **fields}
        body = m.Prediction(candidates=list(candidates), chosen=chosen, **fields)
        arrays = {f"next/{camera}": image for camera, image in (images or {}).items()}
        self.send("prediction/predictor", body, arrays, episode, step)

    def metrics(self, node: str = "trainer", **values: float) -> None:
        self.send(f"metrics/{node}", m.Metrics(values=values))

    def status(
        self, name: str, state: m.StateName = "running", out: dict[str, int] | None = None, run: str = "run-1",
        received: int = 0, skipped: int = 0, lost: int = 0, **fields: Any,
    ) -> None:  # fmt: skip
        count = m.TopicCount(published=received + skipped + lost, received=received, skipped=skipped, lost=lost, lane="latest")
        counts = {"frame/robot": count} if count.published else {}
        body = m.Status(state=state, kind=GRAPH.get(name, name), last_seq=out or {}, counts=counts, **fields)
        self.send(f"status/{name}", body, run=run)

    def committed(self, events: int = 12_345, size: int = 48_200_000) -> None:
        body = m.Committed(session="2026-11-21_08-41-07_dot", last_seq={"frame/robot": 1200}, events=events, bytes=size)
        self.send("committed/recorder", body)

    def alarm(self, name: str, text: str, active: bool = True, node: str = "recorder") -> None:
        self.send(f"alarm/{node}", m.Alarm(name=name, text=text, active=active))

    def heartbeats(self, seconds: int = 3, robot_state: m.StateName = "running") -> None:
        """All five nodes, once a second."""
        for second in range(1, seconds + 1):
            self.now += 1.0
            self.status("robot", robot_state, {"frame/robot": 1200 + 10 * second, "action/robot": 1199 + 10 * second})
            self.status("recorder", received=4100 + 32 * second)
            self.status("trainer", received=2400 + 20 * second)
            self.status("predictor", out={"prediction/predictor": 1190 + 10 * second}, received=900, skipped=14)
            self.status("viewer", received=3000 + 41 * second, skipped=210)

    def training(self, points: int = 240) -> None:
        """Losses and probe scores as of a run that learns."""
        noise = np.random.default_rng(3)
        for index in range(points):
            self.now += 1.0
            fall = float(np.exp(-index / 45))
            jitter = float(np.exp(noise.normal(0, 0.12)))
            self.metrics(
                loss=(0.03 * fall + 4e-4) * jitter,
                mse=(0.02 * fall + 1.5e-4) * jitter,
                copy_last_mse=0.0031 * jitter,
                samples=64.0 * index,
                steps=8.0 * index,
                samples_per_s=512.0 + index,
            )
            if index % 6 == 5:
                wobble = float(noise.normal(0, 0.02))
                self.metrics(
                    skill_copy_last=0.96 - 1.9 * fall + wobble,
                    skill_action_blind=0.9 - 1.2 * fall + wobble,
                    cf_accuracy=min(1.0, 1 - 0.5 * fall),
                    hit_at_3px=max(0.0, 0.99 - 1.1 * fall + wobble),
                )


def dot(size: int, x: float, y: float, radius: float | None = None) -> Image:
    """A soft white dot on a dark torus, [size, size, 3]."""
    radius = size / 9 if radius is None else radius
    rows, columns = np.indices((size, size)).astype(np.float32)
    dx = np.abs(columns - x * size)
    dy = np.abs(rows - y * size)
    distance = np.hypot(np.minimum(dx, size - dx), np.minimum(dy, size - dy))
    light = np.clip(radius - distance + 0.5, 0, 1)[..., None]
    return (light * np.asarray([255, 255, 255]) + (1 - light) * np.asarray([8, 10, 14])).astype(np.uint8)


def road(height: int, width: int, shift: float, tint: tuple[int, int, int] = (0, 0, 0)) -> Image:
    """A car's view: sky, ground, a lane that bends by `shift`, [height, width, 3]."""
    rows, columns = np.indices((height, width)).astype(np.float32)
    depth = rows / height
    picture = np.stack([120 - 70 * depth, 150 - 60 * depth, 190 - 130 * depth], axis=-1)
    ground = depth > 0.45
    picture[ground] = (np.asarray([70, 76, 66]) + 40 * depth[..., None] * np.asarray([1.0, 1.0, 0.9]))[ground]
    reach = np.clip((depth - 0.45) / 0.55, 0, 1)
    middle = width * (0.5 + shift * (1 - reach) ** 2)
    lane = ground & (np.abs(columns - middle) < width * (0.02 + 0.42 * reach))
    picture[lane] = (np.asarray([58, 60, 66]) + 26 * reach[..., None])[lane]
    line = lane & (np.abs(columns - middle) < width * 0.02 * (0.3 + reach))
    picture[line] = (226, 206, 120)
    return np.clip(picture + np.asarray(tint), 0, 255).astype(np.uint8)


def blurred(image: Image, weight: float) -> Image:
    """The image mixed with itself one pixel away: a prediction that is not quite sharp."""
    mixed = (1 - weight) * image + weight / 2 * (np.roll(image, 2, axis=1) + np.roll(image, 2, axis=0).astype(np.float32))
    return np.clip(mixed, 0, 255).astype(np.uint8)


def dot_run(size: int = 64, steps: int = 6, **arguments: Any) -> Run:
    """A dot that moves right or stays; the model predicts it a little blurred."""
    run = Run(**arguments)
    choices = [{"action": 0.0}, {"action": 1.0}]
    run.robot([("main", size, size)], choices)
    run.send("episode/robot", m.EpisodeMark(mark="start"), episode=3)
    run.training()
    x = 0.2
    first = 118
    for step in range(first, first + steps):
        picture = dot(size, x, 0.42)
        taken = int(step % 3 != 0)
        run.now += 0.1
        run.frame(step, {"main": picture}, episode=3)
        nexts = np.stack([blurred(dot(size, (x + 0.1 * a) % 1, 0.42), 0.3) for a in range(2)])
        run.prediction(step, choices, {"main": nexts}, chosen=taken, episode=3, uncertainty=[0.012, 0.034])
        if step < first + steps - 1:
            run.action(step, choices[taken], episode=3)
        x = (x + 0.1 * taken) % 1
    run.heartbeats()
    run.committed()
    run.now += 0.4
    return run


def car_run(cameras: int = 2, candidates: int = 6, steps: int = 5) -> Run:
    """A car with two cameras and continuous steering and throttle."""
    run = Run(run_name="garage-loop")
    names = ("steer", "throttle")
    sizes = [("front", 120, 160), ("rear", 120, 160), ("left", 60, 80)][:cameras]
    run.robot(sizes, names=names, driver="jetbot")
    run.training(120)
    rng = np.random.default_rng(5)
    actions = [{"steer": float(s), "throttle": float(t)} for s, t in np.round(rng.uniform(-1, 1, (candidates, 2)), 2)]
    bend = 0.0
    for step in range(steps):
        chosen = int(rng.integers(candidates))

        def views(shift: float) -> list[Image]:
            return [road(h, w, shift * (1 - 2 * i), (0, 0, 12 * i)) for i, (_, h, w) in enumerate(sizes)]

        run.now += 0.1
        run.frame(step, {name: view for (name, _, _), view in zip(sizes, views(bend), strict=True)}, episode=0)
        nexts = [views(bend + 0.15 * action["steer"]) for action in actions]
        stacks = {name: np.stack([blurred(n[i], 0.4) for n in nexts]) for i, (name, _, _) in enumerate(sizes)}
        run.prediction(step, actions, stacks, chosen=chosen, uncertainty=rng.uniform(0.01, 0.05, candidates).tolist())
        if step < steps - 1:
            run.action(step, actions[chosen])
        bend += 0.15 * actions[chosen]["steer"]
    run.heartbeats(robot_state="paused")
    run.committed()
    return run


@pytest.fixture
def make_run() -> type[Run]:
    return Run


@pytest.fixture
def make_dot_run() -> Callable[..., Run]:
    return dot_run


@pytest.fixture
def make_car_run() -> Callable[..., Run]:
    return car_run
