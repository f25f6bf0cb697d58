"""What one reading of a session says of it, typed. Times are recorded time: seconds, without the pauses between runs."""

import msgspec

from protocol.messages import Action


class Place(msgspec.Struct, frozen=True):
    """Where in a session: episode and step as far as the message had them, and seconds of recorded time."""

    episode: int | None
    step: int | None
    at_s: float


class Intervals(msgspec.Struct, frozen=True, kw_only=True):
    """Times between neighbouring messages of a topic, by the source's monotonic clock.

    Only between consecutive numbers of one run, for frames and actions also of one episode, and not across a pause: what
    is left is how evenly it ran. `nominal_hz` is 0 where nobody promised a rate. Percentiles are right to 0.1 %.
    """

    count: int = 0
    rate_hz: float = 0.0
    nominal_hz: float = 0.0
    p50_s: float = 0.0
    p95_s: float = 0.0
    p99_s: float = 0.0
    max_s: float = 0.0
    longest: Place | None = None


class TopicQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One topic: `raw_bytes` are those of its arrays before any codec; `first_gap` is the first message after missing ones."""

    intervals: Intervals
    raw_bytes: int
    left_out: int
    first_gap: Place | None


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """A run of frames that look the same, until `until_s`: `seconds` and `actions` are those in which the robot was told to move."""

    start: Place
    until_s: float
    seconds: float
    frames: int
    actions: int


class Count(msgspec.Struct, frozen=True):
    """How many, and where the first is."""

    count: int = 0
    first: Place | None = None


class CameraQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One camera of one topic. Brightness is 0 to 255.

    `missing`: frames of its topic without it. `duplicates`: identical to the frame before. `stuck`: the same although the
    action between them should have moved something, out of `moves`. `frozen` holds the longest runs, longest first.
    """

    topic: str
    name: str
    frames: int
    missing: Count
    brightness_mean: float
    brightness_min: float
    brightness_max: float
    dark: Count
    bright: Count
    duplicates: Count
    stuck: Count
    moves: int
    frozen: list[Frozen]


class Taken(msgspec.Struct, frozen=True):
    """A choice of a discrete action space, and how often it was taken."""

    action: Action
    count: int


class Dimension(msgspec.Struct, frozen=True, kw_only=True):
    """A number of a continuous action: its bounds, what was seen, and counts in equal bins from `low` to `high`.

    What lies outside is in the first or last bin; no bins where the robot names no bounds.
    """

    name: str
    low: float | None
    high: float | None
    min: float
    max: float
    mean: float
    bins: list[int]


class ActionQuality(msgspec.Struct, frozen=True, kw_only=True):
    """What was executed. `safe`: because no command came; `other`: none of the choices of a discrete space, or no finite number."""

    count: int
    safe: Count
    failed: Count
    other: Count
    choices: list[Taken]
    dimensions: list[Dimension]


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """A whole session.

    `transitions`: frame, action, next frame, all there and consecutive: what can be learned from. `repeated` of them are
    identical to an earlier one. `shown_again`: frames of a step that was shown before (nobody had answered). `holes`: places
    inside an episode where steps are missing. `no_action`: frames that have a next frame, but no action before it.
    """

    events: int
    seconds: float
    frames: int
    transitions: int
    repeated: int
    shown_again: int
    holes: Count
    no_action: Count
    topics: dict[str, TopicQuality]
    cameras: list[CameraQuality]
    actions: ActionQuality
