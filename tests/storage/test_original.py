"""Session folders of the original system, both ways; its discrete-action logs."""

import json

import numpy as np
import pytest

from protocol import messages as m
from storage.errors import ImportProblem, SessionExists
from storage.exchange.decisions import import_decisions
from storage.exchange.original_export import export_original
from storage.exchange.original_import import import_original
from storage.reader import SessionReader
from storage.verify import check
from storage.writer import SessionWriter

cv2 = pytest.importorskip("cv2")
STAY, PLUS, MINUS = 0, 1, 2


def act(choice, duration=0.5):
    return {"action": choice, "duration": duration if choice else 0.0}


@pytest.fixture
def folder(tmp_path):
    """Makes a folder as the original system does: observations and actions in turn, one counter, shards of 8 events."""

    def make(actions, name="session_a", root=None, size=(24, 32), at=1_700_000_000.125, **meta):
        path = (root or tmp_path / "original") / name
        (path / "frames").mkdir(parents=True)
        events = []
        for count in range(len(actions) + 1):
            step = 2 * count
            cv2.imwrite(str(path / f"frames/frame_{step:06d}.jpg"), np.full((*size, 3), 20 * count % 250, np.uint8))
            data = {"frame_path": f"frames/frame_{step:06d}.jpg"}
            events.append({"step": step, "type": "observation", "data": data, "timestamp": at + count * 0.5})
            if count < len(actions):
                events.append({"step": step + 1, "type": "action", "data": actions[count], "timestamp": at + (count + 0.5) * 0.5})
        about = {
            "session_name": name, "start_time": "2023-11-14T22:13:20", "end_time": "2023-11-14T22:14:20", "shard_size": 8,
            "max_disk_gb": 10.0, "action_space": [act(0), act(1), act(2)], "robot_type": "so101_follower", **meta,
        }  # fmt: skip
        write(path, events, about)
        return path

    return make


def write(path, events, about):
    for old in path.glob("events_shard_*"):
        old.unlink()
    shards = [events[first : first + 8] for first in range(0, len(events), 8)]
    for number, shard in enumerate(shards):
        lines = [line if isinstance(line, str) else json.dumps(line) for line in shard]
        (path / f"events_shard_{number:03d}.jsonl").write_text("\n".join(lines) + "\n")
    (path / "session_meta.json").write_text(json.dumps({**about, "total_shards": len(shards), "total_steps": len(events)}))


def read(path):
    events = [json.loads(line) for shard in sorted(path.glob("events_shard_*")) for line in shard.read_text().splitlines()]
    return events, json.loads((path / "session_meta.json").read_text())


def taken(path):
    """Per episode the action of each frame, None where it has none."""
    with SessionReader(path) as reader:
        return {
            row.episode: [
                (frame.envelope.step, reader.read("action", row.episode, frame.envelope.step).body.action["action"] if acted else None)
                for frame in reader.topic_messages("frame") if frame.envelope.episode == row.episode
                for acted in [reader.read("action", row.episode, frame.envelope.step) is not None]
            ]
            for row in reader.episodes()
        }  # fmt: skip


def log(folder, number, choices, every=5, **header):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{"type": "header", "joint_name": "shoulder_pan.pos", "action_duration": 0.5, "position_delta": 10.0, **header}]
    for place, choice in enumerate(choices):
        line = {"type": "action", "timestamp": 1_700_000_000 + place / 2, "discrete_action": choice, "frame_index": place * every}
        lines.append(line)
    (folder / f"episode_{number:06d}.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n")


def test_a_folder_becomes_an_episode_event_by_event(folder, tmp_path):
    actions = [act(1), act(0), act(2), act(2), act(1)]
    path = folder(
        actions, size=(448, 224), cameras=["base_0_rgb", "left_wrist_0_rgb"], stack_mode="vertical", joint_name="shoulder_pan.pos"
    )
    report = import_original(path, tmp_path / "s")
    assert (report.frames, report.episodes, report.rate_hz, report.skipped, report.notes) == (6, 1, 2.0, [], [])
    events, _ = read(path)
    with SessionReader(tmp_path / "s") as reader:
        assert reader.robot.cameras == [m.CameraInfo(name="stacked", height=448, width=224)]
        assert reader.robot.actions.choices == [act(0), act(1), act(2)]
        assert (reader.robot.driver, reader.robot.safe_action) == ("so101_follower", act(0))
        assert reader.robot.params["stack_mode"] == "vertical"
        for frame, event in zip(reader.topic_messages("frame"), events[::2], strict=True):
            assert frame.envelope.t_ns == round(event["timestamp"] * 1000) * 10**6
            assert frame.envelope.step == event["step"] // 2
            image = cv2.imread(str(path / event["data"]["frame_path"]))[:, :, ::-1]
            assert np.array_equal(frame.arrays["image/stacked"], image)
        done = list(reader.topic_messages("action"))
        assert [(one.body.action, one.envelope.t_ns) for one in done] == [
            (e["data"], round(e["timestamp"] * 1000) * 10**6) for e in events[1::2]
        ]
    assert check(tmp_path / "s").exit_code == 0


