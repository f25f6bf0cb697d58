"""Where the object is: the dot on its torus, or a marker of one colour on a plane. numpy only.

Positions are (x, y) in pixels. A picture that shows nothing of it has no position: NaN.
"""

from dataclasses import dataclass

import numpy as np

from worldmodel.scores.probe import Array, FloatArray, Probe

GHOST_PX = 6.0  # mass so near to a wrong outcome belongs to it
FAINT = 0.3  # of a marker's own contrast: what is less is not the marker


@dataclass(frozen=True)
class Marker:
    """What to look for: all that shines, on a torus (`colour` None), or one saturated colour, on a plane."""

    colour: tuple[int, int, int] | None = None

    @property
    def torus(self) -> bool:
        return self.colour is None

    def weight(self, image: Array) -> Array:
        """How much of it each pixel of [..., H, W, 3] shows: float [..., H, W], 1 for the dot or the marker itself.

        Of a colour counts by how much its strong channels exceed its weak ones, less 0.3 of what the marker's do.
        """
        if self.colour is None:
            return np.asarray(image.sum(axis=-1, dtype=np.float64) / (3 * 255.0))
        strong = np.asarray(self.colour) * 2 >= max(self.colour) + min(self.colour)
        contrast = image[..., strong].min(axis=-1).astype(np.float64)
        own = float(min(value for value, is_strong in zip(self.colour, strong, strict=True) if is_strong))
        if not strong.all():
            contrast -= image[..., ~strong].max(axis=-1)
            own -= max(value for value, is_strong in zip(self.colour, strong, strict=True) if not is_strong)
        return np.asarray(np.maximum(contrast / max(own, 1.0) - FAINT, 0.0) / (1.0 - FAINT))

    def place(self, weight: Array) -> FloatArray:
        """Centroid of weights [..., H, W]: float32 [..., 2]."""
        mean = _circular_mean if self.torus else _mean_place
        return np.stack((mean(weight.sum(axis=-2)), mean(weight.sum(axis=-1))), axis=-1).astype(np.float32)

    def away(self, here: Array, there: Array, height: int, width: int) -> Array:
        """Distance in pixels of positions [..., 2], the short way round on a torus; NaN where either is."""
        size = np.asarray((width, height), np.float64)
        steps = np.abs(here.astype(np.float64) - there)
        if self.torus:
            steps = steps % size
            steps = np.minimum(steps, size - steps)
        return np.asarray(np.hypot(steps[..., 0], steps[..., 1]))

    def ghost(self, weight: Array, outcomes: Array) -> Array:
        """Share of the mass within 6 px of another action's outcome, and nearer to that than to the right one: [n, A].

        weight [n, A, H, W], outcomes [n, A, 2]. Another outcome less than 6 px from the right one is not told from it;
        NaN where there is no mass, or no such outcome.
        """
        height, width = weight.shape[-2:]
        y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        grid = np.stack((x, y), axis=-1)
        distance = self.away(grid, outcomes[:, :, None, None, :], height, width)  # [n, A, H, W], to each outcome
        apart = self.away(outcomes[:, :, None], outcomes[:, None, :], height, width) >= GHOST_PX  # [n, A, A]
        near = (distance[:, None] <= GHOST_PX) & (distance[:, None] < distance[:, :, None]) & apart[..., None, None]
        haunted = (weight * near.any(axis=2)).sum(axis=(-2, -1))
        mass = weight.sum(axis=(-2, -1))
        return np.where((mass > 0) & apart.any(axis=2), haunted / np.maximum(mass, 1e-12), np.nan)


def marker_of(probe: Probe) -> Marker:
    """What `probe.position` is the position of."""
    if probe.colour is None:
        return Marker()
    return Marker((int(probe.colour[0]), int(probe.colour[1]), int(probe.colour[2])))


def torus_position(image: Array) -> FloatArray:
    """Centroid (x, y) in pixels of images [..., H, W, 3] on a torus; NaN for a black image."""
    marker = Marker()
    return marker.place(marker.weight(image))


def _circular_mean(weight: Array) -> Array:
    """Intensity-weighted: theta = atan2(sum I sin(2 pi x / W), sum I cos(2 pi x / W))."""
    size = weight.shape[-1]
    angle = 2.0 * np.pi * np.arange(size) / size
    theta = np.arctan2((weight * np.sin(angle)).sum(axis=-1), (weight * np.cos(angle)).sum(axis=-1))
    return np.where(weight.sum(axis=-1) > 0, size * theta / (2.0 * np.pi) % size, np.nan)


def _mean_place(weight: Array) -> Array:
    mass = weight.sum(axis=-1)
    return np.where(mass > 0, (weight * np.arange(weight.shape[-1])).sum(axis=-1) / np.maximum(mass, 1e-12), np.nan)
