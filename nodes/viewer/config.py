"""The viewer's settings, checked once when a launch file is read.

config = msgspec.convert({"rate_hz": 15, "window": False}, ViewerConfig)
"""

import msgspec


class ViewerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the viewer shows, how often and where.

    `size` is width and height in pixels. `window`: True asks for one and fails without a display, False
    never opens one, None opens one where a display answers and writes PNG files elsewhere. `png_every_s`
    is the shortest time between two `latest.png`; with 0 it is written at the end only. `mp4` writes a video of
    the pictures at `mp4_rate_hz`. `speak`: it says aloud when an episode begins and ends, where a voice is installed.
    `context` is how many frames before the newest one the history shows.
    """

    rate_hz: float = 30.0
    size: tuple[int, int] = (1280, 720)
    window: bool | None = None
    title: str = "toddle"
    png_every_s: float = 5.0
    mp4: bool = False
    mp4_rate_hz: float = 10.0
    speak: bool = False
    context: int = 2
    curve_points: int = 600

    def __post_init__(self) -> None:
        width, height = self.size
        if not 0 < self.rate_hz <= 240 or not 0 < self.mp4_rate_hz <= 240:
            raise ValueError(f"rate_hz {self.rate_hz}, mp4_rate_hz {self.mp4_rate_hz}: give rates above 0, up to 240")
        if not (640 <= width <= 3840 and 360 <= height <= 2160):
            raise ValueError(f"size {width}x{height}: give 640x360 to 3840x2160 pixels")
        if self.png_every_s < 0:
            raise ValueError(f"png_every_s is {self.png_every_s}: give seconds, 0 or more")
        if not 1 <= self.context <= 7:
            raise ValueError(f"context is {self.context}: show 1 to 7 frames before the newest")
        if self.curve_points < 16:
            raise ValueError(f"curve_points is {self.curve_points}: give at least 16")
