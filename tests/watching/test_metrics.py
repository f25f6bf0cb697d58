"""The metrics keep the conventions of Prometheus, and the documentation names all of them."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from launch import scraping
from nodes import metrics
from protocol.books import Books
from protocol.bus import Bus
from protocol.exposition import Metric, Page, Timing
from protocol.topics import NODE_KINDS
from protocol.wiring import Endpoints, Peer, Wiring

PROJECT = Path(__file__).resolve().parents[2]
ENDS = Endpoints("ipc://l", "ipc://r", "ipc://c")
UNITS = ("seconds", "bytes", "ratio")
WITHOUT_UNIT = {  # states and counts that may fall
    "toddle_node_state", "toddle_node_up", "toddle_input_silent", "toddle_missing_subscribers", "toddle_recorder_lag_events",
    "toddle_trainer_loss", "toddle_trainer_transitions", "toddle_trainer_weights_version", "toddle_predictor_weights_version",
    "toddle_predictor_error", "toddle_predictor_copy_last_error",
}  # fmt: skip


def table() -> list[tuple[Metric | Timing, str]]:
    """Every metric, and which kind of process has it."""
    rows: list[tuple[Metric | Timing, str]] = [(row.metric, "all") for row in metrics.ALL]
    rows += [(metrics.ALARMS, "all"), (metrics.SCRAPES, "all")]
    for kind in NODE_KINDS:
        rows += [(row.metric, kind) for row in metrics.OWN if row.kind == kind]
        rows += [(metrics.TIMINGS[kind], kind)] if kind in metrics.TIMINGS else []
    return rows + [(metric, "launcher") for metric in scraping.METRICS]


def page(kind: str, numbers: Callable[[], Mapping[str, float]] = dict) -> str:
    """What a node of this kind shows that has heard a frame, refused a message, and says these numbers."""
    bus = Bus(Wiring(run="r", run_dir="r", name="n", kind=kind, endpoints=ENDS, inputs=[Peer("robot", "robot", ENDS)]))
    try:
        bus.books.open("frame/robot", "reliable")
        bus.books.arrive("frame/robot", "q", 3, 5_000_000_000)
        bus.refuse("msgpack")
        bus.refuse('a "quoted"\nreason')
        timing = metrics.TIMINGS[kind].start() if kind in metrics.TIMINGS else None
        if timing:
            timing.observe(0.03)
        return metrics.page(bus, numbers, timing, {"200": 2}, {"disk_low": 1}).render().decode()
    finally:
        bus.close()


def full(kind: str) -> str:
    keys = {row.key.replace("*", "too_late"): 7.0 for row in metrics.OWN if row.kind == kind}
    return page(kind, lambda: keys)


def values(text: str) -> dict[tuple[str, ...], float]:
    """By name and the values of the labels, in the order of the labels' names."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value for sample in samples}


@pytest.mark.parametrize("kind", NODE_KINDS)
def test_a_page_parses_and_has_all_of_its_table(kind: str) -> None:
    text = full(kind)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for metric, of in table():
        family = families.pop(metric.name.removesuffix("_total"), None)
        assert (family is not None) == (of in ("all", kind)), metric.name
        if family is not None:
            assert (family.type, family.documentation) == (metric.type, metric.help)
            assert family.samples or metric.name in ("toddle_messages_published_total", "toddle_published_bytes_total")
            for sample in family.samples:
                assert set(sample.labels) <= set(metric.labels)
    assert families and all(name.startswith("process_") for name in families), "the process itself, and nothing else"
    assert "_created" not in text


@pytest.mark.parametrize("kind", NODE_KINDS)
def test_promtool_finds_nothing_to_say(kind: str, promtool: str) -> None:
    done = subprocess.run([promtool, "check", "metrics"], input=full(kind), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_names_and_help_keep_the_conventions() -> None:
    for metric, of in table():
        assert re.fullmatch(r"toddle_[a-z0-9_]+", metric.name)
        assert metric.help.endswith(".") and "\n" not in metric.help
        assert of in ("all", "launcher") or metric.name.startswith(f"toddle_{of}_")
        assert metric.name.endswith(("_total", *(f"_{unit}" for unit in UNITS))) or metric.name in WITHOUT_UNIT
        assert not {"run", "node", "kind", "instance", "job"} & set(metric.labels) or of == "launcher"
    names = [metric.name for metric, _ in table()]
    assert len(names) == len(set(names))


def test_what_a_node_has_not_said_has_no_sample() -> None:
    found = values(page("trainer"))
    assert not any(name.startswith("toddle_trainer") for name, *_ in found)
    assert found["toddle_messages_received_total", "reliable", "robot", "frame"] == 1
    assert found["toddle_messages_lost_total", "reliable", "robot", "frame"] == 3
    assert found["toddle_last_message_timestamp_seconds", "robot", "frame"] == 5
    assert found["toddle_node_state", "starting"] == 1 and found["toddle_node_state", "running"] == 0
    assert found["toddle_messages_refused_total", 'a "quoted"\nreason'] == 1


def test_a_counter_never_goes_back() -> None:
    books = Books()
    books.open("frame/robot", "latest")
    received = Metric("toddle_messages_received_total", "Taken.")
    shown = Page(lambda: [(received, [((), books.counts()["frame/robot"].received)])])
    for seq in range(5):
        books.arrive("frame/robot", "q", seq)
    assert values(shown.render().decode())[(received.name,)] == 5
    books.drop("frame/robot", 3)
    assert values(shown.render().decode())[(received.name,)] == 5
    for seq in range(5, 10):
        books.arrive("frame/robot", "q", seq)
    assert values(shown.render().decode())[(received.name,)] == 7


def test_the_documentation_has_the_table() -> None:
    text = (PROJECT / "docs" / "watching.md").read_text()
    lines = [f"| `{m.name}` | {m.type} | {', '.join(m.labels)} | {of} | {m.help} |" for m, of in table()]
    missing = [line for line in lines if line not in text]
    assert not missing, "docs/watching.md lacks\n" + "\n".join(missing)
    documented = set(re.findall(r"^\| `(toddle_\w+)`", text, re.MULTILINE))
    assert documented == {metric.name for metric, _ in table()}


def test_dashboard_and_alerts_speak_of_what_there_is() -> None:
    watching = PROJECT / "launch" / "watching"
    dashboard, alerts = (watching / "dashboard.json").read_text(), (watching / "alerts.yml").read_text()
    known = {metric.name for metric, _ in table()}
    assert {
        re.sub(r"_bucket$", "", name) for name in re.findall(r"\btoddle_\w+", json.dumps(json.loads(dashboard)["panels"]))
    } - known == set()
    assert set(re.findall(r"\btoddle_\w+", alerts)) - known == set()
    seldom = {"toddle_alarms_total", "toddle_recorder_minute_bytes", "toddle_robot_episodes_total", "toddle_trainer_steps_total"}
    assert {name for name in known if name not in dashboard} == seldom, "not on the dashboard"
