"""What is played, in which order and when: no sockets, no session, no clock."""

import itertools
import re
from collections.abc import Iterable
from typing import Any

import pytest

from nodes.robot.conditions import parse
from nodes.robot.config import ReplayOptions, RobotConfig
from nodes.robot.playing import HELD_UP_S, LONGEST_JUMP_S, Cut, Pace, Step, play
from nodes.timeline import Timeline
from protocol import messages as m

Place = tuple[int, int]


def moved(action: m.Action) -> bool:
    return action["a"] == 1.0


def recording(actions: dict[int, list[float | None]], run: str = "q", period_s: float = 0.1) -> list[m.Message]:
    """Episodes of frames, each followed by its action (None: by none), at 10 Hz."""
    out: list[m.Message] = []
    seq = 0

    def say(kind: str, body: m.Body, episode: int, step: int) -> None:
        at_ns = round(seq * period_s * 1e9)
        envelope = m.Envelope(
            topic=f"{kind}/robot", source="robot", run=run, seq=seq, t_ns=10**18 + at_ns, mono_ns=at_ns, episode=episode, step=step
        )
        out.append(m.Message(envelope=envelope, body=body))

    for episode, taken in actions.items():
        say("episode", m.EpisodeMark(mark="start"), episode, 0)
        for step, action in enumerate(taken):
            say("frame", m.Frame(), episode, step)
            if action is not None:
                say("action", m.ActionTaken(action={"a": action}, by="x", start_ns=0, end_ns=0), episode, step)
            seq += 1
        say("episode", m.EpisodeMark(mark="end"), episode, len(taken))
    return out


def steps(messages: Iterable[m.Message], cut: Cut | None = None, timeline: Timeline | None = None) -> list[Step]:
    return list(play(messages, cut or Cut(), timeline or Timeline()))


def place(message: m.Message) -> Place:
    return message.envelope.episode or 0, message.envelope.step or 0


def segments(played: list[Step]) -> list[list[int]]:
    """Recorded steps, episode by episode as they are played."""
    out: list[list[int]] = []
    for one in played:
        if one.first:
            out.append([])
        out[-1].append(place(one.frame)[1])
        assert one.last == (one is played[-1] or played[played.index(one) + 1].first)
    return out


def transitions(played: list[Step]) -> set[tuple[Place, float, Place]]:
    """(frame, action, next frame) as a learner would see them."""
    found = set()
    for one, after in itertools.pairwise(played):
        consecutive = place(after.frame)[1] == place(one.frame)[1] + 1
        if not after.first and one.action is not None and consecutive:
            found.add((place(one.frame), one.action.body.action["a"], place(after.frame)))
    return found


def test_all_of_it_as_it_was() -> None:
    played = steps(recording({0: [0, 1, 0], 1: [1, 1]}))
    assert segments(played) == [[0, 1, 2], [0, 1]]
    assert [one.at_s for one in played] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert all(one.action is not None for one in played)


def test_only_transitions_with_the_action_asked_for_and_none_that_did_not_happen() -> None:
    messages = recording({0: [1, 1, 0, 1, 0, 0, 1], 1: [0, 1, 1, None]})
    everything = transitions(steps(messages))
    played = steps(messages, Cut(keep=moved))
    assert segments(played) == [[0, 1, 2], [3, 4], [1, 2, 3]]
    assert transitions(played) == {one for one in everything if one[1] == 1.0}
    assert [one.action is None for one in played] == [False, False, True, False, True, False, False, True]
    assert all(one.last for one in played if one.action is None)


def test_a_filter_that_nothing_passes_plays_nothing() -> None:
    assert steps(recording({0: [0, 0, 0]}), Cut(keep=moved)) == []


def test_a_filter_never_joins_what_a_hole_parts() -> None:
    messages = [one for one in recording({0: [1, 1, 1, 1]}) if place(one) != (0, 1)]
    assert segments(steps(messages, Cut(keep=moved))) == [[2, 3]]
    assert segments(steps(messages)) == [[0, 2, 3]], "unfiltered, a hole stays a hole inside the episode"


def test_it_ends_after_the_last_frame_asked_for() -> None:
    messages = recording({0: [1, 1, 1], 1: [1, 1, 1]})
    played = steps(messages, Cut(past=lambda envelope: (envelope.episode, envelope.step) > (1, 1)))
    assert segments(played) == [[0, 1, 2], [0, 1]]
    assert played[-1].action is None, "what its action led to is not played"
    assert transitions(played) == transitions(steps(messages)) - {((1, 1), 1.0, (1, 2))}


