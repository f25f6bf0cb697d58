"""A JetBot over loopback: from an action to the picture after it, and how soon the motors stop when the link fails.

The server is the real one, in a process of its own, with its simulated camera and motors; the driver is the graph's.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import rpyc

from nodes.robot.jetbot.core import length_s
from nodes.robot.jetbot.driver import JetBot

ROOT = Path(__file__).resolve().parents[1]
FPS = 21
WATCHDOG_S, POLL_S = 0.5, 0.05
MOST_OVER = 0.1
DURATION_S = 0.2
RAMP = (4, 0.015)
STAND = {"motor_left": 0.0, "motor_right": 0.0, "duration": 0.0}
FORWARD = {"motor_left": 0.0, "motor_right": 0.12, "duration": DURATION_S}
FOR_LONG = {**FORWARD, "duration": 60.0}
PATIENCE_S = 20.0
LINKS = {"cut": "cut: both ends are told", "stall": "goes silent: nobody is told"}


@contextmanager
def _server() -> Iterator[int]:
    """The port of a server that listens."""
    command = [sys.executable, str(ROOT / "onboard" / "jetbot_server.py"), "--host", "127.0.0.1", "--port", "0"]
    options = ["--camera", "test", "--fps", str(FPS), "--watchdog-s", str(WATCHDOG_S)]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, cwd=os.sep)
    assert process.stderr is not None
    try:
        found = next(filter(None, (re.search(r"listening on \S*:(\d+)", line) for line in process.stderr)))
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield int(found[1])
    finally:
        process.terminate()
        process.wait()


def _relay(port: int) -> Any:
    """The relay of the tests."""
    spec = importlib.util.spec_from_file_location("relay", ROOT / "tests" / "live" / "relay.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Relay(port)


def _driver(port: int, **options: float) -> JetBot:
    return JetBot({"host": "127.0.0.1", "port": port, "actions": [STAND, FORWARD, FOR_LONG], **options}, 0)


def bench(say: Callable[[str], None], results: Path, actions: int, trials: int) -> bool:
    """Print both tables; whether every target was reached."""
    with _server() as port:
        times_s = _times(port, actions)
        stops_s = {how: [_stop(port, how) for _ in range(trials)] for how in LINKS}
    results.mkdir(exist_ok=True)
    (results / "jetbot.json").write_text(json.dumps({"times_s": times_s, "stops_s": stops_s}))
    reached = [_say_times(say, times_s), _say_stops(say, stops_s)]
    return all(reached)


def _times(port: int, actions: int) -> dict[str, list[float]]:
    """Of each action: how long it took, and until the picture after it was there."""
    driver = _driver(port)
    times_s: dict[str, list[float]] = {"action": [], "to picture": []}
    for _ in range(actions):
        driver.observe()
        began_s = time.monotonic()
        assert driver.execute(FORWARD)
        times_s["action"].append(time.monotonic() - began_s)
        driver.observe()
        times_s["to picture"].append(time.monotonic() - began_s)
    driver.close()
    return times_s


def _say_times(say: Callable[[str], None], times_s: dict[str, list[float]]) -> bool:
    steps, step_s = RAMP
    nominal_s = steps * step_s + DURATION_S + 1 / FPS
    most_s = nominal_s * (1 + MOST_OVER)
    assert length_s(DURATION_S, steps, step_s) < nominal_s
    count = len(times_s["action"])
    say(f"\nFrom an action to the picture read after it, ms; {count} actions of {DURATION_S:g} s, {FPS} pictures a second\n")
    say("| | p50 | p99 | longest |\n|---|---|---|---|")
    for name, values in times_s.items():
        p50, p99 = np.percentile(values, [50, 99]) * 1000
        say(f"| {name} | {p50:.1f} | {p99:.1f} | {max(values) * 1000:.1f} |")
    reached = max(times_s["to picture"]) <= most_s
    say(f"\n- {_word(reached)}: the longest at most a tenth over ramp + duration + camera period, {most_s * 1000:.1f} ms")
    return reached


def _stop(port: int, how: str) -> float:
    """Seconds from the moment the link failed until the motors stood, by the server's own clock; the machine has one."""
    relay = _relay(port)
    driver = _driver(relay.port, call_timeout_s=PATIENCE_S)  # it does not break off: what is left is the watchdog
    driving = threading.Thread(target=driver.execute, args=(FOR_LONG,))
    driving.start()
    with rpyc.connect("127.0.0.1", port) as observer:
        _until(lambda: observer.root.get_status()[1] == FOR_LONG["motor_right"])
        failed_s = time.monotonic()
        relay.set(how)
        with suppress(AssertionError):
            _until(lambda: not any(observer.root.get_status()[:2]))
        left, right, since_s, *_ = observer.root.get_status()
    relay.close()
    driving.join()
    driver.close()
    return float("inf") if left or right else since_s - failed_s


def _until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "the motors did not turn"
        time.sleep(0.002)


def _say_stops(say: Callable[[str], None], stops_s: dict[str, list[float]]) -> bool:
    most_s = WATCHDOG_S + POLL_S
    say(f"\nFrom the failure of the link to motors that stand, ms; watchdog {WATCHDOG_S * 1000:.0f}, its poll {POLL_S * 1000:.0f}\n")
    say("| link | stopped in time | p50 | longest |\n|---|---|---|---|")
    reached = True
    for how, values in stops_s.items():
        good = sum(value <= most_s for value in values)
        reached &= good == len(values)
        say(f"| {LINKS[how]} | {good} of {len(values)} | {np.median(values) * 1000:.1f} | {max(values) * 1000:.1f} |")
    say(f"\n- {_word(reached)}: every time within the watchdog's time and one of its polls, {most_s * 1000:.0f} ms")
    return reached


def _word(reached: bool) -> str:
    return "reached" if reached else "MISSED"
