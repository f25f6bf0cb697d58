"""Every message that toddle's processes exchange, typed.

A `Message` is an envelope (who, when, which number), a `body` of the type that the topic table names for
its topic, and named numpy arrays. Bodies are validated once, when a message is decoded.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Action = dict[str, float]
"""A flat dict of named numbers: what a robot is told to do."""

MarkName = Literal["start", "end", "success", "failure", "discard", "reset"]
MAX_NUMBER = 1 << 53
"""Of counts and sequence numbers: exact in every format, and far enough from what an integer on the wire can be."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
Number = Annotated[int, msgspec.Meta(ge=-1, le=MAX_NUMBER)]
"""A sequence number; -1 stands before the first."""

StateName = Literal["starting", "ready", "running", "paused", "stopping", "stopped"]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all bodies: frozen, named fields only, unknown fields refused."""


class CameraInfo(Body, frozen=True, kw_only=True):
    """One camera: frames are `height` x `width` x 3 uint8 RGB."""

    name: str
    height: int
    width: int


class ActionSpaceInfo(Body, frozen=True, kw_only=True):
    """Which actions a robot takes: a list of dicts (discrete), or names with bounds (continuous)."""

    names: list[str]
    choices: list[Action] = []
    low: list[float] = []
    high: list[float] = []

    @property
    def discrete(self) -> bool:
        return bool(self.choices)


class Robot(Body, frozen=True, kw_only=True):
    """What a robot is: sent once per run and latched; recorders and learners size themselves by it."""

    robot: str
    driver: str
    params: dict[str, Any]
    cameras: list[CameraInfo]
    actions: ActionSpaceInfo
    state_names: list[str] = []
    rate_hz: float
    timing: Literal["lockstep", "paced"]
    safe_action: Action


class Frame(Body, frozen=True, kw_only=True):
    """One observation. Arrays: `image/<camera>` HxWx3 uint8, `depth/<camera>` HxW, `state` float32.

    `last`: it ends its episode, no action follows. `origin_t_ns`: when it was captured, wall clock, if that was
    not now but in a recording.
    """

    held_out: bool = False
    last: bool = False
    origin_t_ns: int | None = None


class ActionTaken(Body, frozen=True, kw_only=True):
    """What was executed after the frame of this step.

    `start_ns` is wall clock; `end_ns` is that plus the time it took, so that a clock that jumps does not matter.
    Of an action that is played back both are the recording's.
    """

    action: Action
    by: str
    start_ns: int
    end_ns: int
    success: bool = True
    safe: bool = False


class Command(Body, frozen=True, kw_only=True):
    """An action asked for, valid for one step and until `deadline_mono_ns` of the robot's monotonic clock.

    The commander counts it from the `mono_ns` of the frame that it answers, so neither clocks of other
    machines nor a wall clock that jumps play a part.
    """

    action: Action
    by: str
    deadline_mono_ns: int


class EpisodeMark(Body, frozen=True, kw_only=True):
    """A mark in the stream: an episode starts, ends, or is judged."""

    mark: MarkName
    reason: str = ""
    held_out: bool = False
    origin_session: str = ""
    origin_episode: int | None = None


class Prediction(Body, frozen=True, kw_only=True):
    """The predicted next frame for every candidate; arrays `next/<camera>` [A, H, W, 3] uint8.

    The first `offered` candidates are those a person may choose; a continuous action that was taken
    stands behind them. `error` is the mean squared error, on [0, 1], of the last prediction against the
    frame that came. `uncertainty` has one number per candidate from models that tell it, else none.
    """

    candidates: list[Action]
    offered: int | None = None
    chosen: int | None = None
    uncertainty: list[float] = []
    weights_version: int
    error: float | None = None
    copy_last_error: float | None = None
    latency_ms: float


class Weights(Body, frozen=True, kw_only=True):
    """Weights for predictors; array `safetensors` holds the file's bytes, checked by `sha256`."""

    version: int
    spec: dict[str, Any]
    spec_hash: str
    sha256: str
    steps: int
    samples: int


class Release(Body, frozen=True, kw_only=True):
    """What led to a frame is learned well enough, or for long enough: it may be answered. The frame is the envelope's."""

    loss: float
    steps: int


class Metrics(Body, frozen=True, kw_only=True):
    """Named numbers of one step."""

    values: dict[str, float]


