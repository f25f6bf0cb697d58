"""Colours (RGB) and measures (pixels at 1280x720): dark, calm, readable without telling red from green."""

Colour = tuple[int, int, int]

BACKGROUND: Colour = (14, 16, 20)
PANEL: Colour = (23, 26, 32)
RAISED: Colour = (36, 41, 50)
BORDER: Colour = (48, 54, 66)
GRID: Colour = (37, 42, 52)
TEXT: Colour = (230, 233, 240)
MUTED: Colour = (142, 151, 167)
FAINT: Colour = (92, 101, 117)

# After Okabe and Ito, lightened for a dark background: apart for every common colour vision.
BLUE: Colour = (104, 186, 245)
TEAL: Colour = (46, 196, 158)
AMBER: Colour = (242, 176, 52)
RED: Colour = (242, 108, 74)
PINK: Colour = (214, 142, 190)
YELLOW: Colour = (240, 228, 104)

# Shape and colour of a node's condition.
CONDITIONS: dict[str, tuple[str, Colour]] = {
    "running": ("dot", TEAL),
    "ready": ("dot", BLUE),
    "starting": ("ring", BLUE),
    "paused": ("bars", AMBER),
    "stopping": ("ring", AMBER),
    "stopped": ("square", FAINT),
    "silent": ("cross", RED),
    "waiting": ("ring", FAINT),
}

MARGIN = 12
GAP = 8
PAD = 10
HEADER_H = 54
BANNER_H = 30
STRIP_H = 28
FOOTER_H = 28
TITLE_H = 26
LEFT_W = 326
RIGHT_W = 372
LOWER_H = 222

SMALL = 10.5
BODY = 12.0
VALUE = 14.5
BRAND = 19.0
