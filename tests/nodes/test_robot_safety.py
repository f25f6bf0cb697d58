"""What keeps a robot safe: silence, limits, halts, the end; the node by hand, its watchdog's thread running."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nodes.robot.config import RobotConfig
from nodes.robot.interface import RobotError
from nodes.robot.limits import Limit
from nodes.robot.node import RobotNode
from nodes.runtime import EXIT_BAD_CONFIG, EXIT_FAILED, MAX_WAIT_S, NodeError
from protocol import messages as m
from protocol.control import ControlRequest

PREDICTOR = [("pred", "predictor")]
Make = Callable[..., m.Message]


@pytest.fixture
def wheels(node: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A robot that moves on until it is stopped; `told` is what its driver was told."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.delitem(sys.modules, "drivers_for_tests", raising=False)

    def make(name: str = "Wheels", go: bool = True, options: dict[str, Any] | None = None, **config: Any) -> Any:
        given = {"driver": f"drivers_for_tests:{name}", "rate_hz": 0.0, "silence_s": 0.0, "options": options or {}, **config}
        made = node(RobotNode, RobotConfig(**given), PREDICTOR)
        made.told = made.driver._driver.told
        if go:
            made.go()
        return made

    return make


@pytest.fixture
def tell(message: Make) -> Callable[..., None]:
    """A command for where the robot is."""

    def command(made: Any, pan: float = 0.5, good_s: float = 60.0) -> None:
        body = m.Command(action={"pan": pan}, by="test", deadline_mono_ns=made.bus.clock.mono_ns() + int(good_s * 1e9))
        made.on_command(message("command", body, episode=made.progress.episode, step=made.progress.step))

    return command


def halt(made: Any) -> ControlRequest:
    """As the bus does when the request comes."""
    answers: list[bytes] = []
    request = ControlRequest("halt", {}, "a test", answers.append)
    made.bus.urgent["halt"](request)
    return request


def resume(made: Any) -> None:
    made.heard_ns = made.bus.clock.mono_ns()
    made.do_resume({})


def moves(made: Any) -> list[str]:
    return [one for one in made.told if one.startswith("go")]


# -- silence --------------------------------------------------------------------------------------


def test_in_silence_a_paced_robot_takes_the_safe_action_stops_and_stands(wheels: Any, tell: Any, wait: Any) -> None:
    made = wheels(timing="paced", rate_hz=200.0, silence_s=0.05)
    made.tick()
    tell(made)
    wait(lambda: made.tick() is not None and made.watchdog.silent and made._standing, "silence")
    assert moves(made)[:2] == ["go 0.5", "go 0"]
    assert set(moves(made)[1:]) == {"go 0"}, "late steps take the safe action"
    assert made.told[-1] == "stop"
    assert made.bus.alarms() == [("silent", True)]
    told, step, shown = list(made.told), made.progress.step, len(made.bus.of("frame"))
    wait(lambda: made.tick() is not None and len(made.bus.of("frame")) > shown + 5, "it shows itself while it stands")
    assert made.told == told, "nothing is executed"
    assert made.progress.step == step, "the step waits to be answered"
    assert made.watchdog.counts["silent"] == 1
    wait(lambda: made.tick() is not None and made.phase == "act", "a frame to answer")
    tell(made, 0.7)
    made.tick()
    assert moves(made)[-1] == "go 0.7"
    assert made.bus.alarms() == [("silent", True), ("silent", False)]


def test_refused_commands_are_silence_too(wheels: Any, tell: Any, wait: Any) -> None:
    made = wheels(timing="paced", rate_hz=200.0, silence_s=0.05, limits={"pan": Limit(max=0.3)})

    def too_fast() -> bool:
        made.tick()
        if made.phase == "act":
            tell(made, 0.9)
            tell(made, 0.1, good_s=-1.0)
        return made.watchdog.silent

    wait(too_fast, "silence")
    assert set(moves(made)) <= {"go 0"}
    assert made.gate.refused["over_limit"] > 0
    assert made.gate.refused["too_late"] > 0


def test_a_lockstep_robot_waits_for_a_person_when_told_so(wheels: Any, wait: Any) -> None:
    patient = wheels()
    patient.tick()
    assert patient.tick() > MAX_WAIT_S
    assert patient.watchdog.silence_left_s() == float("inf")
    made = wheels(silence_s=0.05)
    wait(lambda: made.tick() is not None and made._standing, "silence")
    assert made.told == ["stop", "stop", "go 0", "stop"], "at the start, by the watchdog, and after the safe action"
    assert [one.body.safe for one in made.bus.of("action")] == [True]


def test_of_a_paused_robot_no_command_is_expected(wheels: Any) -> None:
    made = wheels(silence_s=60.0)
    made.tick()
    assert made.watchdog.silence_left_s() <= 60.0
    made.do_pause({})
    made.tick()
    assert made.watchdog.silence_left_s() == float("inf")


# -- limits ---------------------------------------------------------------------------------------


def test_a_limited_robot_says_what_it_really_did(wheels: Any, tell: Any) -> None:
    made = wheels(limits={"pan": Limit(min=-0.5, max=0.5, max_rate_per_s=0.2)})
    assert made.bus.of("robot")[0].body.actions.high == [0.5]
    for pan in (0.5, 0.9):
        made.tick()
        tell(made, pan)
        made.tick()
    assert [one.body.action["pan"] for one in made.bus.of("action")] == [pytest.approx(0.2)]
    assert made.gate.refused == {"over_limit": 1}
    made.close()
    values = made.bus.of("metrics")[-1].body.values
    assert (values["rate_limited"], values["refused_over_limit"]) == (1, 1)


def test_limits_that_cannot_be_end_the_start_with_one_line(wheels: Any) -> None:
    with pytest.raises(NodeError, match="no action 'pam'; did you mean 'pan'") as caught:
        wheels(limits={"pam": Limit()})
    assert caught.value.exit_code == EXIT_BAD_CONFIG


def test_a_robot_that_is_gone_after_a_restart_may_come_back(node: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The launcher starts nothing again that was badly told, and a cable may be plugged in again."""

    def gone(*_: Any) -> None:
        raise RobotError("its port is not there")

    monkeypatch.setattr("nodes.robot.node.make_driver", gone)
    for code in (EXIT_BAD_CONFIG, EXIT_FAILED):
        with pytest.raises(NodeError, match="its port is not there") as caught:
            node(RobotNode, RobotConfig())
        assert caught.value.exit_code == code
        (tmp_path / "place-node").write_text("0 5 0")  # an earlier process moved


