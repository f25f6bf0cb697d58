"""A Donkeycar tub becomes a session as a live run would have left it."""

import json
import shutil
import subprocess
import sys
from array import array
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from protocol import messages as m
from storage.errors import ExportProblem, ImportProblem, SessionExists
from storage.exchange.tub import rate_hz
from storage.exchange.tub_export import export_tub
from storage.exchange.tub_import import import_tub
from storage.header import read_header
from storage.reader import SessionReader
from storage.verify import check
from storage.writer import SessionWriter

cv2 = pytest.importorskip("cv2")
JUMPS = [151, 514, 516, 527, 651, 666]


@pytest.fixture
def small_tub(tmp_path):
    """A tub of ten frames that the test may break: (folder, lines of the catalog, a function that writes them)."""
    folder = tmp_path / "tub"
    (folder / "images").mkdir(parents=True)
    lines = []
    for index in range(10):
        image = np.full((24, 32, 3), index * 20, np.uint8)
        cv2.imwrite(str(folder / "images" / f"{index}.jpg"), image)
        lines.append(
            {
                "_index": index,
                "_timestamp_ms": 1_700_000_000_000 + index * 50,
                "cam/image_array": f"{index}.jpg",
                "user/angle": index / 10,
                "user/mode": "user",
                "user/throttle": 0.5,
            }
        )

    def write(catalog: list, deleted: tuple[int, ...] = ()) -> None:
        rows = [line if isinstance(line, str) else json.dumps(line) for line in catalog]
        (folder / "catalog_0.catalog").write_text("\n".join(rows) + "\n")
        manifest = [
            ["cam/image_array"],
            ["image_array"],
            {},
            {"created_at": 1_700_000_000.5},
            {"paths": ["catalog_0.catalog"], "deleted_indexes": list(deleted)},
        ]
        (folder / "manifest.json").write_text("\n".join(json.dumps(row) for row in manifest))

    write(lines)
    return folder, lines, write


@pytest.fixture(scope="module")
def imported(tub, tmp_path_factory):
    target = tmp_path_factory.mktemp("imported") / "track"
    return import_tub(tub, target, fps=20, episodes_at=JUMPS), target


def test_the_whole_tub_frame_by_frame(tub, imported):
    report, path = imported
    assert (report.frames, report.episodes, report.rate_hz, report.skipped, report.notes) == (1000, 7, 20.0, [], [])
    lines = [json.loads(line) for line in (tub / "catalog_0.catalog").read_text().splitlines()]
    edges = [0, *JUMPS, 1000]
    with SessionReader(path) as reader:
        first_ns = reader.frame(0, 0).envelope.t_ns
        stored = zip(reader.topic_messages("frame"), reader.topic_messages("action"), lines, strict=True)
        for index, (frame, action, line) in enumerate(stored):
            image = cv2.imread(str(tub / "images" / line["cam/image_array"]))[:, :, ::-1]
            assert np.array_equal(frame.arrays["image/front"], image)
            assert action.body.action == {"angle": line["user/angle"], "throttle": line["user/throttle"]}
            assert action.body.by == "user"
            episode = max(number for number, first in enumerate(edges) if first <= index)
            for message in (frame, action):
                envelope = message.envelope
                assert (envelope.episode, envelope.step, envelope.seq) == (episode, index - edges[episode], index)
                assert envelope.mono_ns == index * 50_000_000
                assert envelope.t_ns == first_ns + index * 50_000_000
        rows = [(row.first_step, row.last_step, row.frames, row.actions) for row in reader.episodes()]
        assert rows == [(0, b - a - 1, b - a, b - a) for a, b in pairwise(edges)]
        kinds = [message.kind for message in reader.events()]
        assert kinds[:4] == ["robot", "episode", "frame", "action"]
        assert kinds[-2:] == ["action", "episode"]
        assert len(kinds) == 2015
        robot = reader.robot
        assert robot == next(reader.events()).body
        assert (robot.driver, robot.rate_hz, robot.timing, robot.cameras) == (
            "donkeycar",
            20.0,
            "paced",
            [m.CameraInfo(name="front", height=120, width=160)],
        )
        assert (robot.actions.names, robot.actions.low, robot.actions.high) == (["angle", "throttle"], [-1.0, 0.0], [1.0, 1.0])
        assert reader.info().topics["frame/robot"].rate_hz == pytest.approx(20)
        assert reader.info().gaps == []
    assert check(path).exit_code == 0


