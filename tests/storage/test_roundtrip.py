"""What goes into a session comes out of it, bit for bit, by every way of asking."""

import numpy as np
import pytest

from protocol import messages as m
from storage.errors import BadMessage, EventNotFound, SessionNotFound, StorageError
from storage.reader import SessionReader
from storage.verify import check
from storage.writer import SessionWriter


@pytest.mark.parametrize("codec", ["raw", "zstd", "delta-zstd"])
def test_every_kind_of_message_comes_back_bit_exact(tmp_path, one_of_each, same, codec):
    with SessionWriter.create(tmp_path / "s", codec=codec) as writer:
        numbers = [writer.append(message) for message in one_of_each]
    assert numbers == list(range(len(one_of_each)))
    with SessionReader(tmp_path / "s") as reader:
        back = list(reader.events())
        assert len(back) == len(one_of_each) == len(reader)
        for message, stored in zip(one_of_each, back, strict=True):
            assert same(message, stored), message.topic
            assert same(message, reader.read(message.kind, 1, 2))
            assert same(message, next(reader.topic_messages(message.kind)))
        assert same(reader.probe(), next(message for message in one_of_each if message.kind == "probe"))
        assert reader.header.codecs["frame"] == codec
    assert check(tmp_path / "s").verdict == "ok"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "float16", "float32", "float64", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 3), (1, 1, 3), (40, 50, 3), (2, 9, 3)])
def test_arrays_of_any_dtype_and_shape(tmp_path, make, same, dtype, shape):
    values = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    message = make("frame/robot", 0, m.Frame(), {"a": values, "b": np.asfortranarray(values), "c": values[..., ::-1] if shape else values})
    with SessionWriter.create(tmp_path / "s") as writer:
        writer.append(message)
    with SessionReader(tmp_path / "s") as reader:
        assert same(message, reader.event(0).message)


def test_the_writer_copies_so_that_a_camera_may_reuse_its_buffer(tmp_path, make):
    image = np.zeros((24, 32, 3), np.uint8)
    with SessionWriter.create(tmp_path / "s") as writer:
        writer.append(make("frame/robot", 0, m.Frame(), {"image/front": image}))
        image[:] = 255
    with SessionReader(tmp_path / "s") as reader:
        stored = reader.event(0).message.arrays["image/front"]
    assert stored.max() == 0
    assert not stored.flags.writeable


def test_arrays_left_out_are_named(tmp_path, one_of_each):
    weights = next(message for message in one_of_each if message.kind == "weights")
    with SessionWriter.create(tmp_path / "s") as writer:
        writer.append(weights, leave_out=["safetensors"])
    with SessionReader(tmp_path / "s") as reader:
        event = reader.event(0)
    assert event.left_out == ("safetensors",)
    assert event.message.arrays == {}
    assert event.message.body == weights.body
    assert check(tmp_path / "s").verdict == "ok"


def test_asking_by_kind_episode_step_and_time(session, same, frame, action):
    with SessionReader(session) as reader:
        everything = list(reader.numbered())
        assert [event.number for event in everything] == list(range(61))
        for kinds in (["frame"], ["action", "frame"], ["robot"], ["metrics"], []):
            wanted = [event.number for event in everything if event.message.kind in kinds]
            assert [event.number for event in reader.numbered(kinds=kinds)] == wanted
            assert [event.number for event in reader.numbered(20, kinds)] == [number for number in wanted if number >= 20]
        assert same(reader.frame(2, 5), frame(25))
        assert same(reader.read("action/robot", 1, 0), action(10))
        assert reader.read("action/other", 1, 0) is None
        assert reader.read("frame", 3, 0) is None
        assert reader.event_at(0) == 0
        assert reader.event_at(10**18 + 5 * 10**8) == 11
        assert reader.event_at(2 * 10**18) is None
        with pytest.raises(EventNotFound, match="no frame of episode 9"):
            reader.frame(9, 0)
        with pytest.raises(EventNotFound, match="has no event 61; it has 61"):
            reader.event(61)


def test_info_tells_what_is_there(session, robot):
    with SessionReader(session) as reader:
        info = reader.info()
    assert (info.name, info.state, info.pinned, info.events, info.segments) == ("walk", "closed", False, 61, 1)
    assert info.robot == robot
    assert info.codecs["frame"] == "delta-zstd"
    assert info.gaps == []
    assert info.topics["frame/robot"].count == 30
    assert info.topics["frame/robot"].rate_hz == pytest.approx(10)
    assert info.duration_s == pytest.approx(2.9)
    assert info.frames == 30
    assert info.disk_bytes > info.bytes > 30 * 24 * 32
    rows = [(row.episode, row.first_step, row.last_step, row.frames, row.actions) for row in info.episodes]
    assert rows == [(0, 0, 9, 10, 10), (1, 0, 9, 10, 10), (2, 0, 9, 10, 10)]


def test_marks_and_held_out_are_in_the_books(tmp_path, make, frame):
    with SessionWriter.create(tmp_path / "s") as writer:
        writer.append(make("episode/robot", 0, m.EpisodeMark(mark="start", held_out=True), episode=0, step=0))
        writer.append(frame(0))
        writer.append(make("episode/robot", 1, m.EpisodeMark(mark="success", reason="there"), episode=0))
    with SessionReader(tmp_path / "s") as reader:
        (row,) = reader.episodes()
        assert reader.read("episode", 0, None).body.mark == "success"
    assert row.held_out
    assert [(mark.mark, mark.reason, mark.step) for mark in row.marks] == [("start", "", 0), ("success", "there", None)]


def test_numbers_that_no_key_holds_are_stored_and_not_indexed(tmp_path, frame, same):
    odd = frame(0, episode=-1, step=2**63, t_ns=-5)
    with SessionWriter.create(tmp_path / "s") as writer:
        writer.append(odd)
    with SessionReader(tmp_path / "s") as reader:
        assert same(reader.event(0).message, odd)
        assert reader.event_at(0) is None
        assert reader.episodes() == []
    assert check(tmp_path / "s").verdict == "ok"


def test_what_cannot_be_stored_is_refused_by_name(tmp_path, make):
    with SessionWriter.create(tmp_path / "s") as writer:
        with pytest.raises(BadMessage, match="dtype complex128"):
            writer.append(make("frame/robot", 0, m.Frame(), {"a": np.zeros(2, complex)}))
        with pytest.raises(BadMessage, match="unknown topic"):
            writer.append(make("smell/robot", 0, m.Frame()))
        assert writer.flush().events == 0
    with pytest.raises(StorageError, match="was closed for writing"):
        writer.append(make("frame/robot", 0, m.Frame()))
    with pytest.raises(SessionNotFound, match="no session at"):
        SessionReader(tmp_path / "nothing")
    with pytest.raises(StorageError, match="unknown codec 'mp3'"):
        SessionWriter.create(tmp_path / "t", codec="mp3")
