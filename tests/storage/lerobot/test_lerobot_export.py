"""A session becomes a LeRobot dataset that lerobot reads and trains on, and comes back as it was."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protocol import messages as m
from storage.errors import ExportProblem
from storage.exchange.lerobot.exporting import export_lerobot
from storage.exchange.lerobot.importing import import_lerobot
from storage.exchange.lerobot.video import VideoFrames
from storage.header import read_header
from storage.reader import SessionReader
from storage.verify import check
from storage.writer import SessionWriter

SIZE = (48, 64)


@pytest.fixture
def arm() -> m.Robot:
    return m.Robot(
        robot="arm", driver="so101", params={"port": "x"}, cameras=[m.CameraInfo(name="front", height=48, width=64)],
        actions=m.ActionSpaceInfo(names=["pan", "grip"], low=[-1.0, 0.0], high=[1.0, 1.0]), state_names=["pan"], rate_hz=9.6,
        timing="paced", safe_action={"pan": 0.0, "grip": 0.0},
    )  # fmt: skip


@pytest.fixture
def live(tmp_path, arm, make, scene) -> Path:
    """What a robot left: a success, a failure with a missing step, one discarded, one held out and without an end.

    Each ends with a frame without an action.
    """
    path = tmp_path / "live"
    seq: dict[str, int] = {}

    def message(kind: str, body: m.Body, at_ms: int = 0, arrays: dict | None = None, **fields) -> m.Message:
        number = seq[kind] = seq.get(kind, -1) + 1
        return make(f"{kind}/arm", number, body, arrays, t_ns=10**18 + at_ms * 10**6, mono_ns=at_ms * 10**6, **fields)

    with SessionWriter.create(path) as writer:
        writer.append(message("robot", arm))
        at = 0
        for episode, marks in enumerate((["success", "end"], ["failure", "end"], ["discard", "end"], [])):
            held_out = episode == 3
            writer.append(message("episode", m.EpisodeMark(mark="start", reason="key", held_out=held_out), at, episode=episode, step=0))
            for step in range(8):
                at += 104 + step % 3
                if (episode, step) == (1, 4):
                    continue
                fields = {"episode": episode, "step": step}
                arrays = {"image/front": scene(30 * episode + step, *SIZE), "state": np.array([step / 3], np.float32)}
                writer.append(message("frame", m.Frame(held_out=held_out, last=step == 7), at, arrays, **fields))
                if step < 7:
                    action = {"pan": float(np.float32(step / 9)), "grip": 0.5 * (step % 3)}
                    taken = m.ActionTaken(action=action, by="person" if step < 3 else "random", start_ns=0, end_ns=1, safe=step == 2)
                    writer.append(message("action", taken, at, **fields))
            for mark in marks:
                writer.append(message("episode", m.EpisodeMark(mark=mark, reason="key"), at + 1, episode=episode, step=7))
    return path


def told(path: Path, kind: str) -> list[tuple]:
    """Everything of a kind that an export keeps, but for discarded episodes."""
    with SessionReader(path) as reader:
        found = []
        for message in reader.topic_messages(kind):
            envelope, body = message.envelope, message.body
            if envelope.episode == 2:
                continue
            if isinstance(body, m.ActionTaken):
                body = (body.action, body.by, body.safe, body.success)
            found.append((envelope.topic, envelope.episode, envelope.step, envelope.t_ns, envelope.mono_ns, body))
        return found


def test_a_live_session_comes_back_value_by_value(live, tmp_path):
    report = export_lerobot(live, tmp_path / "d", pictures=True)
    assert (report.episodes, report.frames, report.skipped) == (4, 23, [])
    assert report.notes == [
        "8 frames of 1 discarded episodes are left out",
        "3 frames have no action: the one before stands there, and meta/toddle.json tells which they are",
        "9.6 frames a second are told as 10: LeRobot takes whole numbers; capture_time_ns is exact",
    ]
    back = import_lerobot(tmp_path / "d", tmp_path / "back")
    assert (back.frames, back.episodes, back.skipped, back.notes, back.rate_from) == (23, 3, [], [], "as exported")
    for kind in ("robot", "frame", "action", "episode"):
        assert told(tmp_path / "back", kind) == told(live, kind)
    with SessionReader(live) as before, SessionReader(tmp_path / "back") as after:
        for frame in after.topic_messages("frame"):
            was = before.frame(frame.envelope.episode, frame.envelope.step)
            assert all(np.array_equal(frame.arrays[name], was.arrays[name]) for name in ("image/front", "state"))
    assert check(tmp_path / "back").exit_code == 0


def test_lerobot_reads_it_offline(live, tmp_path, loaded, scene):
    export_lerobot(live, tmp_path / "d", pictures=True, task="wave")
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    dataset = loaded(tmp_path / "d", delta_timestamps={"action": [0.0, 0.1, 0.2]})
    assert (len(dataset), dataset.num_episodes, dataset.fps, dataset.meta.robot_type) == (23, 4, 10, "so101")
    assert [int(row["length"]) for row in dataset.meta.episodes] == [8, 4, 3, 8]  # cut where a step is missing
    steps = [0, 1, 2, 3, 5, 6, 7]
    rows = [dataset[place] for place in range(8, 15)]
    for step, item in zip(steps, rows, strict=True):
        assert np.array_equal((item["observation.images.front"].permute(1, 2, 0) * 255).round().byte().numpy(), scene(30 + step, *SIZE))
        assert item["observation.state"].item() == np.float32(step / 3)
        assert item["task"] == "wave"
    assert [bool(item["action_is_pad"][1]) for item in rows] == [False, False, False, True, False, False, True]
    assert [bool(item["next.done"]) for item in rows] == [False] * 6 + [True]
    assert [bool(dataset[place]["next.success"]) for place in (6, 7, 14, 22)] == [False, True, False, False]
    assert set(dataset.meta.stats["action"]) >= {"min", "max", "mean", "std"}


def test_video_is_as_good_as_its_codec(live, tmp_path, scene, capfd):
    """Frames that come back differ from those that went as the encoder itself makes them differ, no more; and encoders are silent."""
    from lerobot.configs import RGBEncoderConfig

    av = pytest.importorskip("av")
    export_lerobot(live, tmp_path / "d", codec="h264")
    assert capfd.readouterr() == ("", "")
    import_lerobot(tmp_path / "d", tmp_path / "back")
    options = RGBEncoderConfig(vcodec="h264").get_codec_options(as_strings=True)
    with av.open(str(tmp_path / "own.mp4"), "w") as out:
        stream = out.add_stream("h264", 10, options=options)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        for step in range(8):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(scene(step, *SIZE), format="rgb24")))
        out.mux(stream.encode())
    with SessionReader(tmp_path / "back") as reader, VideoFrames(10) as codec:
        for step in range(8):
            came = reader.frame(0, step).arrays["image/front"].astype(int)
            sent = scene(step, *SIZE).astype(int)
            bare = codec.frame(tmp_path / "own.mp4", step / 10).astype(int)
            assert 0 < np.abs(came - sent).mean() <= 1.05 * np.abs(bare - sent).mean()


def test_a_dataset_comes_back_with_its_own_columns(dataset, loaded, tmp_path):
    import_lerobot(dataset, tmp_path / "s")
    report = export_lerobot(tmp_path / "s", tmp_path / "d", pictures=True)
    assert (report.frames, report.notes) == (21, [])
    before, after = loaded(dataset), loaded(tmp_path / "d")
    assert set(after.meta.features) - set(before.meta.features) == {"capture_time_ns"}
    for place in range(21):
        was, now = before[place], after[place]
        for key in ("observation.state", "action", "next.reward", "next.success", "timestamp", "frame_index", "episode_index", "index"):
            assert now[key].dtype == was[key].dtype
            assert np.array_equal(now[key], was[key])
        assert now["task"] == was["task"]
        for camera in ("top", "wrist"):
            picture = (now[f"observation.images.{camera}"] * 255).round().byte()
            assert np.array_equal(picture, was[f"observation.images.{camera}"])


def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(live, session, tmp_path, arm, make, scene):
    target = tmp_path / "out" / "d"
    with SessionWriter.create(tmp_path / "empty") as writer:
        writer.append(make("robot/arm", 0, arm))
    with pytest.raises(ExportProblem, match="session empty has no frames to export"):
        export_lerobot(tmp_path / "empty", target)
    with SessionWriter.create(tmp_path / "odd") as writer:
        writer.append(make("robot/arm", 0, arm))
        writer.append(make("frame/arm", 0, m.Frame(), {"image/front": scene(0, 47, 64)}, episode=0, step=0))
    with pytest.raises(ExportProblem, match="camera front 64x47: video needs an even width and height; --pictures"):
        export_lerobot(tmp_path / "odd", target)

    def tell(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_lerobot(live, target, pictures=True, tell=tell)
    assert list(target.parent.iterdir()) == []
    target.mkdir()
    with pytest.raises(ExportProblem, match="exists: delete it, or choose another place"):
        export_lerobot(live, target)


def test_a_step_that_does_not_fit_is_left_out_on_request(tmp_path, arm, make, scene):
    with SessionWriter.create(tmp_path / "s") as writer:
        writer.append(make("robot/arm", 0, arm))
        for step in range(6):
            fields = {"episode": 0, "step": step}
            arrays = {"image/front": scene(step, 48, 64 if step != 2 else 66), "state": np.zeros(1, np.float32)}
            writer.append(make("frame/arm", step, m.Frame(), arrays, **fields))
            taken = m.ActionTaken(action={"pan": np.nan if step == 4 else 0.1, "grip": 0.0}, by="x", start_ns=0, end_ns=1)
            writer.append(make("action/arm", step, taken, **fields))
    with pytest.raises(ExportProblem, match="s episode 0 step 2: camera front has 66x48"):
        export_lerobot(tmp_path / "s", tmp_path / "d", pictures=True)
    report = export_lerobot(tmp_path / "s", tmp_path / "d", pictures=True, strict=False)
    assert [bad.where for bad in report.skipped] == ["s episode 0 step 2", "s episode 0 step 4"]
    assert (report.episodes, report.frames) == (3, 4)
    assert any(note.startswith("actions are float32 in LeRobot: off by at most 1.5e-09") for note in report.notes)
    import_lerobot(tmp_path / "d", tmp_path / "back")
    with SessionReader(tmp_path / "back") as reader:
        assert [(f.envelope.episode, f.envelope.step) for f in reader.topic_messages("frame")] == [(0, 0), (0, 1), (0, 3), (0, 5)]


def test_what_toddle_wrote_beside_is_not_used_for_another_dataset(live, tmp_path):
    export_lerobot(live, tmp_path / "d", pictures=True)
    file = tmp_path / "d/meta/toddle.json"
    own = json.loads(file.read_text())
    own["episodes"].pop()
    file.write_text(json.dumps(own))
    report = import_lerobot(tmp_path / "d", tmp_path / "s")
    assert report.notes[0] == "meta/toddle.json is of another dataset than this is now: its times, marks and steps are not used"
    assert (report.frames, report.episodes) == (23, 4)
    assert read_header(tmp_path / "s").source["times"].startswith("made of frame_index")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_lerobots_own_training_takes_two_act_steps(recordings, tmp_path):
    pytest.importorskip("accelerate", reason="lerobot trains with accelerate, which is not installed")
    root = recordings / "g1_bottle_v30_2cam"
    import_lerobot(root, tmp_path / "s")
    export_lerobot(tmp_path / "s", tmp_path / "d", codec="h264")
    done = train(tmp_path / "d", tmp_path / "run")
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    assert (tmp_path / "run/checkpoints/000002/pretrained_model/model.safetensors").is_file()


def train(dataset: Path, run: Path) -> subprocess.CompletedProcess[str]:
    """Two steps of ACT, as small as it goes, with lerobot's own command."""
    options = {
        "dataset.repo_id": "local/d", "dataset.root": dataset, "dataset.use_imagenet_stats": "false", "output_dir": run, "steps": 2,
        "batch_size": 2, "num_workers": 0, "save_freq": 2, "policy.type": "act", "policy.device": "cpu", "policy.push_to_hub": "false",
        "policy.pretrained_backbone_weights": "null", "policy.dim_model": 32, "policy.n_heads": 2, "policy.dim_feedforward": 32,
        "policy.chunk_size": 10, "policy.n_action_steps": 10, "wandb.enable": "false",
    }  # fmt: skip
    command = [sys.executable, "-m", "lerobot.scripts.lerobot_train", *(f"--{key}={value}" for key, value in options.items())]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=600, check=False)
