"""A LeRobot dataset becomes a session: value by value, honest about what is broken, interrupted and gone on with."""

import json
import os
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from protocol import messages as m
from storage.errors import ImportProblem, SessionExists, StorageError
from storage.exchange.lerobot.importing import import_lerobot
from storage.header import read_header
from storage.reader import SessionReader
from storage.verify import check

DATA, EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
TOP = "videos/observation.images.top/chunk-000/file-000.mp4"
NAN = float("nan")
KILLED = """
import os, signal, sys
from pathlib import Path
from storage.exchange.lerobot.importing import import_lerobot

def tell(done, total):
    if done == 15:
        os.kill(os.getpid(), signal.SIGKILL)

import_lerobot(Path(sys.argv[1]), Path(sys.argv[2]), tell=tell)
"""


def change(file: Path, **columns) -> None:
    """Replace columns of a parquet file: name to a function from its values to new ones."""
    table = pq.read_table(file)
    for name, change_values in columns.items():
        name = name.replace("__", "/")
        place, field = table.schema.get_field_index(name), table.schema.field(name)
        table = table.set_column(place, field, pa.array(change_values(table[name].to_pylist()), field.type))
    pq.write_table(table, file)


def rows(path: Path, keep) -> None:
    table = pq.read_table(path)
    pq.write_table(table.take([place for place in range(len(table)) if keep(place)]), path)


def info(root: Path, **fields) -> None:
    file = root / "meta/info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def feature(root: Path, key: str, **fields) -> None:
    file = root / "meta/info.json"
    data = json.loads(file.read_text())
    data["features"][key].update(fields)
    file.write_text(json.dumps(data))


def set_at(place: int, value):
    return lambda values: [value if at == place else old for at, old in enumerate(values)]


def hurt(file: Path, share: float, length: int) -> None:
    """Overwrite bytes of a video, this far into its frames."""
    data = bytearray(file.read_bytes())
    start, end = data.index(b"mdat"), data.index(b"moov") if data.index(b"moov") > data.index(b"mdat") else len(data)
    at = start + int(share * (end - start))
    data[at : at + length] = bytes((i * 37 + 11) % 256 for i in range(length))
    file.write_bytes(data)


def png(image: np.ndarray) -> bytes:
    data = BytesIO()
    Image.fromarray(image).save(data, "PNG")
    return data.getvalue()


def test_every_value_is_as_lerobots_own_reader_gives_it(dataset, loaded, tmp_path):
    report = import_lerobot(dataset, tmp_path / "s")
    assert (report.frames, report.episodes, report.rate_hz, report.skipped, report.notes) == (21, 2, 10.0, [], [])
    truth = loaded(dataset)
    with SessionReader(tmp_path / "s") as reader:
        frames, actions, extras = (list(reader.topic_messages(kind)) for kind in ("frame", "action", "metrics"))
        assert len(truth) == 21
        for item, frame, action, extra in zip((truth[i] for i in range(21)), frames, actions, extras, strict=True):
            envelope = frame.envelope
            assert (envelope.episode, envelope.step) == (int(item["episode_index"]), int(item["frame_index"]))
            start_ns = envelope.episode * 12 * 10**8
            assert (envelope.t_ns, envelope.mono_ns) == (start_ns + envelope.step * 10**8,) * 2
            for camera in ("top", "wrist"):
                assert np.array_equal(frame.arrays[f"image/{camera}"], item[f"observation.images.{camera}"].permute(1, 2, 0).numpy())
            assert np.array_equal(frame.arrays["state"], item["observation.state"].numpy())
            assert list(action.body.action) == ["pan", "lift", "grip"]
            assert list(action.body.action.values()) == item["action"].double().tolist()
            assert extra.body.values == {"next.reward": float(item["next.reward"]), "next.success": float(item["next.success"])}
        tasks = [(log.envelope.episode, log.envelope.step, log.body.text) for log in reader.topic_messages("log")]
        assert tasks == [(0, 0, "pick"), (0, 5, "place 0"), (1, 0, "pick"), (1, 5, "place 1")]
        marks = [(mark.envelope.episode, mark.body.mark) for mark in reader.topic_messages("episode")]
        assert marks == [(0, "start"), (0, "success"), (0, "end"), (1, "start"), (1, "failure"), (1, "end")]
        robot = reader.robot
    assert robot.cameras == [m.CameraInfo(name="top", height=48, width=64), m.CameraInfo(name="wrist", height=48, width=32)]
    assert (robot.state_names, robot.rate_hz, robot.timing) == (["x", "y"], 10.0, "paced")
    assert robot.safe_action == {"pan": 0.0, "lift": 0.0, "grip": -1.0}
    assert robot.actions.low == [0.0, 0.0, -1.0] and robot.actions.high == [pytest.approx(108 / 7), 11.0, -1.0]
    assert check(tmp_path / "s").exit_code == 0
    source = read_header(tmp_path / "s").source
    assert source["complete"] and "no clock saw them" in source["times"]


