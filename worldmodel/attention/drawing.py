"""Attention as a picture: lines or a glow on the canvas, or a matrix. matplotlib draws, on no screen."""

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from worldmodel.attention.numbers import How, groups_of, join_heads, join_patches, strongest
from worldmodel.attention.selection import rows_of
from worldmodel.attention.tokens import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from worldmodel.attention.capture import Attention, FloatArray, UInt8Array

View = Literal["lines", "matrix", "overlay"]
VIEWS: tuple[View, ...] = get_args(View)
ALPHA = 0.6  # of the glow on the canvas
WIDTH_IN, DPI = 12.0, 100
CHOSEN = "white"
DIM = 0.75  # of the canvas below lines
COLOURS = ("#ff9f1c", "#2ec4ff", "#7ae582", "#ff5d8f", "#c77dff", "#ffe66d")
THIN, THICK = 0.5, 4.0  # points


def draw(
    attention: "Attention",
    patches: list[int],
    view: View = "lines",
    quantile: float = 95.0,
    heads_by: How = "mean",
    patches_by: How = "mean",
) -> "UInt8Array":
    """One picture, uint8 [H, W, 3].

    lines: from each chosen patch to what it reads, of the weights at or above the quantile (percent, over all weights of all
    chosen patches and layers); a colour per layer, the thicker the more. overlay: a panel per layer, the chosen patches
    together, over the canvas. matrix: a panel per layer, a row per chosen patch and a column per key.
    """
    read = join_heads(attention, patches, heads_by)
    if view == "lines":
        figure = _lines(attention, patches, read, quantile)
    elif view == "overlay":
        figure = _overlay(attention, patches, join_patches(read, patches_by))
    else:
        figure = _matrix(attention, patches, read)
    return _picture(figure)


def _figure(panels: int, height_in: float) -> tuple["Figure", "list[Axes]"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, panels * height_in), dpi=DPI, layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(panels, 1)))


def _picture(figure: "Figure") -> "UInt8Array":
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    drawn: Any = FigureCanvasAgg(figure)
    drawn.draw()
    return np.ascontiguousarray(np.asarray(drawn.buffer_rgba())[..., :3])


def _canvas_height_in(attention: "Attention") -> float:
    height, width = attention.canvas.shape[:2]
    return float(WIDTH_IN * height / width + 0.7)


def _show_canvas(axes: "Axes", attention: "Attention", patches: list[int], light: float = 1.0) -> None:
    """The canvas with the chosen patches framed, and a name for every frame."""
    from matplotlib.patches import Rectangle

    height, width = attention.canvas.shape[:2]
    axes.imshow((attention.canvas * light).astype(np.uint8), interpolation="nearest", extent=(0, width, height, 0))
    for row in rows_of(attention, patches):
        box = attention.queries[row].box
        if box is not None:
            top, left, bottom, right = box
            axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=CHOSEN, linewidth=1.2, zorder=4))
    layout = Layout(attention.spec)
    names = [f"frame {frame}" for frame in range(attention.spec.context)]
    names[-1] += ", the last"
    axes.set_xticks([layout.left(frame) + layout.slot / 2 for frame in range(len(names) + 1)], [*names, "predicted"])
    axes.set_yticks([])
    axes.tick_params(length=0)


def _lines(attention: "Attention", patches: list[int], read: "FloatArray", quantile: float) -> "Figure":
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    figure, (axes,) = _figure(1, _canvas_height_in(attention) + 0.3)
    _show_canvas(axes, attention, patches, DIM)
    placed = np.array([key.box is not None for key in attention.keys])  # the class token has no place to draw a line to
    chosen, least = strongest(read[:, :, placed], quantile)
    most = float(read[:, :, placed].max())
    starts = _centres([attention.queries[row].box for row in rows_of(attention, patches)])
    ends = _centres([key.box for key in attention.keys if key.box is not None])
    colours = _colours(len(attention.layers))
    for layer, (colour, kept, weights) in enumerate(zip(colours, chosen, read[:, :, placed], strict=True)):
        which, key = np.nonzero(kept)
        order = np.argsort(weights[which, key])  # the strongest on top
        which, key = which[order], key[order]
        share = np.sqrt((weights[which, key] - least) / max(most - least, 1e-12))
        tints = np.concatenate((np.repeat([colour], len(share), axis=0), 0.3 + 0.7 * share[:, None]), axis=1)
        apart = (layer - (len(colours) - 1) / 2) * attention.spec.patch / (8.0 + 2.0 * len(colours))  # or layers would hide one another
        segments = np.stack((starts[which], ends[key]), axis=1) + (0.0, apart)
        axes.add_collection(LineCollection(list(segments), linewidths=THIN + (THICK - THIN) * share, colors=tints, zorder=3), autolim=False)
        still = (starts[which] == ends[key]).all(axis=1)
        x, y = starts[which][still].T
        axes.scatter(x, y, s=25 * share[still], color=list(tints[still]), zorder=5)  # what a patch reads of itself
    legend = [
        Line2D([], [], color=colour, linewidth=2.5, label=f"layer {layer}") for colour, layer in zip(colours, attention.layers, strict=True)
    ]
    figure.legend(handles=legend, loc="outside lower center", ncols=min(len(legend), 12), frameon=False)
    axes.set_title(f"{_what(attention, patches)}: {int(chosen.sum())} of {chosen.size} weights, from {least:.3g} to {most:.3g}")
    return figure


