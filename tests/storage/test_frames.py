"""Frames and windows read in any order are those that the plain reader gives, and never a transition that did not happen."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from protocol import messages as m
from storage import readahead
from storage.errors import CorruptEvent, EventNotFound, StorageError
from storage.exchange.tub_import import import_tub
from storage.loading.frames import Frames
from storage.loading.prefetch import prefetched
from storage.loading.windows import Windows
from storage.reader import SessionReader
from storage.writer import SessionWriter


def image(reader: SessionReader, frames: Frames, index: int, camera: str = "front") -> np.ndarray:
    """What the plain reader says of a frame."""
    message = reader.event(int(frames.event[index])).message
    assert (message.kind, message.envelope.episode, message.envelope.step) == ("frame", frames.episode[index], frames.step[index])
    return message.arrays[f"image/{camera}"]


@pytest.fixture
def write(tmp_path: Path, robot: m.Robot, make: Callable[..., m.Message]) -> Callable[..., Path]:
    """A session of the messages given, after the robot's."""

    def session(messages: list[m.Message], name: str = "s", **options: Any) -> Path:
        with SessionWriter.create(tmp_path / name, **options) as writer:
            writer.append(make("robot/robot", 0, robot))
            for message in messages:
                writer.append(message)
        return tmp_path / name

    return session


@pytest.fixture
def smooth() -> Callable[..., np.ndarray]:
    """Pixels that shrink, so that codecs do their work; the same for the same number."""

    def make(number: int, height: int = 24, width: int = 32) -> np.ndarray:
        rows = np.add.outer(np.arange(height) * 3, np.arange(width) * 5)[..., None] + np.array([0, 40, 80])
        return ((rows + number * 7 + np.random.default_rng(number).integers(0, 3, rows.shape)) % 200).astype(np.uint8)

    return make


@pytest.mark.parametrize("codec", ["raw", "zstd", "delta-zstd", "jpeg"])
def test_random_and_repeated_picks_are_what_the_plain_reader_gives(write, make, smooth, codec):
    def message(seq):
        return make("frame/robot", seq, m.Frame(), {"image/front": smooth(seq), "state": np.zeros(3, np.float32)}, episode=0, step=seq)

    path = write([message(seq) for seq in range(40)], codec=codec, map_bytes=1 << 17, commit_events=5)
    with SessionReader(path) as reader:
        assert reader.info().segments > 1 or codec != "raw"
        frames = Frames([reader])
        assert len(frames) == 40
        picks = np.random.default_rng(0).integers(40, size=(8, 3))
        picks[0] = picks[1]
        out = frames.empty(8, 3)
        frames.read(picks, out)
        for place in np.ndindex(8, 3):
            assert np.array_equal(out["front"][place], image(reader, frames, int(picks[place])))
        if codec != "jpeg":
            assert np.array_equal(out["front"][0, 0], smooth(int(picks[0, 0])))


def test_frames_go_straight_into_the_slots_of_a_canvas(session, pixels):
    with SessionReader(session) as reader:
        frames = Frames([reader])
        canvas = np.full((2, 24, 3, 32 + 8, 3), 77, np.uint8)  # three frames side by side with a bar of 8 behind each
        slots = canvas[..., :32, :].transpose(0, 2, 1, 3, 4)
        frames.read(np.array([[0, 1, 2], [20, 21, 22]]), {"front": slots})
    picture = canvas.reshape(2, 24, 3 * 40, 3)
    assert np.array_equal(picture[1, :, 40:72], pixels(21))
    assert (picture[:, :, 32:40] == 77).all()


