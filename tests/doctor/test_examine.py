"""Topics run side by side: one that fails or hangs is a finding, and the others are not held up."""

import threading

import pytest

from toddle.doctor.examine import Topic, examine
from toddle.doctor.finding import Finding, exit_code, not_checked, report, worst


def fine(facts: object) -> Finding:
    return Finding("fine", "ok", f"facts: {facts}")


def broken_check(facts: object) -> Finding:
    raise ValueError("no such thing\nand a second line")


def leaving(facts: object) -> Finding:
    raise SystemExit(3)


def odd(facts: object) -> Finding:
    return Finding("odd", "note", "caf\udce9\x1b[2J\n", "rm caf\udce9")


def fails() -> object:
    raise PermissionError("not for you")


def test_a_check_that_raises_does_not_stop_the_others():
    found = examine([Topic("one", lambda: 7, (broken_check, leaving, fine))])
    assert found == {
        "one": [
            Finding("broken check", "warning", "could not be checked: ValueError: no such thing"),
            Finding("leaving", "warning", "could not be checked: SystemExit: 3"),
            Finding("fine", "ok", "facts: 7"),
        ]
    }


def test_facts_that_cannot_be_gathered():
    assert examine([Topic("one", fails, (fine,))]) == {"one": [not_checked("one", "PermissionError: not for you")]}


def test_a_topic_that_hangs_is_left_behind():
    release = threading.Event()
    try:
        found = examine([Topic("stuck", release.wait, (fine,), timeout_s=0.05), Topic("quick", lambda: 1, (fine,))])
    finally:
        release.set()
    assert found == {"stuck": [not_checked("stuck", "it took longer than 0.05 s")], "quick": [fine(1)]}


def test_what_a_terminal_and_json_cannot_take_is_replaced():
    assert examine([Topic("one", lambda: 1, (odd,))])["one"] == [Finding("odd", "note", "caf??[2J?", "rm caf?")]


@pytest.mark.parametrize(
    ("verdicts", "code", "strict"),
    [([], 0, 0), (["ok"], 0, 0), (["note", "ok"], 0, 0), (["warning", "note"], 0, 1), (["ok", "problem", "warning"], 1, 1)],
)
def test_the_worst_verdict_is_the_exit_code(verdicts, code, strict):
    found = report({"all": [Finding("x", verdict, "") for verdict in verdicts]}, "0.1.0", 1.0)
    assert found.verdict == worst(verdicts)
    assert sum(found.counts.values()) == len(verdicts)
    assert (exit_code(found), exit_code(found, strict=True)) == (code, strict)
