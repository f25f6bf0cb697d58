"""What is measured of a recording, on made sequences with known faults, and the verdict on them."""

import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
import pytest

from protocol import messages as m
from storage.info import SessionInfo
from storage.quality.cameras import patch_means
from storage.quality.intervals import IntervalMeter
from storage.quality.judge import Verdict, judge, unreadable
from storage.quality.limits import Limits
from storage.quality.measure import Meter
from storage.quality.report import Place, Quality
from storage.quality.timeline import BINS, START_S, Timeline
from storage.reader import SessionReader
from storage.record import Event
from storage.verify import Damage, Report, check
from storage.writer import SessionWriter

H, W = 56, 64
MOVE, STAY = {"dx": 1.0}, {"dx": 0.0}


class Maker:
    """Writes down a robot's messages: 10 Hz, one camera unless told otherwise, each frame another picture."""

    def __init__(self, robot: m.Robot) -> None:
        self.robot = robot
        self.messages: list[m.Message] = []
        self.time_s = 0.0
        self.run = "r1"
        self.seq: dict[str, int] = {}
        self.rng = np.random.default_rng(0)
        self.put("robot", robot)

    def put(self, kind: str, body: m.Body, arrays: dict[str, np.ndarray] | None = None, **fields: Any) -> None:
        topic = f"{kind}/robot"
        seq = fields.pop("seq", self.seq.get(topic, -1) + 1)
        self.seq[topic] = seq
        t_ns = round(self.time_s * 1e9)
        envelope = m.Envelope(topic=topic, source="robot", run=self.run, seq=seq, t_ns=10**18 + t_ns, mono_ns=7 * 10**9 + t_ns, **fields)
        self.messages.append(m.Message(envelope=envelope, body=body, arrays=arrays or {}))

    def picture(self) -> np.ndarray:
        return self.rng.integers(40, 200, (H, W, 3), dtype=np.uint8)

    def frame(self, episode: int, step: int, image: np.ndarray | None = None, last: bool = False, **more: np.ndarray) -> None:
        images = {"image/front": self.picture() if image is None else image, **{f"image/{name}": other for name, other in more.items()}}
        self.put("frame", m.Frame(last=last), images, episode=episode, step=step)

    def action(self, episode: int, step: int, action: m.Action = MOVE, **fields: Any) -> None:
        body = m.ActionTaken(action=action, by="random", start_ns=0, end_ns=1, **fields)
        self.put("action", body, episode=episode, step=step)

    def mark(self, mark: m.MarkName, episode: int, step: int) -> None:
        self.put("episode", m.EpisodeMark(mark=mark), episode=episode, step=step)

    def walk(self, episode: int, steps: int, images: Callable[[int], np.ndarray | None] = lambda step: None, *, end: bool = True) -> None:
        """An episode of so many frames, the last without an action; in turns one move and one stay."""
        self.mark("start", episode, 0)
        for step in range(steps):
            last = step == steps - 1
            self.frame(episode, step, images(step), last=last)
            if not last:
                self.action(episode, step, STAY if step % 4 == 3 else MOVE)
                self.time_s += 0.1
        if end:
            self.mark("end", episode, steps - 1)

    def quality(self) -> Quality:
        return measured(self.messages).result()

    def verdict(self, tmp_path: Any, **limits: Any) -> Verdict:
        """The whole way: written, verified, read, judged."""
        return judged(tmp_path, self.messages, **limits)


def measured(messages: Iterable[m.Message]) -> Meter:
    meter = Meter(None)
    for number, message in enumerate(messages):
        meter.add(Event(number, message))
    return meter


def judged(tmp_path: Any, messages: Iterable[m.Message], **limits: Any) -> Verdict:
    with SessionWriter.create(tmp_path / "walk") as writer:
        for message in messages:
            writer.append(message)
    with SessionReader(tmp_path / "walk") as reader:
        meter = Meter(reader.robot)
        for event in reader.numbered():
            meter.add(event)
        return judge(reader.info(), meter.result(), check(tmp_path / "walk"), Limits(**limits))


def whats(verdict: Verdict) -> list[str]:
    return [reason.what for reason in verdict.reasons]


@pytest.fixture
def maker(robot: m.Robot) -> Maker:
    return Maker(msgspec.structs.replace(robot, cameras=[m.CameraInfo(name="front", height=H, width=W)]))


def two_cameras(maker: Maker) -> Maker:
    cameras = [m.CameraInfo(name=name, height=H, width=W) for name in ("front", "wrist")]
    return Maker(msgspec.structs.replace(maker.robot, cameras=cameras))


