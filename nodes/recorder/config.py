"""What can be set about a recorder, validated once when the launch file is read."""

from typing import Any, Literal

import msgspec

from storage.paths import free_bytes, sessions_root

GIB = 1 << 30


class RecorderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Defaults suit one robot on one machine."""

    root: str | None = None
    """Folder of sessions; TODDLE_SESSIONS or ./sessions when not given."""
    session: str | None = None
    """Name of the session; the run's name and time when not given."""
    sync_interval_s: float = 1.0
    """What a power cut may cost at most: a commit comes at least this often while events come."""
    commit_events: int = 5000
    """A commit comes after this many events, however fast they come."""
    codec: Literal["raw", "zstd", "delta-zstd", "jpeg"] = "delta-zstd"
    """How frames are stored: lossless, but for `jpeg` (about a tenth of the size; needs OpenCV)."""
    map_gb: float = 4.0
    """Size of a segment, GiB: sparse, so it costs address space and no disk."""
    max_gb: float = 10.0
    """Sessions of one robot driver above this, GiB, are deleted, oldest first, also while a run goes on; 0 keeps everything."""
    max_total_gb: float = 0.0
    """The same over the sessions of all robots together; 0: only `max_gb` counts."""
    min_free_gb: float = 1.0
    """The recorder stops with exit code 4 before less disk than this is free; an alarm comes at twice as much."""
    record_predictions: bool = False
    """Whether predicted images are stored; their numbers always are."""
    copy_exactly: bool = False
    """Whether only what an exact replay brings is stored, so that the session equals the one played, event by event.
    One that is killed is not gone on with: begin the copy again."""

    def __post_init__(self) -> None:
        if not 0 < self.sync_interval_s <= 3600:
            raise ValueError(f"sync_interval_s is {self.sync_interval_s}, expected more than 0 and at most 3600 seconds")
        if self.commit_events < 1:
            raise ValueError(f"commit_events is {self.commit_events}, expected at least 1")
        if not 0.001 <= self.map_gb <= 1024:
            raise ValueError(f"map_gb is {self.map_gb}, expected 0.001 to 1024 GiB")
        for name in ("max_gb", "max_total_gb", "min_free_gb"):
            if not 0 <= getattr(self, name) < 2**40:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more GiB")


def room_bytes(params: dict[str, Any]) -> int | None:
    """Free disk above the floor where a recorder with these params would write, where that can be told; for estimates before a run."""
    config = msgspec.convert(params, RecorderConfig)
    try:
        return max(free_bytes(sessions_root(config.root)) - int(config.min_free_gb * GIB), 0)
    except (OSError, ValueError):  # a root that cannot be is the recorder's to refuse
        return None