def test_folders_become_episodes_without_a_step_between_them(folder, tmp_path):
    folder([act(1), act(2)], "session_b", at=1_700_000_100.0, secondary_target=-10.0)
    folder([act(2)], "session_a")
    report = import_original(tmp_path / "original", tmp_path / "s")
    assert (report.frames, report.episodes) == (5, 2)
    assert taken(tmp_path / "s") == {0: [(0, 2), (1, None)], 1: [(0, 1), (1, 2), (2, None)]}
    with SessionReader(tmp_path / "s") as reader:
        metrics = [(one.envelope.episode, one.envelope.step, one.body.values) for one in reader.topic_messages("metrics")]
        assert metrics == [(1, 0, {"secondary_target": -10.0})]
    folder([act(2)], "session_c", robot_type="JetBot")
    with pytest.raises(ImportProblem, match="session_c is of another robot than"):
        import_original(tmp_path / "original", tmp_path / "t")


@pytest.mark.parametrize("told", [True, [0, 1, 2]])
def test_joined_episodes_are_parted_where_they_cannot_be_mistaken(folder, tmp_path, told):
    actions = [act(1), act(0), act(2), act(2), act(0), act(1)]
    path = folder(actions, combined_episodes=told, num_episodes=3)
    report = import_original(path, tmp_path / "s")
    assert (report.frames, report.episodes) == (7, 3)
    assert taken(tmp_path / "s") == {0: [(0, 1), (1, None)], 1: [(0, 2), (1, 2), (2, None)], 2: [(0, 1), (1, None)]}
    with SessionReader(tmp_path / "s") as reader:
        assert [frame.body.last for frame in reader.topic_messages("frame")] == [False, True, False, False, True, False, False]


def test_joined_episodes_with_stays_of_their_own_need_their_logs(folder, tmp_path):
    actions = [act(1), act(0), act(2), act(0), act(2), act(0), act(1)]  # one of three stays is the join
    path = folder(actions, combined_episodes=True, num_episodes=2)
    with pytest.raises(ImportProblem, match=r"joins 2 episodes, and which of its 3 stays are joins cannot be told: give --action-logs"):
        import_original(path, tmp_path / "s")
    logs = tmp_path / "logs"
    log(logs, 0, [PLUS, STAY, MINUS, STAY, STAY], secondary_target=5.0)
    log(logs, 1, [])  # a header alone: of a reset that was done twice
    log(logs, 2, [STAY, STAY])  # stays alone: never converted
    log(logs, 3, [MINUS, STAY, PLUS], secondary_target=-15.0)
    import_original(path, tmp_path / "s", action_logs=logs)
    assert taken(tmp_path / "s") == {0: [(0, 1), (1, 0), (2, 2), (3, None)], 1: [(0, 2), (1, 0), (2, 1), (3, None)]}
    with SessionReader(tmp_path / "s") as reader:
        assert [one.body.values["secondary_target"] for one in reader.topic_messages("metrics")] == [5.0, -15.0]
    log(logs, 3, [MINUS, MINUS, PLUS])
    with pytest.raises(ImportProblem, match=r"is not made of these logs: from action 5 on they differ \(7 actions, 7 by the logs\)"):
        import_original(path, tmp_path / "t", action_logs=logs)
    import_original(path, tmp_path / "hand", episodes_at=[4])
    assert taken(tmp_path / "hand") == taken(tmp_path / "s")
    with pytest.raises(ImportProblem, match="has observations 0 to 7: no episode can begin at 8"):
        import_original(path, tmp_path / "t", episodes_at=[8])