def test_several_sessions_and_cameras(tmp_path, robot, make, pixels):
    cameras = [m.CameraInfo(name="front", height=24, width=32), m.CameraInfo(name="wrist", height=12, width=16)]
    robot = msgspec.structs.replace(robot, cameras=cameras)
    readers = []
    for name, count in (("one", 7), ("two", 5)):
        with SessionWriter.create(tmp_path / name, robot=robot) as writer:
            for seq in range(count):
                arrays = {"image/front": pixels(seq + len(name) * count), "image/wrist": pixels(seq + count)[::2, ::2]}
                writer.append(make("frame/robot", seq, m.Frame(), arrays, episode=0, step=seq))
        readers.append(SessionReader(tmp_path / name))
    frames = Frames(readers)
    assert frames.shapes == {"front": (24, 32, 3), "wrist": (12, 16, 3)}
    assert frames.session.tolist() == [0] * 7 + [1] * 5
    picks = np.array([11, 0, 6, 7, 3])
    out = frames.empty(5)
    frames.read(picks, out)
    for row, pick in enumerate(picks.tolist()):
        for camera in ("front", "wrist"):
            assert np.array_equal(out[camera][row], image(readers[frames.session[pick]], frames, pick, camera))
    only = Frames(readers, ["wrist"])
    assert set(only.empty(1)) == {"wrist"}
    with pytest.raises(StorageError, match="no camera 'back'; it has front, wrist"):
        Frames(readers, ["back"])
    with pytest.raises(ValueError, match="these frames need uint8"):
        frames.read(picks, {"front": np.empty((5, 24, 32, 4), np.uint8)})
    with pytest.raises(IndexError):
        frames.read(np.array([99]), frames.empty(1))
    for reader in readers:
        reader.close()


def test_other_cameras_other_actions_and_no_robot_are_one_line(tmp_path, robot, session):
    other = msgspec.structs.replace(robot, cameras=[m.CameraInfo(name="front", height=8, width=8)])
    steered = msgspec.structs.replace(robot, actions=m.ActionSpaceInfo(names=["turn"], low=[-1.0], high=[1.0]))
    for name, one in (("small", other), ("steered", steered), ("none", None)):
        SessionWriter.create(tmp_path / name, robot=one).close()
    with SessionReader(session) as a, SessionReader(tmp_path / "small") as b, SessionReader(tmp_path / "none") as c:
        with pytest.raises(StorageError, match=r"session small has cameras .* session walk"):
            Frames([a, b])
        with pytest.raises(StorageError, match="session none holds no robot"):
            Frames([c])
        with SessionReader(tmp_path / "steered") as d, pytest.raises(StorageError, match="steered has actions turn, session walk dx"):
            Windows(Frames([a, d]), 2)
        with pytest.raises(StorageError, match="no session"):
            Frames([])


def test_windows_are_those_of_the_trainers_memory(session, robot):
    """The trainer's ring is filled by the plain reader; the same windows must come from the loader."""
    from nodes.trainer.buffer import ReplayBuffer
    from nodes.worlds import model_cameras, to_vector

    buffer = ReplayBuffer(model_cameras(robot.cameras), 1, 3, capacity_frames=100)
    with SessionReader(session) as reader:
        for message in reader.events(kinds=["frame", "action"]):
            place = message.envelope.episode, message.envelope.step
            if message.kind == "frame":
                buffer.add_frame(*place, {"front": message.arrays["image/front"]})
            else:
                buffer.add_action(*place, to_vector(message.body.action, ["dx"]))
        windows = Windows(Frames([reader]), 3)
        assert len(windows) == len(buffer) == 27
        batch = windows.empty(27)
        windows.read(np.arange(27), batch)
    expected = buffer.spread(27)
    assert np.array_equal(batch.frames["front"], expected.frames["front"])
    assert np.array_equal(batch.actions, expected.actions, equal_nan=True)


