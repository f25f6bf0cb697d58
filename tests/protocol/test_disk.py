"""How long the disk will do, in words."""

import math

import pytest

from protocol.disk import DiskUse, tell_bytes, tell_span

MB, GB = 1 << 20, 1 << 30


def test_a_speed_and_the_room_give_a_time() -> None:
    use = DiskUse(bytes_per_minute=84 * MB, room_bytes=11.5 * GB)
    assert str(use) == "records about 84 MB a minute; 12 GB free above the floor: 2 h 20 min"
    assert use.too_little_for(2 * 3600) == "" == use.too_little_for(0)
    assert use.too_little_for(3 * 3600).startswith("the disk will do for 2 h 20 min of the 3 h to come, then recording stops")


def test_no_room_and_no_speed() -> None:
    assert DiskUse(bytes_per_minute=MB, room_bytes=0).too_little_for(60).startswith("the disk will do for 0 s of the 60 s")
    nothing = DiskUse(bytes_per_minute=0, room_bytes=GB)
    assert nothing.seconds == math.inf and nothing.too_little_for(1e9) == ""
    assert str(nothing).endswith("more than 100 days")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (99, "99 s"), (100, "2 min"), (5940, "99 min"), (7200, "2 h"), (8400, "2 h 20 min"), (4 * 86400, "4 days"),
        (1e12, "more than 100 days"),
    ],
)  # fmt: skip
def test_spans(seconds: float, words: str) -> None:
    assert tell_span(seconds) == words


def test_bytes() -> None:
    assert [tell_bytes(count) for count in (0, 1.26 * MB, 84 * MB, 1.5 * GB, 20 * GB)] == ["0.0 MB", "1.3 MB", "84 MB", "1.5 GB", "20 GB"]
