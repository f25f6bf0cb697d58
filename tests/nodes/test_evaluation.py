"""What a run has seen of a session, of its splits, and of the sessions that it replayed."""

import numpy as np
import pytest

from nodes.trainer.history import History, history_of, steps_of, whole
from protocol import messages as m
from storage.editing.source import Source
from storage.editing.splits import by_unit
from storage.views import open_session
from storage.writer import SessionWriter

ROBOT = m.Robot(
    robot="robot", driver="d", params={}, cameras=[m.CameraInfo(name="front", height=4, width=4)],
    actions=m.ActionSpaceInfo(names=["dx"], choices=[{"dx": 0.0}]), rate_hz=10.0, timing="paced", safe_action={"dx": 0.0},
)  # fmt: skip


def record(path, episodes: dict[int, range], origin: dict[int, tuple[str, int, bool]]) -> None:
    """A session with these steps of each episode; `origin` says what a replay played: session, episode and whether it was held out."""
    with SessionWriter.create(path, robot=ROBOT) as writer:
        at = 0
        for episode, steps in episodes.items():
            session, number, held_out = origin.get(episode, ("", None, False))
            place = {"source": "robot", "run": "r", "episode": episode}
            mark = m.EpisodeMark(mark="start", held_out=held_out, origin_session=session, origin_episode=number)
            head = m.Envelope(topic="episode/robot", seq=episode, t_ns=at * 10**8, mono_ns=at * 10**8, step=steps[0], **place)
            writer.append(m.Message(envelope=head, body=mark))
            for step in steps:
                head = m.Envelope(topic="frame/robot", seq=at, t_ns=at * 10**8, mono_ns=at * 10**8, step=step, **place)
                writer.append(m.Message(envelope=head, body=m.Frame(), arrays={"image/front": np.full((4, 4, 3), at, np.uint8)}))
                at += 1


def groups(history: History, path) -> dict[int, str]:
    with open_session(path) as reader:
        return {row.episode: history.group((whole(path), row.episode), steps_of(row)) for row in reader.episodes()}


@pytest.fixture
def root(tmp_path):
    """`walk` of three episodes of ten steps, and a split of it every 1.5 seconds: `walk_time_0` and so on."""
    record(tmp_path / "walk", dict.fromkeys(range(3), range(10)), {})
    with Source(tmp_path / "walk") as source:
        by_unit(source, "walk", "time", 1.5).write()
    return tmp_path


def test_steps_of_a_split_are_known_in_its_session_and_in_its_other_splits(root):
    first, second = sorted(path for path in root.iterdir() if path.name != "walk")
    with open_session(first) as reader:
        played = {row.episode: steps_of(row) for row in reader.episodes()}
    assert played == {0: range(10), 1: range(5)}
    record(root / "again", played, {0: (first.name, 0, False), 1: (first.name, 1, False)})
    with open_session(root / "again") as reader:
        history = history_of(reader)
    assert groups(history, root / "again") == {0: "episodes learned from", 1: "episodes learned from"}
    assert groups(history, first) == {0: "episodes learned from", 1: "episodes learned from"}
    assert groups(history, root / "walk") == {0: "episodes learned from", 1: "episodes learned from in part", 2: "unseen episodes"}
    assert groups(history, second) == {1: "unseen episodes", 2: "unseen episodes"}


def test_held_out_and_gone(root):
    record(root / "again", {0: range(10), 1: range(10)}, {0: ("walk", 0, True), 1: ("gone", 7, False)})
    with open_session(root / "again") as reader:
        history = history_of(reader)
    assert groups(history, root / "walk") == {0: "held-out episodes", 1: "unseen episodes", 2: "unseen episodes"}
    assert history.learned[("gone", 7)] == [range(10)]