def test_times_that_a_conversion_wrote_are_refused(tub, tmp_path):
    with pytest.raises(ImportProblem, match="--fps, 20 is Donkeycar's default"):
        import_tub(tub, tmp_path / "s")
    assert list(tmp_path.iterdir()) == []
    report = import_tub(tub, tmp_path / "s", strict=False)
    assert report.rate_hz == pytest.approx(1000 / 3) and "3 ms apart, are not those of a camera" in report.notes[0]
    assert read_header(tmp_path / "s").source["notes"] == report.notes and report.skipped == []


def test_plausible_times_are_used(small_tub, tmp_path):
    folder, lines, _ = small_tub
    report = import_tub(folder, tmp_path / "s")
    assert report.rate_hz == pytest.approx(20)
    assert report.rate_from == "the tub's times"
    with SessionReader(tmp_path / "s") as reader:
        assert [frame.envelope.t_ns for frame in reader.topic_messages("frame")] == [line["_timestamp_ms"] * 10**6 for line in lines]
    assert rate_hz(array("q")) is None


def test_deleted_and_skipped_records_leave_their_step_empty(small_tub, tmp_path):
    folder, lines, write = small_tub
    lines[4]["user/angle"] = float("nan")
    write(lines, deleted=(0, 6))
    (folder / "images" / "8.jpg").unlink()
    report = import_tub(folder, tmp_path / "s", episodes_at=[5], strict=False)
    assert (report.frames, len(report.skipped)) == (6, 2)
    assert report.notes[0] == "deleted in the tub, not imported: 2 records"
    with SessionReader(tmp_path / "s") as reader:
        steps = [(frame.envelope.episode, frame.envelope.step, frame.envelope.seq) for frame in reader.topic_messages("frame")]
        assert steps == [(0, 0, 0), (0, 1, 1), (0, 2, 2), (1, 0, 3), (1, 2, 4), (1, 4, 5)]
        assert reader.header.source["deleted"] == 2
        assert reader.header.source["left_out"] == [str(bad) for bad in report.skipped]
        logs = [message.body.text for message in reader.topic_messages("log")]
        assert logs == [f"left out {bad}" for bad in report.skipped]
    assert check(tmp_path / "s").exit_code == 0


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        (lambda third, lines: third.unlink(), "catalog_0.catalog:4: image 3.jpg is missing"),
        (lambda third, lines: third.write_bytes(b"no picture"), "catalog_0.catalog:4: image 3.jpg cannot be decoded"),
        (lambda third, lines: third.write_bytes(third.read_bytes()[:-30]), "image 3.jpg is cut off"),
        (lambda third, lines: cv2.imwrite(str(third), np.zeros((9, 9, 3), np.uint8)), ":4: the picture is 9x9, the first one is 32x24"),
        (lambda third, lines: lines.__setitem__(2, "{broken"), r"catalog_0.catalog:3: Expecting property name"),
        (lambda third, lines: lines[5].pop("user/throttle"), "catalog_0.catalog:6: 'user/throttle' is missing"),
        (lambda third, lines: lines[5].update({"user/angle": float("nan")}), "user/angle is nan, expected a finite number"),
        (lambda third, lines: lines[5].update({"_index": 4}), "catalog_0.catalog:6: index 4 is there already"),
        (lambda third, lines: lines[5].update({"_index": 10**30}), "catalog_0.catalog:6: _index is 1000000000"),
        (lambda third, lines: lines[5].update({"user/angle": 10**400}), "catalog_0.catalog:6: int too large"),
        (lambda third, lines: lines.__setitem__(5, "[" * 100_000), "catalog_0.catalog:6: maximum recursion depth"),
        (lambda third, lines: lines[5].update({"_index": float("inf")}), "catalog_0.catalog:6: _index is inf"),
        (lambda third, lines: lines[5].update({"_timestamp_ms": 1e300}), "catalog_0.catalog:6: _timestamp_ms in ns is 1000000000"),
        (lambda third, lines: lines.clear(), "has no records to import"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_one_line_and_leaves_nothing(small_tub, tmp_path, breaks, words):
    folder, lines, write = small_tub
    breaks(folder / "images" / "3.jpg", lines)
    write(lines)
    root = tmp_path / "sessions"
    with pytest.raises(ImportProblem, match=words) as caught:
        import_tub(folder, root / "s", fps=20)
    assert all(str(folder) in line or "and more" in line for line in str(caught.value).splitlines()), "a line each"
    assert not root.exists() or list(root.iterdir()) == []


def test_every_picture_that_is_missing_is_named(small_tub, tmp_path):
    folder, _, _ = small_tub
    for number in (3, 7):
        (folder / "images" / f"{number}.jpg").unlink()
    with pytest.raises(ImportProblem) as caught:
        import_tub(folder, tmp_path / "s")
    assert str(caught.value).splitlines()[1:] == [
        f"  {folder / 'catalog_0.catalog'}:{line}: image {line - 1}.jpg is missing" for line in (4, 8)
    ]  # fmt: skip


def test_the_same_tub_in_another_folder_has_the_same_content(small_tub, tmp_path, content):
    folder, _, _ = small_tub
    shutil.copytree(folder, tmp_path / "copy")
    import_tub(folder, tmp_path / "s")
    import_tub(tmp_path / "copy", tmp_path / "t")
    assert content(tmp_path / "s") == content(tmp_path / "t")


def test_what_a_tub_has_no_place_for_is_told(drive, tmp_path, make):
    with SessionWriter.create(drive, resume=True) as writer:
        writer.append(make("log/car", 0, m.LogRecord(level="INFO", logger="task", text="round the track"), episode=0, step=0))
    assert export_tub(drive, tmp_path / "tub").notes[-1] == "messages that are not exported: 1 of log/car"
    with SessionReader(drive) as reader, SessionWriter.create(tmp_path / "nameless") as writer:
        for event in reader.numbered():
            robot = event.message.body
            body = msgspec.structs.replace(robot, state_names=[]) if isinstance(robot, m.Robot) else robot
            writer.append(m.Message(envelope=event.message.envelope, body=body, arrays=event.message.arrays))
    assert "the numbers of the state have no names: they are not exported" in export_tub(tmp_path / "nameless", tmp_path / "other").notes


@pytest.mark.parametrize("created", [1e300, float("nan")])
def test_a_tub_that_was_made_at_no_time(small_tub, tmp_path, created):
    folder, _, _ = small_tub
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("1700000000.5", json.dumps(created)))
    with pytest.raises(ImportProblem, match="is not the manifest of a tub v2: created_at in ns is "):
        import_tub(folder, tmp_path / "s", fps=20)


