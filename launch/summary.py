"""`runs/<name>/summary.json`: how a run went, for scripts. Its schema is `docs/summary.schema.json`."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from launch.board import Board, NodeView
from launch.supervisor import EXIT_DONE, EXIT_LOST, End, Outcome
from protocol.clock import NS_PER_S
from protocol.files import write_whole
from protocol.messages import TopicCount

TROUBLES = {"starting": "too long in starting", "hung": "alive without progress", "silent": "silent"}
MARKS_S = (30, 60, 120, 240)


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """One subscriber's books on one topic: published = received + skipped + lost.

    `published` counts up to the moment when the subscriber left, if it left before the publisher.
    """

    published: int
    received: int
    skipped: int
    lost: int


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """On the held-out probe; null where a score does not apply."""

    cf_accuracy: float | None = None
    hit_at_3px: float | None = None
    skill_copy_last: float | None = None
    skill_action_blind: float | None = None
    prediction_error: float | None = None


class ScoresAt(Scores, frozen=True, kw_only=True):
    """Scores some seconds after the first frame, with the robot's steps and the trainer's samples then."""

    steps: int
    samples: int


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """Scores at 30, 60, 120 and 240 s; null for those that the run did not reach."""

    s30: ScoresAt | None = msgspec.field(default=None, name="30")
    s60: ScoresAt | None = msgspec.field(default=None, name="60")
    s120: ScoresAt | None = msgspec.field(default=None, name="120")
    s240: ScoresAt | None = msgspec.field(default=None, name="240")


class GapSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers `first` to `last` of a topic never reached a reliable subscriber; times (ISO 8601) of the messages before and after."""

    subscriber: str
    topic: str
    run: str
    first: int
    last: int
    after: str | None
    before: str | None


class TailSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A publisher died without a last word: what followed number `last` is unknown; its heartbeats told of `told` (-1: of none)."""

    subscriber: str
    topic: str
    run: str
    last: int
    told: int


class AlarmSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm of a node: how often it was raised, its last text, and whether it was still on at the end."""

    node: str
    name: str
    raised: int
    text: str
    active: bool


class DiskEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What the recorder told of its first frames: what a minute takes, the room above its floor, and how long that will do."""

    bytes_per_minute: int
    room_bytes: int
    room_s: float | None


class NodeEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a node's processes ended, oldest first (negative: the signal), and how often it was restarted.

    `troubles` counts how often it was `starting` too long, `hung` or `silent`. `crashes` are the reports,
    from the run's folder on.
    """

    kind: str
    exit_codes: list[int]
    restarts: int
    troubles: dict[str, int] = {}
    crashes: list[str] = []


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The summary of one run, live or replayed.

    `seconds` runs from the moment when all nodes were told to go until the stop. `steps` and `episodes`
    are the robot's, `samples` the trainer's, `samples_per_s` is their mean. `topics` maps topic and subscriber to counts. `notes` are
    things a person should know, such as a node that was killed and whose last messages nobody counted. Of a graph over
    several hosts, `topics`, `gaps`, `tails` and `nodes` are those of the nodes of this one.
    """

    name: str
    started: str
    outcome: Outcome
    exit_code: int
    seconds: float
    steps: int
    episodes: int
    samples: int
    samples_per_s: float
    session: str | None
    topics: dict[str, dict[str, Count]]
    gaps: list[GapSeen] = []
    tails: list[TailSeen] = []
    scores: Scores
    scores_at: Marks
    versions: dict[str, str]
    command: list[str]
    nodes: dict[str, NodeEnd]
    disk: DiskEstimate | None = None
    alarms: list[AlarmSeen] = []
    notes: list[str] = []

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        write_whole(path, msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def summarise(
    board: Board, end: End, *, name: str, started: str, versions: dict[str, str], command: list[str], forced: list[str]
) -> Summary:
    """The summary of a run that ended with `end`; what was lost changes its outcome."""
    topics: dict[str, dict[str, Count]] = {}
    problems: list[str] = []
    for topic, subscriber, count, problem in _books(board):
        topics.setdefault(topic, {})[subscriber] = count
        problems += [problem] if problem else []
    problems += [*_unsaid(board), *_untaken(board)]
    lost = bool(problems)
    outcome, code = (end.outcome, end.exit_code)
    if lost and code == EXIT_DONE:
        outcome, code = "lost", EXIT_LOST
    trainer = board.metrics_of("trainer")
    seconds = board.seconds(board.ended_s or 0.0)
    return Summary(
        name=name, started=started, outcome=outcome, exit_code=code, seconds=round(seconds, 3), steps=board.steps,
        episodes=board.episodes, samples=int(trainer.get("samples", 0)),
        samples_per_s=round(board.samples_per_s, 1),
        session=board.committed.session if board.committed and not board.recorded_on else None,
        topics=topics, gaps=_gaps(board), tails=_tails(board),
        scores=_scores(trainer),
        scores_at=_marks(board), versions=versions, command=command,
        nodes={v.name: _node(v) for v in board.here}, disk=_disk(board), alarms=_alarms(board),
        notes=[
            *problems, *(f"{one} did not stop when asked and was ended" for one in forced),
            *_disk_notes(board), *_unlisted(board), *_troubles(board), *_ends_unknown(board), *_deaths(board),
        ],
    )  # fmt: skip


def _books(board: Board) -> Iterator[tuple[str, str, Count, str]]:
    """Topic, subscriber, count, and what is wrong with it."""
    for view in board.here:
        missing = _missing(view) if view.restarts else {}
        for topic, said in sorted(view.status.counts.items()) if view.status else ():
            source = board.nodes.get(topic.partition("/")[2])
            count = _close_books(topic, said, source)
            before = min(missing.get(topic, 0) - said.lost, count.received)
            if before > 0:  # its last process takes for received what an earlier one had lost
                count = msgspec.structs.replace(count, received=count.received - before, lost=count.lost + before)
            problem = ""
            if said.published != said.received + said.skipped + said.lost:
                problem = f"{view.name}: the books on {topic} do not balance: {count}"
            elif count.lost:
                problem = f"{view.name} lost {count.lost} of {count.published} messages of {topic}"
            yield topic, view.name, count, problem


def _missing(view: NodeView) -> dict[str, int]:
    """Topic to how many numbers never reached any process of a subscriber."""
    numbers: dict[str, int] = {}
    ends: dict[tuple[str, str], int] = {}
    for gap in sorted(view.gaps.values(), key=lambda gap: gap.first):  # a second process may tell of some again
        end = ends.get((gap.topic, gap.run), -1)
        numbers[gap.topic] = numbers.get(gap.topic, 0) + max(gap.last - max(gap.first - 1, end), 0)
        ends[gap.topic, gap.run] = max(gap.last, end)
    return numbers


def _close_books(topic: str, said: TopicCount, source: NodeView | None) -> Count:
    """A subscriber's counts, held against the publisher's last word where the subscriber stayed to hear it."""
    published, skipped, lost = said.published, said.skipped, said.lost
    short = 0
    if source is not None and said.end_known and not source.restarts:
        short = max(_told(topic, source) - published, 0)
        published += short
        skipped, lost = (skipped, lost + short) if said.lane == "reliable" else (skipped + short, lost)
    return Count(published=published, received=said.received, skipped=skipped, lost=lost)


def _told(topic: str, source: NodeView) -> int:
    """How many messages the publisher says it sent; its last status counts itself."""
    if source.status is None:
        return 0
    if topic == f"status/{source.name}":
        return source.status_seq + 1
    return source.status.last_seq.get(topic, -1) + 1


def _unsaid(board: Board) -> list[str]:
    """Reliable subscribers that left no last word: what they got is not known."""
    return [
        f"{view.name} ended without its last count: what it received is not known"
        for view in board.here
        if view.required and view.status is not None and not view.final
        and any(count.lane == "reliable" for count in view.status.counts.values())
    ]  # fmt: skip


def _untaken(board: Board) -> Iterator[str]:
    """Who ended before all it had sent was taken, unless its subscribers heard its last word after all."""
    for view in board.here:
        if EXIT_LOST not in view.exit_codes[-1:] or (view.status and any(count.lost for count in view.status.counts.values())):
            continue
        published = view.status.last_seq if view.status else {}
        waiting = [
            other.name for other in board.nodes.values()
            if other.required and other.status is not None
            and any(
                count.lane == "reliable" and not count.end_known and topic in published
                for topic, count in other.status.counts.items()
            )
        ]  # fmt: skip
        if waiting or not view.final or not published:  # without its books nobody can tell
            yield f"{view.name} ended before all of its last messages were taken{' by ' if waiting else ''}{', '.join(waiting)}"


def _node(view: NodeView) -> NodeEnd:
    return NodeEnd(
        kind=view.kind, exit_codes=view.exit_codes, restarts=view.restarts, troubles=view.troubles, crashes=view.crashes
    )  # fmt: skip


def _alarms(board: Board) -> list[AlarmSeen]:
    return [
        AlarmSeen(node=node, name=name, raised=book.raised, text=book.text, active=book.active)
        for (node, name), book in board.alarms.items()
    ]


def _disk(board: Board) -> DiskEstimate | None:
    use = board.disk_use
    if use is None:
        return None
    room_s = round(use.seconds, 1) if use.bytes_per_minute > 0 else None
    return DiskEstimate(bytes_per_minute=round(use.bytes_per_minute), room_bytes=round(use.room_bytes), room_s=room_s)


def _disk_notes(board: Board) -> Iterator[str]:
    if trouble := board.disk_trouble():
        yield f"{board.disk_use}; {trouble}"


def _troubles(board: Board) -> list[str]:
    """Nodes that were alive and did not work."""
    return [f"{view.name} was {TROUBLES[word]} {count} x" for view in board.here for word, count in view.troubles.items()]


def _gaps(board: Board) -> list[GapSeen]:
    return [
        GapSeen(
            subscriber=view.name, topic=gap.topic, run=gap.run, first=gap.first, last=gap.last,
            after=_iso(gap.after_ns), before=_iso(gap.before_ns),
        )
        for view in board.here
        for gap in view.gaps.values()
    ]  # fmt: skip


def _unlisted(board: Board) -> Iterator[str]:
    """Heartbeats carry the newest gaps only: whose gaps came faster than that."""
    for view in board.here:
        lost = sum(count.lost for count in view.status.counts.values()) if view.status else 0
        more = lost - sum(_missing(view).values())
        if more > 0:
            yield f"{view.name} lost {more} messages more than the gaps listed here tell; a session lists all gaps of its recorder"


def _tails(board: Board) -> list[TailSeen]:
    return [
        TailSeen(subscriber=view.name, topic=tail.topic, run=tail.run, last=tail.last, told=tail.told)
        for view in board.here
        for tail in view.tails.values()
    ]


def _iso(t_ns: int) -> str | None:
    return datetime.fromtimestamp(t_ns / NS_PER_S).astimezone().isoformat(timespec="milliseconds") if t_ns else None


def _ends_unknown(board: Board) -> Iterator[str]:
    """A line per publisher's run that ended without a last word, with the furthest number anybody has."""
    runs: dict[tuple[str, str], dict[str, int]] = {}
    for view in board.here:
        for tail in view.tails.values():
            ends = runs.setdefault((tail.topic.partition("/")[2], tail.run), {})
            ends[tail.topic] = max(tail.last, ends.get(tail.topic, -1))
    for (name, run), ends in runs.items():
        yield f"{name} (run {run}) died without a last word, end unknown: " + ", ".join(f"{t} after {n}" for t, n in sorted(ends.items()))


def _deaths(board: Board) -> list[str]:
    """Nodes that died before their restart: the end of what they published is unknown."""
    return [
        f"{view.name} was started again {view.restarts} x: what it sent last before it died is not counted"
        for view in board.here
        if view.restarts
    ]


def _scores(values: dict[str, float]) -> Scores:
    return Scores(**{name: values.get(name) for name in Scores.__struct_fields__})


def _marks(board: Board) -> Marks:
    found = {}
    for mark in MARKS_S:
        values = board.scores_at.get(mark)
        if values is not None:
            scores = msgspec.structs.asdict(_scores(values))
            found[f"s{mark}"] = ScoresAt(steps=int(values.get("steps", 0)), samples=int(values.get("samples", 0)), **scores)
    return Marks(**found)
