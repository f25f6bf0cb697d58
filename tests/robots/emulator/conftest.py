"""What the tests of the emulator share."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

DEADLINE_S = 60.0


def wait_for(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_S) -> Any:
    """The first true value of `condition`, asked again and again until the deadline."""
    end_s, pause = time.monotonic() + seconds, threading.Event()
    while not (value := condition()):
        assert time.monotonic() < end_s, f"{what}: not within {seconds:g} s"
        pause.wait(0.005)
    return value


@pytest.fixture
def wait() -> Callable[..., Any]:
    return wait_for
