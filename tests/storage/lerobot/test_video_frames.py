"""Frames of a video are decoded once and in order, whatever the codec, and none is guessed."""

import os

import numpy as np
import pytest

from storage.exchange.lerobot.encoding import Encoding
from storage.exchange.lerobot.video import Ended, VideoFrames, video_facts

av = pytest.importorskip("av")
CODECS = {"libsvtav1": "av1", "h264": "h264", "mpeg4": "mpeg4"}


@pytest.fixture(params=CODECS)
def video(request, scene, tmp_path):
    """Twenty frames at 10 fps: the file, and its frames as PyAV gives them one after the other."""
    file = tmp_path / "video.mp4"
    with Encoding() as encoding:
        policies = encoding(write, file, request.param, scene)
    assert policies <= {os.SCHED_OTHER, os.SCHED_BATCH}, "no encoder takes the machine from others, not even root's"
    with av.open(str(file)) as container:
        truth = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert video_facts(file).codec == CODECS[request.param]
    return file, truth


def write(file, codec, scene):
    """The scheduling policies of all threads of this process while it encodes."""
    with av.open(str(file), "w") as out:
        stream = out.add_stream(codec, 10, options={"g": "4"})
        stream.width, stream.height, stream.pix_fmt = 80, 64, "yuv420p"
        for number in range(20):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(scene(number, 64, 80), format="rgb24")))
        policies = {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}
        out.mux(stream.encode())
    return policies


def test_in_order_every_frame_is_decoded_once(video):
    file, truth = video
    with VideoFrames(10) as frames:
        for number in range(20):
            assert np.array_equal(frames.frame(file, number / 10), truth[number])
        assert frames.decoded == 20
        with pytest.raises(Ended, match=r"the video ends at 2\.000 s"):
            frames.frame(file, 2.0)


def test_any_order_goes_too(video):
    file, truth = video
    with VideoFrames(10) as frames:
        for number in (13, 2, 3, 19, 0, 7):
            assert np.array_equal(frames.frame(file, number / 10), truth[number])


def test_a_time_between_two_frames_has_none(video):
    file, truth = video
    with VideoFrames(10) as frames:
        assert np.array_equal(frames.frame(file, 0.51), truth[5])
        with pytest.raises(ValueError, match=r"there is no frame at 0\.650 s, the next one is at 0\.700 s"):
            frames.frame(file, 0.65)
        assert np.array_equal(frames.frame(file, 0.7), truth[7])


def test_what_is_no_video_is_told(tmp_path):
    with VideoFrames(10) as frames, pytest.raises(ValueError, match="is missing"):
        frames.frame(tmp_path / "none.mp4", 0.0)
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(ValueError, match="is not a video that can be opened"):
        video_facts(tmp_path / "text.mp4")
