"""The decisions that a session itself tells of, as discrete-action logs: one made here, and one written beside a LeRobot dataset.

Who decides publishes `metrics` at the episode and step of the frame that it decided on: `decision`, 0 stay, 1 plus, 2 minus;
`decision_end` at the frame that shows what the last of a sequence led to. A log record of the logger `decisions` has the
options, as the header of a log.
"""

import json
from pathlib import Path
from typing import Any

from protocol.messages import LogRecord, Metrics
from storage.exchange.actionlog import CHOICES, EPISODE, ActionLog, Decision
from storage.exchange.lerobot.own import OwnEpisode
from storage.reader import SessionReader

DECISION, END, TARGET = "decision", "decision_end", "secondary_target"
"""The last: where the second joint stood in an episode, as `metrics` at its first step."""
LOGGER = "decisions"
FOLDER = "meta/discrete_action_logs"


def decided(reader: SessionReader) -> dict[int, ActionLog]:
    """By episode; `frame_index` counts steps from the episode's first. Empty where nobody decided so.

    Of decisions at one step, which a restart may make, the first counts.
    """
    header = _header(reader)
    first = {row.episode: row.first_step for row in reader.episodes() if row.first_step is not None}
    made: dict[int, dict[int, Decision]] = {}
    ends: dict[int, int] = {}
    targets: dict[int, float] = {}
    for message in reader.topic_messages("metrics"):
        body, episode, step = message.body, message.envelope.episode, message.envelope.step
        if not isinstance(body, Metrics) or episode not in first or step is None:
            continue
        place = step - first[episode]
        if TARGET in body.values:
            targets[episode] = body.values[TARGET]
        if END in body.values:
            ends.setdefault(episode, place)
        if body.values.get(DECISION) in CHOICES and place >= 0:
            one = Decision(
                where=f"{reader.header.name} episode {episode} step {step}", choice=int(body.values[DECISION]), frame_index=place,
                t_s=message.envelope.t_ns / 1e9,
            )  # fmt: skip
            made.setdefault(episode, {}).setdefault(place, one)
    return {
        episode: ActionLog(
            where=f"{reader.header.name} episode {episode}",
            header={**header, EPISODE: episode, **({TARGET: targets[episode]} if episode in targets else {})},
            decisions=[found[place] for place in sorted(found)], end_frame=ends.get(episode),
        )
        for episode, found in made.items()
    }  # fmt: skip


def write_logs(folder: Path, logs: dict[int, ActionLog], episodes: list[OwnEpisode]) -> int:
    """A file for each row of the dataset in `folder` that has decisions; how many. Without any there is no folder."""
    written = 0
    for number, row in enumerate(episodes):
        log = logs.get(row.episode)
        shift = 0 if log is None else row.first_step - min(one.first_step for one in episodes if one.episode == row.episode)
        lines = [] if log is None else _lines(log, shift, row.frames)
        if log is None or not lines:
            continue
        file = folder / FOLDER / f"episode_{number:06d}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [{"type": "header", **log.header, EPISODE: number}, *lines]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        written += 1
    return written


def _lines(log: ActionLog, shift: int, frames: int) -> list[dict[str, Any]]:
    """Of the frames from `shift` on, counted from there."""
    made: list[dict[str, Any]] = [
        {"type": "action", "timestamp": one.t_s, "discrete_action": one.choice, "frame_index": one.frame_index - shift}
        for one in log.decisions if 0 <= one.frame_index - shift < frames
    ]  # fmt: skip
    if made and log.end_frame is not None and 0 <= log.end_frame - shift < frames:
        made.append({"type": "end", "frame_index": log.end_frame - shift})
    return made


def _header(reader: SessionReader) -> dict[str, Any]:
    """The first that was said; empty where none was, or something else."""
    for message in reader.topic_messages("log"):
        if isinstance(message.body, LogRecord) and message.body.logger == LOGGER:
            try:
                told = json.loads(message.body.text)
            except ValueError:
                continue
            return told if isinstance(told, dict) else {}
    return {}
