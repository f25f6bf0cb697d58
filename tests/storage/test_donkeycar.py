"""A Donkeycar tub becomes a session as a live run would have left it."""

import json
import shutil
from array import array
from itertools import pairwise

import numpy as np
import pytest

from protocol import messages as m
from storage.errors import ImportProblem, SessionExists
from storage.exchange.tub import rate_hz
from storage.exchange.tub_import import import_tub
from storage.reader import SessionReader
from storage.verify import check

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
    assert "\n" not in str(caught.value)
    assert not root.exists() or list(root.iterdir()) == []


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
