"""How long the disk will do, in the same words wherever it is said. MB and GB are 2^20 and 2^30 bytes, as in the configs."""

import math

import msgspec

MB, GB = 1 << 20, 1 << 30
PER_MINUTE, ROOM = "disk_bytes_per_minute", "disk_room_bytes"
"""The names under which a recorder publishes its `DiskUse` among its metrics."""


class DiskUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a recorder writes, and the room that it has above its floor."""

    bytes_per_minute: float
    room_bytes: float

    @property
    def seconds(self) -> float:
        """Until the floor is reached at this speed."""
        return self.room_bytes * 60 / self.bytes_per_minute if self.bytes_per_minute > 0 else math.inf

    def __str__(self) -> str:
        return f"records about {tell_bytes(self.bytes_per_minute)} a minute; {self.tell_room()}"

    def tell_room(self) -> str:
        return f"{tell_bytes(self.room_bytes)} free above the floor: {tell_span(self.seconds)}"

    def too_little_for(self, seconds: float) -> str:
        """What is wrong when it has to do for so long; empty when it does, and with 0: nobody is warned of for ever."""
        if self.seconds >= seconds:
            return ""
        return (
            f"the disk will do for {tell_span(self.seconds)} of the {tell_span(seconds)} to come, then recording stops: "
            "delete sessions, free disk or put them elsewhere (TODDLE_SESSIONS)"
        )


def tell_bytes(count: float) -> str:
    """Such as `84 MB` or `1.2 GB`."""
    unit, name = (GB, "GB") if count >= GB else (MB, "MB")
    value = count / unit
    return f"{value:.0f} {name}" if value >= 10 else f"{value:.1f} {name}"


def tell_span(seconds: float) -> str:
    """Such as `40 s`, `12 min`, `2 h 20 min` or `9 days`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds >= 100 * 86400:
        return "more than 100 days"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"