def test_bad_arguments(small_tub, tmp_path):
    folder, _, _ = small_tub
    for arguments, words in (({"fps": 0.0}, "cannot be"), ({"episodes_at": [99]}, "records 0 to 9: no episode can begin at 99")):
        with pytest.raises(ImportProblem, match=words):
            import_tub(folder, tmp_path / "s", **arguments)
    with pytest.raises(ImportProblem, match=r"has no manifest\.json"):
        import_tub(tmp_path, tmp_path / "s")
    (folder / "manifest.json").write_text("[]\n")
    with pytest.raises(ImportProblem, match="is not the manifest of a tub v2"):
        import_tub(folder, tmp_path / "s")
    shutil.rmtree(folder)
    (tmp_path / "s").mkdir()
    with pytest.raises(SessionExists, match="choose another name"):
        import_tub(folder, tmp_path / "s")


def told(path, kinds=("robot", "episode", "frame", "action")):
    """What a session says, without names and runs; pictures as bytes."""
    with SessionReader(path) as reader:
        for message in reader.events(kinds=kinds):
            e = message.envelope
            arrays = {name: array.tobytes() for name, array in message.arrays.items()}
            yield e.topic, e.seq, e.t_ns, e.mono_ns, e.episode, e.step, message.body, arrays


def stop_after(count):
    """Stops an import as Ctrl-C does, between two steps."""
    left = iter(range(count))

    def tell(done, total):
        if next(left, None) is None:
            raise KeyboardInterrupt

    return tell


