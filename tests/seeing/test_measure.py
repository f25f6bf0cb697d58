"""Rates, sizes and delays from numbers and times alone."""

import pytest

from protocol.messages import Envelope, Message, Status
from toddle.measure import Latency, Pace, Rates, Volume, same_clock, size

MS = 1_000_000


def envelope(seq: int, ms: float, run: str = "a", topic: str = "frame/robot", ahead_ms: int = 5000) -> Envelope:
    return Envelope(topic=topic, source="robot", run=run, seq=seq, t_ns=int((ms + ahead_ms) * MS), mono_ns=int(ms * MS))


def test_messages_that_were_missed_do_not_lower_the_rate() -> None:
    pace = Pace()
    for seq in (0, 1, 2, 10, 11, 40):
        pace.add(envelope(seq, seq * 50))
    assert pace.rate_hz == pytest.approx(20)
    assert "20.00 Hz  interval 50.0 to 50.0 ms, std 0.00 ms  6 messages" in pace.line()


def test_jitter_is_that_of_messages_that_follow_each_other() -> None:
    pace = Pace()
    for seq, ms in ((0, 0), (1, 40), (2, 100), (9, 5000)):
        pace.add(envelope(seq, ms))
    assert "interval 40.0 to 60.0 ms, std 10.00 ms" in pace.line()


def test_a_restart_is_no_interval() -> None:
    pace = Pace()
    for run, seq, ms in (("a", 100, 0), ("a", 101, 100), ("b", 0, 9000), ("b", 1, 9100)):
        pace.add(envelope(seq, ms, run))
    assert pace.rate_hz == pytest.approx(10)


def test_one_message_is_no_rate() -> None:
    pace, volume = Pace(), Volume()
    assert pace.rate_hz is None and volume.mean is None
    pace.add(envelope(3, 0))
    volume.add(envelope(3, 0), 10)
    assert "two that follow make a rate" in pace.line() and "two that follow make a rate" in volume.line()


def test_bytes_a_second_count_what_was_missed() -> None:
    volume = Volume()
    for seq, nbytes in ((0, 900), (1, 1100), (10, 1000)):
        volume.add(envelope(seq, seq * 100), nbytes)
    assert volume.line() == "10.0 KB/s  a message 1.0 KB (900 B to 1.1 KB)  10.00 Hz  3 messages"


def test_latency_by_the_clock_that_both_share() -> None:
    latency = Latency()
    assert latency.line() == "no message"
    latency.clocks(envelope(0, 0), 5000 * MS, 0)
    for seq in range(100):
        latency.add(envelope(seq, 0, ahead_ms=-20), seq * MS, (seq + 1) * MS)
    assert latency.line().startswith("publish to receive p50 51.00 p90 91.00 p99 100.00 max 100.00 ms  age p50 70.00")


def test_between_machines_only_wall_clocks_can_be_compared() -> None:
    latency = Latency()
    latency.clocks(envelope(0, 1_000_000), 1_005_000 * MS, 7 * MS)
    latency.add(envelope(0, 0, ahead_ms=0), 30 * MS, 999)
    assert latency.line() == "capture to receive by two wall clocks, which differ: p50 30.00 p90 30.00 p99 30.00 max 30.00 ms  1 messages"


def test_one_machine_is_known_by_its_two_clocks() -> None:
    assert same_clock(envelope(0, 70), wall_ns=5200 * MS, mono_ns=200 * MS)
    assert not same_clock(envelope(0, 70), wall_ns=5200 * MS, mono_ns=9_000_000 * MS)


def beat(rates: Rates, ms: float, frames: int, run: str = "a") -> None:
    body = Status(state="running", kind="robot", last_seq={"frame/robot": frames - 1} if frames else {})
    rates.take(Message(envelope=envelope(0, ms, run, "status/robot"), body=body))


def test_rates_of_heartbeats() -> None:
    rates = Rates()
    assert rates.rate_hz("frame/robot") is None and rates.messages("frame/robot") == 0
    for seconds in range(10):
        beat(rates, seconds * 1000, seconds * 20 + (100 if seconds > 2 else 0) + 1)
    assert rates.rate_hz("frame/robot") == pytest.approx(20), "over the last seconds, not over all"
    assert rates.messages("frame/robot") == 281 and rates.known(["robot"]) and not rates.known(["robot", "viewer"])
    assert rates.rate_hz("action/robot") == 0
    beat(rates, 10_000, 5, run="b")
    assert rates.rate_hz("frame/robot") is None and rates.messages("frame/robot") == 5, "a new process counts anew"
    beat(rates, 10_010, 6, run="b")
    assert rates.rate_hz("frame/robot") is None, "two heartbeats at once tell no rate"
    beat(rates, 10_500, 0, run="b")
    assert rates.messages("frame/robot") == 6, "a heartbeat without numbers changes nothing"


def test_sizes_for_people() -> None:
    assert [size(n) for n in (0, 999, 1000, 2_500_000, 3e9, 4e13)] == ["0 B", "999 B", "1.0 KB", "2.5 MB", "3.0 GB", "40000.0 GB"]