@pytest.mark.parametrize(
    ("breaks", "words", "left"),
    [
        (lambda p, e, a: (p / "frames/frame_000004.jpg").unlink(), "shard_000.jsonl:5: image frame_000004.jpg is missing",
         [(0, 1), (1, 2), (3, 2), (4, 1), (5, None)]),
        (lambda p, e, a: e.__setitem__(5, "{"), "shard_000.jsonl:6: Expecting property name",
         [(0, 1), (1, 2), (2, None), (4, 2), (5, 1), (6, None)]),
        (lambda p, e, a: e[5]["data"].update(action=float("nan")), "'action' of the action is nan, expected a finite number",
         [(0, 1), (1, 2), (2, None), (4, 2), (5, 1), (6, None)]),
        (lambda p, e, a: e[5]["data"].pop("duration"), "the action has action, the action space action, duration",
         [(0, 1), (1, 2), (2, None), (4, 2), (5, 1), (6, None)]),
        (lambda p, e, a: e.__delitem__(slice(4, 6)), "steps 4 to 5 missing before this one", [(0, 1), (1, 2), (3, 2), (4, 1), (5, None)]),
        (lambda p, e, a: e.__setitem__(4, "[1]"), "shard_000.jsonl:5: not an event as a", [(0, 1), (1, 2), (3, 2), (4, 1), (5, None)]),
        (lambda p, e, a: e[4].update(step=10**30), "step is 1000000000", [(0, 1), (1, 2), (3, 2), (4, 1), (5, None)]),
        (lambda p, e, a: e[4].update(timestamp=float("inf")), "timestamp is inf", [(0, 1), (1, 2), (3, 2), (4, 1), (5, None)]),
        (lambda p, e, a: e[5]["data"].update(action=10**400), "shard_000.jsonl:6: int too large",
         [(0, 1), (1, 2), (2, None), (4, 2), (5, 1), (6, None)]),
        (lambda p, e, a: e.__setitem__(4, "[" * 100_000), "shard_000.jsonl:5: maximum recursion depth",
         [(0, 1), (1, 2), (3, 2), (4, 1), (5, None)]),
        (lambda p, e, a: e[4].update(timestamp="noon"), "timestamp is noon", [(0, 1), (1, 2), (3, 2), (4, 1), (5, None)]),
        (lambda p, e, a: a.update(total_steps_more=1), "it tells of 12 events, 11 are there", None),
    ],
)  # fmt: skip
def test_what_is_broken_is_named_and_leaves_no_false_step(folder, tmp_path, breaks, words, left):
    path = folder([act(1), act(2), act(1), act(2), act(1)])
    events, about = read(path)
    breaks(path, events, about)
    write(path, events, about)
    if "total_steps_more" in about:
        (path / "session_meta.json").write_text(json.dumps({**about, "total_steps": 12}))
    with pytest.raises(ImportProblem) as caught:
        import_original(path, tmp_path / "s")
    assert any(words in line for line in str(caught.value).splitlines())
    assert not (tmp_path / "s").exists()
    report = import_original(path, tmp_path / "s", strict=False)
    assert any(words in str(bad) for bad in report.skipped)
    if left is not None:
        assert taken(tmp_path / "s") == {0: left}


def test_every_picture_that_is_missing_is_named(folder, tmp_path):
    path = folder([act(1), act(2), act(1), act(2), act(1)])
    for number in (2, 4):
        (path / f"frames/frame_{number:06d}.jpg").unlink()
    with pytest.raises(ImportProblem) as caught:
        import_original(path, tmp_path / "s")
    assert str(caught.value).splitlines()[1:] == [
        f"  {path}/events_shard_000.jsonl:{line}: image frame_{line - 1:06d}.jpg is missing" for line in (3, 5)
    ]  # fmt: skip


def test_a_folder_of_many_that_says_nothing_of_itself(folder, tmp_path):
    lost, torn, _ = (folder([act(1), act(2)], name) for name in ("session_a", "session_b", "session_c"))
    (lost / "session_meta.json").unlink()
    (torn / "session_meta.json").write_text("[]")
    with pytest.raises(ImportProblem, match="has 2 faults; --skip-bad takes what is sound"):
        import_original(tmp_path / "original", tmp_path / "s")
    report = import_original(tmp_path / "original", tmp_path / "s", strict=False)
    assert (report.frames, [str(bad) for bad in report.skipped]) == (
        3,
        [f"{lost}: session_meta.json is missing", f"{torn}: session_meta.json is not the metadata of a session: not a JSON object"],
    )
    assert taken(tmp_path / "s") == {0: [(0, 1), (1, 2), (2, None)]}