# -- a sound recording ----------------------------------------------------------------------------


def test_a_sound_recording_is_fit_and_its_numbers_are_right(maker, tmp_path):
    for episode in range(6):
        maker.walk(episode, 21)
    quality = maker.quality()
    assert (quality.frames, quality.transitions, quality.repeated, quality.shown_again) == (126, 120, 0, 0)
    times = quality.topics["frame/robot"].intervals
    assert times.count == 6 * 19, "the last frame of an episode is not due, and none is between episodes"
    assert times.rate_hz == pytest.approx(10.0)
    assert times.nominal_hz == 10.0
    assert [times.p50_s, times.p99_s, times.max_s] == pytest.approx([0.1] * 3, rel=1e-3)
    [camera] = quality.cameras
    assert (camera.topic, camera.name, camera.frames, camera.moves) == ("frame/robot", "front", 126, 90)
    assert camera.missing.count == camera.dark.count == camera.bright.count == camera.duplicates.count == camera.stuck.count == 0
    assert 110 < camera.brightness_min <= camera.brightness_mean <= camera.brightness_max < 130
    assert [taken.count for taken in quality.actions.choices] == [30, 90]
    assert quality.topics["frame/robot"].raw_bytes == 126 * H * W * 3
    verdict = maker.verdict(tmp_path)
    assert (verdict.fit, verdict.reasons, verdict.remarks, verdict.steps) == (True, [], [], 120)


# -- faults, each by itself -----------------------------------------------------------------------


def test_a_frozen_camera_is_found_among_others_and_by_itself(maker, tmp_path):
    maker = two_cameras(maker)
    still = maker.picture()
    for step in range(150):
        frozen = 50 <= step <= 90
        maker.frame(0, step, wrist=still if frozen else maker.picture())
        maker.action(0, step, STAY if step % 4 == 3 else MOVE)
        maker.time_s += 0.1
    maker.mark("end", 0, 149)
    front, wrist = maker.quality().cameras
    assert front.frozen == [] and front.stuck.count == 0
    [run] = wrist.frozen
    assert (run.start.step, run.frames, run.actions) == (50, 41, 30)
    assert run.seconds == pytest.approx(3.0), "only moves count"
    assert run.until_s == pytest.approx(9.0)
    verdict = maker.verdict(tmp_path, max_duplicates=0.5)
    [frozen] = verdict.reasons
    assert frozen.text == "the picture of camera wrist stood still for 3.0 s and 30 moves at episode 0, step 50, 0:05.0; at most 2 s"


def test_nearly_the_same_is_frozen_too_and_no_duplicate(maker):
    still = maker.picture()

    def noisy(step: int) -> np.ndarray:
        return still + maker.rng.integers(0, 5, still.shape, dtype=np.uint8)

    maker.walk(0, 60, noisy)
    [camera] = maker.quality().cameras
    assert camera.duplicates.count == camera.stuck.count == 0
    assert [run.frames for run in camera.frozen] == [60]


def test_a_slow_drift_is_not_frozen(maker):
    """Each frame differs by less than noise from the one before, and by much from where it began."""
    maker.walk(0, 60, lambda step: np.full((H, W, 3), 60 + 2 * step, np.uint8))
    [camera] = maker.quality().cameras
    assert max((run.frames for run in camera.frozen), default=0) <= 5


def test_a_robot_that_stands_freezes_nothing(maker, tmp_path):
    still = maker.picture()
    for step in range(120):
        maker.frame(0, step, still)
        maker.action(0, step, *((MOVE,) if step >= 119 else (STAY,)))
        maker.time_s += 0.1
    maker.mark("end", 0, 119)
    [camera] = maker.quality().cameras
    assert camera.duplicates.count == 119
    assert camera.stuck.count == camera.moves == 0
    assert camera.frozen == []
    verdict = maker.verdict(tmp_path)
    assert verdict.fit
    assert [remark.what for remark in verdict.remarks] == ["repeated"]


@pytest.mark.parametrize("kept", [{"safe": True}, {"success": False}])
def test_an_action_that_was_safe_or_failed_moves_nothing(maker, kept):
    still = maker.picture()
    for step in range(10):
        maker.frame(0, step, still)
        maker.action(0, step, MOVE, **kept)
        maker.time_s += 0.1
    [camera] = maker.quality().cameras
    assert (camera.duplicates.count, camera.stuck.count, camera.moves) == (9, 0, 0)


