"""The log of a training, and sinks that fail."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodes.trainer.journal import Aside, Journal
from nodes.trainer.sinks import asides


class Kept:
    """A sink that keeps what it is given; `fails` says at which call it raises."""

    def __init__(self, fails: int = 99) -> None:
        self.calls: list[Any] = []
        self.fails = fails

    def _call(self, what: Any) -> None:
        self.calls.append(what)
        if len(self.calls) >= self.fails:
            raise RuntimeError("the server\nis gone")

    def numbers(self, values: Any, samples: int) -> None:
        self._call(dict(values))

    def picture(self, name: str, picture: np.ndarray, samples: int) -> None:
        self._call((name, picture.shape))

    def close(self) -> None:
        self._call("closed")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_appended_and_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    for _ in range(2):
        journal = Journal(path)
        journal.numbers("step", {"loss": 0.5, "bad": float("nan")}, samples=16)
        assert lines(path)[-1].items() >= {"kind": "step", "samples": 16, "loss": 0.5, "bad": None}.items()
        journal.event("so it is")
        journal.close()
    assert [one["kind"] for one in lines(path)] == ["step", "event"] * 2


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_a_sink_that_raises_is_given_up_with_one_warning(tmp_path: Path, fails: int) -> None:
    good, bad, warned = Kept(), Kept(fails), []
    journal = Journal(tmp_path / "t.jsonl", [Aside("good", lambda: good, warned.append), Aside("bad", lambda: bad, warned.append)])
    journal.numbers("step", {"loss": 0.5, "bad": float("inf")}, 1)
    journal.picture("front", np.zeros((2, 2, 3), np.uint8), 1)
    journal.close()
    assert good.calls == [{"step/loss": 0.5}, ("front", (2, 2, 3)), "closed"]
    assert warned == ["bad is left out from here on: the server; train.jsonl goes on"]
    assert len(lines(tmp_path / "t.jsonl")) == 1


def test_a_sink_that_cannot_be_made_or_hangs_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.trainer.journal.LAST_S", 0.05)
    warned: list[str] = []
    wait = threading.Event()

    def hang() -> Kept:
        wait.wait(30)
        return Kept()

    def refuse() -> Kept:
        raise ImportError("no such package")

    journal = Journal(tmp_path / "t.jsonl", [Aside("slow", hang, warned.append), Aside("none", refuse, warned.append)])
    for number in range(100):
        journal.numbers("step", {"n": number}, number)
    journal.close()
    assert len(lines(tmp_path / "t.jsonl")) == 100
    assert any("none is left out" in one for one in warned)
    assert any("slow does not end" in one for one in warned)
    wait.set()


def test_a_full_disk_stops_no_training(tmp_path: Path) -> None:
    warned: list[str] = []
    journal = Journal(tmp_path / "nowhere" / "t.jsonl", warn=warned.append)
    journal.event("x")
    journal.close()
    assert len(warned) == 1 and "training goes on" in warned[0]


def wait_for(condition: Callable[[], Any]) -> None:
    until_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_tensorboard_and_wandb_offline_write_numbers_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("wandb")
    monkeypatch.setattr("nodes.trainer.journal.LAST_S", 90.0)
    warned: list[str] = []
    journal = Journal(tmp_path / "t.jsonl", asides(tmp_path, "trial", True, "offline", warned.append))
    journal.numbers("step", {"loss": 0.5}, 16)
    journal.picture("front", np.full((8, 8, 3), 200, np.uint8), 16)
    journal.close()
    assert warned == []
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert found.Tags()["scalars"] == ["step/loss"]
    assert found.Tags()["images"] == ["front"]
    assert list((tmp_path / "wandb").rglob("*.wandb"))
    assert list((tmp_path / "wandb").rglob("*.png"))
