"""What every node shows to Prometheus, in one table; `docs/watching.md` prints it.

`ALL` is read from the bus. `OWN` is read from what the node says of itself, by `Node.numbers`: the metrics it
publishes, and what its class adds. `TIMINGS` are filled by the node as it works. Run, node and kind are labels
of the scrape target. Nothing here is called but by a scrape.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

import msgspec

from protocol.bus import Bus
from protocol.disk import PER_MINUTE
from protocol.exposition import Metric, Page, Sample, Timing
from protocol.messages import StateName, Status

NS_PER_S = 1e9
STEP_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)
WORK_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Look(msgspec.Struct, frozen=True):
    """One look at a bus."""

    bus: Bus
    status: Status

    def counts(self, what: str) -> Iterator[Sample]:
        for topic, count in self.status.counts.items():
            kind, _, source = topic.partition("/")
            yield (kind, source, count.lane), getattr(count, what)


class FromBus(msgspec.Struct, frozen=True):
    """A metric of every node, and how it is read."""

    metric: Metric
    read: Callable[[Look], Iterable[Sample]]


class FromNode(msgspec.Struct, frozen=True):
    """A metric of one kind of node. `key` is the node's own name for the number, or `prefix_*` for one per label."""

    kind: str
    key: str
    metric: Metric


def _one(value: float) -> list[Sample]:
    return [((), value)]


_COUNTED = ("topic", "source", "lane")
ALL: tuple[FromBus, ...] = (
    FromBus(
        Metric("toddle_node_state", "1 for the state that the node is in, 0 for the others.", ("state",)),
        lambda look: [((name,), float(name == look.status.state)) for name in get_args(StateName)],
    ),
    FromBus(Metric("toddle_loop_age_seconds", "Since the node's loop last came round."), lambda look: _one(look.status.loop_age_s)),
    FromBus(
        Metric("toddle_messages_published_total", "Sent on the node's own topics; those of `status` are heartbeats.", ("topic",)),
        lambda look: [((topic.partition("/")[0],), last + 1) for topic, last in look.status.last_seq.items()],
    ),
    FromBus(
        Metric("toddle_published_bytes_total", "Sent on the node's own topics.", ("topic",)),
        lambda look: [((topic.partition("/")[0],), n) for topic, n in look.bus.sent_bytes.copy().items()],
    ),
    FromBus(Metric("toddle_messages_received_total", "Taken from a topic of a source.", _COUNTED), lambda look: look.counts("received")),
    FromBus(
        Metric("toddle_messages_skipped_total", "Overtaken by newer ones or too old; what the latest lane is for.", _COUNTED),
        lambda look: look.counts("skipped"),
    ),
    FromBus(
        Metric("toddle_messages_lost_total", "Should have come on the reliable lane and never will.", _COUNTED),
        lambda look: look.counts("lost"),
    ),
    FromBus(
        Metric("toddle_messages_refused_total", "Came and were no messages, by what was wrong.", ("reason",)),
        lambda look: [((reason,), count) for reason, count in look.status.refused.items()],
    ),
    FromBus(
        Metric("toddle_last_message_timestamp_seconds", "When the newest message of a topic was captured.", ("topic", "source")),
        lambda look: [(_split(topic), ns / NS_PER_S) for topic, ns in look.bus.newest_ns().items()],
    ),
    FromBus(
        Metric("toddle_input_silent", "1 for an input that has not been heard for three heartbeats.", ("source",)),
        lambda look: [((peer.name,), float(peer.name in look.status.silent)) for peer in look.bus.wiring.inputs],
    ),
    FromBus(
        Metric("toddle_missing_subscribers", "Declared to take the node's topics, and not here."),
        lambda look: _one(len(look.status.missing)),
    ),
    FromBus(Metric("toddle_inbox_bytes", "Came on the reliable lane and not handled yet."), lambda look: _one(look.status.queue_bytes)),
    FromBus(Metric("toddle_ring_bytes", "Kept for those who missed something."), lambda look: _one(look.bus.ring.nbytes)),
    FromBus(Metric("toddle_ring_limit_bytes", "The size of that ring."), lambda look: _one(look.bus.ring.limit_bytes)),
    FromBus(Metric("toddle_clock_jumps_total", "Of the wall clock."), lambda look: _one(look.status.clock_jumps)),
)