class Probe(Body, frozen=True, kw_only=True):
    """Held-out states with their truth, from a robot that can save its state.

    Arrays: `history/<camera>` [N, C, H, W, 3] uint8, `past_actions` [N, C-1, D] float32 (columns as in
    the action space's names), `candidates` [A, D] float32, `next/<camera>` [N, A, H, W, 3] uint8, and
    `position` [N, A, 2] float32 in pixels (x, y) where the simulator knows it: on a torus, or, with `colour` [3] uint8, of the
    marker of that colour in the first camera. `novel` [N] uint8 is 1 of states in a region that is never shown live.
    """

    description: str


class TopicCount(Body, frozen=True, kw_only=True):
    """One subscriber's books on one topic of one source: published = received + skipped + lost."""

    published: int
    received: int
    skipped: int
    lost: int
    lane: Literal["latest", "reliable"]
    end_known: bool = False


class Gap(Body, frozen=True, kw_only=True):
    """Numbers `first`..`last` of a topic that never came; `run` is the publisher's run id.

    `after_ns` and `before_ns` are the wall clock times of the messages on both sides, 0 where there is none.
    """

    topic: str
    run: str
    first: Count
    last: Count
    after_ns: int = 0
    before_ns: int = 0


class Tail(Body, frozen=True, kw_only=True):
    """A publisher that ended without its last word: what followed number `last` of this topic is unknown.

    Its heartbeats told of numbers up to `told` (-1: of none).
    """

    topic: str
    run: str
    last: Number
    told: Number = -1


class Status(Body, frozen=True, kw_only=True):
    """A heartbeat, 1 Hz: state, counters, and the last number of every topic this node publishes.

    `gaps` and `tails` are the newest few of its reliable inputs; `silent` names inputs that have not been
    heard for three heartbeats; `clock_jumps` counts jumps of its wall clock; `metrics_url` is where
    Prometheus finds it.
    """

    state: StateName
    kind: str
    detail: str = ""
    outcome: str = ""
    confirmed: list[str] = []
    missing: list[str] = []
    last_seq: dict[str, Number] = {}
    counts: dict[str, TopicCount] = {}
    refused: dict[str, int] = {}
    loop_age_s: float = 0.0
    queue_bytes: int = 0
    gaps: list[Gap] = []
    tails: list[Tail] = []
    silent: list[str] = []
    clock_jumps: int = 0
    metrics_url: str = ""
    final: bool = False


class LogRecord(Body, frozen=True, kw_only=True):
    """One log line of a node."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    logger: str
    text: str


class Committed(Body, frozen=True, kw_only=True):
    """What is on disk, in the session `session` in the folder `path`: the last number of each topic, and the holes before it."""

    session: str
    path: str = ""
    last_seq: dict[str, Number]
    events: int
    bytes: int
    gaps: list[Gap] = []


class Control(Body, frozen=True, kw_only=True):
    """A control request that the node accepted."""

    command: str
    args: dict[str, Any] = {}
    by: str


class Alarm(Body, frozen=True, kw_only=True):
    """Something a person should know now."""

    name: str
    text: str
    active: bool = True


class Played(Body, frozen=True, kw_only=True):
    """A recorded message of whatever topic, whole, published again.

    Arrays: `~header`, the bytes of its own header as they were; and its own arrays under their names, but for
    those in `left_out`, which were not recorded. See `protocol.played`.
    """

    left_out: list[str] = []


class Envelope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields every message carries beside its body; others are refused.

    `run` is new at each start of the source; `seq` counts from 0 in each run, per topic, without holes.
    `t_ns` is the wall clock at capture, `mono_ns` the source's monotonic clock.
    """

    topic: str
    source: str
    run: str
    seq: Count
    t_ns: int
    mono_ns: int
    session: str | None = None
    episode: int | None = None
    step: int | None = None


class Wire(msgspec.Struct, frozen=True):
    """The header that a message came with, and what it describes."""

    header: bytes | memoryview
    envelope: Envelope
    body: Any
    arrays: Mapping[str, Array]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope, its typed body, and named arrays (read-only when they came off the wire).

    `wire` is there when it came off the wire: see `codec.header_of`.
    """

    envelope: Envelope
    body: Any
    arrays: Mapping[str, Array] = {}
    wire: Wire | None = None

    @property
    def topic(self) -> str:
        return self.envelope.topic

    @property
    def kind(self) -> str:
        """The part of the topic before the slash: the key of the topic table."""
        return self.envelope.topic.partition("/")[0]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())
