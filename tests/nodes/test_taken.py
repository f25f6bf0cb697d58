"""What a trainer leaves behind for the next one."""

import logging
from pathlib import Path

import pytest

from nodes.leftbehind import LeftBehind
from nodes.trainer import taken
from protocol.books import Resume


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "taken.json"
    assert taken.load(path) == {}
    file = LeftBehind(path, logging.getLogger("test"))
    taken.save(file, {"frame/robot": ("q", 7)})
    taken.save(file, {"frame/robot": ("p", 3), "robot/robot": ("p", 0)})
    assert taken.load(path) == {"frame/robot": Resume("p", 0, 3), "robot/robot": Resume("p", 0, 0)}
    assert list(tmp_path.iterdir()) == [path], "nothing else is left"


def test_a_disk_that_takes_nothing_is_one_warning_and_not_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "gone"
    file = LeftBehind(folder / "taken.json", logging.getLogger("test"))
    for seq in range(3):
        taken.save(file, {"frame/robot": ("q", seq)})
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "cannot be written" in caplog.text
    folder.mkdir()
    taken.save(file, {"frame/robot": ("q", 3)})
    assert taken.load(file.path) == {"frame/robot": Resume("q", 0, 3)}
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"a": 1}', '{"a": ["q"]}', '{"a": ["q", "x"]}', '{"a": ["q", null]}', '{"a": ["q", 1, 2]}']
)
def test_a_file_that_cannot_be_used_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "taken.json"
    path.write_text(text)
    assert taken.load(path) == {}
