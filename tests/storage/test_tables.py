"""CSV and npz: the numbers of a session, exactly."""

import csv

import numpy as np
import pytest

from protocol import messages as m
from storage.errors import ExportProblem
from storage.exchange.npz_export import choose_cameras, export_npz
from storage.exchange.tables import export_csv
from storage.reader import SessionReader
from storage.writer import SessionWriter

CAMERAS = [m.CameraInfo(name=name, height=24, width=32) for name in ("left_wrist", "side", "overhead_cam")]


@pytest.fixture
def arm(tmp_path, make, pixels):
    """Two episodes: the first of five steps, the second with a hole and without an action for its last frame."""
    robot = m.Robot(
        robot="arm", driver="so101", params={}, cameras=CAMERAS, state_names=["pan", "lift"], rate_hz=10.0, timing="paced",
        actions=m.ActionSpaceInfo(names=["pan", "lift"], low=[-1.0, -1.0], high=[1.0, 1.0]), safe_action={"pan": 0.0, "lift": 0.0},
    )  # fmt: skip
    path = tmp_path / "arm"
    with SessionWriter.create(path) as writer:
        writer.append(make("robot/arm", 0, robot))
        for seq, (episode, step) in enumerate([(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (3, 0), (3, 1), (3, 4), (3, 5)]):
            arrays = {f"image/{camera.name}": pixels(10 * seq + place) for place, camera in enumerate(CAMERAS)}
            arrays["state"] = np.array([seq / 3, np.pi], np.float32)
            last = (episode, step) == (3, 5)
            writer.append(make("frame/arm", seq, m.Frame(held_out=episode == 3, last=last), arrays, episode=episode, step=step))
            if not last:
                action = {"pan": seq / 7, "lift": float("nan") if (episode, step) == (3, 1) else -0.1}
                body = m.ActionTaken(action=action, by="person", start_ns=seq, end_ns=seq + 5, success=seq != 2, safe=seq == 3)
                writer.append(make("action/arm", seq, body, episode=episode, step=step))
        writer.append(make("metrics/trainer", 0, m.Metrics(values={"loss": 0.1, "skill": 1 / 3}), episode=0, step=4))
        writer.append(make("episode/arm", 0, m.EpisodeMark(mark="success"), episode=0, step=4))
    return path


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_is_exact(arm, tmp_path):
    report = export_csv(arm, tmp_path / "csv")
    assert (report.frames, report.episodes, report.notes) == (9, 2, [])
    steps = rows(tmp_path / "csv" / "steps.csv")
    with SessionReader(arm) as reader:
        for row, frame in zip(steps, reader.topic_messages("frame"), strict=True):
            at, action = frame.envelope, reader.read("action", frame.envelope.episode, frame.envelope.step)
            assert [int(row[name]) for name in ("episode", "step", "t_ns", "mono_ns")] == [at.episode, at.step, at.t_ns, at.mono_ns]
            state = np.array([row["state/pan"], row["state/lift"]], float).astype(np.float32)
            assert state.tobytes() == frame.arrays["state"].tobytes()
            if action is None:
                assert row["action/pan"] == row["by"] == row["success"] == ""
            else:
                body = action.body
                assert float(row["action/pan"]) == body.action["pan"] and (row["by"], int(row["end_ns"])) == ("person", body.end_ns)
                assert (row["success"], row["safe"]) == (str(int(body.success)), str(int(body.safe)))
    assert steps[6]["action/lift"] == "nan"
    assert [row["seconds"] for row in steps[:3]] == ["0.0", "0.1", "0.2"] and steps[5]["seconds"] == "0.0"
    metrics = rows(tmp_path / "csv" / "metrics.csv")
    assert [(row["topic"], row["step"], row["name"], float(row["value"])) for row in metrics] == [
        ("metrics/trainer", "4", "loss", 0.1), ("metrics/trainer", "4", "skill", 1 / 3),
    ]  # fmt: skip
    episodes = rows(tmp_path / "csv" / "episodes.csv")
    assert [(row["episode"], row["frames"], row["actions"], row["held_out"], row["marks"]) for row in episodes] == [
        ("0", "5", "5", "0", "success"), ("3", "4", "3", "1", ""),
    ]  # fmt: skip


def test_npz_has_the_keys_of_openpis_converter(arm, tmp_path):
    with pytest.raises(ExportProblem, match="arm episode 3 step 1: lift is nan; --skip-bad takes what is sound"):
        export_npz(arm, tmp_path / "npz")
    assert not (tmp_path / "npz").exists()
    report = export_npz(arm, tmp_path / "npz", task="pick it up", strict=False)
    assert (report.frames, report.episodes, [str(bad) for bad in report.skipped]) == (7, 2, ["arm episode 3 step 1: lift is nan"])
    assert report.notes == [
        "arm episode 3 step 4: the row before it is step 0, no neighbour", "arm episode 3 step 5 has no action: it has no row",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "npz").iterdir()) == ["episode_000000.npz", "episode_000003.npz"]
    for episode, steps in ((0, [0, 1, 2, 3, 4]), (3, [0, 4])):
        with np.load(tmp_path / "npz" / f"episode_{episode:06d}.npz", allow_pickle=False) as data, SessionReader(arm) as reader:
            assert set(data) == {
                "observation/state", "observation/image", "observation/wrist_image", "action", "language_instruction",
                "is_first", "is_last", "is_terminal", "step", "t_ns",
            }  # fmt: skip
            frames = [reader.frame(episode, step) for step in steps]
            actions = [reader.read("action", episode, step).body.action for step in steps]
            assert data["step"].tolist() == steps and data["t_ns"].tolist() == [frame.envelope.t_ns for frame in frames]
            for key, camera in (("observation/image", "overhead_cam"), ("observation/wrist_image", "left_wrist")):
                assert data[key].dtype == np.uint8
                assert np.array_equal(data[key], np.stack([frame.arrays[f"image/{camera}"] for frame in frames])), "bit for bit"
            assert np.array_equal(data["observation/state"], np.stack([frame.arrays["state"] for frame in frames]))
            assert np.array_equal(data["action"], np.array([[one["pan"], one["lift"]] for one in actions], np.float32))
            assert data["language_instruction"].item() == "pick it up"
            edge = [False] * (len(steps) - 1)
            assert data["is_first"].tolist() == [True, *edge] and data["is_last"].tolist() == data["is_terminal"].tolist() == [*edge, True]