def test_duplicates_are_a_share_of_moves(maker, tmp_path):
    """A camera that is half as fast as the robot."""
    pictures = [maker.picture() for _ in range(101)]
    maker.walk(0, 202, lambda step: pictures[step // 2])
    verdict = maker.verdict(tmp_path)
    assert whats(verdict) == ["duplicates"]
    assert verdict.reasons[0].text.startswith(
        "101 of 151 (66.9 %) moves changed nothing at all for camera front, the first at episode 0, step 1,"
    )
    assert maker.quality().repeated == 0


@pytest.mark.parametrize(("what", "level"), [("dark", 5), ("saturated", 252)])
def test_dark_and_saturated_frames(maker, tmp_path, what, level):
    def image(step: int) -> np.ndarray | None:
        if step not in range(100, 110):
            return None
        picture = np.clip(maker.rng.normal(level, 6, (2 * H, 2 * W, 3)), 0, 255).astype(np.uint8)
        picture[3, 7] = 255 - picture[3, 7]  # a broken pixel changes nothing
        return picture

    maker.walk(0, 120, image)
    verdict = maker.verdict(tmp_path)
    assert whats(verdict) == [what]
    assert (
        verdict.reasons[0].text
        == f"10 of 120 (8.33 %) frames of camera front are {what}, the first at episode 0, step 100, 0:10.0; at most 5 %"
    )
    again = judged(tmp_path / "again", maker.messages, **{f"max_{what}": 0.1})
    assert again.fit
    assert [remark.what for remark in again.remarks] == [what]


@pytest.mark.parametrize(("size", "radius"), [(32, 2), (64, 2), (224, 5)])
def test_a_small_dot_on_black_is_not_dark(size, radius):
    rows, columns = np.indices((size, size))
    for middle in range(radius, 2 * size // 3):
        image = np.zeros((size, size, 3), np.uint8)
        image[(rows - middle) ** 2 + (columns - middle) ** 2 <= radius**2] = 255
        assert patch_means(image).max() > 32, middle
        assert patch_means(255 - image).min() < 223, middle


def test_missing_frames_are_a_reason_from_a_share_on(maker, tmp_path):
    for step in range(200):
        maker.time_s += 0.1
        if step in range(40, 50):
            maker.seq["frame/robot"] += 1
            continue
        maker.frame(0, step)
        maker.action(0, step, STAY if step % 4 == 3 else MOVE)
    maker.mark("end", 0, 199)
    quality = maker.quality()
    assert quality.topics["frame/robot"].first_gap == Place(0, 50, pytest.approx(5.0))
    assert quality.topics["frame/robot"].intervals.max_s == pytest.approx(0.1), "a gap is no long interval"
    assert quality.holes.count == 1
    verdict = maker.verdict(tmp_path)
    [gaps] = verdict.reasons
    assert gaps.text == "10 of 200 (5 %) messages of frame/robot never came, the first at episode 0, step 50, 0:05.0; at most 1 %"
    assert judged(tmp_path / "again", maker.messages, max_gaps=0.1).fit


def test_a_camera_that_is_missing_in_some_frames(maker, tmp_path):
    maker = two_cameras(maker)
    for step in range(120):
        maker.frame(0, step, **({} if step in range(60, 70) else {"wrist": maker.picture()}))
        maker.action(0, step, STAY if step % 4 == 3 else MOVE)
        maker.time_s += 0.1
    maker.mark("end", 0, 119)
    front, wrist = maker.quality().cameras
    assert (front.missing.count, wrist.missing.count, wrist.frames) == (0, 10, 110)
    [reason] = maker.verdict(tmp_path).reasons
    assert reason.text == "10 of 120 (8.33 %) frames have no picture of camera wrist, the first at episode 0, step 60, 0:06.0; at most 1 %"


def test_a_slow_and_an_uneven_robot(maker, tmp_path):
    """Slow: 7 of 10 Hz. Uneven: at 10 Hz, but two of a hundred intervals are twice as long."""
    for step in range(130):
        maker.frame(0, step)
        maker.action(0, step, STAY if step % 4 == 3 else MOVE)
        maker.time_s += 1 / 7
    maker.mark("end", 0, 129)
    slow = maker.verdict(tmp_path)
    assert whats(slow) == ["slow"]
    assert slow.reasons[0].text == "frame/robot came at 7 Hz, 70 % of 10 Hz; at least 90 %"

    uneven = Maker(maker.robot)
    for step in range(130):
        uneven.frame(0, step)
        uneven.action(0, step, STAY if step % 4 == 3 else MOVE)
        uneven.time_s += 0.2 if step % 50 == 7 else 0.1
    uneven.mark("end", 0, 129)
    verdict = uneven.verdict(tmp_path / "uneven")
    assert whats(verdict) == ["jitter"]
    assert "the longest took 200 ms at episode 0, step 8, 0:00.9" in verdict.reasons[0].text


def test_a_lockstep_robot_promises_no_rate(maker, tmp_path):
    maker = Maker(msgspec.structs.replace(maker.robot, timing="lockstep"))
    for step in range(130):
        maker.frame(0, step)
        maker.action(0, step, STAY if step % 4 == 3 else MOVE)
        maker.time_s += 3.0 if step % 9 == 0 else 0.2
    maker.mark("end", 0, 129)
    assert maker.verdict(tmp_path).fit


def test_a_pause_is_no_long_interval(maker):
    for step in range(20):
        if step == 10:
            maker.put("control", m.Control(command="pause", by="viewer"))
            maker.time_s += 60
            maker.put("control", m.Control(command="resume", by="viewer"))
        maker.frame(0, step)
        maker.action(0, step)
        maker.time_s += 0.1
    times = maker.quality().topics["frame/robot"].intervals
    assert times.count == 18
    assert times.max_s == pytest.approx(0.1)


def test_a_step_that_is_shown_again_is_no_duplicate(maker):
    still = maker.picture()
    for step in range(6):
        for _ in range(3 if step == 2 else 1):
            maker.frame(0, step, still if step == 2 else None)
            maker.time_s += 0.1
        maker.action(0, step)
    quality = maker.quality()
    assert (quality.shown_again, quality.transitions) == (2, 5)
    assert quality.cameras[0].duplicates.count == 0
    assert quality.topics["frame/robot"].intervals.count == 5, "not to the frames that were shown again"


def test_a_step_that_is_shown_again_does_not_hide_a_frozen_camera(maker):
    still = maker.picture()
    for step in range(20):
        for _ in range(2 if step == 9 else 1):
            maker.frame(0, step, still)
            maker.time_s += 0.1
        maker.action(0, step)
    [camera] = maker.quality().cameras
    assert [(run.start.step, run.actions) for run in camera.frozen] == [(0, 19)]


def test_identical_transitions_are_counted(maker):
    pictures = [maker.picture() for _ in range(4)]
    maker.walk(0, 9, lambda step: pictures[step % 4])  # step 4 to 5 is 0 to 1 again, and so on
    assert maker.quality().repeated == 4
    for step in (0, 1):
        maker.frame(1, step, pictures[step])
        maker.action(1, step, STAY)  # 0 to 1 by another action
    assert maker.quality().repeated == 4


def test_a_frame_without_its_action_is_no_step_to_learn_from(maker):
    for step in range(10):
        maker.frame(0, step)
        if step != 4:
            maker.action(0, step)
        maker.time_s += 0.1
    quality = maker.quality()
    assert quality.transitions == 8
    assert (quality.no_action.count, quality.no_action.first) == (1, Place(0, 5, pytest.approx(0.5)))


def test_actions_never_taken_and_episodes_never_ended(maker, tmp_path):
    for step in range(120):
        maker.frame(0, step)
        maker.action(0, step, MOVE)
        maker.time_s += 0.1
    verdict = maker.verdict(tmp_path)
    assert [reason.text for reason in verdict.reasons] == [
        "action dx=0 was never taken", "1 of 1 (100 %) episodes have no end: 0; the last frame of 0 is step 119",
    ]  # fmt: skip
    allowed = judged(tmp_path / "again", maker.messages, allow_untaken=True, allow_unfinished=True)
    assert allowed.fit
    assert [remark.what for remark in allowed.remarks] == ["never taken", "unfinished"]


def test_too_few_steps(maker, tmp_path):
    maker.walk(0, 31)
    assert whats(maker.verdict(tmp_path)) == ["few steps"]
    assert judged(tmp_path / "again", maker.messages, min_steps=30).fit


def test_continuous_actions_have_ranges_and_bins(maker, tmp_path):
    space = m.ActionSpaceInfo(names=["steer", "speed"], low=[-1.0, 0.0], high=[1.0, 2.0])
    maker = Maker(msgspec.structs.replace(maker.robot, actions=space, safe_action={"steer": 0.0, "speed": 0.0}))
    for step in range(120):
        maker.frame(0, step)
        maker.action(0, step, {"steer": -1.0 + step / 60, "speed": 0.5}, success=step != 7)
        maker.time_s += 0.1
    maker.action(0, 120, {"steer": float("nan"), "speed": 0.5})
    maker.mark("end", 0, 119)
    actions = maker.quality().actions
    steer, speed = actions.dimensions
    assert (steer.min, steer.max) == (-1.0, pytest.approx(59 / 60))
    assert (sum(steer.bins), set(steer.bins)) == (120, {7, 8})
    assert [index for index, count in enumerate(speed.bins) if count] == [4]
    assert (actions.count, actions.failed.count, actions.other.count) == (121, 1, 1)
    verdict = maker.verdict(tmp_path)
    assert verdict.fit
    assert {remark.what for remark in verdict.remarks} == {"never changed", "failed", "other actions"}


def test_damage_is_a_reason_whatever_else_can_be_said():
    damage = Damage(event=7, segment="000000", why="its bytes are not the ones that were written (CRC32C)")
    verdict = unreadable(Report(session="walk", events_checked=20, corrupt_count=2, corrupt=[damage], problems=["the books count 3"]))
    assert not verdict.fit
    assert [reason.text for reason in verdict.reasons] == [
        f"2 of 20 events are not what was written, the first is event 7 in segment 000000: {damage.why}",
        "the books count 3",
    ]


def test_a_session_without_a_robot_or_frames(maker, tmp_path):
    assert Meter(None).result().cameras == []
    verdict = judged(tmp_path, [message for message in maker.messages if message.kind != "robot"])
    assert (verdict.fit, whats(verdict)) == (False, ["few steps"])
    assert [remark.what for remark in verdict.remarks] == ["no robot"]


def test_pictures_that_are_none_are_missing(maker):
    for step, odd in enumerate([np.zeros((0, W, 3), np.uint8), np.zeros((H, W), np.uint8), np.zeros((H, W, 3), np.float32)]):
        maker.frame(0, step, odd)
    [camera] = maker.quality().cameras
    assert (camera.frames, camera.missing.count) == (0, 3)


# -- parts ----------------------------------------------------------------------------------------


def test_two_runs_are_one_time_without_what_lies_between(maker):
    maker.walk(0, 11)
    maker.run, maker.time_s = "r2", 3600.0  # and its numbers happen to go on, as for a recorder that came late
    maker.walk(1, 11)
    quality = maker.quality()
    assert quality.seconds == pytest.approx(2.0)
    assert quality.topics["episode/robot"].intervals.max_s == pytest.approx(1.0)
    assert quality.topics["frame/robot"].intervals.max_s == pytest.approx(0.1)


def test_percentiles_are_those_of_all_intervals():
    meter, rng = IntervalMeter(), np.random.default_rng(3)
    all_ns = rng.lognormal(18, 1.0, 20_000).astype(np.int64)
    for interval_ns in all_ns.tolist():
        meter.add(interval_ns, Place(0, 0, 0.0))
    result = meter.result(0.0)
    wanted = np.percentile(all_ns, [50, 95, 99], method="inverted_cdf") / 1e9
    assert [result.p50_s, result.p95_s, result.p99_s] == pytest.approx(wanted, rel=1e-3)
    assert result.max_s == all_ns.max() / 1e9
    assert result.rate_hz == pytest.approx(1e9 / all_ns.mean())


def test_a_timeline_gets_coarser_and_loses_nothing():
    line = Timeline()
    for step in range(10 * BINS):
        at_s = step * START_S + START_S / 2
        line.add("count", at_s)
        line.add("high", at_s, step, "max")
        line.add("low", at_s, step, "min")
    assert line.width_s == 16 * START_S
    assert line.used == 10 * BINS // 16
    assert line.get("count").tolist() == [16.0] * line.used
    assert line.get("low").tolist() == list(range(0, 10 * BINS, 16))
    assert line.get("high").tolist() == list(range(15, 10 * BINS, 16))
    assert line.get("nothing").tolist() == [0.0] * line.used


def test_memory_does_not_grow_with_the_session(maker):
    """Between 500 and 2500 frames the meter gets no larger than its tables are allowed to."""
    meter = Meter(maker.robot)
    pictures = [maker.picture() for _ in range(7)]
    tracemalloc.start()
    try:
        sizes = []
        for episode in range(50):
            maker.messages.clear()
            maker.walk(episode, 50, lambda step: pictures[int(maker.rng.integers(7))])
            for number, message in enumerate(maker.messages):
                meter.add(Event(number, message))
            maker.messages.clear()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[-1] - sizes[9] < 100_000


def test_reports_travel_as_json(maker):
    maker.walk(0, 11)
    quality = maker.quality()
    assert msgspec.json.decode(msgspec.json.encode(quality), type=Quality) == quality
    assert issubclass(SessionInfo, msgspec.Struct)
