"""Whatever stands in a launch file, it is a graph that can be started, or one line that says where it is wrong."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
FILES = sorted(file for file in (ROOT / "launch").glob("*.yaml") if file.stem != "hosts")
"""What is for several hosts includes another, and says who is where: tests/robots/own/test_hosts.py."""
FUZZ = settings(max_examples=80, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SETS = ("session=nothing",)
Judge = Callable[..., str]


# -- any text, and any structure -------------------------------------------------------------------

WORDS = st.sampled_from([
    "nodes", "args", "kind", "robot", "viewer", "inputs", "params", "include", "${a}", "${", "$$", "&a", "*a", "<<", ": ", "- ", "{", "}",
    "[", "]", "\n", "\n  ", "\n    ", "'", '"', "|", ">", "!!int", "!!python/object:os.system", "!", "%", "@", "#", "? ", "---", "\t",
    "\0", "é", "1e9", "0x1", "true", "null", "~", "2024-01-01", "1:30", ".inf", ".nan", "not ", "==",
])  # fmt: skip
ODD_TEXTS = [
    "", "robot", "${size}", "${none}", "${", "$$", "../online.yaml", "x" * 300, "a\nb", "\x1b[2J", "2024-01-01", "not not true", "a == b",
]  # fmt: skip
TEXT = st.lists(WORDS | st.text(max_size=4), max_size=40).map("".join)
SCALAR = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400]) | st.floats()
    | st.sampled_from(ODD_TEXTS)
    | st.text(max_size=5) | st.dates() | st.binary(max_size=4)
)  # fmt: skip
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=8
)


@FUZZ
@given(st.binary(max_size=60))
def test_any_bytes(judge: Judge, data: bytes) -> None:
    judge(data)


@settings(FUZZ, max_examples=200)
@given(TEXT)
def test_any_text(judge: Judge, text: str) -> None:
    judge(text)


@FUZZ
@given(ANYTHING)
def test_any_structure(judge: Judge, value: Any) -> None:
    judge(yaml.safe_dump(value, allow_unicode=True))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_ours_are_graphs(judge: Judge, file: Path) -> None:
    plays = file.stem in ("replay", "exact")
    said = judge(file.read_text(), *(SETS if plays else ()))
    needed = "no session 'nothing'" if plays else "the arm's port is missing"
    assert said == "graph" or needed in said


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in inside for found in ((*place, key), *_places(item, (*place, key)))]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_ours_with_a_value_of_another_kind(judge: Judge, file: Path) -> None:
    """Every key of a valid file in turn is another value, is gone, or has an unknown neighbour."""
    whole = file.read_text()
    places = _places(yaml.safe_load(whole))
    sets = SETS if file.stem == "replay" else ()

    @settings(FUZZ, max_examples=40)
    @given(st.sampled_from(places), st.sampled_from(["set", "delete", "add"]), ANYTHING, st.text(max_size=5))
    def change(place: tuple[Any, ...], what: str, value: Any, name: str) -> None:
        document = yaml.safe_load(whole)
        inside = document
        for key in place[:-1]:
            inside = inside[key]
        if what == "set":
            inside[place[-1]] = value
        elif what == "delete":
            del inside[place[-1]]
        elif isinstance(inside, dict):
            inside[name] = value
        judge(yaml.safe_dump(document, allow_unicode=True), *sets)

    change()


@settings(FUZZ, max_examples=40)
@given(
    st.sampled_from(["size", "timing", "rate_hz", "selector_options", "time_limit_s", "seed", "viewer", "device", "x"]),
    TEXT | st.text(max_size=30),
)
def test_any_value_on_the_command_line(judge: Judge, name: str, text: str) -> None:
    judge((ROOT / "launch" / "online.yaml").read_text(), f"{name}={text}")


@pytest.mark.parametrize("cases", [150, pytest.param(20_000, marks=pytest.mark.slow)])
def test_ours_with_bytes_changed(judge: Judge, cases: int) -> None:
    noise = random.Random(31)
    whole = [file.read_bytes() for file in FILES]
    for _ in range(cases):
        text = bytearray(noise.choice(whole))
        for _ in range(noise.choice((1, 1, 2, 5))):
            at = noise.randrange(len(text))
            what = noise.randrange(5)
            if what == 0:
                text[at : at + noise.randrange(1, 30)] = b""
            elif what == 1:
                text[at:at] = noise.choice(
                    [b"&a ", b"*a ", b"<<: ", b"!!set ", b"\t", b"\0", b"\xff", b"{", b"]", b": ", b"- ", b"${", b"}"]
                )
            elif what == 2:
                text[at:at] = text[at : at + noise.randrange(1, 60)]
            elif what == 3:
                text[at] = noise.randrange(256)
            else:
                other = noise.choice(whole)
                start = noise.randrange(len(other))
                text[at : at + 20] = other[start : start + 20]
        judge(bytes(text), *SETS)
