"""What can be set about a recorder, validated once when the launch file is read."""

from typing import Literal

import msgspec


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
    """Sessions of one robot driver above this are deleted, oldest first; 0 keeps everything."""
    min_free_gb: float = 1.0
    """The recorder stops with exit code 4 before less disk than this is free; an alarm comes at twice as much."""
    record_predictions: bool = False
    """Whether predicted images are stored; their numbers always are."""

    def __post_init__(self) -> None:
        if not 0 < self.sync_interval_s <= 3600:
            raise ValueError(f"sync_interval_s is {self.sync_interval_s}, expected more than 0 and at most 3600 seconds")
        if self.commit_events < 1:
            raise ValueError(f"commit_events is {self.commit_events}, expected at least 1")
        if not 0.001 <= self.map_gb <= 1024:
            raise ValueError(f"map_gb is {self.map_gb}, expected 0.001 to 1024 GiB")
        if self.max_gb < 0 or self.min_free_gb < 0:
            raise ValueError(f"max_gb is {self.max_gb} and min_free_gb {self.min_free_gb}, neither may be negative")
