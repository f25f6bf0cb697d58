"""The colours of the bars that stand for actions."""

Colour = tuple[int, int, int]

# The first three are the original's; the rest continue with colours that stay apart from them.
PALETTE: tuple[Colour, ...] = (
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255),
    (255, 128, 0), (128, 0, 255), (0, 128, 128), (128, 128, 0), (255, 128, 192), (128, 192, 255),
)  # fmt: skip
UNKNOWN: Colour = (128, 128, 128)