def test_a_shard_that_is_missing_and_a_recording_that_was_cut_off(folder, tmp_path):
    path = folder([act(1)] * 9)
    (path / "events_shard_001.jsonl").unlink()
    about = json.loads((path / "session_meta.json").read_text())
    del about["end_time"], about["total_steps"]
    (path / "session_meta.json").write_text(json.dumps(about))
    report = import_original(path, tmp_path / "s", strict=False)
    assert [bad.why for bad in report.skipped] == ["this shard is not there", "steps 8 to 15 missing before this one"]
    assert "has no end_time" in report.notes[0]
    assert "has 10 pictures for 6 observations" in report.notes[1]
    assert taken(tmp_path / "s") == {0: [(0, 1), (1, 1), (2, 1), (3, 1), (5, 1), (6, None)]}


def test_shards_without_number_are_told_in_one_line(folder, tmp_path):
    path = folder([act(1), act(2)])
    about = json.loads((path / "session_meta.json").read_text())
    (path / "session_meta.json").write_text(json.dumps({**about, "total_shards": 10**12}))
    report = import_original(path, tmp_path / "s", strict=False)
    shard = path / f"events_shard_{about['total_shards']:03d}.jsonl"
    assert [str(bad) for bad in report.skipped] == [f"{shard}: this shard is not there, nor those up to {10**12 - 1}"]


def test_two_actions_after_one_observation_lead_nowhere(folder, tmp_path):
    path = folder([act(1), act(2), act(1)])
    events, about = read(path)
    del events[2]
    for step, event in enumerate(events):
        event["step"] = step
    write(path, events, about)
    report = import_original(path, tmp_path / "s", strict=False)
    assert [bad.why for bad in report.skipped] == ["two actions follow the observation of step 0: neither led to the next alone"]
    assert taken(tmp_path / "s") == {0: [(0, None), (1, 1), (2, None)]}


def test_without_an_action_space_the_actions_are_what_was_done(folder, tmp_path):
    path = folder([act(1), act(0), act(1)], action_space=[])
    import_original(path, tmp_path / "s")
    with SessionReader(tmp_path / "s") as reader:
        assert reader.robot is not None and reader.robot.actions.choices == [act(1), act(0)]
    path = folder([{"action": number, "duration": 0.5} for number in range(65)], "many", action_space=[])
    with pytest.raises(ImportProblem, match="has no action_space, and the actions are of more than 64 kinds"):
        import_original(path, tmp_path / "t")
    with pytest.raises(ImportProblem, match="0 frames per second cannot be: give --fps more than 0"):
        import_original(path, tmp_path / "t", fps=0.0)
    assert not (tmp_path / "t").exists()


def test_times_that_were_made_say_so(folder, tmp_path):
    report = import_original(folder([act(1), act(2)], at=0.0), tmp_path / "s")
    assert report.notes == ["times count from 0: they were made, not measured"]
    assert import_original(folder([act(1)], "session_b"), tmp_path / "t", fps=4).rate_hz == 4
    with pytest.raises(ImportProblem, match=r"neither it nor a folder in it has a session_meta\.json"):
        import_original(tmp_path / "s", tmp_path / "u")


def test_an_interrupted_import_goes_on(folder, tmp_path):
    folder([act(1)] * 4, "session_a")
    path = folder([act(2)] * 4, "session_b")
    (path / "frames" / "frame_000002.jpg").write_bytes(b"")

    def stop(at):
        def tell(done, total):
            if done == at:
                raise KeyboardInterrupt

        return tell

    whole = import_original(tmp_path / "original", tmp_path / "whole", strict=False)
    for at in (2, 7, 9):
        with pytest.raises(KeyboardInterrupt):
            import_original(tmp_path / "original", tmp_path / "s", strict=False, tell=stop(at))
    again = import_original(tmp_path / "original", tmp_path / "s", strict=False)
    assert (again.frames, again.skipped) == (whole.frames, whole.skipped) and again.frames == 9
    assert taken(tmp_path / "s") == taken(tmp_path / "whole")
    with pytest.raises(SessionExists):
        import_original(tmp_path / "original", tmp_path / "s", strict=False)