@pytest.mark.parametrize("count", [11, 13, 15, 17, 19])
def test_an_interrupted_import_is_a_session_and_goes_on(small_tub, tmp_path, count):
    folder, lines, write = small_tub
    lines[2]["user/angle"] = float("nan")
    write(lines)
    for bad in (4, 5, 7):
        (folder / "images" / f"{bad}.jpg").write_bytes(b"no picture")
    whole = import_tub(folder, tmp_path / "whole", episodes_at=[6], strict=False)
    with pytest.raises(KeyboardInterrupt):
        import_tub(folder, tmp_path / "s", episodes_at=[6], strict=False, tell=stop_after(count))
    assert check(tmp_path / "s").exit_code == 0
    with SessionReader(tmp_path / "s") as reader:
        there = sum(row.frames for row in reader.episodes())
        assert reader.header.source["complete"] is False
    with pytest.raises(SessionExists, match=r"was interrupted, of something else .*episodes_at"):
        import_tub(folder, tmp_path / "s", episodes_at=[5], strict=False)
    again = import_tub(folder, tmp_path / "s", episodes_at=[6], strict=False)
    assert again.resumed_at == there < again.frames == whole.frames == 6
    assert (again.episodes, again.skipped, again.notes) == (whole.episodes, whole.skipped, whole.notes)
    kinds = ("robot", "episode", "frame", "action", "log")
    assert list(told(tmp_path / "s", kinds)) == list(told(tmp_path / "whole", kinds))
    with SessionReader(tmp_path / "s") as reader:
        assert reader.header.source["complete"] is True
        assert reader.header.source["left_out_count"] == 4
    assert check(tmp_path / "s").exit_code == 0
    with pytest.raises(SessionExists, match="choose another name"):
        import_tub(folder, tmp_path / "s", episodes_at=[6], strict=False)


def test_a_refusal_leaves_an_interrupted_import_as_it_was(small_tub, tmp_path):
    folder, _, _ = small_tub
    with pytest.raises(KeyboardInterrupt):
        import_tub(folder, tmp_path / "s", tell=stop_after(15))
    before = list(told(tmp_path / "s"))
    (folder / "images" / "8.jpg").unlink()
    with pytest.raises(ImportProblem, match=r"image 8\.jpg is missing"):
        import_tub(folder, tmp_path / "s")
    assert list(told(tmp_path / "s"))[: len(before)] == before
    assert import_tub(folder, tmp_path / "s", strict=False).frames == 9


def test_jumps_of_the_times_begin_episodes(small_tub, tmp_path):
    folder, lines, write = small_tub
    for index, line in enumerate(lines):
        line["_timestamp_ms"] += (60_000 if index >= 4 else 0) - (120_000 if index >= 7 else 0)
    write(lines)
    report = import_tub(folder, tmp_path / "s")
    assert report.episodes == 3
    assert [note.partition("catalog_0.catalog")[2] for note in report.notes] == [
        ":5: 60.05 s after the record before it, 0.05 s are usual; an episode begins here",
        ":8: 119.95 s before the record before it; an episode begins here",
    ]
    with SessionReader(tmp_path / "s") as reader:
        frames = list(reader.topic_messages("frame"))
        assert [frame.envelope.t_ns for frame in frames] == [line["_timestamp_ms"] * 10**6 for line in lines]  # as given
        assert all(a.envelope.mono_ns < b.envelope.mono_ns for a, b in pairwise(frames))
        assert [(row.first_step, row.last_step) for row in reader.episodes()] == [(0, 3), (0, 2), (0, 2)]
    assert import_tub(folder, tmp_path / "given", fps=20).notes == []  # --fps sets them
    lines[3]["_session_id"] = "24-01-01_1"
    write(lines)
    assert import_tub(folder, tmp_path / "drives", fps=20).episodes == 3