def test_no_window_crosses_a_hole(write, make, frame, action):
    """Step 3 of episode 0 is missing, action 6 failed, action 8 is missing; episode 1 goes on in another run; two robots."""
    failed = m.ActionTaken(action={"dx": 1.0}, by="x", start_ns=0, end_ns=1, success=False)
    messages = [frame(seq) for seq in range(10) if seq != 3]
    messages += [action(seq) for seq in range(10) if seq not in (3, 6, 8)]
    messages.append(make("action/robot", 6, failed, episode=0, step=6))
    messages += [frame(seq) for seq in (10, 11)] + [action(10), action(11)]
    messages += [frame(seq, run="run-2") for seq in (12, 13)] + [action(seq, run="run-2") for seq in (12, 13)]
    twin = [msgspec.structs.replace(one.envelope, topic=one.envelope.topic.replace("/robot", "/other")) for one in messages[-4:]]
    messages += [msgspec.structs.replace(one, envelope=envelope) for one, envelope in zip(messages[-4:], twin, strict=True)]
    with SessionReader(write(messages)) as reader:
        frames = Frames([reader])
        windows = Windows(frames, 3)
        begins = [(int(frames.episode[at]), int(frames.step[at]), int(frames.source[at])) for at in windows.frame]
        assert sorted(begins) == [(0, 0, 0), (0, 1, 0), (0, 4, 0), (0, 5, 0), (0, 7, 0), (1, 0, 0), (1, 2, 1), (1, 2, 2)]
        batch = windows.empty(1)
        windows.read(np.array([begins.index((0, 5, 0))]), batch)
        # steps 4, 4, 5 and 6: nothing from before the hole; the action between a frame and its own repetition is not known
        expected = [reader.frame(0, step).arrays["image/front"] for step in (4, 4, 5, 6)]
        assert np.array_equal(batch.frames["front"][0], expected)
        assert np.array_equal(batch.actions[0], [[np.nan], [0.0], [1.0]], equal_nan=True)
        # a frame that is there although its action failed belongs to the history of the next; the action does not
        windows.read(np.array([begins.index((0, 7, 0))]), batch)
        assert np.array_equal(batch.actions[0], [[1.0], [np.nan], [1.0]], equal_nan=True)


def test_of_a_frame_shown_twice_the_last_counts(write, frame, action, pixels):
    messages = [frame(0), frame(1), frame(2, step=1), action(0), action(1), frame(3, step=2)]
    with SessionReader(write(messages)) as reader:
        windows = Windows(Frames([reader]), 1)
        batch = windows.empty(2)
        windows.read(np.arange(2), batch)
    assert np.array_equal(batch.frames["front"][0], [pixels(0), pixels(2)])
    assert np.array_equal(batch.frames["front"][1], [pixels(2), pixels(3)])


def test_held_out_episodes_are_left_out_or_chosen(write, make, frame, action):
    mark = make("episode/robot", 0, m.EpisodeMark(mark="start", held_out=True), episode=1, step=None)
    messages = [mark, *(one for seq in range(30) for one in (frame(seq), action(seq)))]
    with SessionReader(write(messages)) as reader:
        windows = Windows(Frames([reader]), 2)
        episode = windows.frames.episode[windows.frame]
        assert set(episode[windows.choose()]) == {0, 2}
        assert set(episode[windows.choose(held_out=True)]) == {1}
        assert len(windows.choose(held_out=None)) == 27
        assert set(episode[windows.choose(held_out=None, episodes={1, 2})]) == {1, 2}
        assert len(windows.choose(episodes={1})) == 0


def test_a_session_that_grows(tmp_path, robot, make, frame, pixels):
    with SessionWriter.create(tmp_path / "s", robot=robot, map_bytes=1 << 17) as writer, SessionReader(tmp_path / "s") as reader:
        windows = Windows(Frames([reader]), 2)
        assert len(windows) == len(windows.frames) == 0
        batch = windows.empty(1)
        for seq in range(60):
            writer.append(frame(seq, episode=0, step=seq))
            done = m.ActionTaken(action={"dx": float(seq % 2)}, by="random", start_ns=0, end_ns=1)
            writer.append(make("action/robot", seq, done, episode=0, step=seq))
            if seq % 10 == 9:
                writer.flush()
                assert len(windows.frames) < seq + 1
                windows.refresh()
                assert (len(windows.frames), len(windows)) == (seq + 1, seq)
                windows.read(np.array([seq - 1]), batch)
                assert np.array_equal(batch.frames["front"][0], [pixels(seq - 2), pixels(seq - 1), pixels(seq)])
                assert batch.actions[0].tolist() == [[seq % 2], [(seq - 1) % 2]]
        assert reader.info().segments > 1


