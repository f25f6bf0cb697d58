"""Restart rules, keys, the screen, run folders, the law of counts: without processes."""

import io
import os
import pty
import termios
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from launch import rundir, screen
from launch.board import Board, Line
from launch.child import HUGE_PAGES, environment
from launch.errors import LaunchError
from launch.graph import Graph
from launch.keys import Ask, Keys, ask
from launch.restarts import Restarts
from launch.schema import NodeSpec, Restart
from launch.summary import Summary, summarise
from launch.supervisor import End
from launch.words import tell
from protocol.messages import Alarm, Body, Committed, Envelope, Gap, LogRecord, Message, Metrics, Status, Tail, TopicCount


def make_graph(**nodes: str) -> Graph:
    specs = {name: NodeSpec(kind=kind) for name, kind in nodes.items()}
    return Graph(
        file="g.yaml", nodes=specs, configs={name: {} for name in specs}, args={}, off=[], seed=0, time_limit_s=60.0, description="test"
    )


def message(topic: str, body: Body, seq: int = 0, run: str = "r1") -> Message:
    source = topic.partition("/")[2]
    return Message(envelope=Envelope(topic=topic, source=source, run=run, seq=seq, t_ns=0, mono_ns=0), body=body)


def count(published: int, received: int, skipped: int = 0, lost: int = 0, lane: Any = "reliable") -> TopicCount:
    return TopicCount(published=published, received=received, skipped=skipped, lost=lost, lane=lane)


# -- restarts ---------------------------------------------------------------------------------------


def test_back_off_doubles_up_to_its_limit_and_the_window_forgets() -> None:
    restarts = Restarts(Restart(policy="on-failure", max=4, window_s=60, backoff_s=0.5, backoff_max_s=2))
    assert [restarts.due(1, 10.0, 0.0) for _ in range(5)] == [10.5, 11.0, 12.0, 12.0, None]
    assert restarts.used_up(1)
    assert restarts.due(1, 71.0, 61.0) == 71.5, "it ran well for longer than the window"
    assert restarts.count == 5


def test_time_in_which_a_node_did_not_run_forgives_nothing() -> None:
    """Else one that takes a minute to load and dies of it would load for ever."""
    restarts = Restarts(Restart(policy="on-failure", max=2, window_s=60, backoff_s=1))
    assert [restarts.due(1, now_s, 0.0) for now_s in (70.0, 140.0, 210.0)] == [71.0, 142.0, None]


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("never", 1, False), ("never", 0, False), ("on-failure", 0, False), ("on-failure", 1, True), ("on-failure", -9, True),
        ("always", 0, True), ("always", 2, False), ("on-failure", 2, False), ("always", 4, False), ("on-failure", 3, False),
    ],
)  # fmt: skip
def test_policies(policy: Any, code: int, again: bool) -> None:
    restarts = Restarts(Restart(policy=policy))
    assert (restarts.due(code, 0.0, 0.0) is not None) is again
    assert not restarts.used_up(code)


def test_a_node_that_hung_has_failed_whatever_its_exit_code() -> None:
    assert Restarts(Restart(policy="on-failure")).due(0, 0.0, 0.0, ended_by_us=True) is not None
    assert Restarts(Restart(policy="never")).due(-9, 0.0, 0.0, ended_by_us=True) is None


def test_environment_of_nodes() -> None:
    base = {"PYTHONPATH": "/opt/ros", "PYTHONHOME": "x", "HOME": "/h"}
    env = environment("trainer", {"A": 1}, base)
    assert env["HOME"] == "/h"
    assert env["A"] == "1"
    assert "PYTHONPATH" not in env
    assert "PYTHONHOME" not in env
    assert env.get("GLIBC_TUNABLES", HUGE_PAGES) == HUGE_PAGES
    assert "GLIBC_TUNABLES" not in environment("robot", {}, base)


# -- keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        (" ", Ask("robot", "pause", {})), ("n", Ask("robot", "step", {})), ("y", Ask("predictor", "confirm", {})),
        ("7", Ask("predictor", "drive", {"index": 7})), ("m", Ask("robot", "mark", {"mark": "success"})),
        ("f", Ask("robot", "mark", {"mark": "failure"})), ("d", Ask("robot", "mark", {"mark": "discard"})),
        ("r", Ask("robot", "reset", {})),
        ("Q", Ask("launcher", "stop", {})), ("x", None), ("\x1b", Ask("robot", "halt", {})), ("²", None),
    ],
)  # fmt: skip
def test_keys(key: str, asked: Ask | None) -> None:
    assert ask(key, paused=False) == asked