@pytest.fixture
def arm(tmp_path, make, pixels):
    """A session of an arm with two cameras, states, marks and a hole; steps are video frames."""
    robot = m.Robot(
        robot="arm", driver="so101", params={"port": "/dev/x"},
        cameras=[m.CameraInfo(name="base", height=48, width=64), m.CameraInfo(name="wrist", height=24, width=32)],
        actions=m.ActionSpaceInfo(names=["pan"], low=[-100.0], high=[100.0]), state_names=["pan"], rate_hz=10.0, timing="paced",
        safe_action={"pan": 0.0},
    )  # fmt: skip
    path = tmp_path / "arm"
    with SessionWriter.create(path) as writer:
        writer.append(make("robot/arm", 0, robot))
        seq = iter(range(10**6))
        marks = 0
        for episode in (0, 1):
            for step in range(21):
                n = next(seq)
                place = {"episode": episode, "step": step}
                base = cv2.resize(pixels(n, 6, 8), (64, 48))
                wrist = cv2.resize(pixels(n + 500, 3, 4), (32, 24))
                arrays = {"image/base": base, "image/wrist": wrist, "state": np.array([step / 7], np.float32)}
                if (episode, step) != (1, 13):
                    writer.append(make("frame/arm", n, m.Frame(last=step == 20), arrays, **place))
                if step < 20:
                    body = m.ActionTaken(action={"pan": step / 3}, by="person", start_ns=10**18 + n, end_ns=10**18 + n + 5, safe=step == 3)
                    writer.append(make("action/arm", n, body, **place))
            for mark in ("success", "end"):
                writer.append(make("episode/arm", marks, m.EpisodeMark(mark=mark, reason="seen"), episode=episode, step=20))
                marks += 1
    return path


def test_a_session_comes_back_from_folders_value_by_value(arm, tmp_path):
    report = export_original(arm, tmp_path / "out")
    assert (report.frames, report.episodes, report.skipped) == (41, 2, [])
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["session_arm_ep000000", "session_arm_ep000001", "session_arm_ep000001_part000001"]
    for name in names:  # as the original system reads it: strictly in turn, one counter, the picture's number is the step
        events, about = read(tmp_path / "out" / name)
        assert [event["step"] for event in events] == list(range(len(events))) and about["total_steps"] == len(events)
        assert [event["type"] for event in events] == (["observation", "action"] * len(events))[: len(events)]
        for event in events[::2]:
            assert event["data"]["frame_path"] == f"frames/frame_{event['step']:06d}.jpg"
            assert cv2.imread(str(tmp_path / "out" / name / event["data"]["frame_path"])).shape == (448, 224, 3)
        assert about["stack_mode"] == "vertical" and about["cameras"] == ["base", "wrist"] and about["robot_type"] == "so101"
    back = import_original(tmp_path / "out", tmp_path / "back")
    assert (back.frames, back.episodes, back.notes, back.skipped) == (41, 2, [], [])
    with SessionReader(arm) as was, SessionReader(tmp_path / "back") as now:
        assert now.robot.cameras == [m.CameraInfo(name="stacked", height=448, width=224)]
        assert (now.robot.actions, now.robot.params, now.robot.rate_hz) == (was.robot.actions, was.robot.params, was.robot.rate_hz)
        worst = 0.0
        for a, b in zip(was.topic_messages("frame"), now.topic_messages("frame"), strict=True):
            for field in ("t_ns", "mono_ns", "episode", "step", "topic"):
                assert getattr(a.envelope, field) == getattr(b.envelope, field)
            assert a.body == b.body and a.arrays["state"].tobytes() == b.arrays["state"].tobytes()
            stacked = np.concatenate([cv2.resize(a.arrays[f"image/{name}"], (224, 224)) for name in ("base", "wrist")])
            worst = max(worst, np.abs(stacked.astype(int) - b.arrays["image/stacked"]).mean())
        assert worst < 1.5
        wanted = [one for one in was.topic_messages("action") if (one.envelope.episode, one.envelope.step) not in ((1, 12), (1, 13))]
        kept = [one for one in now.topic_messages("action") if (one.envelope.episode, one.envelope.step) != (1, 12)]
        assert [(one.body, one.envelope.step, one.envelope.t_ns) for one in kept] == [
            (one.body, one.envelope.step, one.envelope.t_ns) for one in wanted
        ]
        judged = [
            [[(mark.mark, mark.reason, mark.step, mark.t_ns) for mark in row.marks if mark.mark != "start"] for row in reader.episodes()]
            for reader in (was, now)
        ]
        assert judged[0] == judged[1] and [len(row) for row in judged[0]] == [2, 2]


