"""Logs of runs: merged, filtered, followed over a rotation."""

import json
import logging
import os
import time
from logging.handlers import RotatingFileHandler

import pytest

from nodes.logs import _JsonLines
from toddle.logfile import RunLogs


def say(folder, node: str, t: float, text: str, level: str = "INFO", **more: str) -> None:
    with (folder / "logs" / f"{node}.jsonl").open("a") as file:
        file.write(json.dumps({"t": t, "level": level, "node": node, "text": text, **more}) + "\n")


@pytest.fixture
def run(made_up):
    """An ended run that said this and that, and its runs."""
    folder = made_up("said")
    now = time.time()
    say(folder, "robot", now - 1000, "first")
    say(folder, "viewer", now - 900, "second", "WARNING")
    say(folder, "robot", now - 20, "third\x1b[2J", "ERROR", traceback="Traceback:\n  boom\x1b[2J")
    say(folder, "viewer", now - 10, "fourth")
    (folder / "logs" / "recorder.stderr").write_bytes(b"libfoo: \xff complains\n\n")
    os.utime(folder / "logs" / "recorder.stderr", (now - 500, now - 500))
    return folder.parent


def entries(result) -> list[dict]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def texts(result) -> list[str]:
    return [entry["text"].split("\x1b")[0] for entry in entries(result)]


def test_all_nodes_by_time(toddle, run) -> None:
    found = entries(toddle(run, "logs", "--json"))
    assert [entry["text"][:5] for entry in found] == ["first", "secon", "libfo", "third", "fourt"]
    assert found[2]["level"] == "STDERR" and found[2]["node"] == "recorder"
    assert found[3]["traceback"].startswith("Traceback")


def test_for_people(toddle, run) -> None:
    result = toddle(run, "logs")
    assert result.exit_code == 0 and "\x1b" not in result.stdout, "what was logged cannot move the cursor"
    third = next(line for line in result.stdout.splitlines() if "third" in line)
    assert "robot" in third and "ERROR" in third
    assert "    Traceback:\n      boom" in result.stdout


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["robot"], ["first", "third"]),
        (["robot", "viewer"], ["first", "second", "third", "fourth"]),
        (["--level", "warning"], ["second", "libfoo: � complains", "third"]),
        (["--level", "ERROR", "robot"], ["third"]),
        (["--since", "5m"], ["third", "fourth"]),
        (["--since", "0.25h"], ["libfoo: � complains", "third", "fourth"]),
        (["--grep", "^f"], ["first", "fourth"]),
        (["--grep", "boom"], ["third"]),
    ],
)
def test_parts(toddle, run, options, found) -> None:
    assert texts(toddle(run, "logs", "--json", *options)) == found


def test_nothing_to_show_is_said(toddle, run) -> None:
    result = toddle(run, "logs", "--grep", "never")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nothing to show of run said\n")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["rboot"], "did you mean 'robot'?"),
        (["--since", "soon"], "such as 30s, 5m, 2h or 1d"),
        (["--since", "-5m"], "such as 30s, 5m, 2h or 1d"),
        (["--grep", "("], "is no regular expression"),
    ],
)
def test_wrong_options_get_one_line(toddle, run, options, word) -> None:
    result = toddle(run, "logs", *options)
    assert result.exit_code == 2 and word in result.stderr and result.stderr.count("\n") == 1


def test_bad_lines_are_counted(toddle, run) -> None:
    bad = [b"garbage", b"{}", b'{"t": 1e300, "level": "INFO", "text": ""}', b'{"t": "1"}', b"\xff\xfe", b"[" * 100_000, b"null"]
    with (run / "said" / "logs" / "robot.jsonl").open("ab") as file:
        file.write(b"\n".join([*bad, b"", b'{"t": 1.0, "level": "INFO", "text": "cut o']))
    result = toddle(run, "logs", "robot", "--json")
    assert texts(result) == ["first", "third"]
    assert result.stderr == f"{len(bad) + 1} lines were no log lines\n"


def test_rotated_files_are_read_in_order_and_followed(made_up) -> None:
    logs = made_up("turning") / "logs"
    handler = RotatingFileHandler(logs / "robot.jsonl", maxBytes=400, backupCount=2)
    handler.setFormatter(_JsonLines())

    def write(numbers: range) -> None:
        for number in numbers:
            handler.handle(logging.LogRecord("robot", logging.INFO, "", 0, "%d", (number,), None))

    write(range(12))
    kept = len(list(logs.iterdir()))
    assert kept == 3, "it has been rotated"
    found = RunLogs(logs)
    first = [int(entry.text) for entry in found.read(last=False)]
    assert first == list(range(first[0], 12)) and len(first) > 4
    seen = []
    for number in range(12, 40):
        write(range(number, number + 1))
        seen += [int(entry.text) for entry in found.more(last=False)]
    assert seen == list(range(12, 40)), "each line once, over every rotation"
    handler.close()
    found.close()
    assert found.bad_lines == 0


def test_a_half_written_line_is_waited_for(made_up) -> None:
    logs = made_up("slow") / "logs"
    found = RunLogs(logs)
    assert list(found.read(last=False)) == []
    with (logs / "robot.jsonl").open("w") as file:
        file.write('{"t": 1.0, "level": "INFO", ')
        file.flush()
        assert found.more(last=False) == [] and found.bad_lines == 0
        file.write('"text": "whole"}\n')
    assert [entry.text for entry in found.more(last=False)] == ["whole"]
    found.close()


def test_following_an_ended_run_ends(toddle, run) -> None:
    assert texts(toddle(run, "logs", "--follow", "--json", "viewer")) == ["second", "fourth"]
