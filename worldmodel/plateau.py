"""When a score no longer falls: small state machines without clocks, kept in checkpoints.

    plateau = plateau.step(value, patience=15, factor=0.8)     # -> plateau.factor multiplies the learning rate
    stall = stall.step(value, patience=25, ...)                # -> stall.stopped

The first value is the baseline: it is no improvement and no failure.
"""

import math

import msgspec

THRESHOLD = 1e-4  # relative, as ReduceLROnPlateau has it


class Plateau(msgspec.Struct, frozen=True):
    """ReduceLROnPlateau's rule: after more than `patience` values in a row without an improvement the factor falls."""

    best: float | None = None
    bad: int = 0
    factor: float = 1.0

    def step(self, value: float, patience: int, factor: float, least: float = 0.0) -> "Plateau":
        """After this value; a value that is not finite is no improvement."""
        if self.best is None and math.isfinite(value):
            return Plateau(value, 0, self.factor)
        if self.best is not None and value < self.best * (1 - THRESHOLD):
            return Plateau(value, 0, self.factor)
        if self.bad < patience:
            return Plateau(self.best, self.bad + 1, self.factor)
        return Plateau(self.best, 0, max(least, self.factor * factor))


class Stall(msgspec.Struct, frozen=True):
    """Stops when the smoothed value has not fallen by `least` of the best for `patience` values in a row."""

    average: float | None = None
    best: float | None = None
    bad: int = 0
    stopped: bool = False

    def step(self, value: float, patience: int, least: float, smoothing: float) -> "Stall":
        """After this value; a value that is not finite is no improvement and does not enter the average."""
        average = self.average
        if math.isfinite(value):
            average = value if average is None else average + smoothing * (value - average)
        if average is not None and (self.best is None or (self.best > 0 and (self.best - average) / self.best > least)):
            return Stall(average, average, 0, self.stopped)
        bad = self.bad + 1
        return Stall(average, self.best, bad, self.stopped or bad >= patience)
