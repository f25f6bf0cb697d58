"""The episodes of a run: their numbers, their marks, and the file from which a restarted robot goes on."""

from collections.abc import Callable

from nodes.leftbehind import LeftBehind
from nodes.robot.bodies import episode_mark
from nodes.robot.core import Progress
from nodes.robot.interface import Origin
from protocol.messages import Body, MarkName


class Episodes:
    """`progress` says where the run stands; `earlier` where an earlier process left off, (-1, 0) without one.

    `kept` counts the episodes that ended and were not discarded, of earlier processes too.
    """

    def __init__(self, place: LeftBehind, publish: Callable[..., None]) -> None:
        self._place, self._publish = place, publish
        *earlier, self.kept = self._read()
        self.earlier = earlier[0], earlier[1]
        self._counted = False
        self.progress = Progress(*self.earlier)

    def begin(self, step: int | None = None, origin: Origin | None = None) -> None:
        """Begin an episode, of a recorded one at its `step`; leave its number and the steps so far behind."""
        self.progress.begin()
        self._write()
        if step is not None:
            self.progress.step = step
        self.mark("start", origin=origin)

    def mark(self, mark: MarkName, reason: str = "", origin: Origin | None = None) -> None:
        body: Body = episode_mark(mark, reason, origin)
        self._publish("episode", body, episode=self.progress.episode, step=self.progress.step)

    def end(self, reason: str, origin: Origin | None = None, kept: bool = False) -> None:
        """End the running episode, if there is one; whether it counts."""
        if self.progress.open:
            self.mark("end", reason, origin)
            self.progress.open = False
            self._counted = kept
            self.kept += kept
            self._write()

    def mark_ended(self, mark: MarkName, reason: str) -> None:
        """Mark the episode that has ended; discarded, it does not count."""
        self.mark(mark, reason)
        if mark == "discard":
            self.kept -= self._counted
            self._counted = False
            self._write()

    def _write(self) -> None:
        self._place.write(f"{self.progress.episode} {self.progress.steps} {self.kept}")

    def _read(self) -> tuple[int, int, int]:
        try:
            episode, steps, kept = self._place.path.read_text().split()
            return int(episode), int(steps), int(kept)
        except (OSError, ValueError):
            return -1, 0, 0