def test_a_real_dataset_with_two_cameras(recordings, loaded, tmp_path):
    root = recordings / "g1_bottle_v30_2cam"
    report = import_lerobot(root, tmp_path / "s")
    assert (report.frames, report.episodes, report.skipped) == (498, 2, [])
    truth = loaded(root)
    with SessionReader(tmp_path / "s") as reader:
        for place in (0, 1, 220, 221, 222, 497):
            item = truth[place]
            episode, step = int(item["episode_index"]), int(item["frame_index"])
            for camera in ("cam_high", "hand_crop"):
                expected = item[f"observation.images.{camera}"].permute(1, 2, 0).numpy()
                assert np.array_equal(reader.frame(episode, step).arrays[f"image/{camera}"], expected)
            action = reader.read("action", episode, step)
            assert list(action.body.action.values()) == item["action"].double().tolist()
        assert len(reader.robot.actions.names) == 26
    assert check(tmp_path / "s").exit_code == 0


BROKEN = {
    "nan action": (lambda r: change(r / DATA, action=set_at(4, [0.0, NAN, 0.0])), "file-000.parquet: row 4: action is nan (lift)", 20),
    "null action": (lambda r: change(r / DATA, action=set_at(4, None)), "row 4: action is missing", 20),
    "state without end": (
        lambda r: change(r / DATA, **{"observation.state": set_at(4, [0.0, float("inf")])}), "row 4: observation.state is inf (y)", 20,
    ),
    "other shape": (lambda r: feature(r, "action", shape=[4]), "file-000.parquet: row 0: action has 3 numbers, expected 4", None),
    "missing rows": (lambda r: rows(r / DATA, lambda at: at not in (3, 4)), "2 rows are missing before frame 5 of episode 0", 19),
    "missing row": (lambda r: rows(r / DATA, lambda at: at != 3), "1 row is missing before frame 4 of episode 0", 20),
    "a row twice": (lambda r: change(r / DATA, frame_index=set_at(11, 10)), "row 11: frame_index goes from 10 to 10", 20),
    "missing end": (lambda r: rows(r / DATA, lambda at: at < 19), "episode 1: the metadata give it 9 frames, there are rows of 7", 19),
    "time goes back": (lambda r: change(r / DATA, timestamp=set_at(6, 0.2)), "row 6: timestamp 0.2 s stands after 0.5 s", 20),
    "time jumps": (
        lambda r: change(r / DATA, timestamp=lambda v: [t + 30 * (9 <= i < 12) for i, t in enumerate(v)]),
        "row 9: timestamp jumps by 30.1 s, 0.1 s are usual",
        20,
    ),
    "nan time": (lambda r: change(r / DATA, timestamp=set_at(6, NAN)), "row 6: timestamp is nan", 20),
    "no data file": (lambda r: (r / DATA).unlink(), "file-000.parquet: is missing; episode 0 is not whole", None),
    "damaged data file": (lambda r: (r / DATA).write_bytes(b"PAR1 nothing PAR1"), "cannot be read from row 0 on", None),
    "column missing": (
        lambda r: pq.write_table(pq.read_table(r / DATA).drop_columns(["next.reward"]), r / DATA),
        "has no column 'next.reward', which meta/info.json promises",
        None,
    ),
    "no video": (lambda r: (r / TOP).unlink(), "top/chunk-000/file-000.mp4: is missing", None),
    "no video inside": (lambda r: (r / TOP).write_bytes(b"nothing"), "file-000.mp4: is not a video that can be opened", None),
    "other codec": (
        lambda r: feature(r, "observation.images.top", info={"video.codec": "av1"}),
        "top/chunk-000/file-000.mp4: the codec is h264, meta/info.json says av1",
        21,
    ),
    "other size": (
        lambda r: feature(r, "observation.images.top", shape=[96, 64, 3]),
        "the pictures are 64x48, meta/info.json says 64x96",
        21,
    ),
    "other rate": (lambda r: info(r, fps=20), "the video has 10 frames a second, meta/info.json says 20", 11),
    "other count": (lambda r: info(r, total_frames=22), "info.json: total_frames is 22, by meta/episodes it is 21", 21),
    "other count of episodes": (lambda r: info(r, total_episodes=3), "info.json: total_episodes is 3, by meta/episodes it is 2", 21),
    "other length": (lambda r: change(r / EPISODES, length=set_at(1, 11)), "episode 1 has length 11, and goes from index 12 to 21", 21),
    "video promised longer": (
        lambda r: change(r / EPISODES, **{"videos__observation.images.top__to_timestamp": set_at(1, 9.0)}),
        "file-000.mp4: ends at 2.100 s, by the metadata episode 1 goes to 9.000 s",
        21,
    ),
    "video promised shorter": (
        lambda r: change(r / EPISODES, **{"videos__observation.images.top__from_timestamp": set_at(1, 1.3)}),
        "meta/episodes: row 1: episode 1 has length 9, its part of video observation.images.top has 8.0 frames",
        20,
    ),
    "no time": (lambda r: change(r / DATA, timestamp=set_at(0, 1e30)), "row 0: timestamp is 1.", 20),
    "unknown task": (lambda r: change(r / DATA, task_index=set_at(2, 7)), "row 2: task_index is 7, and meta/tasks.parquet has no", 21),
    "other numbering": (lambda r: change(r / DATA, index=lambda v: [i + 1 for i in v]), "row 0: index is 1, by the metadata", 21),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_told_with_its_place_and_the_rest_is_taken_on_request(mine, tmp_path, case):
    breaks, words, left = BROKEN[case]
    breaks(mine)
    with pytest.raises(ImportProblem) as caught:
        import_lerobot(mine, tmp_path / "s")
    assert [line for line in str(caught.value).splitlines() if words in line], str(caught.value)
    assert not (tmp_path / "s").exists()
    if left is None:
        with pytest.raises(ImportProblem, match="has nothing to import"):
            import_lerobot(mine, tmp_path / "s", strict=False)
        return
    report = import_lerobot(mine, tmp_path / "s", strict=False)
    told = [*map(str, report.skipped), *report.notes]
    assert report.frames == left and any(words in line for line in told), told
    source = read_header(tmp_path / "s").source
    assert any(words in line for line in [*source.get("left_out", []), *source.get("notes", [])])
    assert check(tmp_path / "s").exit_code == 0


@pytest.mark.parametrize("file", ["videos/observation.images.wrist/chunk-000/file-001.mp4", "data/chunk-000/file-001.parquet"])
def test_of_many_files_one_is_missing(write_dataset, tmp_path, file):
    root = write_dataset(tmp_path / "d", video_files_size_in_mb=1e-6, data_files_size_in_mb=1e-6)  # a file an episode
    assert import_lerobot(root, tmp_path / "whole").frames == 21
    (root / file).unlink()
    with pytest.raises(ImportProblem, match=rf"{file}: is missing"):
        import_lerobot(root, tmp_path / "s")
    report = import_lerobot(root, tmp_path / "s", strict=False)
    assert (report.frames, report.episodes) == (12, 1)
    assert [str(bad).startswith(f"{root / file}: is missing") and "episode 1 is " in bad.why for bad in report.skipped] == [True]


def test_frames_that_cannot_be_decoded_leave_their_steps_empty(mine, tmp_path):
    hurt(mine / TOP, 0.3, 40)
    with pytest.raises(ImportProblem, match=r"top/chunk-000/file-000\.mp4: frame \d+ of episode 0: the frame cannot be decoded"):
        import_lerobot(mine, tmp_path / "s")
    assert not (tmp_path / "s").exists()
    report = import_lerobot(mine, tmp_path / "s", strict=False)
    assert report.skipped and report.frames == 21 - len(report.skipped)
    lost = {int(str(bad).split("frame ")[1].split()[0]) for bad in report.skipped}
    with SessionReader(tmp_path / "s") as reader:
        assert {frame.envelope.step for frame in reader.topic_messages("frame") if frame.envelope.episode == 0} == set(range(12)) - lost


def test_a_video_that_ends_early_ends_its_episode(mine, tmp_path):
    import av

    with av.open(str(mine / TOP)) as video:  # the frames of episode 1 from its third one on are gone
        at = [packet.pos for packet in video.demux(video.streams.video[0]) if packet.size][14]
    data = (mine / TOP).read_bytes()
    if data.index(b"moov") > data.index(b"mdat"):
        pytest.fail("lerobot wrote the index behind the frames: cut the file another way")
    (mine / TOP).write_bytes(data[:at])
    with pytest.raises(ImportProblem, match=r"file-000\.mp4: frame 2 of episode 1: the video ends at 1\.4"):
        import_lerobot(mine, tmp_path / "s")
    report = import_lerobot(mine, tmp_path / "s", strict=False)
    assert report.frames == 14
    assert [bad.why.startswith("the video ends at 1.4") for bad in report.skipped] == [True]
    assert "frame 2 of episode 1" in report.skipped[0].where


def test_an_interrupted_import_goes_on_where_it_was(mine, tmp_path):
    change(mine / DATA, action=set_at(4, [NAN] * 3))
    hurt(mine / TOP, 0.3, 40)
    whole = import_lerobot(mine, tmp_path / "whole", strict=False)
    for stop in (3, 9, 13, 20):

        def tell(done: int, total: int, stop: int = stop) -> None:
            assert total == 21
            if done == stop:
                raise KeyboardInterrupt

        target = tmp_path / f"s{stop}"
        with pytest.raises(KeyboardInterrupt):
            import_lerobot(mine, target, strict=False, tell=tell)
        assert check(target).exit_code == 0
        assert read_header(target).source["complete"] is False
        with pytest.raises(SessionExists, match="stack differ"):
            import_lerobot(mine, target, strict=False, stack="horizontal")
        report = import_lerobot(mine, target, strict=False)
        assert (report.frames, report.skipped) == (whole.frames, whole.skipped)
        same_events(tmp_path / "whole", target)
        with pytest.raises(SessionExists, match="choose another name"):
            import_lerobot(mine, target, strict=False)


@pytest.mark.slow
def test_an_import_that_was_killed_goes_on_where_it_was(dataset, tmp_path):
    target = tmp_path / "s"
    command = [sys.executable, "-c", KILLED, str(dataset), str(target)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    killed = subprocess.run(command, capture_output=True, env=env, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-500:]
    import_lerobot(dataset, tmp_path / "whole")
    assert import_lerobot(dataset, target).frames == 21
    same_events(tmp_path / "whole", target)


def same_events(a: Path, b: Path) -> None:
    with SessionReader(a) as first, SessionReader(b) as second:
        for x, y in zip(first.events(), second.events(), strict=True):
            assert x.body == y.body
            assert (x.envelope.topic, x.envelope.seq, x.envelope.t_ns, x.envelope.mono_ns) == (
                y.envelope.topic, y.envelope.seq, y.envelope.t_ns, y.envelope.mono_ns,
            )  # fmt: skip
            assert all(np.array_equal(x.arrays[name], y.arrays[name]) for name in x.arrays)


def test_real_time_stamps_are_kept_and_told(mine, tmp_path):
    change(mine / DATA, timestamp=lambda values: [time + 0.003 * (place % 3) for place, time in enumerate(values)])
    report = import_lerobot(mine, tmp_path / "s")
    assert report.rate_from == read_header(tmp_path / "s").source["times"] == "the time stamps of the dataset"
    stamps = pq.read_table(mine / DATA)["timestamp"].to_pylist()
    with SessionReader(tmp_path / "s") as reader:
        times = [frame.envelope.t_ns for frame in reader.topic_messages("frame")]
    assert times[:12] == [round(stamp * 10**9) for stamp in stamps[:12]]
    base = times[12] - round(stamps[12] * 10**9)
    assert base == times[11] + 10**8
    assert times[12:] == [base + round(stamp * 10**9) for stamp in stamps[12:]]


def test_pictures_that_are_cut_or_missing(write_dataset, tmp_path):
    features = {"observation.images.top": {"dtype": "image", "shape": (48, 64, 3), "names": ["height", "width", "channels"]}}
    root = write_dataset(tmp_path / "d", features)
    pictures = pq.read_table(root / DATA)["observation.images.top"].to_pylist()
    bad = [dict(picture) for picture in pictures]
    bad[3]["bytes"] = bad[3]["bytes"][:-40]
    bad[4] = None
    bad[5]["bytes"] = b"no picture"
    bad[14]["bytes"] = png(np.zeros((24, 64, 3), np.uint8))
    change(root / DATA, **{"observation.images.top": lambda values: bad})
    with pytest.raises(ImportProblem, match=r"row 3: observation\.images\.top: the picture cannot be decoded: "):
        import_lerobot(root, tmp_path / "s")
    report = import_lerobot(root, tmp_path / "s", strict=False)
    assert [bad.where.split("row ")[1].split(":")[0] for bad in report.skipped] == ["3", "4", "5", "14"]
    assert report.skipped[1].why == "the picture is missing"
    assert report.skipped[3].why == "the picture is 64x24, expected 64x48"
    with SessionReader(tmp_path / "s") as reader:
        assert reader.robot.actions.names == []
        assert [f.envelope.step for f in reader.topic_messages("frame")][:6] == [0, 1, 2, 6, 7, 8]


def test_an_episode_that_is_told_of_twice(mine, tmp_path):
    change(mine / EPISODES, episode_index=lambda values: [0, 0])
    with pytest.raises(ImportProblem, match="episode 0 stands in the place of episode 1"):
        import_lerobot(mine, tmp_path / "s")
    report = import_lerobot(mine, tmp_path / "s", strict=False)
    assert report.frames == 12
    assert report.skipped[0].why == "episode 0 is told of twice: the second one is left out"


def test_cameras_stacked_on_request(dataset, tmp_path):
    import_lerobot(dataset, tmp_path / "apart")
    import_lerobot(dataset, tmp_path / "s", stack="horizontal")
    with SessionReader(tmp_path / "apart") as apart, SessionReader(tmp_path / "s") as reader:
        assert reader.robot.cameras == [m.CameraInfo(name="stacked", height=48, width=96)]
        for one, all_of_it in zip(reader.topic_messages("frame"), apart.topic_messages("frame"), strict=True):
            both = [all_of_it.arrays[f"image/{camera}"] for camera in ("top", "wrist")]
            assert np.array_equal(one.arrays["image/stacked"], np.concatenate(both, axis=1))
    with pytest.raises(ImportProblem, match="must be equally wide: top 64x48, wrist 32x48"):
        import_lerobot(dataset, tmp_path / "v", stack="vertical")


def test_cameras_stacked_below_each_other(write_dataset, scene, tmp_path):
    picture = {"dtype": "image", "names": ["height", "width", "channels"]}
    features = {"observation.images.a": {**picture, "shape": (16, 32, 3)}, "observation.images.b": {**picture, "shape": (8, 32, 3)}}
    import_lerobot(write_dataset(tmp_path / "d", features), tmp_path / "s", stack="vertical")
    with SessionReader(tmp_path / "s") as reader:
        assert np.array_equal(reader.frame(1, 3).arrays["image/stacked"], np.concatenate([scene(103, 16, 32), scene(103, 8, 32)]))


def test_whole_number_actions_pictures_and_other_keys(write_dataset, scene, loaded, tmp_path):
    features = {
        "rgb.head": {"dtype": "image", "shape": (40, 30, 3), "names": ["height", "width", "channels"]},
        "action.keys": {"dtype": "int64", "shape": (1,), "names": None},
        "joints": {"dtype": "float64", "shape": (2, 2), "names": None},
    }
    root = write_dataset(tmp_path / "d", features, lambda e, f: {"action.keys": np.array([f % 3]), "joints": np.full((2, 2), f / 3)})
    report = import_lerobot(root, tmp_path / "s", state="joints")
    assert report.notes == ["joints is float64, kept as float32"]
    with SessionReader(tmp_path / "s") as reader:
        assert reader.robot.actions.choices == [{"keys": 0.0}, {"keys": 1.0}, {"keys": 2.0}]
        assert reader.robot.state_names == ["joints.0", "joints.1", "joints.2", "joints.3"]
        for frame in reader.topic_messages("frame"):
            number = 100 * frame.envelope.episode + frame.envelope.step
            assert np.array_equal(frame.arrays["image/rgb.head"], scene(number, 40, 30))
            assert reader.read("action", frame.envelope.episode, frame.envelope.step).body.action == {"keys": frame.envelope.step % 3}
            assert np.array_equal(frame.arrays["state"], np.full(4, frame.envelope.step / 3, np.float32))
    with pytest.raises(ImportProblem, match=r"has no column of numbers 'hands'; there are action\.keys, joints"):
        import_lerobot(root, tmp_path / "t", action="hands")


def test_what_is_no_dataset_of_today_is_named(mine, recordings, tmp_path, monkeypatch, caplog):
    with pytest.raises(
        ImportProblem, match=r"g1_bottle_v21 is LeRobot v2\.1.*convert_dataset_v21_to_v30 --repo-id=local/g1_bottle_v21 --root="
    ):
        import_lerobot(recordings / "g1_bottle_v21", tmp_path / "s")
    with pytest.raises(ImportProblem, match=r"it has no meta/info\.json"):
        import_lerobot(tmp_path, tmp_path / "s")
    info(mine, codebase_version="v9.9")
    with pytest.raises(ImportProblem, match=r"says LeRobot v9\.9, toddle reads v3\.0"):
        import_lerobot(mine, tmp_path / "s")
    info(mine, codebase_version="v3.0")
    (mine / "meta/tasks.parquet").rename(mine / "tasks")
    with pytest.raises(ImportProblem, match=r"tasks\.parquet is missing"):
        import_lerobot(mine, tmp_path / "s")
    (mine / "tasks").rename(mine / "meta/tasks.parquet")
    info(mine, codebase_version=None)
    with pytest.raises(ImportProblem, match=r"info\.json is not that of a LeRobot dataset: it has no codebase_version"):
        import_lerobot(mine, tmp_path / "s")
    info(mine, codebase_version="v3.0")
    pq.write_table(pq.read_table(mine / EPISODES).slice(0, 0), mine / EPISODES)
    with pytest.raises(ImportProblem, match=r"meta cannot be read by lerobot: ArrowInvalid: "):
        import_lerobot(mine, tmp_path / "s")
    (mine / EPISODES).write_bytes(b"PAR1")
    with pytest.raises(ImportProblem, match=r"meta cannot be read by lerobot: "):
        import_lerobot(mine, tmp_path / "s")
    assert caplog.records == []  # of datasets, which would log what the error says
    monkeypatch.setitem(sys.modules, "lerobot.datasets.dataset_metadata", None)
    with pytest.raises(StorageError, match=r"lerobot, which is not installed .*\[export\]"):
        import_lerobot(mine, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_dataset_without_actions_says_so(mine, tmp_path):
    feature(mine, "action", shape=[-3])
    with pytest.raises(ImportProblem, match=r"feature 'action' has no dtype and shape"):
        import_lerobot(mine, tmp_path / "s")
    features = json.loads((mine / "meta/info.json").read_text())["features"]
    del features["action"]
    info(mine, features=features)
    report = import_lerobot(mine, tmp_path / "s")
    assert report.notes == [f"{mine}/meta/info.json: no column is called action: no frame has one; --action KEY takes it from another"]
    with SessionReader(tmp_path / "s") as reader:
        assert not list(reader.topic_messages("action")) and report.frames == 21


def test_the_same_dataset_in_another_folder_has_the_same_content(dataset, mine, tmp_path, content):
    import_lerobot(dataset, tmp_path / "s")
    import_lerobot(mine, tmp_path / "t")
    assert content(tmp_path / "s") == content(tmp_path / "t")
