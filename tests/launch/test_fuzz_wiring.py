"""What the launcher writes and others might have changed, `wiring/*.json` and `graph.json`: read, or refused with one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.errors import ProtocolError
from protocol.wiring import read_wiring
from toddle.attach import BadInput, read_table
from toddle.view import _wiring

FUZZ = settings(max_examples=80, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ENDS = {"latest": "ipc://l", "reliable": "ipc://r", "control": "ipc://c"}
WIRING: dict[str, Any] = {
    "run": "r", "run_dir": "/r", "name": "n", "kind": "robot", "endpoints": ENDS,
    "inputs": [{"name": "a", "kind": "viewer", "endpoints": ENDS}],
    "subscribers": [{"name": "b", "kind": "recorder"}], "params": {"x": [1, {"y": None}]}, "seed": 3, "on_full": "count",
}  # fmt: skip
GRAPH: dict[str, Any] = {"run": "r", "run_dir": "/r", "pid": 1, "nodes": WIRING["inputs"], "launcher": WIRING["inputs"][0]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=8,
)  # fmt: skip
DEEP = b"[" * 100_000
BAD_JSON = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xff",
    DEEP,
    b'{"a":' * 100_000,
    b'{"nodes": ' + DEEP,
    b'{"nodes": 1, "run": 1}',
    b'{"run": "\xed\xa0\x80"}',
    b"1" * 5000,
]


def _read(read: Callable[[Path], object], path: Path, data: bytes) -> object:
    path.write_bytes(data)
    try:
        return read(path)
    except (ProtocolError, BadInput) as error:
        refused = error
    assert str(refused).startswith(str(path))
    assert str(refused).isprintable()
    return None


@pytest.mark.parametrize("data", BAD_JSON, ids=lambda data: data[:12].decode(errors="replace"))
def test_no_wiring_and_no_graph_is_one_line(tmp_path: Path, data: bytes) -> None:
    assert _read(read_wiring, tmp_path / "w.json", data) is None
    assert _read(lambda path: _wiring(path, str(tmp_path), tmp_path, ""), tmp_path / "graph.json", data) is None
    assert _read(read_table, tmp_path / "graph.json", data) is None


@FUZZ
@given(st.sampled_from([*WIRING, "unknown", "ring_bytes", "max_age_s", "peers"]), JSON, st.sampled_from([*GRAPH, "unknown"]), JSON)
def test_wirings_and_graphs_with_a_field_of_another_shape(tmp_path: Path, field: str, value: Any, other: str, odd: Any) -> None:
    _read(read_wiring, tmp_path / "w.json", _json({**WIRING, field: value}))
    _read(lambda path: _wiring(path, str(tmp_path), tmp_path, ""), tmp_path / "graph.json", _json({**GRAPH, other: odd}))
    _read(read_table, tmp_path / "graph.json", _json({**GRAPH, other: odd}))


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
