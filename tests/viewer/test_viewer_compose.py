"""Pictures: the same state gives the same picture, compared with reference pictures.

TODDLE_UPDATE_REFERENCES=1 pytest tests/viewer/test_viewer_compose.py    # draw the references anew, then look at them
"""

import os
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from nodes.viewer import theme
from nodes.viewer.bars import short_count
from nodes.viewer.compose import Composer, compose, layout
from nodes.viewer.labels import action_label
from nodes.viewer.text import TextBank
from nodes.viewer.widgets import Rect, best_grid, clock, fit_size, number
from protocol.messages import Frame

REFERENCE = Path(__file__).parent / "reference"
MEAN_TOLERANCE = 1.0  # of 255, over the picture: smoothing of text differs a little between OpenCV versions
TILE_TOLERANCE = 16.0  # over any tile of 40 x 40 pixels: a label that is missing or elsewhere is found


def dots(make_dot_run, make_car_run, make_run):
    return make_dot_run(64)


def garage(make_dot_run, make_car_run, make_run):
    run = make_car_run(cameras=2, candidates=6)
    run.alarm("camera_lost", "rear: no frame for 2.0 s", node="robot")
    run.alarm("disk_low", "3.1 GB free on /data, 2.0 GB is the limit")
    run.state.prompt = "step 4: steer +0.30 throttle -0.53?   y yes, 0-9 another action"
    return run


def trouble(make_dot_run, make_car_run, make_run):
    run = make_run(nodes={"robot": "robot", "trainer": "trainer", "viewer": "viewer"})
    run.frame(0, {"main": np.full((48, 64, 3), 90, np.uint8)}, held_out=True)
    run.status("trainer", received=12_400_000, lost=3)
    run.now += 4
    run.status("robot", "paused")
    return run


@pytest.mark.parametrize("scene", [dots, garage, trouble], ids=lambda scene: scene.__name__)
def test_reference_pictures(scene, make_dot_run, make_car_run, make_run, tmp_path):
    run = scene(make_dot_run, make_car_run, make_run)
    picture = compose(run.state, (1280, 720), run.now)
    path = REFERENCE / f"{scene.__name__}.png"
    if os.environ.get("TODDLE_UPDATE_REFERENCES"):
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
        pytest.skip(f"wrote {path}")
    reference = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    difference = np.abs(picture.astype(np.int16) - reference).mean(axis=2)
    tiles = difference.reshape(18, 40, 32, 40).mean(axis=(1, 3))
    if difference.mean() > MEAN_TOLERANCE or tiles.max() > TILE_TOLERANCE:
        cv2.imwrite(str(tmp_path / path.name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        row, column = np.unravel_index(tiles.argmax(), tiles.shape)
        pytest.fail(
            f"{path.name}: mean {difference.mean():.2f}, worst tile {tiles.max():.1f} at x {column * 40}, y {row * 40}; "
            f"the picture now: {tmp_path / path.name}"
        )


def test_same_input_same_picture_and_a_kept_composer_changes_nothing(make_dot_run, make_car_run):
    composer = Composer()
    for run in (make_dot_run(64), make_car_run(), make_dot_run(32)):  # serial numbers of these states overlap
        fresh = compose(run.state, (1280, 720), run.now)
        assert fresh.shape == (720, 1280, 3)
        assert fresh.dtype == np.uint8
        np.testing.assert_array_equal(fresh, composer.compose(run.state, run.now))
        np.testing.assert_array_equal(fresh, composer.compose(run.state, run.now))


@pytest.mark.parametrize("size", [(640, 360), (960, 720), (1000, 400), (1920, 1080), (1281, 721)])
def test_every_size(make_car_run, size):
    run = make_car_run(cameras=3, candidates=14)
    run.state.toggle_help()
    assert compose(run.state, size, run.now).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("candidates", [1, 2, 3, 7, 9, 10, 40])
def test_any_number_of_candidates(make_car_run, candidates):
    run = make_car_run(cameras=1, candidates=candidates, steps=2)
    place = layout((1280, 720), 1.0, False).predictions
    area = compose(run.state, (1280, 720), run.now)[place.y : place.bottom, place.x : place.right]
    chosen = (area == np.asarray(theme.BLUE)).all(axis=2).sum()
    assert chosen > 300  # the chosen one is always marked


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (480, 640)])
def test_any_frame_size(make_run, shape):
    run = make_run()
    choices = [{"action": 0.0}, {"action": 1.0}]
    run.robot([("main", *shape)], choices)
    for step in range(3):
        frame = np.full((*shape, 3), 40 * step, np.uint8)
        run.frame(step, {"main": frame})
        run.prediction(step, choices, {"main": np.stack([frame, frame])})
        run.action(step, choices[0])
    assert run.state.error is not None
    assert compose(run.state, (1280, 720), run.now).shape == (720, 1280, 3)