def test_space_goes_on_when_paused() -> None:
    assert ask(" ", paused=True) == Ask("robot", "resume", {})


def test_keys_of_a_pipe_are_none() -> None:
    keys = Keys(io.StringIO("q"))
    assert not keys.active
    assert keys.read() == ""
    keys.close()


def test_a_terminal_is_read_key_by_key_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = pty.openpty()
    before = termios.tcgetattr(there)
    monkeypatch.setattr(os, "tcgetpgrp", lambda fd: os.getpgrp())
    with os.fdopen(there, "r") as stream:
        keys = Keys(stream)
        assert keys.active
        assert keys.read() == ""
        os.write(here, b"n")
        assert keys.read() == "n"
        for arrow in (b"\x1b[A", b"\x1bOD", b"\x1b[1;5C"):
            os.write(here, arrow)
            assert keys.read() == ""
        for panic in (b"\x1b", b"\x1b\x1b", b" \x1b n", b"\x1b[A\x1b"):
            os.write(here, panic)
            assert keys.read() == "\x1b"
        keys.close()
        keys.close()
        assert termios.tcgetattr(there) == before
    os.close(here)


# -- board and screen -------------------------------------------------------------------------------


def running_board() -> Board:
    board = Board(make_graph(robot="robot", trainer="trainer", recorder="recorder"))
    for name in board.nodes:
        board.nodes[name].new_process()
        board.take(message(f"status/{name}", Status(state="running", kind=name, counts={"frame/robot": count(9, 8, 0, 1)})), 100.0)
    board.take(message("metrics/robot", Metrics(values={"steps": 40, "episodes": 2, "rate_hz": 19.5})), 100.0)
    board.take(
        message("metrics/trainer", Metrics(values={"samples": 640, "samples_per_s": 64, "prediction_error": 0.25, "skill_copy_last": 0.5})),
        100.0,
    )
    board.take(message("committed/recorder", Committed(session="s", last_seq={}, events=1234, bytes=2 << 20)), 100.0)
    board.phase, board.started_s = "running", 90.0
    return board


def test_progress_line() -> None:
    said = screen.progress(running_board(), 105.0)
    assert said == "running 0:15 | steps 40 | 64 samples/s | error 0.25 | skill over copy-last 0.50 | 0:45 left | 1,234 events kept"


def test_table() -> None:
    out = io.StringIO()
    board = running_board()
    board.nodes["trainer"].status = msgspec.structs.replace(board.nodes["trainer"].status, detail="go left?")
    Console(file=out, width=80).print(screen.picture(board, 102.0, keys=True))
    text = out.getvalue()
    for word in ("node", "state", "rate Hz", "age s", "skipped", "lost", "CPU %", "MB", "robot", "running", "2.0", "space pause"):
        assert word in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_a_person_is_asked_what_the_predictor_asks() -> None:
    board = Board(make_graph(predictor="predictor"))
    board.take(message("status/predictor", Status(state="running", kind="predictor", detail="action 1? y or a number")), 1.0)
    assert screen.questions(board) == ["predictor: action 1? y or a number"]


def test_plain_screen_says_progress_now_and_then() -> None:
    out = io.StringIO()
    plain = screen.open_screen(Console(file=out))
    board = running_board()
    for now_s in (100.0, 101.0, 104.9, 105.1):
        plain.update(board, now_s)
    plain.say(Line("ALARM", "robot: \x1b[2J camera\nlost"))
    plain.close()
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[-1] == "ALARM: robot:  [2J camera lost"


def test_what_is_shown_at_once() -> None:
    board = Board(make_graph(robot="robot"))
    assert board.take(message("alarm/robot", Alarm(name="a", text="lost")), 0.0) == Line("ALARM", "robot: lost")
    assert board.take(message("log/robot", LogRecord(level="INFO", logger="l", text="t")), 0.0) is None
    assert board.take(message("log/robot", LogRecord(level="ERROR", logger="l", text="t")), 0.0) == Line("ERROR", "robot: t")
    assert board.take(message("status/other", Status(state="ready", kind="robot")), 0.0) is None


def test_a_dead_process_does_not_speak_for_the_new_one() -> None:
    board = Board(make_graph(robot="robot"))
    view = board.nodes["robot"]
    view.new_process()
    board.take(message("status/robot", Status(state="running", kind="robot"), run="old"), 0.0)
    view.new_process()
    board.take(message("status/robot", Status(state="running", kind="robot"), run="old"), 0.0)
    assert view.status is None
    board.take(message("status/robot", Status(state="ready", kind="robot"), run="new"), 0.0)
    assert view.state == "ready"