OWN: tuple[FromNode, ...] = (
    FromNode("robot", "steps", Metric("toddle_robot_steps_total", "Actions executed.")),
    FromNode("robot", "episodes", Metric("toddle_robot_episodes_total", "Episodes begun.")),
    FromNode("robot", "late", Metric("toddle_robot_late_steps_total", "No command came in time: the safe action instead.")),
    FromNode("robot", "actions_safe", Metric("toddle_robot_safe_actions_total", "Safe actions executed.")),
    FromNode("robot", "actions_failed", Metric("toddle_robot_failed_actions_total", "Actions that the driver did not carry out.")),
    FromNode("robot", "refused_*", Metric("toddle_robot_refused_commands_total", "Commands not executed, by why.", ("reason",))),
    FromNode(
        "robot", "rate_limited", Metric("toddle_robot_rate_limited_actions_total", "Asked to change too fast: taken as far as allowed.")
    ),
    FromNode("robot", "halted", Metric("toddle_robot_halts_total", "A person said halt.")),
    FromNode("robot", "silent", Metric("toddle_robot_silences_total", "No valid command for silence_s: the robot was stopped.")),
    FromNode("robot", "stuck", Metric("toddle_robot_hangs_total", "An action or the node took too long: the robot was stopped.")),
    FromNode("recorder", "events", Metric("toddle_recorder_events_total", "Events of the session, on disk or waiting.")),
    FromNode("recorder", "waiting", Metric("toddle_recorder_lag_events", "Received and not committed yet.")),
    FromNode("recorder", "lag_s", Metric("toddle_recorder_lag_seconds", "How long the oldest of them has waited.")),
    FromNode("recorder", "sync_interval_s", Metric("toddle_recorder_sync_interval_seconds", "How long one may wait, by the config.")),
    FromNode("recorder", "bytes", Metric("toddle_recorder_session_bytes", "Bytes of committed events.")),
    FromNode("recorder", "free_bytes", Metric("toddle_recorder_free_disk_bytes", "Free where the session is.")),
    FromNode("recorder", "min_free_bytes", Metric("toddle_recorder_min_free_disk_bytes", "Recording stops below this.")),
    FromNode("recorder", PER_MINUTE, Metric("toddle_recorder_minute_bytes", "What a minute takes, by the first frames.")),
    FromNode("recorder", "refused", Metric("toddle_recorder_refused_messages_total", "Could not be stored.")),
    FromNode("trainer", "samples", Metric("toddle_trainer_samples_total", "Samples learned from.")),
    FromNode("trainer", "steps", Metric("toddle_trainer_steps_total", "Updates of the weights.")),
    FromNode("trainer", "skipped_nan", Metric("toddle_trainer_skipped_updates_total", "Left out: loss or gradient not finite.")),
    FromNode("trainer", "loss", Metric("toddle_trainer_loss", "Of the last batch.")),
    FromNode("trainer", "skill_copy_last", Metric("toddle_trainer_skill_ratio", "Held out, over copying the last frame; 1 is perfect.")),
    FromNode("trainer", "cf_accuracy", Metric("toddle_trainer_right_frame_ratio", "How often the frame of the right action was told.")),
    FromNode("trainer", "hit_at_3px", Metric("toddle_trainer_hit_ratio", "How often the position was right within 3 pixels.")),
    FromNode("trainer", "transitions", Metric("toddle_trainer_transitions", "In the replay buffer.")),
    FromNode("trainer", "weights_version", Metric("toddle_trainer_weights_version", "Newest weights published.")),
    FromNode("predictor", "weights_version", Metric("toddle_predictor_weights_version", "Weights in use.")),
    FromNode("predictor", "weights_s", Metric("toddle_predictor_weights_timestamp_seconds", "When the weights in use were published.")),
    FromNode("predictor", "late", Metric("toddle_predictor_late_commands_total", "Commands that the robot did not wait for.")),
    FromNode("predictor", "live_mse", Metric("toddle_predictor_error", "Mean squared error, on [0, 1], of the last prediction.")),
    FromNode("predictor", "live_copy_last_mse", Metric("toddle_predictor_copy_last_error", "The same, of predicting no change.")),
)

TIMINGS: dict[str, Timing] = {
    "robot": Timing("toddle_robot_frame_interval_seconds", "Between two frames: its spread is the jitter.", STEP_BUCKETS_S),
    "recorder": Timing("toddle_recorder_commit_seconds", "A commit with its sync.", WORK_BUCKETS_S),
    "predictor": Timing("toddle_predictor_latency_seconds", "A prediction of all candidates.", WORK_BUCKETS_S),
}

ALARMS = Metric("toddle_alarms_total", "Alarms raised, by what for.", ("name",))
SCRAPES = Metric("toddle_scrapes_total", "Requests to this page, by the status they got; `late`: cut off.", ("code",))


def page(
    bus: Bus, numbers: Callable[[], Mapping[str, float]], timing: Any, answers: Mapping[str, int], alarms: Mapping[str, int]
) -> Page:  # fmt: skip
    """The page of one node: `numbers` are its own, `timing` is its histogram or None; `answers` counts scrapes, `alarms` alarms."""

    def read() -> Iterator[tuple[Metric, list[Sample]]]:
        look = Look(bus, bus.status())
        for row in ALL:
            yield row.metric, list(row.read(look))
        yield from _own(bus.wiring.kind, numbers())
        yield ALARMS, [((name,), count) for name, count in dict(alarms).items()]
        yield SCRAPES, [((code,), count) for code, count in answers.items()]

    return Page(read, lambda: () if timing is None else (timing,))


def _own(kind: str, numbers: Mapping[str, float]) -> Iterator[tuple[Metric, list[Sample]]]:
    """What a node has not said yet has no samples."""
    for row in OWN:
        if row.kind != kind:
            continue
        if row.key.endswith("*"):
            prefix = row.key[:-1]
            yield row.metric, [((key.removeprefix(prefix),), value) for key, value in numbers.items() if key.startswith(prefix)]
        else:
            yield row.metric, _one(numbers[row.key]) if row.key in numbers else []


def _split(topic: str) -> tuple[str, str]:
    kind, _, source = topic.partition("/")
    return kind, source