def test_an_action_has_the_time_it_really_took(wheels: Any, tell: Any) -> None:
    """Whatever the wall clock says meanwhile."""
    made = wheels()
    made.tick()
    ticks = iter([1_000, 5_000])
    real = made.bus.clock

    class Back:
        def wall_ns(self) -> int:
            return real.wall_ns()

        def mono_ns(self) -> int:
            return next(ticks, 10**12)

    tell(made)
    command = made.gate.take(0)
    made.safe._clock = Back()
    body = made.safe.execute(command.action, "test")
    assert body.end_ns - body.start_ns == 4_000


# -- halt -----------------------------------------------------------------------------------------


def test_a_halt_stops_at_once_and_holds_until_somebody_resumes(wheels: Any, tell: Any, wait: Any) -> None:
    made = wheels()
    made.tick()
    tell(made)
    request = halt(made)
    wait(lambda: request._answered.is_set(), "an answer")
    assert made.told[-1] == "stop"
    for _ in range(3):
        assert made.tick() == MAX_WAIT_S
        tell(made)
    assert moves(made) == []
    assert made.bus.said["state"] == "paused"
    assert "halted by a test" in made.bus.said["detail"]
    assert made.bus.alarms() == [("halted", True)]
    for refused in (made.do_step, made.do_reset):
        with pytest.raises(ValueError, match="halted; resume it first"):
            refused({})
    made.do_pause({})
    resume(made)
    assert (made.bus.said["state"], made.bus.said["detail"]) == ("running", "")
    made.tick()
    assert moves(made) == [], "no command from before the halt"
    assert made.bus.places("frame") == [("frame", 0, 0), ("frame", 0, 0)], "it asks again"
    tell(made)
    made.tick()
    assert moves(made) == ["go 0.5"]
    assert made.bus.alarms() == [("halted", True), ("halted", False)]