def test_alarms_and_the_estimate_reach_the_screen_and_the_summary() -> None:
    board = Board(make_graph(recorder="recorder"))
    for seq, (text, active) in enumerate((("2 GB free", True), ("3 GB free again", False), ("1 GB free", True))):
        board.take(message("alarm/recorder", Alarm(name="disk_low", text=text, active=active), seq), 0.0)
    told = {"disk_bytes_per_minute": 600.0 * 2**20, "disk_room_bytes": 300.0 * 2**20}
    line = board.take(message("metrics/recorder", Metrics(values=told)), 1.0)
    assert line is not None and line.level == "WARNING"
    assert line.text.startswith("records about 600 MB a minute; 300 MB free above the floor: 30 s; the disk will do for 30 s of the 60 s")
    assert board.take(message("metrics/recorder", Metrics(values=told), 1), 2.0) is None, "said once"
    summary = summarise(board, End("time"), name="r", started="", versions={}, command=[], forced=[])
    (alarm,) = summary.alarms
    assert (alarm.node, alarm.name, alarm.raised, alarm.text, alarm.active) == ("recorder", "disk_low", 2, "1 GB free", True)
    assert summary.disk is not None and summary.disk.room_s == 30.0
    assert any("the disk will do for 30 s" in note for note in summary.notes)
    assert "alarms    recorder disk low 2 x, still on" in tell(summary, "", None, "runs/r")


def test_a_disk_that_will_do_is_said_without_a_warning() -> None:
    board = Board(make_graph(recorder="recorder"))
    line = board.take(message("metrics/recorder", Metrics(values={"disk_bytes_per_minute": 2.0**20, "disk_room_bytes": 2.0**33})), 1.0)
    assert line == Line("INFO", "records about 1.0 MB a minute; 8.0 GB free above the floor: 5 days")
    summary = summarise(board, End("time"), name="r", started="", versions={}, command=[], forced=[])
    assert summary.notes == [] and summary.disk is not None


# -- the law ----------------------------------------------------------------------------------------


def ended(robot_last: int, taken: TopicCount, *, stayed: bool = True, code: int = 0, final: bool = True) -> Summary:
    board = Board(make_graph(robot="robot", recorder="recorder"))
    for view in board.nodes.values():
        view.exit_codes.append(code)
    books = msgspec.structs.replace(taken, end_known=stayed)
    robot = Status(state="stopped", kind="robot", final=True, last_seq={"frame/robot": robot_last})
    never = count(0, 0)  # a topic on which nothing was said: nobody told where it ends
    counts = {"frame/robot": books, "probe/robot": never}
    recorder = Status(state="stopped", kind="recorder", final=final, counts=counts, last_seq={"committed/recorder": 3})
    board.take(message("status/robot", robot, seq=4), 10.0)
    board.take(message("status/recorder", recorder), 11.0)
    board.started_s, board.ended_s = 0.0, 12.0
    return summarise(board, End("time"), name="r", started="", versions={}, command=[], forced=[])


def test_books_that_balance() -> None:
    summary = ended(9, count(10, 10))
    assert (summary.outcome, summary.exit_code, summary.notes) == ("time", 0, [])


@pytest.mark.parametrize(
    ("last", "taken", "said"),
    [
        (9, count(10, 9, 0, 1), "recorder lost 1 of 10 messages of frame/robot"),
        (9, count(10, 9), "the books on frame/robot do not balance"),
        (11, count(10, 10), "recorder lost 2 of 12 messages of frame/robot"),
    ],
)
def test_what_was_lost_is_said_and_changes_the_exit_code(last: int, taken: TopicCount, said: str) -> None:
    summary = ended(last, taken)
    assert (summary.outcome, summary.exit_code) == ("lost", 3)
    assert said in summary.notes[0]
    assert "LOST" in tell(summary, "", None, "runs/r")


def test_the_latest_lane_skips_what_never_came() -> None:
    summary = ended(11, count(10, 6, 4, lane="latest"))
    found = summary.topics["frame/robot"]["recorder"]
    assert (found.published, found.received, found.skipped, found.lost) == (12, 6, 6, 0)
    assert summary.outcome == "time"