def test_missing_pieces_draw(make_run):
    run = make_run(nodes={})
    compose(run.state, (1280, 720), run.now)
    run.prediction(0, [], None, chosen=None)
    compose(run.state, (1280, 720), run.now)
    run.prediction(0, [{"a": 0.0}], None, chosen=5)
    run.send("frame/robot", Frame(), {"image/main": np.zeros((4, 4, 3), np.uint8)})
    run.robot([("main", 4, 4)], [{"b": 1.0}], names=("b",))  # action names that do not fit the prediction
    run.metrics(loss=0.0, skill_copy_last=-1e9, cf_accuracy=0.5, steps=float("nan"))
    compose(run.state, (1280, 720), run.now)


def test_text_that_is_not_ascii_or_far_too_long_draws(make_dot_run):
    run = make_dot_run(16)
    run.state.run_name = "über-" + "long" * 200
    run.state.prompt = "→" * 500
    run.alarm("data_lost", "ä" * 900)
    compose(run.state, (1280, 720), run.now)


def test_gaps_in_the_history_are_grey(make_run):
    run = make_run(nodes={}, context=1)
    run.robot([("main", 8, 8)], [{"action": 0.0}])
    grey = (128, 128, 128)
    counts = []
    for step in (1, 2, 4):
        run.frame(step, {"main": np.zeros((8, 8, 3), np.uint8)})
        run.action(step, {"action": 0.0})
        place = layout((1280, 720), 1.0, False).history
        area = compose(run.state, (1280, 720), run.now)[place.y : place.bottom, place.x : place.right]
        counts.append(int((area == np.asarray(grey)).all(axis=2).sum()))
    assert counts[1] == 0
    assert counts[2] > 500


def test_stale_only_when_something_changed_or_the_clock_moved(make_dot_run):
    run = make_dot_run(16)
    composer = Composer((640, 360))
    assert composer.stale(run.state, run.now)
    composer.compose(run.state, run.now)
    assert not composer.stale(run.state, run.now + 0.1)
    assert composer.stale(run.state, run.now + 0.6)
    run.metrics(loss=1.0)
    assert composer.stale(run.state, run.now)


def test_a_composer_draws_a_picture_in_less_than_a_third_of_the_time(make_dot_run):
    run = make_dot_run(224)
    composer = Composer()
    composer.compose(run.state, run.now)
    ratios = []
    for _ in range(20):
        run.now += 0.033
        run.metrics(loss=1e-3)
        began = time.perf_counter()
        composer.compose(run.state, run.now)
        kept = time.perf_counter()
        compose(run.state, (1280, 720), run.now)
        ratios.append((kept - began) / (time.perf_counter() - kept))
    assert statistics.median(ratios) < 0.3  # 0.18


def test_what_is_kept_is_bounded():
    bank = TextBank(limit=50)
    picture = np.zeros((40, 400, 3), np.uint8)
    for index in range(500):
        bank.draw(picture, f"text {index}", 5, 20, 12, (255, 255, 255))
    assert len(bank._inks) <= 50
    assert len(bank._widths) <= 50


def test_text_is_clipped_and_shortened():
    bank = TextBank()
    picture = np.zeros((20, 60, 3), np.uint8)
    for x, y in ((-30, 10), (50, 10), (10, -3), (10, 22), (500, 500)):
        bank.draw(picture, "clipped", x, y, 14, (255, 255, 255))
    assert bank.fit("a long sentence", 12, 50).endswith("..")
    assert bank.width(bank.fit("a long sentence", 12, 50), 12) <= 50
    assert bank.fit("anything", 12, 2) == ""


def test_figures():
    assert [number(v) for v in (None, 0, 1234.4, 12.345, 0.01234, 0.00123, 0.000123, 1.2e-7, 2.5e6)] == [
        "-", "0", "1,234", "12.35", "0.0123", "0.0012", "0.00012", "1.2e-7", "2.50M",
    ]  # fmt: skip
    assert [clock(v) for v in (5, 65, 3725)] == ["00:05", "01:05", "1:02:05"]
    assert [short_count(v) for v in (12, 9999, 12_345, 4_500_000)] == ["12", "9999", "12.3k", "4.5M"]
    assert action_label({"action": 1.0}) == "action 1"
    assert action_label({"steer": 0.3, "throttle": -0.5}) == "steer +0.30  throttle -0.50"


def test_geometry():
    assert fit_size(64, 64, 300, 400) == (300, 300)  # filling the room beats whole multiples
    assert fit_size(64, 64, 265, 400) == (256, 256)  # unless they cost little
    assert fit_size(160, 120, 80, 80) == (80, 60)
    room = Rect(0, 0, 540, 330)
    assert best_grid(2, 64, 64, room, 8, 22) == (2, 1)
    assert best_grid(6, 160, 240, room, 8, 22) == (3, 2)
    assert best_grid(9, 160, 120, room, 8, 22) == (3, 3)
