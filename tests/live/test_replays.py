"""A replay is the recording again: for a second recorder bit for bit, for a trainer weight for weight, and whole at any speed."""

import itertools
import json
from typing import Any

import numpy as np
import pytest

from storage.reader import SessionReader
from worldmodel import checkpoint

from .conftest import Bench, Run, check_law, wait_for

LIVE = """
nodes:
  recorder:  {kind: recorder,  inputs: [robot, trainer, predictor]}
  trainer:   {kind: trainer,   inputs: [robot], params: {train_ratio: 2, train: {threads: 1}, weights_every_s: 0.3}}
  predictor: {kind: predictor, inputs: [robot, trainer], params: {threads: 1, max_hz: 50}}
  robot:
    kind: robot
    inputs: [predictor]
    params: {driver: toroidal_dot, rate_hz: 100, steps: 150, episode_steps: 16, options: {size: 32, radius: 2, step: 5}}
"""
PLAIN = {"learn": False, "viewer": False}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A learning run in lockstep, recorded as session `live`."""
    bench = Bench(tmp_path_factory.mktemp("replays"), [])
    (bench.folder / "live.yaml").write_text(LIVE)
    code, output, summary = bench.launch_own("live.yaml", "live").end()
    assert code == 0 and summary["outcome"] == "ended", output
    check_law(summary)
    assert summary["samples"] > 0 and summary["steps"] == 150
    yield bench
    bench.end()


def session(bench: Bench, name: str) -> SessionReader:
    return SessionReader(bench.folder / "sessions" / name)


def weights(bench: Bench, run: str) -> dict[str, bytes]:
    """Every tensor of the newest checkpoint of a run: model, average and optimizer."""
    found = checkpoint.latest(bench.folder / "runs" / run / "checkpoints")
    assert found is not None
    learner = checkpoint.load(found).learner(None, "cpu")
    tensors, values = learner.state()
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()} | {"rng": json.dumps(values["rng"]).encode()}


def whole(run: Run, bench: Bench, played: str) -> dict[str, Any]:
    """The run ended well and its session holds every frame and action of `played`."""
    code, output, summary = run.end()
    assert code == 0 and summary["outcome"] == "ended", output
    check_law(summary)
    for kind in ("frame", "action", "episode"):
        count = summary["topics"][f"{kind}/robot"]["recorder"]
        assert count["received"] == count["published"]
    with session(bench, played) as was, session(bench, run.name) as now:
        assert [_said(one) for one in now.topic_messages("frame")] == [_said(one) for one in was.topic_messages("frame")]
        actions = [[one.body.action for one in reader.topic_messages("action")] for reader in (was, now)]
        assert actions[0] == actions[1]
    return summary


def _said(frame: Any) -> tuple[int | None, int | None, list[bytes]]:
    return frame.envelope.episode, frame.envelope.step, [np.ascontiguousarray(a).tobytes() for a in frame.arrays.values()]


def test_live_and_replay_leave_the_trainer_in_the_same_state(live: Bench) -> None:
    sets = {"train_ratio": 2, "train": {"threads": 1}, "viewer": False, "rate": 0}
    summary = whole(live.launch("replay.yaml", "again", session="live", **sets), live, "live")
    assert summary["samples"] > 0
    assert weights(live, "again") == weights(live, "live")
    with session(live, "live") as was, session(live, "again") as now:
        ends = [[one.body for one in reader.topic_messages("weights")][-1] for reader in (was, now)]
    assert (ends[0].sha256, ends[0].samples, ends[0].steps) == (ends[1].sha256, ends[1].samples, ends[1].steps)


@pytest.mark.slow
def test_another_seed_ends_in_another_state(live: Bench) -> None:
    """The comparison above can fail."""
    sets = {"train_ratio": 2, "train": {"threads": 1}, "viewer": False, "rate": 0, "seed": 1}
    whole(live.launch("replay.yaml", "other", session="live", **sets), live, "live")
    assert weights(live, "other") != weights(live, "live")


def test_an_exact_replay_is_recorded_as_an_equal_session(live: Bench) -> None:
    done = live.toddle("replay", "live", "--exact", "--rate", "0", "--name", "copy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bit for bit but for " in done.stdout and "weights with arrays that were not recorded" in done.stdout
    check_law(json.loads((live.folder / "runs" / "copy" / "summary.json").read_bytes()))
    with session(live, "live") as was, session(live, "copy") as now:
        kinds = set()
        for a, b in itertools.zip_longest(was.numbered(), now.numbered()):
            assert (a.number, a.message.envelope, a.message.body, a.left_out) == (b.number, b.message.envelope, b.message.body, b.left_out)
            assert a.header == b.header, "header bytes as they were"
            assert {n: (x.dtype, x.shape, x.tobytes()) for n, x in a.message.arrays.items()} == {
                n: (x.dtype, x.shape, x.tobytes()) for n, x in b.message.arrays.items()
            }
            kinds.add(a.message.kind)
        assert {"robot", "episode", "frame", "action", "command", "prediction", "weights", "metrics", "status", "log"} <= kinds
        assert was.gaps() == now.gaps() and len(was) == len(now) > 500
    assert live.toddle("sessions", "verify", "copy").returncode == 0


def test_replay_is_short_for_its_launch_file(live: Bench) -> None:
    chosen = ["--rate", "0", "--start", "1/0", "--until", "3/4", "--action", "action=1", "--hold-out", "none", "--no-learn", "--no-viewer"]
    done = live.toddle("replay", "live", *chosen, "--name", "part")
    assert done.returncode == 0, done.stdout + done.stderr
    printed = next(line for line in done.stdout.splitlines() if "toddle launch" in line)
    for part in ("replay.yaml", "session=live", "rate=0", "start=1/0", "until=3/4", "action=action=1", "--name part"):
        assert part in printed
    with session(live, "part") as reader:
        assert {one.body.action["action"] for one in reader.topic_messages("action")} == {1.0}
        marks = [one.body for one in reader.topic_messages("episode") if one.body.mark == "start"]
        assert {mark.origin_episode for mark in marks} <= {1, 2, 3} and len(marks) > 3
    dry = live.toddle("replay", "live", "--dry-run")
    assert dry.returncode == 0 and "'rate': 1" in dry.stdout
    wrong = live.toddle("replay", "live", "--action", "jump=1", "--no-learn", "--no-viewer", "--name", "wrong")
    assert wrong.returncode == 2 and "the actions have no 'jump', they have action" in wrong.stdout


def test_a_replay_obeys_while_it_plays(live: Bench) -> None:
    run = live.launch("replay.yaml", "asked", session="live", paused=True, **PLAIN)
    wait_for(lambda: run.status("robot").get("state") == "paused", "it waits")
    for to in ("2/3", 0.5):
        run.ask("robot", "seek", {"to": to})
        run.ask("robot", "step")
    for command in (["seek", "to=9/0"], ["resume"]):
        asked = live.toddle("ask", "robot", *command, "--run", "asked")
        assert asked.returncode == 0, asked.stderr
    wrong = live.toddle("ask", "robto", "resume", "--run", "live")
    assert wrong.returncode == 2 and "run 'live' has ended" in wrong.stderr
    code, output, summary = run.end()
    assert code == 0 and summary["outcome"] == "ended", output
    check_law(summary)
    with session(live, "asked") as reader:
        frames = [one.envelope.step for one in reader.topic_messages("frame")]
        origins = [one.body.origin_episode for one in reader.topic_messages("episode") if one.body.mark == "start"]
        done = [one.body.command for one in reader.topic_messages("control")]
    assert origins[0] == 2 and origins[-1] == 9 and frames[0] == 3
    steered = ["seek", "step", "seek", "step", "seek", "resume"]
    assert [command for command in done if command in steered] == steered


def test_at_full_speed_nothing_is_lost(live: Bench) -> None:
    for number in range(2):
        whole(live.launch("replay.yaml", f"full{number}", session="live", rate=0, **PLAIN), live, "live")


@pytest.mark.slow
def test_at_full_speed_nothing_is_lost_a_hundred_times(live: Bench) -> None:
    for number in range(100):
        whole(live.launch("replay.yaml", f"fast{number}", session="live", rate=0, **PLAIN), live, "live")