def test_a_subscriber_that_left_first_is_not_blamed() -> None:
    summary = ended(11, count(10, 10), stayed=False)
    assert summary.topics["frame/robot"]["recorder"].published == 10
    assert summary.outcome == "time"


def test_no_last_word_of_a_reliable_subscriber_is_a_loss() -> None:
    assert ended(9, count(10, 10), final=False).outcome == "lost"


def test_who_ended_before_all_was_taken_is_a_loss_unless_it_was_taken_after_all() -> None:
    summary = ended(9, count(10, 10), code=3, stayed=False)
    assert (summary.exit_code, summary.notes) == (3, ["robot ended before all of its last messages were taken by recorder"])
    assert (ended(9, count(10, 10), code=3).exit_code, ended(9, count(10, 10), code=3).notes) == (0, [])


def test_what_was_taken_of_who_ended_without_its_books_is_not_known() -> None:
    board = Board(make_graph(robot="robot"))
    board.nodes["robot"].exit_codes.append(3)
    board.take(message("status/robot", Status(state="stopped", kind="robot", final=True)), 10.0)
    assert summarise(board, End("time"), name="r", started="", versions={}, command=[], forced=[]).exit_code == 3


def test_words() -> None:
    board = running_board()
    for view in board.nodes.values():
        view.status = None
    board.scores_at[30] = {"cf_accuracy": 0.5, "steps": 10, "samples": 99}
    board.ended_s = 120.0
    summary = summarise(board, End("learned"), name="demo", started="", versions={}, command=[], forced=[])
    text = tell(summary, "", board.committed, "runs/demo")
    assert "demo: the world is learned after 30 s" in text
    assert "skill over copying the last frame 0.50" in text
    assert "dropped   nothing" in text
    assert text.splitlines()[-3:] == [
        "  toddle evaluate demo", "  toddle replay s", "  toddle sessions info s",
    ]  # fmt: skip
    plain = msgspec.json.decode(msgspec.json.encode(summary))
    assert plain["scores_at"] == {
        "30": {"cf_accuracy": 0.5, "hit_at_3px": None, "skill_copy_last": None, "skill_action_blind": None,
               "prediction_error": None, "steps": 10, "samples": 99},
        "60": None, "120": None, "240": None,
    }  # fmt: skip


def test_words_about_actions_and_timing() -> None:
    robot = {
        "action.a=0": 5.0, "action.a=1": 7.0, "actions_failed": 1.0, "actions_safe": 0.0, "action.steering.mean": 0.25,
        "action.steering.min": -1.0, "action.steering.max": 1.0,
        "interval_ms.mean": 50.0, "interval_ms.p50": 49.0, "interval_ms.p99": 52.0, "interval_ms.max": 60.0,
    }  # fmt: skip
    text = tell(ended(9, count(10, 10)), "", None, "runs/r", robot)
    assert "a=0 5 x, a=1 7 x, steering 0.25 on average, -1 to 1; 1 failed, 0 safe ones for want of a command" in text
    assert "ms between frames: mean 50.0, p50 49.0, p99 52.0, max 60.0" in text


def test_each_of_many_numbers_of_an_action_has_its_own_line() -> None:
    joints = [f"joint{number}" for number in range(26)]
    robot = {f"action.{joint}.{figure}": value for joint in joints for figure, value in (("mean", 0.5), ("min", -1.0), ("max", 1.0))}
    lines = tell(ended(9, count(10, 10)), "", None, "runs/r", robot).splitlines()
    assert "  actions   of 26 numbers; 0 failed, 0 safe ones for want of a command" in lines
    assert "            joint7  0.5 on average, -1 to 1" in lines
    assert max(map(len, lines)) < 120
    more = {name.replace("joint", f"{arm}.joint"): value for name, value in robot.items() for arm in ("left", "right")}
    assert "            and 12 more" in tell(ended(9, count(10, 10)), "", None, "runs/r", more).splitlines()


# -- run folders ------------------------------------------------------------------------------------


def test_a_run_is_never_overwritten_silently(tmp_path: Path) -> None:
    path = rundir.make(tmp_path, "demo")
    (path / rundir.MARKER).write_text("{}")
    (path / "keep").write_text("")
    with pytest.raises(LaunchError, match="run 'demo' is there already"):
        rundir.make(tmp_path, "demo")
    assert rundir.make(tmp_path, "demo", resume=True) == path
    assert (path / "keep").exists()
    assert rundir.make(tmp_path, "demo", overwrite=True) == path
    assert not (path / "keep").exists()