def test_npz_has_the_task_that_the_session_says(arm, tmp_path, make):
    with SessionWriter.create(arm, resume=True) as writer:
        for seq, (step, text) in enumerate(((0, "pick it up"), (3, "put it down"))):
            writer.append(make("log/arm", seq, m.LogRecord(level="INFO", logger="task", text=text), episode=0, step=step))
    report = export_npz(arm, tmp_path / "npz", strict=False)
    assert "episode 0 has several tasks: its language_instruction is the first, 'pick it up'" in report.notes
    for episode, task in ((0, "pick it up"), (3, "")):
        with np.load(tmp_path / "npz" / f"episode_{episode:06d}.npz") as data:
            assert data["language_instruction"].item() == task


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["a", "overhead_cam", "right_wrist"], ("overhead_cam", "right_wrist")),
        (["wrist", "b", "a"], ("b", "wrist")),
        (["front"], ("front", "")),
        (["wrist"], ("wrist", "")),
        (["x_depth", "front"], ("front", "")),
    ],
)
def test_cameras_are_chosen_as_openpis_converter_does(robot, names, chosen):
    import msgspec

    assert choose_cameras(msgspec.structs.replace(robot, cameras=[m.CameraInfo(name=name, height=1, width=1) for name in names])) == chosen


def test_what_has_no_steps_cannot_be_exported(tmp_path, robot, make):
    with SessionWriter.create(tmp_path / "none"):
        pass
    with pytest.raises(ExportProblem, match="session none has no robot, and so no steps to export"):
        export_csv(tmp_path / "none", tmp_path / "out")
    with SessionWriter.create(tmp_path / "empty") as writer:
        writer.append(make("robot/robot", 0, robot))
    with pytest.raises(ExportProblem, match="no step with a picture and an action"):
        export_npz(tmp_path / "empty", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "none"]