def test_a_resume_that_was_asked_before_the_halt_does_not_lift_it(wheels: Any) -> None:
    made = wheels()
    made.heard_ns = made.bus.clock.mono_ns()
    halt(made)
    with pytest.raises(ValueError, match="halted after you asked"):
        made.do_resume({})
    assert made.tick() == MAX_WAIT_S
    assert made.watchdog.halted


def test_a_robot_that_is_halted_before_the_run_begins_waits(wheels: Any) -> None:
    made = wheels(go=False)
    made.bus.said["state"] = "ready"
    halt(made)
    made.tick()
    assert made.bus.said["state"] == "ready", "the launcher must still be able to say go"
    made.bus.said["state"] = "running"
    made.go()
    assert made.bus.said["state"] == "paused"
    assert made.tick() == MAX_WAIT_S
    assert made.bus.of("frame") == []


def test_a_halt_in_the_last_action_of_an_episode_leaves_the_reset_until_somebody_resumes(wheels: Any, tell: Any, wait: Any) -> None:
    made = wheels(episode_steps=1, options={"blocks": "execute"})
    made.tick()
    tell(made)
    inside, requests = made.driver._driver.inside, []
    person = threading.Thread(target=lambda: (inside.wait(30), requests.append(halt(made))))
    person.start()
    made.tick()
    person.join(30)
    wait(lambda: requests[0]._answered.is_set(), "an answer")
    for _ in range(3):
        assert made.tick() == MAX_WAIT_S
    assert "reset" not in made.told
    assert made.bus.places("episode") == [("start", 0, 0), ("end", 0, 1)]
    resume(made)
    made.tick()
    assert made.told[-1] == "reset"
    assert made.bus.places("episode")[-1] == ("start", 1, 0)


def test_an_episode_that_ends_in_silence_is_reset_when_commands_come(wheels: Any, tell: Any, wait: Any) -> None:
    made = wheels(episode_steps=1, silence_s=0.05)
    wait(lambda: made.tick() is not None and made._standing and made.phase == "act", "silence, and a frame to answer")
    assert "reset" not in made.told
    assert made.progress.step == 1
    tell(made)
    made.tick()
    assert made.told[-1] == "reset"
    assert moves(made) == ["go 0"], "the command was for an episode that is over"
    assert made.bus.places("episode") == [("start", 0, 0), ("end", 0, 1), ("start", 1, 0)]


def test_a_reset_that_hangs_is_stopped(wheels: Any) -> None:
    made = wheels(options={"blocks": "reset"}, max_action_s=0.05)
    made.do_reset({})
    assert made.told == ["stop", "reset", "stop"]
    assert made.bus.alarms() == [("stuck", True), ("stuck", False)]
    assert made.bus.places("episode")[-1] == ("start", 1, 0)


# -- the end --------------------------------------------------------------------------------------


def test_a_robot_is_made_safe_at_the_start_and_at_the_end(wheels: Any) -> None:
    made = wheels()
    assert made.told == ["stop"], "an earlier process may have been killed"
    made.close()
    assert made.told[-2:] == ["stop", "close"]


def test_a_setup_that_fails_midway_leaves_the_robot_safe(node: Any, wheels: Any) -> None:
    made = node(RobotNode, RobotConfig(driver="drivers_for_tests:WheelsWithoutSafety"), PREDICTOR, setup=False)
    with pytest.raises(NodeError, match="safe_action"):
        made.setup()
    told = made.driver._driver.told
    made.close()
    assert told == ["stop", "stop", "close"]
    never = node(RobotNode, RobotConfig(driver="no_such_module:Robot"), PREDICTOR, setup=False)
    with pytest.raises(NodeError, match="cannot be loaded"):
        never.setup()
    never.close()


def test_a_robot_that_cannot_be_stopped_ends_the_node_and_is_let_go(wheels: Any) -> None:
    made = wheels(options={"cannot_stop": True})
    with pytest.raises(NodeError, match="could not be stopped: the brake does not answer"):
        made.tick()
    made.close()
    assert made.told[-1] == "close"
    assert made.exit_code == EXIT_FAILED
    assert made.bus.alarms() == [("not_stopped", True)]
