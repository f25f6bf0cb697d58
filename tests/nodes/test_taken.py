"""What a trainer leaves behind for the next one."""

from pathlib import Path

import pytest

from nodes.trainer import taken
from protocol.books import Resume


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "taken.json"
    assert taken.load(path) == {}
    taken.save(path, {"frame/robot": ("q", 7)})
    taken.save(path, {"frame/robot": ("p", 3), "robot/robot": ("p", 0)})
    assert taken.load(path) == {"frame/robot": Resume("p", 0, 3), "robot/robot": Resume("p", 0, 0)}
    assert list(tmp_path.iterdir()) == [path], "nothing else is left"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"a": 1}', '{"a": ["q"]}', '{"a": ["q", "x"]}', '{"a": ["q", null]}', '{"a": ["q", 1, 2]}']
)
def test_a_file_that_cannot_be_used_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "taken.json"
    path.write_text(text)
    assert taken.load(path) == {}
