"""`toddle robot check`: the template and the dot keep the contract, and each mistake is found by the check meant for it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nodes.robot.contract import checks as contract
from nodes.robot.contract.trial import Finding, Wanted
from nodes.robot.drivers import make_driver

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # as `toddle` does with the folder where it is called

import broken_drivers as broken  # noqa: E402

GOOD = ["toroidal_dot", "broken_drivers:Good", "broken_drivers:Listed", "broken_drivers:ShowsAFrameTwice"]


def check(driver: str, **wanted: Any) -> list[Finding]:
    return list(contract.Contract(Wanted(driver=driver, limit_s=3.0, **wanted)).run(lambda name: None))


def toddle(*arguments: str, cwd: Path = HERE, answer: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "toddle", "robot", *arguments]
    return subprocess.run(command, cwd=cwd, input=answer, capture_output=True, text=True, timeout=60, check=False)


Command = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def commands() -> Iterator[dict[str, Future[Command]]]:
    """Drivers that take their process with them, as the command shows them; both at a time, beside everything else."""
    with ThreadPoolExecutor(2) as pool:
        yield {
            name: pool.submit(toddle, "check", f"broken_drivers:{name}", "--yes", "--json", "--limit-s", "0.5")
            for name in ("Dies", "HangsWithEverything")
        }


@pytest.fixture(scope="module")
def findings(commands: dict[str, Future[Command]]) -> Iterator[Callable[[str], list[Finding]]]:
    """Of every driver, several at a time: much of it is waiting."""
    with ThreadPoolExecutor(8) as pool:
        running: dict[str, Future[list[Finding]]] = {}
        for driver in [*GOOD, *(f"broken_drivers:{one.__name__}" for one in broken.MISTAKES)]:
            running[driver] = pool.submit(check, driver)
        yield lambda driver: running[driver].result()


def failed(found: list[Finding]) -> dict[str, str]:
    return {one.name: one.text for one in found if one.outcome == "failed"}


@pytest.mark.parametrize("driver", GOOD)
def test_a_good_driver_passes_every_check(driver: str, findings: Callable[[str], list[Finding]]) -> None:
    found = findings(driver)
    assert [one.name for one in found] == list(contract.NAMES)
    assert {one.outcome for one in found} == {"ok"}, found


@pytest.mark.parametrize("driver", broken.MISTAKES, ids=lambda one: one.__name__)
def test_a_mistake_is_found_by_the_check_meant_for_it(driver: type, findings: Callable[[str], list[Finding]]) -> None:
    found = findings(f"broken_drivers:{driver.__name__}")
    assert [one.name for one in found] == list(contract.NAMES)
    wrong = failed(found)
    assert list(wrong) == [broken.MISTAKES[driver]], wrong
    assert all("\n" not in one.text and one.text for one in found)


def test_a_mistake_is_told_with_its_place_and_what_to_do(findings: Callable[[str], list[Finding]]) -> None:
    def said(driver: type) -> str:
        return failed(findings(f"broken_drivers:{driver.__name__}"))[broken.MISTAKES[driver]]

    source = Path(broken.__file__)
    line = next(number for number, text in enumerate(source.read_text().splitlines(), 1) if "a mistake of the driver's author" in text)
    assert f"ZeroDivisionError: a mistake of the driver's author, {source}:{line}" in said(broken.ObserveBreaks)
    assert said(broken.NotThere) == "no answer from 10.0.0.9; is it switched on?"
    number = int(said(broken.HangsInExecute).split(f"{source}:")[1].split(";")[0])
    assert "threading.Event().wait()" in source.read_text().splitlines()[number - 1]
    assert "lock" in said(broken.StopWaitsForExecute) and "Event.wait" in said(broken.SleepsThroughStop)
    assert "copy()" in said(broken.GivesAView)


def test_what_must_not_move_is_not_moved() -> None:
    found = {one.name: one for one in check("broken_drivers:ExecuteBreaks", moves=False)}
    assert not failed(list(found.values()))
    assert {name for name, one in found.items() if one.outcome == "not checked"} == {
        "execute", "action time", "reset", "stop while execute", "stop while reset", "goes on",
    }  # fmt: skip


def test_drivers_that_are_not_there() -> None:
    for driver in ("toroidal_dott", "no_such_module:Robot", "broken_drivers:NoSuchClass"):
        wrong = failed(check(driver))
        assert list(wrong) == ["load"], wrong


# -- the command ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("driver", "text"), [("Dies", "was ended by SIGSEGV"), ("HangsWithEverything", "the driver hangs")])
def test_a_driver_may_take_its_process_with_it(driver: str, text: str, commands: dict[str, Future[Command]]) -> None:
    """It dies by a signal; or nothing in its process runs any more, and it is killed at the limit."""
    done = commands[driver].result()
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert not said["ok"]
    assert [one["name"] for one in said["checks"]] == list(contract.NAMES)
    (wrong,) = [one for one in said["checks"] if one["outcome"] == "failed"]
    assert wrong["name"] == "reset" and text in wrong["text"]


def test_the_template_is_written_checked_and_a_driver(tmp_path: Path) -> None:
    assert toddle("new", "my_cart", cwd=tmp_path).returncode == 0
    done = toddle("check", "my_cart:MyCart", "--set", "action_s=0.02", "--yes", "--json", cwd=tmp_path)
    said = json.loads(done.stdout)
    assert (done.returncode, said["ok"]) == (0, True), done.stdout
    assert {"observe_p50_ms", "observe_p99_ms", "reset_ms", "execute speed=1 ms"} <= set(said["timing"])
    again = toddle("new", "my_cart", cwd=tmp_path)
    assert (again.returncode, again.stderr.strip()) == (2, "Error: my_cart.py is there already; take another name")


def test_it_asks_before_it_moves() -> None:
    done = toddle("check", "broken_drivers:Dies", answer="n\n")
    assert done.returncode == 0, done.stdout
    assert "it keeps the contract, 6 not checked" in done.stdout
    assert "Is there room" in done.stderr


def test_the_dot_is_closed_for_good() -> None:
    dot = make_driver("toroidal_dot", {}, 0)
    dot.close()
    with pytest.raises(Exception, match="it is closed"):
        dot.observe()
