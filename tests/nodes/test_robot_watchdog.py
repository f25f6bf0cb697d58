"""What is overdue, by a clock on paper."""

import threading

from nodes.robot.watchdog import Watch, Watchdog
from protocol.control import ControlRequest


def test_silence_counts_from_the_first_frame_that_waits() -> None:
    watch = Watch(silence_s=1.0, action_s=1.0)
    assert watch.look(100.0) == []
    assert watch.silence_left_s(100.0) == float("inf")
    watch.asked(100.0)
    watch.asked(100.9)  # a late step, another frame: still nobody commands
    assert watch.look(100.9) == []
    assert watch.look(101.0) == ["silent"]
    assert watch.look(105.0) == [], "told once"
    watch.heard()
    assert not watch.silent
    watch.asked(106.0)
    assert watch.look(106.5) == []
    watch.heard()
    assert watch.look(120.0) == [], "nothing waits for a command"


def test_at_rest_nothing_is_expected_and_0_is_for_ever() -> None:
    watch = Watch(silence_s=1.0, action_s=1.0)
    watch.asked(0.0)
    watch.rest()
    assert watch.look(50.0) == []
    patient = Watch(silence_s=0.0, action_s=0.0)
    patient.asked(0.0)
    patient.begin("execute", 0.0)
    assert patient.look(1e9) == []


def test_an_action_has_its_own_limit() -> None:
    watch = Watch(silence_s=1.0, action_s=5.0)
    watch.begin("execute", 0.0)
    assert watch.look(4.9) == []
    assert watch.look(5.0) == ["stuck"]
    assert "execute has taken more than 5 s" in watch.words("stuck")
    assert "max_action_s" in watch.words("stuck")
    assert watch.look(60.0) == []
    watch.end(60.0)
    assert not watch.stuck
    watch.begin("observe", 61.0)
    assert watch.look(62.0) == ["stuck"]
    assert "observe has taken more than 1 s" in watch.words("stuck")


def test_commands_that_waited_while_it_hung_have_their_time() -> None:
    watch = Watch(silence_s=1.0, action_s=1.0)
    watch.asked(0.0)
    watch.begin("publish", 0.0)
    assert watch.look(30.0) == ["silent", "stuck"]
    watch.heard()
    watch.asked(40.0)
    watch.begin("publish", 40.0)
    watch.stuck = True
    watch.end(70.0)
    assert watch.look(70.5) == []


def make(stop: list[str], told: list[tuple[str, bool]]) -> Watchdog:
    return Watchdog(Watch(1.0, 1.0), lambda: stop.append("stop"), lambda name, text, on: told.append((name, on)), lambda: False)


def request(heard_ns: int, answers: list[bytes]) -> ControlRequest:
    return ControlRequest("halt", {}, "a test", answers.append, "1", heard_ns)


def test_a_halt_is_lifted_only_by_a_resume_that_came_after_it() -> None:
    stops: list[str] = []
    told: list[tuple[str, bool]] = []
    answers: list[bytes] = []
    dog = make(stops, told)
    with dog.moving() as may:
        assert may
    dog.halt(request(1000, answers))
    with dog.moving() as may:
        assert not may, "before the watchdog even woke"
    assert not answers
    dog.look()
    assert (stops, told, len(answers)) == (["stop"], [("halted", True)], 1)
    assert not dog.resume(1000)
    assert not dog.resume(999)
    assert dog.held
    dog.halt(request(3000, answers))
    assert not dog.resume(2000), "it came before the second halt"
    assert dog.resume(3001)
    assert not dog.held
    dog.look()
    assert told == [("halted", True), ("halted", False)]
    assert dog.counts["halted"] == 2


def test_an_action_that_began_in_the_moment_of_the_halt_is_stopped_again_and_again() -> None:
    stops: list[str] = []
    dog = make(stops, [])
    with dog.moving():
        dog.halt(request(5, []))
        dog.look()
        assert len(stops) == 1
        dog._last_stop_s -= 1.0
        dog.look()
        assert len(stops) == 2
    assert len(stops) == 3, "and once more when it is over"


def test_a_driver_that_cannot_stop_is_told_of_and_the_watch_goes_on() -> None:
    told: list[tuple[str, bool]] = []

    def stop() -> None:
        raise OSError("no brake")

    dog = Watchdog(Watch(1.0, 1.0), stop, lambda name, text, on: told.append((name, on)), lambda: False)
    dog.halt(request(5, []))
    dog.look()
    assert told == [("halted", True), ("not_stopped", True)]
    assert str(dog.error) == "no brake"


def test_when_the_node_is_to_end_nothing_moves_any_more() -> None:
    stops: list[str] = []
    ending = threading.Event()
    dog = Watchdog(Watch(1.0, 1.0), lambda: stops.append("stop"), lambda *_: None, ending.is_set)
    ending.set()
    dog.look()
    dog.look()
    assert stops == ["stop"]
    assert dog.held
    assert not dog.resume(10**18) or dog.held


def test_a_halt_is_answered_when_the_action_of_that_moment_is_stopped_too() -> None:
    stops: list[str] = []
    answers: list[bytes] = []
    dog = make(stops, [])
    with dog.moving():
        dog.halt(request(5, answers))
        dog.look()
        assert (len(stops), len(answers)) == (1, 0), "it may have begun after the stop"
    assert (len(stops), len(answers)) == (2, 1)
    dog.resume(6)
    with dog.moving():
        dog.halt(request(7, answers))
        dog.look()
        dog._last_stop_s -= 1.0
        dog.look()
        assert (len(stops), len(answers)) == (4, 2), "one that hangs is no reason to leave a person without an answer"
