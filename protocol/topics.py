"""The topic table: one row per kind of message, from which everything else derives.

Who publishes, who takes it and by which lane, what is recorded, what late joiners get, how large it may
be: bus, recorder, viewer, launcher, docs and tests all read it here. A topic's full name is
`<kind>/<node>`, where `node` is the name of the publisher in the launch file.
"""

from typing import Literal

import msgspec

from protocol import messages as m

Lane = Literal["latest", "reliable"]
NodeKind = Literal["robot", "recorder", "trainer", "predictor", "viewer", "launcher"]

NODE_KINDS: tuple[str, ...] = ("robot", "recorder", "trainer", "predictor", "viewer")
MB = 1 << 20

LATEST: Lane = "latest"
RELIABLE: Lane = "reliable"


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `takers` maps the kinds of node that take it to their lane; `keep` is how many of the
    newest a latest subscriber holds."""

    kind: str
    body: type[m.Body]
    publishers: tuple[str, ...]
    takers: dict[str, Lane] = {}
    recorded: bool = True
    latched: bool = False
    max_bytes: int = 64 * 1024
    keep: int = 1
    arrays: tuple[str, ...] = ()
    what: str


def _topics(*rows: Topic) -> dict[str, Topic]:
    return {row.kind: row for row in rows}


TOPICS: dict[str, Topic] = _topics(
    Topic(
        kind="robot", body=m.Robot, publishers=("robot",), latched=True,
        takers={"recorder": RELIABLE, "trainer": RELIABLE, "predictor": LATEST, "viewer": LATEST},
        what="what the robot is: cameras, actions, rate",
    ),
    Topic(
        kind="episode", body=m.EpisodeMark, publishers=("robot",), latched=True,
        takers={"recorder": RELIABLE, "trainer": RELIABLE, "viewer": LATEST},
        what="start, end and judgement of episodes",
    ),
    Topic(
        kind="frame", body=m.Frame, publishers=("robot",), max_bytes=64 * MB, keep=4,
        arrays=("image", "depth", "state"),
        takers={"recorder": RELIABLE, "trainer": RELIABLE, "predictor": LATEST, "viewer": LATEST},
        what="an observation",
    ),
    Topic(
        kind="action", body=m.ActionTaken, publishers=("robot",), keep=4,
        takers={"recorder": RELIABLE, "trainer": RELIABLE, "predictor": LATEST, "viewer": LATEST},
        what="what was executed after a frame",
    ),
    Topic(
        kind="probe", body=m.Probe, publishers=("robot",), latched=True, max_bytes=256 * MB,
        arrays=("history", "past_actions", "candidates", "next", "position"),
        takers={"recorder": RELIABLE, "trainer": RELIABLE},
        what="held-out states and their truth",
    ),
    Topic(
        kind="command", body=m.Command, publishers=("predictor",),
        takers={"robot": RELIABLE, "recorder": RELIABLE},
        what="an action asked for",
    ),
    Topic(
        kind="prediction", body=m.Prediction, publishers=("predictor",), max_bytes=256 * MB,
        arrays=("next",), takers={"recorder": RELIABLE, "viewer": LATEST},
        what="the predicted next frame for every candidate action",
    ),
    Topic(
        kind="weights", body=m.Weights, publishers=("trainer",), latched=True, max_bytes=512 * MB,
        arrays=("safetensors",), takers={"recorder": RELIABLE, "predictor": LATEST},
        what="the model's weights",
    ),
    Topic(
        kind="release", body=m.Release, publishers=("trainer",), latched=True,
        takers={"recorder": RELIABLE, "predictor": LATEST},
        what="the trainer lets the robot act on a frame",
    ),
    Topic(
        kind="metrics", keep=32, body=m.Metrics, publishers=NODE_KINDS,
        takers={"recorder": RELIABLE, "viewer": LATEST, "launcher": LATEST},
        what="named numbers of one step",
    ),
    Topic(
        kind="status", body=m.Status, publishers=(*NODE_KINDS, "launcher"), latched=True,
        takers={"recorder": RELIABLE, "viewer": LATEST, "launcher": LATEST},
        what="heartbeat: state and counters",
    ),
    Topic(
        kind="log", body=m.LogRecord, publishers=NODE_KINDS,
        takers={"recorder": RELIABLE, "launcher": LATEST}, keep=64,
        what="log records",
    ),
    Topic(
        kind="committed", body=m.Committed, publishers=("recorder",), latched=True, recorded=False,
        takers={"viewer": LATEST, "launcher": LATEST},
        what="what is on disk",
    ),
    Topic(
        kind="control", body=m.Control, publishers=NODE_KINDS,
        takers={"recorder": RELIABLE}, what="control requests that were accepted",
    ),
    Topic(
        kind="alarm", body=m.Alarm, publishers=NODE_KINDS, keep=16,
        takers={"recorder": RELIABLE, "viewer": LATEST, "launcher": LATEST},
        what="something a person should know now",
    ),
    Topic(
        kind="played", body=m.Played, publishers=("robot",), recorded=False, max_bytes=513 * MB,
        arrays=("~header",), takers={"recorder": RELIABLE},
        what="a recorded message, whole, as it was: an exact replay",
    ),
)  # fmt: skip


def topic_of(name: str) -> Topic:
    """The row of a full topic name such as `frame/robot`; KeyError when its kind is not in the table."""
    return TOPICS[name.partition("/")[0]]


def published_by(kind: str) -> list[Topic]:
    """The rows that nodes of this kind publish."""
    return [topic for topic in TOPICS.values() if kind in topic.publishers]


def taken(publisher: str, subscriber: str) -> dict[str, Lane]:
    """Topic kind to lane: what flows when a node of kind `subscriber` has one of kind `publisher` as input."""
    return {
        topic.kind: topic.takers[subscriber] for topic in TOPICS.values() if publisher in topic.publishers and subscriber in topic.takers
    }
