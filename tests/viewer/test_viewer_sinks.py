"""PNG files, videos, and which sinks are opened where there is no display."""

import re

import cv2
import numpy as np
import pytest

from nodes.viewer import sinks
from nodes.viewer.config import ViewerConfig
from nodes.viewer.sinks import Mp4Sink, PngSink, SinkError, open_sinks, window_problem


def picture(value, size=(64, 48)):
    made = np.zeros((size[1], size[0], 3), np.uint8)
    made[..., 0] = value  # red, so that a swap of colours is seen
    return made


def red_of(path):
    bgr = cv2.imread(str(path))
    assert bgr[..., :2].max() == 0
    return int(bgr[0, 0, 2])


def test_latest_is_written_at_most_every_few_seconds_and_at_the_end(tmp_path):
    sink = PngSink(tmp_path / "viewer", every_s=5)
    buffer = picture(0)
    for now in range(12):
        buffer[..., 0] = 10 * now
        sink.show(buffer, 100.0 + now)
        assert red_of(sink.latest) == 50 * (now // 5)
    sink.close()
    assert red_of(sink.latest) == 110
    assert [path.name for path in sink.folder.iterdir()] == ["latest.png"]  # no half-written files


def test_with_zero_seconds_only_the_last_picture_is_written(tmp_path):
    sink = PngSink(tmp_path, every_s=0)
    sink.show(picture(1), 0.0)
    assert not sink.latest.exists()
    sink.show(picture(2), 10.0)
    sink.close()
    sink.close()
    assert red_of(sink.latest) == 2


def test_snapshots_are_numbered_on(tmp_path):
    assert PngSink(tmp_path, 5).snapshot(picture(7)).name == "0001.png"
    sink = PngSink(tmp_path, 5)
    assert [sink.snapshot(picture(8)).name for _ in range(2)] == ["0002.png", "0003.png"]
    assert red_of(tmp_path / "0001.png") == 7


def test_a_folder_that_is_gone_is_an_error_with_its_name(tmp_path):
    sink = PngSink(tmp_path / "gone", 5)
    sink.folder.rmdir()
    with pytest.raises(SinkError, match=re.escape(str(sink.latest))):
        sink.show(picture(1), 0.0)


def frames_of(path):
    video = cv2.VideoCapture(str(path))
    frames = []
    while True:
        ok, frame = video.read()
        if not ok:
            video.release()
            return frames
        frames.append(frame)


def test_a_video_lasts_as_long_as_the_run(tmp_path):
    sink = Mp4Sink(tmp_path / "video.mp4", (65, 49), rate_hz=10, longest_s=3)
    for now in np.arange(0, 2.0, 1 / 30):  # 30 pictures a second: every third is kept
        sink.show(picture(200, (65, 49)), 50.0 + float(now))
    sink.show(picture(200, (65, 49)), 54.0)  # two silent seconds
    sink.show(picture(200, (65, 49)), 1000.0)  # a silence longer than longest_s counts as that
    sink.close()
    frames = frames_of(sink.path)
    assert len(frames) == 20 + 21 + 30
    assert frames[0].shape == (48, 64, 3)
    assert frames[0][20, 20, 2] > 150 > frames[0][20, 20, 0]


def test_a_video_without_mp4_is_an_avi_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(Mp4Sink, "_open", _without("mp4v", Mp4Sink._open))
    sink = Mp4Sink(tmp_path / "video.mp4", (64, 48), 10)
    sink.show(picture(1), 0.0)
    sink.close()
    assert sink.path.name == "video.avi"
    assert "video.avi" in sink.note
    assert len(frames_of(sink.path)) == 1


def test_no_video_at_all_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Mp4Sink, "_open", lambda *_: cv2.VideoWriter())
    with pytest.raises(SinkError, match="mp4: false"):
        Mp4Sink(tmp_path / "video.mp4", (64, 48), 10)


def _without(code, original):
    return lambda self, path, wanted: cv2.VideoWriter() if wanted == code else original(self, path, wanted)


@pytest.fixture
def headless(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


def test_without_a_display_the_picture_goes_to_files(headless, tmp_path):
    opened = open_sinks(ViewerConfig(mp4=True), tmp_path)
    assert opened.window is None
    assert [type(sink) for sink in opened.sinks] == [PngSink, Mp4Sink]
    assert "DISPLAY" in opened.notes[0]
    assert str(opened.png.latest) in opened.notes[0]
    for sink in opened.sinks:
        sink.show(np.zeros((720, 1280, 3), np.uint8), 0.0)
        sink.close()


def test_a_window_that_is_asked_for_but_cannot_be_is_an_error(headless, tmp_path):
    with pytest.raises(SinkError, match="window: false"):
        open_sinks(ViewerConfig(window=True), tmp_path)


def test_no_window_is_tried_when_none_is_wanted(monkeypatch, tmp_path):
    monkeypatch.setattr(sinks, "tried_display", lambda: pytest.fail("tried"))
    assert open_sinks(ViewerConfig(window=False), tmp_path).window is None


def test_a_dead_display_is_found_out_without_dying(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":31999")
    assert window_problem() == "nothing answers at DISPLAY :31999"
    monkeypatch.setenv("DISPLAY", "nowhere.invalid:31999")  # not local: Qt tries, in a process of its own, and aborts
    assert "test window failed" in window_problem()