def test_only_runs_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(LaunchError, match="is not a run of toddle"):
        rundir.make(tmp_path, "photos", overwrite=True)
    assert (tmp_path / "photos").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", ""])
def test_names_that_are_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(LaunchError, match="is no folder name"):
        rundir.make(tmp_path, name)


def test_resume_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="no run 'x' to resume"):
        rundir.make(tmp_path, "x", resume=True)


def test_default_names_are_unique(tmp_path: Path) -> None:
    first = rundir.default_name(Path("a/online.yaml"), tmp_path)
    (tmp_path / first).mkdir()
    assert first.startswith("online-")
    assert rundir.default_name(Path("a/online.yaml"), tmp_path) != first


# -- gaps and tails ---------------------------------------------------------------------------------


def gap(first: int, last: int, **times: int) -> Gap:
    return Gap(topic="frame/robot", run="q", first=first, last=last, **times)


def with_losses(*said: Status, restarts: int = 0) -> Summary:
    """A run in which the recorder sends these heartbeats."""
    board = Board(make_graph(robot="robot", recorder="recorder", trainer="trainer"))
    for seq, status in enumerate(said):
        board.take(message("status/recorder", status, seq=seq), float(seq))
    board.nodes["recorder"].restarts = restarts
    return summarise(board, End("time"), name="r", started="", versions={}, command=[], forced=[])


def test_gaps_of_every_heartbeat_are_in_the_summary_with_their_times() -> None:
    lost = {"frame/robot": count(20, 14, lost=6)}
    summary = with_losses(
        Status(state="running", kind="recorder", gaps=[gap(3, 5, after_ns=10**18, before_ns=10**18 + 10**9)]),
        Status(state="running", kind="recorder", gaps=[gap(3, 5, after_ns=10**18, before_ns=10**18 + 10**9)]),
        Status(state="stopped", kind="recorder", final=True, counts=lost, gaps=[gap(9, 11)]),
    )
    assert [(g.subscriber, g.topic, g.run, g.first, g.last) for g in summary.gaps] == [
        ("recorder", "frame/robot", "q", 3, 5), ("recorder", "frame/robot", "q", 9, 11),
    ]  # fmt: skip
    first, second = summary.gaps
    assert first.after is not None and first.before is not None
    assert (datetime.fromisoformat(first.before) - datetime.fromisoformat(first.after)).total_seconds() == 1
    assert (second.after, second.before) == (None, None)
    assert (summary.outcome, summary.exit_code) == ("lost", 3)
    assert sum(g.last - g.first + 1 for g in summary.gaps) == summary.topics["frame/robot"]["recorder"].lost


def test_a_loss_before_a_restart_is_a_loss() -> None:
    """The books of the process that comes after it begin with all that the first one has seen, and may tell of some again."""
    last = Status(state="stopped", kind="recorder", final=True, counts={"frame/robot": count(20, 18, lost=2)}, gaps=[gap(4, 7), gap(9, 9)])
    summary = with_losses(Status(state="running", kind="recorder", gaps=[gap(3, 5), gap(6, 6)]), last, restarts=1)
    assert (summary.outcome, summary.exit_code) == ("lost", 3)
    found = summary.topics["frame/robot"]["recorder"]
    assert (found.published, found.received, found.lost) == (20, 14, 6)
    assert "recorder lost 6 of 20 messages of frame/robot" in summary.notes


def test_tails_are_named_once_for_a_run_and_change_no_exit_code() -> None:
    tails = [Tail(topic="frame/robot", run="q", last=7, told=9), Tail(topic="action/robot", run="q", last=6)]
    board = Board(make_graph(robot="robot", recorder="recorder", trainer="trainer"))
    board.take(message("status/recorder", Status(state="stopped", kind="recorder", final=True, tails=tails)), 1.0)
    board.take(
        message("status/trainer", Status(state="stopped", kind="trainer", final=True, tails=[Tail(topic="frame/robot", run="q", last=8)])),
        1.0,
    )
    summary = summarise(board, End("time"), name="r", started="", versions={}, command=[], forced=[])
    assert [(t.subscriber, t.topic, t.last, t.told) for t in summary.tails] == [
        ("recorder", "frame/robot", 7, 9), ("recorder", "action/robot", 6, -1), ("trainer", "frame/robot", 8, -1),
    ]  # fmt: skip
    said = "robot (run q) died without a last word, end unknown: action/robot after 6, frame/robot after 8"
    assert summary.notes == [said] and said in tell(summary, "", None, "runs/r")
    assert summary.exit_code == 0
