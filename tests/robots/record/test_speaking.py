"""Spoken prompts: said in order, and never waited for."""

import logging
import os
import threading
import time
from pathlib import Path

import pytest

from nodes.viewer import speaking
from nodes.viewer.speaking import Speaker, voice, words
from protocol.messages import EpisodeMark

LOG = logging.getLogger("speaking")


def program(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def wait_for(condition, what: str) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s, f"waited for {what}"
        threading.Event().wait(0.01)


def test_what_is_said() -> None:
    said = {mark: words(EpisodeMark(mark=mark), 2) for mark in ("start", "end", "success", "failure", "discard", "reset")}
    assert said == {"start": "Episode 3", "end": "Episode 3 is over", "success": "", "failure": "", "discard": "Discarded", "reset": ""}


def test_the_first_voice_that_is_installed_speaks_one_text_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "say", "exit 1")
    program(tmp_path, "espeak", f'echo "$@" >> {tmp_path}/said')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(speaking, "VOICES", (("toddle-no-such-voice",), *speaking.VOICES[2:]))
    speaker = Speaker(voice(), LOG)
    for text in ("Episode 1", "", "Episode 1 is over"):
        speaker.say(text)
    wait_for(lambda: (tmp_path / "said").exists() and len((tmp_path / "said").read_text().splitlines()) == 2, "two texts")
    assert (tmp_path / "said").read_text() == "Episode 1\nEpisode 1 is over\n"
    speaker.close()


def test_without_a_voice_one_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Speaker([], LOG).say("hello")
    assert caplog.messages == ["nothing is spoken: install one of spd-say, espeak-ng, espeak, say"]


def test_a_voice_that_hangs_is_killed_and_one_that_fails_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hanging = program(tmp_path, "voice", f"echo $$ >> {tmp_path}/pids; exec sleep 1000")
    speaker = Speaker([str(hanging)], LOG, limit_s=0.2)
    for _ in range(50):
        speaker.say("hello")  # returns at once, however many wait
    wait_for(lambda: (tmp_path / "pids").exists() and len((tmp_path / "pids").read_text().split()) >= 2, "the second text")
    first = int((tmp_path / "pids").read_text().split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    speaker.close()
    missing = Speaker([str(tmp_path / "gone")], LOG)
    missing.say("one")
    missing.say("two")
    wait_for(lambda: any("gone does not speak" in text for text in caplog.messages), "the warning")
    missing.close()
    assert sum("voice does not speak" in text for text in caplog.messages) == 1