def test_a_real_recording(tub, tmp_path):
    import_tub(tub, tmp_path / "car", fps=20, episodes_at=[151, 514])
    with SessionReader(tmp_path / "car") as reader:
        windows = Windows(Frames([reader]), 2)
        picks = np.random.default_rng(1).choice(windows.choose(held_out=None), 16)
        batch = windows.empty(16)
        windows.read(picks, batch)
        for row, pick in enumerate(picks.tolist()):
            at = int(windows.frame[pick])
            episode, step = int(windows.frames.episode[at]), int(windows.frames.step[at])
            for place, back in ((2, -1), (1, 0)):
                assert np.array_equal(batch.frames["front"][row, place], reader.frame(episode, step - back).arrays["image/front"])
            said = reader.read("action", episode, step).body.action
            assert batch.actions[row, 1].tolist() == [np.float32(said[name]) for name in windows.names]


def test_damage_is_named_and_never_handed_out(write, frame, pixels, tmp_path):
    path = write([frame(seq) for seq in range(20)], codec="raw")
    file = path / "segments" / "000000" / "data.mdb"
    data = bytearray(file.read_bytes())
    data[data.rindex(pixels(13).tobytes()) + 99] ^= 4
    file.write_bytes(data)
    with SessionReader(path) as reader:
        frames = Frames([reader])
        frames.read(np.arange(13), frames.empty(13))
        with pytest.raises(CorruptEvent, match=r"event 14 .*CRC32C"):
            frames.read(np.arange(20), frames.empty(20))


def test_a_frame_without_the_image_is_one_line(write, make, pixels):
    messages = [
        make("frame/robot", 0, m.Frame(), {"state": np.zeros(2, np.float32)}, episode=0, step=0),
        make("frame/robot", 1, m.Frame(), {"image/front": pixels(1, 10, 10)}, episode=0, step=1),
    ]
    with SessionReader(write(messages)) as reader:
        frames = Frames([reader])
        with pytest.raises(StorageError, match="frame of episode 0, step 0 of session s has no image/front"):
            frames.read(np.array([0]), frames.empty(1))
        with pytest.raises(StorageError, match=r"step 1 of session s has image/front as uint8 \(10, 10, 3\)"):
            frames.read(np.array([1]), frames.empty(1))


def test_records_of_events_that_are_not_there(session):
    with SessionReader(session) as reader:
        with reader.records([60, 3]) as records:
            assert len(records) == 2
        with pytest.raises(EventNotFound, match="no event 61"), reader.records([61]):
            pass


def test_reading_ahead_keeps_the_order_and_tells_errors_at_their_turn(session, pixels):
    with SessionReader(session) as reader:
        frames = Frames([reader])
        orders = [np.array([at, (at * 7) % 30]) for at in range(25)] + [np.array([0, 99])]
        room = [frames.empty(2) for _ in range(3)]
        batches = prefetched(frames.read, iter(orders), room)
        for order in orders[:-1]:
            assert np.array_equal(next(batches)["front"], [pixels(int(at)) for at in order])
        with pytest.raises(IndexError):
            next(batches)
        stopped = prefetched(frames.read, iter(orders), room)
        next(stopped)
        stopped.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
        with pytest.raises(ValueError, match="two batches"):
            next(prefetched(frames.read, orders, room[:1]))


def test_records_are_asked_for_where_they_lie(write, make, monkeypatch):
    """Of each large record exactly its bytes, and nothing of small ones; not once all were in memory for long."""
    if readahead._SYSTEM is None:
        pytest.skip("no madvise here")
    asked: list[bytes] = []

    def will_need(start: int, size: int) -> bool:
        asked.append(readahead.ctypes.string_at(start, size))
        return False

    large = [
        make("frame/robot", seq, m.Frame(), {"image/front": np.full((50, 60, 3), seq, np.uint8)}, episode=0, step=seq) for seq in range(5)
    ]
    with SessionReader(write([*large, make("frame/robot", 5, m.Frame(), {}, episode=0, step=5)], codec="raw")) as reader:
        monkeypatch.setattr(readahead._SYSTEM, "will_need", will_need)
        with reader.records(range(7)) as records:
            assert [ask[16:] for ask in asked] == [bytes(record) for record in records[1:6]]
        monkeypatch.setattr(readahead, "WARM", 3)
        asked.clear()
        with reader.records([1]):
            assert asked == []
