"""Recordings played back by hand: what is published for which option, pause, step and seek; and bit for bit."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodes.robot.config import RobotConfig
from nodes.robot.exact import ExactNode
from nodes.robot.replay_node import ReplayNode
from nodes.runtime import MAX_WAIT_S, NodeError
from protocol import messages as m
from protocol.played import unwrap
from storage.reader import SessionReader
from storage.writer import SessionWriter

PERIOD_NS = 50_000_000


@pytest.fixture
def session(tmp_path: Path, dot_robot: m.Robot) -> Callable[..., str]:
    """A session of frames: episodes as lists of steps; every frame shows its number."""

    def make(episodes: list[list[int]], marks: dict[int, str] | None = None, probe: bool = False, fails: tuple[int, ...] = ()) -> str:
        number = 0
        seqs = dict.fromkeys(("robot", "frame", "action", "episode", "probe"), -1)

        def message(kind: str, body: m.Body, episode: int | None = None, step: int | None = None, **arrays: np.ndarray) -> m.Message:
            seqs[kind] += 1
            named = {name.replace("__", "/"): array for name, array in arrays.items()}
            envelope = m.Envelope(
                topic=f"{kind}/robot",
                source="robot",
                run="q",
                seq=seqs[kind],
                t_ns=10**18 + number * PERIOD_NS,
                mono_ns=number * PERIOD_NS,
                episode=episode,
                step=step,
            )
            return m.Message(envelope=envelope, body=body, arrays=named)

        with SessionWriter.create(tmp_path / "walk") as writer:
            writer.append(message("robot", dot_robot))
            if probe:
                writer.append(message("probe", m.Probe(description="rows"), position=np.zeros((1, 2, 2), np.float32)))
            for episode, numbers in enumerate(episodes):
                writer.append(message("episode", m.EpisodeMark(mark="start"), episode, numbers[0]))
                for step in numbers:
                    image = np.full((16, 16, 3), number, np.uint8)
                    writer.append(message("frame", m.Frame(), episode, step, image__top=image))
                    body = m.ActionTaken(
                        action={"action": float(number % 2)}, by="x", start_ns=number, end_ns=number + 1, success=number not in fails
                    )
                    writer.append(message("action", body, episode, step))
                    number += 1
                if marks and episode in marks:
                    writer.append(message("episode", m.EpisodeMark(mark=marks[episode]), episode, numbers[-1]))
                writer.append(message("episode", m.EpisodeMark(mark="end"), episode, numbers[-1]))
        return str(tmp_path / "walk")

    return make


@pytest.fixture
def replay(node: Any) -> Iterator[Callable[..., Any]]:
    """A replay that has begun, as fast as it goes unless told otherwise."""
    made: list[Any] = []

    def make(path: str, node_class: Any = ReplayNode, go: bool = True, **options: Any) -> Any:
        options = {"session": path, "rate": 0.0, **options}
        made.append(node(node_class, RobotConfig(driver="replay", options=options)))
        if go:
            made[-1].go()
        return made[-1]

    yield make
    for one in made:
        one.close()


def play(made: Any, limit: int = 500) -> None:
    for _ in range(limit):
        if made.bus.said.get("outcome") == "ended":
            return
        made.tick()
    raise AssertionError(f"not at its end after {limit} turns")


def shown(made: Any) -> list[int]:
    """The number that each frame shows."""
    return [int(one.arrays["image/top"][0, 0, 0]) for one in made.bus.of("frame")]


def test_a_recording_is_played_as_if_a_robot_were_there(session: Any, replay: Any) -> None:
    made = replay(session([[0, 1, 2], [0, 1]], fails=(1,)), hold_out="none")
    play(made)
    assert made.bus.places("frame", "action", "episode") == [
        ("start", 0, 0), ("frame", 0, 0), ("action", 0, 0), ("frame", 0, 1), ("action", 0, 1), ("frame", 0, 2), ("action", 0, 2),
        ("end", 0, 3),
        ("start", 1, 0), ("frame", 1, 0), ("action", 1, 0), ("frame", 1, 1), ("action", 1, 1), ("end", 1, 2),
    ]  # fmt: skip
    assert shown(made) == [0, 1, 2, 3, 4]
    assert [one.body.action["action"] for one in made.bus.of("action")] == [0.0, 1.0, 0.0, 1.0, 0.0]
    assert [one.body.success for one in made.bus.of("action")] == [True, False, True, True, True]
    said = made.bus.of("robot")[0].body
    assert (said.driver, said.params["session"], said.params["of"]) == ("replay", "walk", "toroidal_dot")
    assert made.bus.said["detail"] == "end of session walk"


def test_original_times_are_told(session: Any, replay: Any) -> None:
    made = replay(session([[0, 1]]))
    play(made)
    frames = made.bus.of("frame")
    assert [one.body.origin_t_ns for one in frames] == [10**18, 10**18 + PERIOD_NS]
    assert all(one.envelope.t_ns > 10**18 + PERIOD_NS for one in frames), "they are numbered and timed as said now"
    assert [(one.body.start_ns, one.body.end_ns) for one in made.bus.of("action")] == [(0, 1), (1, 2)]


def test_a_hole_in_a_recording_stays_a_hole(session: Any, replay: Any) -> None:
    """Frames 1 and 4 do not follow one another, so they must not look as if they did."""
    made = replay(session([[0, 1, 4, 5], [3, 4]]), hold_out="none")
    play(made)
    assert [(episode, step) for _, episode, step in made.bus.places("frame")] == [(0, 0), (0, 1), (0, 4), (0, 5), (1, 3), (1, 4)]


def test_marks_are_played_too(session: Any, replay: Any) -> None:
    made = replay(session([[0, 1], [0, 1]], marks={0: "success", 1: "discard"}), hold_out="none")
    play(made)
    assert [name for name, *_ in made.bus.places("episode")] == ["start", "success", "end", "start", "discard", "end"]


def test_in_a_loop_episodes_go_on_and_name_their_origin(session: Any, replay: Any) -> None:
    made = replay(session([[0, 1], [0, 1]]), loop=True, hold_out=[1])
    for _ in range(9):
        made.tick()
    starts = [one for one in made.bus.of("episode") if one.body.mark == "start"]
    assert [one.envelope.episode for one in starts] == [0, 1, 2, 3, 4]
    assert [one.body.origin_episode for one in starts] == [0, 1, 0, 1, 0]
    assert [one.body.held_out for one in starts] == [False, True, False, True, False]
    assert {one.body.origin_session for one in starts} == {"walk"}
    assert [one.body.held_out for one in made.bus.of("frame")] == [False, False, True, True] * 2 + [False]


@pytest.mark.parametrize(
    ("lengths", "probe", "options", "held"),
    [
        ([5, 5, 5, 5], False, {}, {3}), ([8, 8, 1, 1], False, {}, {1, 2, 3}), ([9], False, {}, set()),
        ([5, 5], True, {}, set()), ([5, 5], False, {"hold_out": "none"}, set()), ([5, 5, 5], False, {"hold_out": [0, 2]}, {0, 2}),
        ([5, 5, 5, 5], False, {"episodes": [0, 1]}, {1}), ([5, 5, 5, 5], False, {"until": "2/4"}, {2}),
        ([5, 5, 5, 5], False, {"start": "3/0"}, set()), ([5, 5, 5, 5], False, {"until": 0.3}, {1}),
    ],
)  # fmt: skip
def test_what_is_held_out(session: Any, replay: Any, lengths: list[int], probe: bool, options: Any, held: set[int]) -> None:
    made = replay(session([list(range(n)) for n in lengths], probe=probe), **options)
    assert made.recording.held_out == held
    assert len(made.bus.of("probe")) == probe


# -- which of it ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({"start": "1/0"}, [3, 4, 5, 6, 7]), ({"start": "0/2"}, [2, 3, 4, 5, 6, 7]), ({"start": 0.2}, [4, 5, 6, 7]),
        ({"start": 0.21}, [5, 6, 7]), ({"until": "0/1"}, [0, 1]), ({"until": 0.15}, [0, 1, 2, 3]), ({"until": 0}, [0]),
        ({"start": 0.05, "until": "1/0"}, [1, 2, 3]), ({"episodes": [1]}, [3, 4, 5]), ({"episodes": [2, 0]}, [0, 1, 2, 6, 7]),
        ({"episodes": [0, 2], "start": "0/1", "until": "2/0"}, [1, 2, 6]), ({"action": "action=1"}, [1, 2, 3, 4, 7][:4]),
        ({"action": "action>5"}, []),
    ],
)  # fmt: skip
def test_a_part_of_it(session: Any, replay: Any, options: dict[str, Any], numbers: list[int]) -> None:
    made = replay(session([[0, 1, 2], [0, 1, 2], [0, 1]]), **options)
    play(made)
    assert shown(made) == numbers
    marks = [name for name, *_ in made.bus.places("episode")]
    assert marks == ["start", "end"] * (len(marks) // 2), "every part is an episode of its own"


def test_parts_name_the_episode_they_come_from(session: Any, replay: Any) -> None:
    made = replay(session([[0, 1, 2, 3, 4], [0, 1, 2]]), action="action=1", hold_out="none")
    play(made)
    starts = [one for one in made.bus.of("episode") if one.body.mark == "start"]
    assert [(one.envelope.episode, one.body.origin_episode) for one in starts] == [(0, 0), (1, 0), (2, 1)]
    assert made.bus.places("frame", "action") == [
        ("frame", 0, 1), ("action", 0, 1), ("frame", 0, 2), ("frame", 1, 3), ("action", 1, 3), ("frame", 1, 4),
        ("frame", 2, 0), ("action", 2, 0), ("frame", 2, 1),
    ]  # fmt: skip
    assert [one.body.last for one in made.bus.of("frame")] == [False, True] * 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"session": "nowhere"}, "no session 'nowhere'"), ({"hold_out": [7]}, "hold_out names [7]"), ({"hold_out": "some"}, "hold_out"),
        ({"wat": 1}, "unknown field `wat`"), ({"episodes": [0, 9]}, "episodes names [9]"), ({"start": "5/0"}, "no frame at 5/0"),
        ({"start": 99.0}, "ends before 99 s"), ({"action": "speed>1"}, "have no 'speed', they have action"), ({"rate": -2}, "rate is -2"),
    ],
)  # fmt: skip
def test_a_replay_that_cannot_be_is_one_line(session: Any, replay: Any, options: dict[str, Any], says: str) -> None:
    path = session([[0, 1]])
    with pytest.raises(NodeError) as caught:
        replay(path, go=False, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


# -- while it plays -------------------------------------------------------------------------------


def test_it_waits_for_the_recorded_times(session: Any, replay: Any) -> None:
    made = replay(session([[0, 1, 2, 3, 4, 5, 6]]), rate=PERIOD_NS / 1e9 / 1000)  # a step every 1000 s
    while (wait_s := made.tick()) == 0.0:
        pass  # it plays the first, and reads some more
    assert 900 < wait_s <= 1000
    assert shown(made) == [0]


def test_pause_step_and_resume(session: Any, replay: Any) -> None:
    made = replay(session([list(range(9))]))
    made.tick()
    made.do_pause({})
    assert made.tick() == MAX_WAIT_S and made.bus.said["state"] == "paused"
    made.do_step({})
    made.tick()
    made.tick()
    assert shown(made) == [0, 1]
    made.do_resume({})
    with pytest.raises(ValueError, match="pause the replay first"):
        made.do_step({})
    play(made)
    assert shown(made) == list(range(9))


def test_one_that_begins_paused_waits_for_a_step(session: Any, replay: Any) -> None:
    made = replay(session([[0, 1, 2]]), paused=True, rate=1.0)
    assert made.bus.said["state"] == "paused"
    made.tick()
    assert shown(made) == []
    made.do_step({})
    made.tick()
    assert shown(made) == [0]


def test_a_halt_pauses_it(session: Any, replay: Any) -> None:
    made = replay(session([[0, 1, 2]]))
    made.do_halt({})
    made.tick()
    assert shown(made) == [] and made.bus.said["state"] == "paused"


@pytest.mark.parametrize(("place", "number"), [("1/0", 5), (0.1, 2), (0, 0), ("0/3", 3)])
def test_seek_goes_there_and_parts_what_is_not_one(session: Any, replay: Any, place: Any, number: int) -> None:
    made = replay(session([list(range(5)), [0, 1, 2]]))
    made.tick()
    made.tick()
    made.do_seek({"to": place})
    made.tick()
    assert shown(made) == [0, 1, number]
    assert [name for name, *_ in made.bus.places("episode")] == ["start", "end", "start"]
    assert [one.envelope.episode for one in made.bus.of("frame")] == [0, 0, 1]
    play(made)
    assert shown(made)[2:] == list(range(number, 8))


def test_a_paused_replay_shows_what_it_was_sent_to(session: Any, replay: Any) -> None:
    made = replay(session([list(range(5)), [0, 1, 2]]))
    made.do_pause({})
    made.do_seek({"to": "1/1"})
    for _ in range(3):
        made.tick()
    assert shown(made) == [6] and made.paused


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("9/9", "no frame at 9/9"), ("x", "'x' is no place"), (-1, "-1 is no place"), (1e99, "is no place"), (True, "Expected"),
        (None, "Expected"), ([], "Expected"), (float("nan"), "nan is no place"), (77, "ends before 77 s"),
    ],
)  # fmt: skip
def test_a_seek_to_nowhere_changes_nothing(session: Any, replay: Any, to: Any, says: str) -> None:
    made = replay(session([list(range(5))]))
    made.tick()
    with pytest.raises(ValueError, match=says) as caught:
        made.do_seek({"to": to})
    assert "\n" not in str(caught.value)
    play(made)
    assert shown(made) == list(range(5))


# -- bit for bit ----------------------------------------------------------------------------------


def test_an_exact_replay_publishes_every_message_as_it_was(session: Any, replay: Any) -> None:
    path = session([[0, 1, 2], [0, 1]], marks={1: "success"}, probe=True)
    made = replay(path, ExactNode, exact=True)
    play(made)
    inner = [unwrap(one) for one in made.bus.of("played")]
    with SessionReader(Path(path)) as reader:
        events = list(reader.numbered())
    assert [one.message.envelope for one in events] == [message.envelope for message, _ in inner]
    assert [bytes(one.header) for one in events] == [bytes(message.wire.header) for message, _ in inner]
    for event, (message, left_out) in zip(events, inner, strict=True):
        assert not left_out
        assert {n: a.tobytes() for n, a in event.message.arrays.items()} == {n: a.tobytes() for n, a in message.arrays.items()}
    assert [one.envelope.seq for one in made.bus.of("played")] == list(range(len(events)))
    assert {one.kind for one in made.bus.sent} == {"played"}, "it says nothing of its own on the recorded topics"
    assert made.bus.said["detail"] == f"end of session walk: {len(events)} messages, each bit for bit"


def test_what_was_not_recorded_is_counted(tmp_path: Path, replay: Any, message: Any) -> None:
    body = m.Weights(version=1, spec={}, spec_hash="h", sha256="s", steps=5, samples=6)
    arrays = {"safetensors": np.arange(7, dtype=np.uint8)}
    with SessionWriter.create(tmp_path / "walk") as writer:
        writer.append(message("weights", body, arrays), ["safetensors"])
    made = replay(str(tmp_path / "walk"), ExactNode, exact=True)
    play(made)
    (outer,) = made.bus.of("played")
    inner, left_out = unwrap(outer)
    assert left_out == {"safetensors"} and outer.nbytes < 1000
    assert inner.arrays["safetensors"].shape == (7,) and not inner.arrays["safetensors"].any()
    assert made.bus.said["detail"] == "end of session walk: 1 messages, bit for bit but for 1 weights with arrays that were not recorded"


def test_what_was_recorded_with_loss_is_counted(tmp_path: Path, replay: Any, message: Any) -> None:
    pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    with SessionWriter.create(tmp_path / "walk", codec="jpeg") as writer:
        writer.append(message("frame", m.Frame(), {"image/top": rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)}))
        writer.append(message("metrics", m.Metrics(values={"loss": 1.0})))
    made = replay(str(tmp_path / "walk"), ExactNode, exact=True)
    play(made)
    assert made.bus.said["detail"].endswith("2 messages, bit for bit but for 1 frame with images that were recorded with loss")
    with SessionReader(tmp_path / "walk") as reader:
        assert unwrap(made.bus.of("played")[0])[0].arrays["image/top"].tobytes() == reader.event(0).message.arrays["image/top"].tobytes()


def test_an_exact_replay_does_not_seek(session: Any, replay: Any) -> None:
    made = replay(session([[0, 1]]), ExactNode, exact=True)
    with pytest.raises(ValueError, match="all of a session, in order"):
        made.do_seek({"to": 0})