def test_missing_rows_are_named_and_leave_their_steps_empty(small_tub, tmp_path):
    folder, lines, write = small_tub
    del lines[9], lines[4:6]
    write(lines)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"deleted_indexes": []', '"deleted_indexes": [], "current_index": 10'))
    (folder / "catalog_0.catalog_manifest").write_text(json.dumps({"line_lengths": [3, 4]}))
    (folder / "catalog_7.catalog").touch()
    with pytest.raises(ImportProblem, match=r"has 2 faults; .*\n.*catalog_0.catalog:5: records 4 to 5 are missing before this one\n"):
        import_tub(folder, tmp_path / "s")
    report = import_tub(folder, tmp_path / "s", strict=False)
    assert [bad.why for bad in report.skipped] == [
        "records 4 to 5 are missing before this one",
        "it tells of records up to 9, and the last one is 8",
    ]
    assert "catalog_manifest tells of another length of line 1" in report.notes[0]
    assert "catalog_7.catalog is not named in the manifest" in report.notes[1]
    with SessionReader(tmp_path / "s") as reader:
        assert [frame.envelope.step for frame in reader.topic_messages("frame")] == [0, 1, 2, 3, 6, 7, 8]


def test_what_the_pilot_did_is_the_action_and_other_numbers_are_the_state(small_tub, tmp_path):
    folder, lines, write = small_tub
    for line, mode in zip(lines, ["user", "local", "local_angle"], strict=False):
        line.update({"user/mode": mode, "pilot/angle": -0.5, "pilot/throttle": 0.25, "enc/speed": 1.5})
    write(lines)
    manifest = folder / "manifest.json"
    rows = manifest.read_text().splitlines()
    rows[:2] = [json.dumps(["cam/image_array", "enc/speed", "tag"]), json.dumps(["image_array", "float", "str"])]
    manifest.write_text("\n".join(rows))
    report = import_tub(folder, tmp_path / "s")
    assert report.notes == ["fields that are no numbers, not imported: tag"]
    with SessionReader(tmp_path / "s") as reader:
        actions = [message.body.action for message in reader.topic_messages("action")][:3]
        assert actions == [{"angle": 0.0, "throttle": 0.5}, {"angle": -0.5, "throttle": 0.25}, {"angle": -0.5, "throttle": 0.5}]
        assert reader.robot.state_names == ["enc/speed"]
        states = [float(frame.arrays["state"][0]) for frame in reader.topic_messages("frame")]
        assert states[:3] == [1.5] * 3 and np.isnan(states[3:]).all()


@pytest.fixture
def drive(tmp_path, make, pixels):
    """A session of a car with all that a tub has no place for: states, marks, held-out episodes, holes, no last action."""
    robot = m.Robot(
        robot="car", driver="mine", params={"a": [1]}, cameras=[m.CameraInfo(name="wide", height=24, width=32)],
        actions=m.ActionSpaceInfo(names=["angle", "throttle"], low=[-1.0, 0.0], high=[1.0, 1.0]), state_names=["x", "y"], rate_hz=10.0,
        timing="lockstep", safe_action={"angle": 0.0, "throttle": 0.0},
    )  # fmt: skip
    path = tmp_path / "drive"
    with SessionWriter.create(path) as writer:
        writer.append(make("robot/car", 0, robot))
        seq = {"frame": 0, "action": 0, "episode": 0}

        def add(kind, body, episode, step, arrays=None):
            n = seq[kind]
            seq[kind] += 1
            at = episode * 10 + step
            when = {"t_ns": 10**18 + at * 10**8 + n * 7 + len(kind), "mono_ns": 5 * 10**9 + at * 10**8 + len(kind)}
            writer.append(make(f"{kind}/car", n, body, arrays, episode=episode, step=step, **when))

        for episode in (0, 2):
            add("episode", m.EpisodeMark(mark="start", reason="key", held_out=episode == 2), episode, 0)
            for step in (0, 1, 2, 4, 5):
                image = cv2.GaussianBlur(pixels(episode * 10 + step), (0, 0), 4)
                state = np.array([step / 3, -episode], np.float32)
                add("frame", m.Frame(held_out=episode == 2, last=step == 5), episode, step, {"image/wide": image, "state": state})
                if step < 5:
                    action = {"angle": np.sin(step), "throttle": step / 7}
                    taken = m.ActionTaken(action=action, by="random", start_ns=step, end_ns=step + 3, success=step != 1, safe=step == 2)
                    add("action", taken, episode, step)
            add("episode", m.EpisodeMark(mark="failure" if episode else "success", reason="é"), episode, 5)
            add("episode", m.EpisodeMark(mark="end", reason="limit"), episode, 5)
    return path