def _overlay(attention: "Attention", patches: list[int], joined: "FloatArray") -> "Figure":
    figure, panels = _figure(len(attention.layers), _canvas_height_in(attention))
    for place, (axes, layer) in enumerate(zip(panels, attention.layers, strict=True)):
        _show_canvas(axes, attention, patches)
        height, width = attention.canvas.shape[:2]
        glow = np.full((height, width), np.nan, np.float32)
        for key, weight in zip(attention.keys, joined[place].tolist(), strict=True):
            if key.box is not None:
                top, left, bottom, right = key.box
                glow[top:bottom, left:right] = weight
        shown = axes.imshow(glow, cmap="inferno", alpha=ALPHA, vmin=0.0, interpolation="nearest", extent=(0, width, height, 0), zorder=2)
        figure.colorbar(shown, ax=axes, fraction=0.02, pad=0.01)
        axes.set_title(f"layer {layer}, {_what(attention, patches)}")
    return figure


def _matrix(attention: "Attention", patches: list[int], read: "FloatArray") -> "Figure":
    """Keys in groups: frame by frame, then actions, then the frame to come itself."""
    groups = groups_of(attention.keys, attention.spec.context)
    order = np.concatenate([np.flatnonzero(mask) for mask in groups.values()])
    edges = np.cumsum([int(mask.sum()) for mask in groups.values()])
    figure, panels = _figure(len(attention.layers), min(1.4 + 0.14 * len(patches), 5.0))
    for place, (axes, layer) in enumerate(zip(panels, attention.layers, strict=True)):
        shown = axes.imshow(read[place][:, order], aspect="auto", cmap="inferno", vmin=0.0, interpolation="nearest")
        for edge in edges[:-1]:
            axes.axvline(edge - 0.5, color="white", linewidth=0.8)
        axes.set_xticks([(first + last) / 2 - 0.5 for first, last in zip([0, *edges[:-1]], edges, strict=True)], list(groups))
        step = -(-len(patches) // 12)
        axes.set_yticks(range(0, len(patches), step), [str(patch) for patch in patches[::step]])
        axes.set_ylabel("patch")
        axes.tick_params(length=0)
        figure.colorbar(shown, ax=axes, fraction=0.02, pad=0.01)
        axes.set_title(f"layer {layer}, {_what(attention, patches)}")
    return figure


def _what(attention: "Attention", patches: list[int]) -> str:
    heads = f"{len(attention.heads)} heads" if len(attention.heads) > 1 else f"head {attention.heads[0]}"
    return f"{attention.stage}, {len(patches)} patch{'es' if len(patches) > 1 else ''}, {heads}"


def _centres(boxes: list[Any]) -> "FloatArray":
    """Top, left, bottom, right -> (x, y), float32 [n, 2]."""
    corners = np.asarray(boxes, np.float32).reshape(-1, 4)
    return np.stack(((corners[:, 1] + corners[:, 3]) / 2, (corners[:, 0] + corners[:, 2]) / 2), axis=1)


def _colours(count: int) -> list[Any]:
    """That many colours that stay apart, RGB in 0 to 1."""
    import matplotlib as mpl
    from matplotlib.colors import to_rgb

    if count <= len(COLOURS):
        return [to_rgb(colour) for colour in COLOURS[:count]]
    return [mpl.colormaps["turbo"](0.1 + 0.9 * place / (count - 1))[:3] for place in range(count)]