def test_marks_come_with_the_frame_they_followed() -> None:
    messages = recording({0: [1, 1]})
    mark = m.Message(envelope=messages[1].envelope, body=m.EpisodeMark(mark="success"))
    mark = m.Message(envelope=m.Envelope(topic="episode/robot", source="r", run="q", seq=9, t_ns=0, mono_ns=0, episode=0), body=mark.body)
    assert [one.marks for one in steps([*messages[:3], mark, *messages[3:]])] == [["success"], []]


def test_across_what_is_left_out_no_time_passes_to_speak_of() -> None:
    far = recording({0: [1] + [0] * 100 + [1, 1]}, period_s=1.0)
    kept = steps(far, Cut(keep=moved))
    assert [one.at_s for one in kept] == pytest.approx([0, 1, 1 + LONGEST_JUMP_S, 2 + LONGEST_JUMP_S])


def test_a_long_pause_of_the_recording_is_kept() -> None:
    slow = recording({0: [1, 1]}, period_s=60.0)
    assert [one.at_s for one in steps(slow)] == pytest.approx([0, 60])


def test_another_run_of_the_robot_goes_on_at_once() -> None:
    both = [*recording({0: [1, 1]}, run="a"), *recording({1: [1, 1]}, run="b")]
    assert [one.at_s for one in steps(both)] == pytest.approx([0, 0.1, 0.1, 0.2])


def test_after_a_jump_the_timeline_goes_on() -> None:
    timeline = Timeline()
    messages = recording({0: [1, 1, 1]})
    steps(messages, timeline=timeline)
    timeline.jump(0.1)
    assert [one.at_s for one in steps(messages, timeline=timeline)] == pytest.approx([0.3, 0.4, 0.5])


# -- pace -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.5, 1.0, 4.0])
def test_what_is_due_when(rate: float) -> None:
    pace = Pace(rate)
    assert pace.wait_s(2.0, 100.0) == 0.0
    assert pace.wait_s(3.0, 100.0) == pytest.approx(1 / rate)
    assert pace.wait_s(5.0, 100.0 + 1 / rate) == pytest.approx(2 / rate)


def test_rate_0_never_waits() -> None:
    assert Pace(0.0).wait_s(1e9, 0.0) == 0.0


def test_a_little_late_is_caught_up_and_a_long_hold_up_is_not() -> None:
    pace = Pace(1.0)
    assert pace.wait_s(0.0, 0.0) == 0.0
    assert pace.wait_s(1.0, 1.0 + HELD_UP_S / 2) == 0.0
    assert pace.wait_s(2.0, 1.0 + HELD_UP_S / 2) == pytest.approx(1 - HELD_UP_S / 2)
    assert pace.wait_s(3.0, 13.0) == 0.0
    assert pace.wait_s(4.0, 13.0) == pytest.approx(1.0)


def test_after_a_rest_the_next_is_due_at_once() -> None:
    pace = Pace(1.0)
    pace.wait_s(0.0, 0.0)
    pace.rest()
    assert pace.wait_s(50.0, 1.0) == 0.0
    assert pace.wait_s(51.0, 1.0) == pytest.approx(1.0)


# -- what can be asked for ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "action", "fulfilled"),
    [
        ("a=1", {"a": 1.0, "b": 0}, True), ("a==1", {"a": 0.0, "b": 0}, False), ("a!=1", {"a": 0.0, "b": 0}, True),
        ("a>0.2, b<=-1", {"a": 0.3, "b": -1.0}, True), ("a>0.2,b<-1", {"a": 0.3, "b": -1.0}, False), ("a>=1e-1", {"a": 0.1, "b": 0}, True),
        ("a=1", {"b": 1.0}, False),
    ],
)  # fmt: skip
def test_conditions(text: str, action: m.Action, fulfilled: bool) -> None:
    assert parse(text, ["a", "b"])(action) is fulfilled


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write NAME=VALUE"), ("a", "write NAME=VALUE"), ("a=1,", "write NAME=VALUE"), ("c=1", "have no 'c', they have a, b"),
        ("a=one", "'one' is no number"),
    ],
)  # fmt: skip
def test_a_condition_that_is_none_is_one_line(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="condition") as caught:
        parse(text, ["a", "b"])
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rate": -1}, "rate is -1"), ({"rate": float("nan")}, "rate is nan"), ({"start": "3"}, "'3' is no place"),
        ({"until": "x/1"}, "'x/1' is no place"), ({"start": -0.5}, "-0.5 is no place"), ({"exact": True, "loop": True}, "exact plays all"),
        ({"exact": True, "episodes": [1]}, "exact plays all"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_one_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        ReplayOptions(session="s", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{"rate_hz": 5.0}, {"steps": 3}, {"episode_steps": 3}, {"limits": {"a": {"min": 0}}}])
def test_a_replay_has_no_rate_steps_or_limits_of_its_own(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="replay"):
        RobotConfig(driver="replay", options={"session": "s"}, **given)