def test_a_session_comes_back_from_a_tub_value_by_value(drive, tmp_path):
    report = export_tub(drive, tmp_path / "tub")
    assert (report.frames, report.episodes, report.skipped) == (8, 2, [])
    assert report.notes == [f"drive episode {episode} step 5 has no action: a tub has no place for it" for episode in (0, 2)]
    back = import_tub(tmp_path / "tub", tmp_path / "back")
    assert (back.frames, back.episodes, back.rate_from, back.notes) == (8, 2, "as exported", [])
    was = [one for one in told(drive) if not (one[0] == "frame/car" and one[5] == 5)]
    now = list(told(tmp_path / "back"))
    assert len(was) == len(now) == 1 + 8 + 8 + 6
    numbers = {"frame/car": 0}
    for a, b in zip(was, now, strict=True):
        assert a[0] == b[0] and a[4:7] == b[4:7]
        if a[0] != "robot/car":
            assert a[2:4] == b[2:4], "times"
        assert list(a[7]) == list(b[7])
        if a[7]:
            assert a[7]["state"] == b[7]["state"]
            picture = np.frombuffer(a[7]["image/wide"], np.uint8).reshape(24, 32, 3)
            _, jpeg = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
            assert cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[:, :, ::-1].tobytes() == b[7]["image/wide"], "the codec's own error and no more"
            assert np.abs(picture.astype(int) - np.frombuffer(b[7]["image/wide"], np.uint8).reshape(24, 32, 3)).mean() < 2
            numbers[a[0]] += 1
    assert numbers == {"frame/car": 8}
    assert import_tub(tmp_path / "tub", tmp_path / "fast", fps=5).rate_from == "given"


def test_a_tub_has_one_camera_and_the_actions_of_a_car(drive, session, tmp_path):
    with pytest.raises(ExportProblem, match="a tub has the actions angle and throttle, this robot has dx"):
        export_tub(session, tmp_path / "tub")
    with pytest.raises(ExportProblem, match="no camera 'front': it has wide"):
        export_tub(drive, tmp_path / "tub", camera="front")
    (tmp_path / "tub").mkdir()
    with pytest.raises(ExportProblem, match="exists: delete it"):
        export_tub(drive, tmp_path / "tub")
    with pytest.raises(KeyboardInterrupt):
        export_tub(drive, tmp_path / "other", tell=stop_after(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive", "tub", "walk"]


def test_donkeycar_reads_an_exported_tub(imported, tmp_path):
    pytest.importorskip("donkeycar", reason="donkeycar is not installed")
    export_tub(imported[1], tmp_path / "tub")
    code = "import json, sys; from donkeycar.parts.tub_v2 import Tub; print(json.dumps(list(Tub(sys.argv[1], read_only=True))))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "tub")], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    with SessionReader(imported[1]) as reader:
        actions = [message.body.action for message in reader.topic_messages("action")]
    assert [{"angle": row["user/angle"], "throttle": row["user/throttle"]} for row in found] == actions
    assert [row["_index"] for row in found] == list(range(1000))
    assert all((tmp_path / "tub" / "images" / row["cam/image_array"]).is_file() for row in found)


MEASURE = """
import sys
from pathlib import Path
from storage.exchange.tub_import import import_tub
peak = 0
def tell(done, total):
    global peak
    if done % 500 == 0:
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = max(peak, next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))
print(import_tub(Path(sys.argv[1]), Path(sys.argv[2]), tell=tell).frames, peak)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_a_tub(small_tub, tmp_path):
    """Twenty times as many records take no more memory of the process's own; pages of the map are the system's."""
    folder, lines, _ = small_tub
    peaks = []
    for count in (5_000, 100_000):
        with (folder / "catalog_0.catalog").open("w") as file:
            for index in range(count):
                row = {**lines[index % 10], "_index": index, "_timestamp_ms": 1_700_000_000_000 + index * 50}
                file.write(json.dumps(row) + "\n")
        command = [sys.executable, "-c", MEASURE, str(folder), str(tmp_path / f"s{count}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        frames, peak = map(int, done.stdout.split())
        assert frames == count
        peaks.append(peak / 1024)
    assert peaks[1] < peaks[0] + 20, peaks  # MiB; the pictures are 220 MiB
