"""The robot node that plays a recording bit for bit: every recorded message of every topic, in recorded order.

Each travels whole inside a message of this node's own topic (`protocol.played`): topic, source, run, number, times
and arrays are the recording's. What was not recorded, or with loss, cannot be played as it was: that is counted, and said at
the end.
"""

from collections import Counter

from nodes.robot.interface import RobotError
from nodes.robot.player import Due, Player
from nodes.robot.replay import open_recording
from nodes.timeline import Timeline
from protocol.played import wrap
from storage.arrays import LOSSY
from storage.errors import StorageError
from storage.record import Event

LONGEST_PAUSE_S = 2.0
"""Nobody recorded anything for longer than that: the pause is cut."""


class ExactNode(Player):
    def open(self) -> None:
        self._reader = open_recording(self.options)
        self._numbers = self._reader.numbers()
        self._timeline = Timeline()
        self._events = 0
        self._episodes = 0
        self._lacking: Counter[str] = Counter()
        self._blurred: Counter[str] = Counter()

    def read(self) -> Due | None:
        try:
            number = next(self._numbers, None)
            event = None if number is None else self._reader.event(number)
        except StorageError as error:
            raise RobotError(str(error)) from None
        return None if event is None else Due(self._timeline.at(event.message.envelope, LONGEST_PAUSE_S), event)

    def play(self, what: Event) -> None:
        message = what.message
        self.publish("played", *wrap(what.header, message.arrays, what.left_out))
        self._events += 1
        self._lacking[message.kind] += bool(what.left_out)
        lossy = self._reader.header.codecs.get(message.kind) in LOSSY
        self._blurred[message.kind] += lossy and any(name.startswith("image/") for name in message.arrays)
        self._episodes += message.kind == "episode" and message.body.mark == "start"
        self.steps += message.kind == "frame"

    def end(self) -> str:
        whys = {"with arrays that were not recorded": self._lacking, "with images that were recorded with loss": self._blurred}
        lacks = [f"{count} {kind} {why}" for why, counts in whys.items() for kind, count in sorted(counts.items()) if count]
        said = f"bit for bit but for {' and '.join(lacks)}" if lacks else "each bit for bit"
        return f"end of session {self._reader.path.name}: {self._events} messages, {said}"

    def values(self, last: bool) -> dict[str, float]:
        return {"episodes": self._episodes, "played": self._events}

    def let_go(self) -> None:
        self._reader.close()
