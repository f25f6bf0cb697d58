"""Decisions that a session tells of itself; logs by the numbers in them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocol import messages as m
from storage.errors import ImportProblem
from storage.exchange.actionlog import fitting, read_logs
from storage.exchange.decided import decided, write_logs
from storage.exchange.decisions import import_decisions
from storage.exchange.lerobot.own import OwnEpisode
from storage.reader import SessionReader
from storage.writer import SessionWriter

PAN = "shoulder_pan.pos"
ARM = m.Robot(
    robot="robot", driver="so101", params={}, cameras=[m.CameraInfo(name="front", height=8, width=8)], state_names=[PAN], rate_hz=10.0,
    actions=m.ActionSpaceInfo(names=[PAN], low=[-100.0], high=[100.0]), timing="paced", safe_action={PAN: 0.0},
)  # fmt: skip
HEADER = {"joint_name": PAN, "action_duration": 0.5, "position_delta": 10.0, "action_sequence": [1, 0]}


@pytest.fixture
def recorded(tmp_path: Path):
    """A session as `toddle record` leaves it: per episode its length, its metrics by step, and its marks."""

    def make(episodes: list[tuple[int, dict[int, dict[str, float]], list[str]]], header: str = json.dumps(HEADER)) -> Path:
        seqs: Counter[str] = Counter()
        path = tmp_path / "arm"

        def add(writer: SessionWriter, topic: str, body: m.Body, arrays: dict[str, Any] | None = None, **place: int) -> None:
            seqs[topic] += 1
            number = sum(seqs.values())
            envelope = m.Envelope(
                topic=topic,
                source=topic.partition("/")[2],
                run="r",
                seq=seqs[topic] - 1,
                t_ns=10**18 + number * 10**7,
                mono_ns=number,
                **place,
            )
            writer.append(m.Message(envelope=envelope, body=body, arrays=arrays or {}))

        with SessionWriter.create(path) as writer:
            add(writer, "robot/robot", ARM)
            add(writer, "log/predictor", m.LogRecord(level="INFO", logger="decisions", text=header))
            for episode, (length, metrics, marks) in enumerate(episodes):
                add(writer, "episode/robot", m.EpisodeMark(mark="start"), episode=episode, step=0)
                for step in range(length):
                    place = {"episode": episode, "step": step}
                    arrays = {"image/front": np.full((8, 8, 3), 50 * episode + step, np.uint8), "state": np.array([step], np.float32)}
                    add(writer, "frame/robot", m.Frame(last=step == length - 1), arrays, **place)
                    if step in metrics:
                        source = "robot" if "secondary_target" in metrics[step] else "predictor"
                        add(writer, f"metrics/{source}", m.Metrics(values=metrics[step]), **place)
                    if step < length - 1:
                        taken = m.ActionTaken(action={PAN: 1.0}, by="joint", start_ns=1, end_ns=2)
                        add(writer, "action/robot", taken, **place)
                for mark in [*marks, "end"]:
                    add(writer, "episode/robot", m.EpisodeMark(mark=mark), episode=episode, step=length - 1)  # type: ignore[arg-type]
        return path

    return make


def decision(choice: float) -> dict[str, float]:
    return {"decision": choice}


def steps(path: Path) -> list[list[tuple[float, int | None]]]:
    """Per episode (state, choice) of each step."""
    with SessionReader(path) as reader:
        return [
            [
                (float(reader.frame(row.episode, step).arrays["state"][0]), None if taken is None else int(taken.body.action["action"]))
                for step in range(row.frames) for taken in [reader.read("action", row.episode, step)]
            ]
            for row in reader.episodes()
        ]  # fmt: skip


def test_a_session_tells_of_its_decisions_itself(recorded: Any, tmp_path: Path) -> None:
    path = recorded([
        (18, {0: decision(1), 5: decision(0), 10: {"decision_end": 1.0}}, ["success"]),
        (12, {}, []),
        (9, {0: {"secondary_target": 4.0}, 1: decision(2), 2: {"events": 3.0}, 7: decision(1)}, ["discard"]),
    ])  # fmt: skip
    report = import_decisions(path, None, tmp_path / "s")
    assert report.notes == [
        "1 episodes without a decision are left out", "1 decisions that the end of their episode cut short are left out",
    ]  # fmt: skip
    assert report.rate_from == "the session" and report.rate_hz == 2.0
    assert steps(tmp_path / "s") == [[(0.0, 1), (5.0, 0), (10.0, None)], [(1.0, 2), (7.0, None)]]
    with SessionReader(tmp_path / "s") as reader:
        assert reader.robot.params["joint_name"] == PAN and reader.robot.params["action_sequence"] == [1, 0]
        assert [[mark.mark for mark in row.marks] for row in reader.episodes()] == [
            ["start", "success", "end"],
            ["start", "discard", "end"],
        ]
        assert [(one.envelope.episode, one.body.values) for one in reader.topic_messages("metrics")] == [(1, {"secondary_target": 4.0})]


def test_a_session_without_decisions_says_so(recorded: Any, tmp_path: Path) -> None:
    with pytest.raises(ImportProblem, match="session arm tells of no decisions"):
        import_decisions(recorded([(5, {1: {"secondary_target": 4.0}}, [])], header="{"), None, tmp_path / "s")


def test_logs_are_written_for_the_rows_of_a_dataset(recorded: Any, tmp_path: Path) -> None:
    path = recorded([(12, {0: decision(1), 5: decision(2), 10: {"decision_end": 1.0}}, []), (4, {}, []), (6, {0: decision(2)}, [])])
    with SessionReader(path) as reader:
        logs = decided(reader)
    rows = [OwnEpisode(episode=episode, first_step=first, frames=frames, start_ns=0, start_mono_ns=0) for episode, first, frames in (
        (0, 0, 4), (0, 5, 7), (1, 0, 4), (2, 0, 6),  # step 4 of the first is missing
    )]  # fmt: skip
    assert write_logs(tmp_path, logs, rows) == 3
    folder = tmp_path / "meta/discrete_action_logs"
    assert sorted(file.name for file in folder.iterdir()) == [f"episode_{row:06d}.jsonl" for row in (0, 1, 3)]
    found = read_logs(folder)
    assert [(log.episode, log.end_frame, [(one.choice, one.frame_index) for one in log.decisions]) for log in found] == [
        (0, None, [(1, 0)]), (1, 5, [(2, 0)]), (3, None, [(2, 0)]),
    ]  # fmt: skip
    assert write_logs(tmp_path / "none", {}, rows) == 0 and not (tmp_path / "none").exists()


def test_logs_go_by_the_numbers_in_their_headers(tmp_path: Path) -> None:
    def file(name: str, *numbers: int | None) -> Path:
        lines = []
        for number in numbers:
            lines += [{"type": "header", **({} if number is None else {"episode_index": number})}]
            lines += [{"type": "action", "timestamp": 1.0, "discrete_action": 1, "frame_index": len(lines)}]
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        return tmp_path / name

    def fits(logs: list[Any], episodes: int) -> Any:
        fit = fitting(logs, episodes)
        return fit and ([log.decisions[0].frame_index for log in fit[0]], fit[1])

    several = read_logs(file("all.jsonl", 0, 1, 1, 2))
    assert fits(several, 3) == ([1, 5, 7], []), "the last of an episode counts"
    assert fits(several, 2) == ([1, 5], ["no episode 2 was recorded: its log is left out"])
    assert fits(several, 4) == ([1, 3, 5, 7], ["the logs are taken in their order: their headers have the numbers 0, 1, 1, 2"])
    assert fits(several, 5) is None
    assert fits(read_logs(file("old.jsonl", None, None)), 2) == ([1, 3], [])
    assert fits(read_logs(file("old.jsonl", None, None)), 1) is None
