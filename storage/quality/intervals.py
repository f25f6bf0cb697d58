"""Percentiles of any number of intervals in a bounded table."""

import math
from collections import Counter

from protocol.clock import NS_PER_S
from storage.quality.report import Intervals, Place

_PER_E = 1000  # buckets per factor e: a percentile is right to half of 0.1 %


class IntervalMeter:
    """Counts intervals in logarithmic buckets: at most some 30,000, however long the session."""

    def __init__(self) -> None:
        self.buckets: Counter[int] = Counter()
        self._count = 0
        self._sum_ns = 0
        self._max_ns = 0
        self._longest: Place | None = None

    def add(self, interval_ns: int, place: Place) -> None:
        """An interval, and where it ended."""
        interval_ns = max(interval_ns, 1)
        self.buckets[round(math.log(interval_ns) * _PER_E)] += 1
        self._count += 1
        self._sum_ns += interval_ns
        if interval_ns > self._max_ns:
            self._max_ns, self._longest = interval_ns, place

    def percentile_s(self, share: float) -> float:
        """The interval that this share of all does not exceed; 0 when there is none."""
        left = math.ceil(share * self._count)
        for bucket, count in sorted(self.buckets.items()):
            left -= count
            if left <= 0:
                return min(seconds(bucket), self._max_ns / NS_PER_S)
        return 0.0

    def result(self, nominal_hz: float) -> Intervals:
        return Intervals(
            count=self._count, rate_hz=self._count * NS_PER_S / self._sum_ns if self._sum_ns else 0.0, nominal_hz=nominal_hz,
            p50_s=self.percentile_s(0.5), p95_s=self.percentile_s(0.95), p99_s=self.percentile_s(0.99),
            max_s=self._max_ns / NS_PER_S, longest=self._longest,
        )  # fmt: skip


def seconds(bucket: int) -> float:
    """The interval in the middle of a bucket."""
    return math.exp(bucket / _PER_E) / NS_PER_S
