"""Metrics by the conventions of Prometheus: a table of what there is, and a page made from it when asked.

    PICTURES = Metric("toddle_viewer_pictures_total", "Pictures drawn.")
    page = Page(lambda: [(PICTURES, [((), 12.0)])])
    page.render()

Nothing is counted here: a page reads the numbers that are there anyhow, when somebody scrapes it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

Sample = tuple[tuple[str, ...], float]
"""The values of a metric's labels, in their order, and its own."""


class Metric(msgspec.Struct, frozen=True):
    """One metric: base units in the name, `_total` for what only grows, a line of help."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        return "counter" if self.name.endswith("_total") else "gauge"


class Timing(msgspec.Struct, frozen=True):
    """A histogram of seconds that somebody fills as it happens, with its buckets."""

    name: str
    help: str
    buckets: tuple[float, ...]

    type = "histogram"
    labels: tuple[str, ...] = ("le",)

    def start(self) -> prometheus_client.Histogram:
        """Empty, in no registry: it belongs to who fills it."""
        return prometheus_client.Histogram(self.name, self.help, buckets=self.buckets, registry=None)


class _Reader(Collector):
    """Turns what `read` gives into families. What only grows never goes back, whatever is read."""

    def __init__(self, read: Callable[[], Iterable[tuple[Metric, Sequence[Sample]]]], timings: Callable[[], Iterable[Any]]) -> None:
        self._read, self._timings = read, timings
        self._highest: dict[tuple[str, tuple[str, ...]], float] = {}

    def describe(self) -> Iterable[Family]:
        return []

    def collect(self) -> Iterable[Family]:
        for metric, samples in self._read():
            family_of = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
            family = family_of(metric.name, metric.help, labels=metric.labels)
            for labels, value in samples:
                family.add_metric(labels, self._grown(metric.name, labels, value) if metric.type == "counter" else value)
            yield family
        for timing in self._timings():
            yield from timing.collect()

    def _grown(self, name: str, labels: tuple[str, ...], value: float) -> float:
        """A message that is overtaken is no longer one that was received: a count may go back by a few."""
        highest = max(value, self._highest.get((name, labels), value))
        self._highest[name, labels] = highest
        return highest


class Page:
    """The metrics of one process, in a registry of its own, and what the process itself uses."""

    def __init__(
        self, read: Callable[[], Iterable[tuple[Metric, Sequence[Sample]]]], timings: Callable[[], Iterable[Any]] = lambda: ()
    ) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call, unused-ignore]
        self._registry = CollectorRegistry()
        self._registry.register(_Reader(read, timings))
        prometheus_client.ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        return prometheus_client.generate_latest(self._registry)