def test_decisions_stand_at_their_exact_frames(arm, tmp_path):
    logs = tmp_path / "logs"
    log(logs, 0, [PLUS, STAY, MINUS, STAY], secondary_target=7.5, episode_index=0)
    log(logs, 1, [])
    log(logs, 2, [MINUS, PLUS], every=7, secondary_target=-7.5, episode_index=1)
    report = import_decisions(arm, logs, tmp_path / "s", stack="vertical")
    assert (report.frames, report.episodes, report.rate_hz) == (7, 2, 2.0)
    assert report.notes == ["1 stays at the ends of episodes are trimmed"]
    assert taken(tmp_path / "s") == {0: [(0, 1), (1, 0), (2, 2), (3, None)], 1: [(0, 2), (1, 1), (2, None)]}
    with SessionReader(arm) as was, SessionReader(tmp_path / "s") as now:
        assert now.robot.actions.choices == [act(0), act(1), act(2)]
        assert now.robot.params["position_delta"] == 10.0 and now.robot.cameras[0].height == 448
        for (episode, step), index in {(0, 0): 0, (0, 1): 5, (0, 2): 10, (0, 3): 15, (1, 0): 0, (1, 1): 7, (1, 2): 20}.items():
            a, b = was.frame(episode, index), now.frame(episode, step)
            assert a.envelope.t_ns == b.envelope.t_ns and a.arrays["state"] == b.arrays["state"]
            stacked = np.concatenate([cv2.resize(a.arrays[f"image/{name}"], (224, 224)) for name in ("base", "wrist")])
            assert np.array_equal(stacked, b.arrays["image/stacked"])
        assert [one.body.values for one in now.topic_messages("metrics")] == [{"secondary_target": 7.5}, {"secondary_target": -7.5}]
        assert [[mark.mark for mark in row.marks] for row in now.episodes()] == [["start", "success", "end"]] * 2

    def tell(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_decisions(arm, logs, tmp_path / "apart", cameras=["wrist"], tell=tell)
    apart = import_decisions(arm, logs, tmp_path / "apart", cameras=["wrist"])
    assert apart.resumed_at == 5
    assert apart.frames == 7
    with SessionReader(arm) as was, SessionReader(tmp_path / "apart") as now:
        assert np.array_equal(now.frame(0, 2).arrays["image/wrist"], was.frame(0, 10).arrays["image/wrist"])
    export_original(tmp_path / "s", tmp_path / "out")
    events, about = read(tmp_path / "out" / "session_s_ep000001")
    assert [event["data"] for event in events[1::2]] == [act(2), act(1)] and about["secondary_target"] == -7.5
    assert about["action_space"] == [act(0), act(1), act(2)] and about["joint_name"] == "shoulder_pan.pos"
    import_original(tmp_path / "out", tmp_path / "back")
    with SessionReader(tmp_path / "back") as reader:
        assert [one.body.values for one in reader.topic_messages("metrics")] == [{"secondary_target": 7.5}, {"secondary_target": -7.5}]


def test_logs_that_do_not_fit_are_refused(arm, tmp_path):
    logs = tmp_path / "logs"
    log(logs, 0, [PLUS])
    with pytest.raises(ImportProblem, match="has 1 logs with decisions, session arm has 2 episodes"):
        import_decisions(arm, logs, tmp_path / "s")
    log(logs, 1, [PLUS, PLUS, PLUS], every=13)  # frame 13 is not there, frame 26 is beyond the end
    with pytest.raises(ImportProblem, match=r"episode_000001.jsonl:3: episode 1 has no frame 13"):
        import_decisions(arm, logs, tmp_path / "s")
    report = import_decisions(arm, logs, tmp_path / "s", strict=False)
    assert [bad.why for bad in report.skipped] == [f"episode 1 has no frame {index}" for index in (13, 26, 27)]
    assert taken(tmp_path / "s")[1] == [(0, 1)]
    file = logs / "episode_000001.jsonl"
    text = file.read_text()
    for broken, words in (
        (text.replace('"frame_index": 13', '"frame": 13'), ":3: frame_index is missing"),
        (text.replace('"discrete_action": 1', '"discrete_action": 5'), ":2: discrete_action is 5, expected 0, 1 or 2"),
        (text.replace('"frame_index": 26', '"frame_index": 13'), ":4: frame_index 13 does not come after the one before"),
        (text + "{", ":5: Expecting property name"),
    ):
        file.write_text(broken)
        with pytest.raises(ImportProblem, match=words):
            import_decisions(arm, logs, tmp_path / "t")
    with pytest.raises(ImportProblem, match="has no discrete-action logs"):
        import_decisions(arm, tmp_path, tmp_path / "t")
