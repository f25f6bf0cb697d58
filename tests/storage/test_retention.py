"""Whole oldest sessions go, and never the ones that must stay."""

import msgspec
import pytest

from storage.errors import BadName, SessionLocked, SessionNotFound, SessionPinned
from storage.header import change_header
from storage.paths import disk_bytes, find_session, free_bytes, session_names, session_path, sessions_root
from storage.retention import delete_session, retain
from storage.writer import SessionWriter


@pytest.fixture
def recorded(tmp_path, robot, frame):
    """Makes a closed session of a driver; sessions made one after the other are of about the same size."""

    def make(name: str, driver: str = "toroidal_dot") -> None:
        with SessionWriter.create(tmp_path / name, robot=msgspec.structs.replace(robot, driver=driver)) as writer:
            for seq in range(20):
                writer.append(frame(seq))

    return make


def test_oldest_of_the_driver_go_until_the_rest_fits(tmp_path, recorded):
    for name in ("c", "a", "b"):
        recorded(name)
    recorded("jet", "jetbot")
    one = disk_bytes(tmp_path / "a")
    assert retain(tmp_path, "toroidal_dot", 10 * one).deleted == []
    gone = retain(tmp_path, "toroidal_dot", 2 * one + one // 2).deleted
    assert [(row.name, row.bytes > one // 2) for row in gone] == [("c", True)]
    assert session_names(tmp_path) == ["a", "b", "jet"]


def test_pinned_open_derived_and_kept_ones_stay_and_count(tmp_path, recorded):
    for name in ("pinned", "derived", "kept", "open", "old", "young"):
        recorded(name)
    change_header(tmp_path / "pinned", pinned=True)
    change_header(tmp_path / "derived", derived_from=["old"])
    with SessionWriter.create(tmp_path / "open", resume=True):
        assert [row.name for row in retain(tmp_path, "toroidal_dot", 5 * disk_bytes(tmp_path / "young") + 4096, keep=["kept"]).deleted] == [
            "old"
        ]
        assert [row.name for row in retain(tmp_path, "toroidal_dot", 0, keep=["kept"]).deleted] == ["young"]
        with pytest.raises(SessionLocked):
            delete_session(tmp_path / "open")
    with pytest.raises(SessionPinned, match="unpin pinned"):
        delete_session(tmp_path / "pinned")
    assert session_names(tmp_path) == ["derived", "kept", "open", "pinned"]


def test_in_total_the_oldest_of_all_robots_go(tmp_path, recorded):
    for name, driver in (("dot", "toroidal_dot"), ("jet", "jetbot"), ("arm", "so101")):
        recorded(name, driver)
    with SessionWriter.create(tmp_path / "empty"):
        pass
    one = disk_bytes(tmp_path / "jet")
    kept = retain(tmp_path, None, one + one // 2, keep=["dot"])
    assert [row.name for row in kept.deleted] == ["jet", "arm"]
    assert session_names(tmp_path) == ["dot", "empty"]
    assert kept.bytes == sum(disk_bytes(tmp_path / name) for name in session_names(tmp_path))


def test_a_deletion_that_was_killed_is_finished_later(tmp_path, recorded):
    recorded("a")
    (tmp_path / "a").rename(tmp_path / ".deleting-a")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "session.json").write_text("?")
    assert session_names(tmp_path) == ["broken"]
    assert retain(tmp_path, "toroidal_dot", 0).deleted == []
    assert not (tmp_path / ".deleting-a").exists()
    assert (tmp_path / "broken").exists()


def test_paths(tmp_path, recorded, monkeypatch):
    monkeypatch.setenv("TODDLE_SESSIONS", str(tmp_path))
    assert sessions_root() == tmp_path
    assert str(sessions_root("x")) == "x"
    monkeypatch.delenv("TODDLE_SESSIONS")
    assert str(sessions_root()) == "sessions"
    for name in ("", ".a", "a/b", "..", "-x", "a b", "x" * 101):
        with pytest.raises(BadName, match="cannot name a session"):
            session_path(tmp_path, name)
    recorded("walk-2026")
    assert find_session(tmp_path, "walk-2026") == find_session(tmp_path / "no", str(tmp_path / "walk-2026"))
    with pytest.raises(SessionNotFound, match="did you mean walk-2026"):
        find_session(tmp_path, "walk-2025")
    with pytest.raises(SessionNotFound, match="there is none yet"):
        find_session(tmp_path / "no", "walk")
    assert free_bytes(tmp_path / "not" / "there") > 0
