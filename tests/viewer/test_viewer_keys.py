"""One table of keys for help and dispatch."""

from types import SimpleNamespace

import pytest

from nodes.viewer.keys import KEYS, Request, decode_cv_key, key_to_request

ARM = [{"pan": -1.0, "lift": 0.0}, {"pan": 1.0, "lift": 0.0}, {"pan": 0.0, "lift": 1.0}, {"pan": 0.0, "lift": -1.0}]


def state(paused=False, prompt="", candidates=ARM):
    return SimpleNamespace(paused=paused, prompt=prompt, candidates=candidates)


@pytest.mark.parametrize(
    ("key", "now", "request_"),
    [
        ("space", state(), Request("robot", "pause")),
        ("space", state(paused=True), Request("robot", "resume")),
        ("n", state(), None),
        ("n", state(paused=True), Request("robot", "step")),
        ("m", state(), Request("robot", "mark", {"mark": "success"})),
        ("f", state(), Request("robot", "mark", {"mark": "failure"})),
        ("d", state(), Request("robot", "mark", {"mark": "discard"})),
        ("r", state(), Request("robot", "reset")),
        ("2", state(), Request("predictor", "drive", {"index": 2})),
        ("2", state(prompt="step 3?"), Request("predictor", "confirm", {"index": 2})),
        ("7", state(), None),
        ("left", state(), Request("predictor", "drive", {"index": 0})),
        ("right", state(), Request("predictor", "drive", {"index": 1})),
        ("up", state(), Request("predictor", "drive", {"index": 2})),
        ("down", state(), Request("predictor", "drive", {"index": 3})),
        ("up", state(candidates=[{"a": 0.0}, {"a": 1.0}]), None),
        ("left", state(candidates=[]), None),
        ("left", state(candidates=[{"a": 1.0}, {"a": 1.0}]), None),
        ("y", state(), None),
        ("y", state(prompt="step 3?"), Request("predictor", "confirm", {"index": None})),
        ("s", state(), Request("viewer", "save")),
        ("h", state(), Request("viewer", "help")),
        ("q", state(), Request("viewer", "quit")),
        ("esc", state(), Request("robot", "halt")),
        ("esc", state(paused=True), Request("robot", "halt")),
        ("x", state(), Request("launcher", "stop")),
        ("k", state(), None),
    ],
)
def test_what_a_key_asks_for(key, now, request_):
    assert key_to_request(key, now) == request_


def test_the_view_state_answers_what_keys_ask(make_dot_run):
    run = make_dot_run(steps=2)
    assert key_to_request("1", run.state) == Request("predictor", "drive", {"index": 1})
    run.status("robot", "paused")
    assert key_to_request("n", run.state) == Request("robot", "step")


def test_no_key_does_two_things_and_args_are_not_shared():
    keys = [key for row in KEYS for key in row.keys]
    assert len(keys) == len(set(keys))
    request = key_to_request("m", state())
    request.args["mark"] = "changed"
    assert key_to_request("m", state()).args == {"mark": "success"}


def test_labels_are_ascii_and_short():
    for row in KEYS:
        assert row.cap.isascii()
        assert row.label.isascii()
        assert row.what.isascii()
        assert len(row.what) <= 80


@pytest.mark.parametrize(
    ("code", "key"),
    [
        (-1, None), (255, None), (ord("a"), "a"), (ord("A"), "a"), (32, "space"), (27, "esc"), (13, "enter"),
        (0xFF51, "left"), (0xFF52, "up"), (0xFF53, "right"), (0xFF54, "down"), (0x250000, "left"), (0x270000, "right"),
        (0x100000 | ord("7"), "7"), (0x10FF53, "right"), (0xFFB3, "3"), (0xFFE1, None), (0xF702, "left"),
    ],
)  # fmt: skip
def test_codes_of_opencv(code, key):
    assert decode_cv_key(code) == key
