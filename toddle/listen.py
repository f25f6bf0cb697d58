"""Hearing one topic of a running graph, until enough has come, the run has ended, or Ctrl-C."""

import time
from collections.abc import Iterator

import click

from launch.errors import nearest
from protocol.errors import ProtocolError
from protocol.messages import Status
from protocol.tap import Heard, Tap
from protocol.topics import TOPICS
from protocol.wiring import Peer
from toddle.attach import Attached, BadInput

QUIET_S = 3.0
LOOK_S = 0.2


def find_topic(at: Attached, said: str) -> str:
    """The full name of a topic: `frame/robot`, or `frame` where one node publishes it."""
    if said in at.topics:
        return said
    meant = [name for name in at.topics if name.partition("/")[0] == said]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise BadInput(f"'{said}' is published by several nodes: {', '.join(meant)}")
    if said in TOPICS:
        raise BadInput(f"no node of run '{at.table.run}' publishes '{said}'; a {' or '.join(TOPICS[said].publishers)} does")
    raise BadInput(f"no topic '{said}' in run '{at.table.run}'{nearest(said, at.topics)}")


class Listening:
    """Iterates over the messages of one topic, and None every moment without one."""

    def __init__(self, at: Attached, topic: str, seconds: float | None, count: int | None, newest: bool = False) -> None:
        self.topic, self.peer = topic, at.topics[topic][1]
        self.status: Status | None = None
        self.heartbeat: Heard | None = None
        self.came = 0
        self._at, self._seconds, self._count = at, seconds, count
        self._heartbeats = f"status/{self.peer.name}"
        self._newest = [self._heartbeats, *([topic] if newest else [])]
        self._patient = newest  # who has the last value of a latched topic expects no other soon
        self._tap: Tap | None = None

    def __iter__(self) -> Iterator[Heard | None]:
        try:
            with Tap([self.peer], {self.topic, self._heartbeats}, self._newest, own=self._at.own) as self._tap:
                yield from self._listen(self._tap)
        except ProtocolError as error:
            raise BadInput(str(error)) from None

    def _listen(self, tap: Tap) -> Iterator[Heard | None]:
        begun_s = heard_s = time.monotonic()
        looked_s, told = begun_s, False
        while self._seconds is None or time.monotonic() - begun_s < self._seconds:
            heard = tap.next(LOOK_S)
            if heard is not None and heard.message.topic == self._heartbeats:
                self.status, self.heartbeat = heard.message.body, heard
            if heard is not None and heard.message.topic == self.topic:
                self.came += 1
                heard_s, told = time.monotonic(), False
                yield heard
                if self._count is not None and self.came >= self._count:
                    return
                continue
            yield None
            now_s = time.monotonic()
            if self.status is not None and self.status.final:
                return self._tell(f"{self.peer.name} has ended")
            if now_s - looked_s > 1.0:
                looked_s = now_s
                if not self._at.alive():
                    return self._tell(f"run {self._at.table.run} has ended")
            if not told and now_s - heard_s > QUIET_S and not (self._patient and self.came):
                told = True
                self._tell(f"nothing on {self.topic} for {QUIET_S:g} s: {why_quiet(self.topic, self.peer, self.status, self.came)}")

    def _tell(self, text: str) -> None:
        click.echo(text, err=True)

    def missed(self) -> str:
        """What the tap skipped and refused, for the last line; empty when there was none."""
        if self._tap is None:
            return ""
        skipped = self._tap.skipped.get(self.topic, 0)
        refused = ", ".join(f"{count} ({reason})" for reason, count in self._tap.refused.items())
        text = f"  {skipped:,} skipped by this tap" if skipped else ""
        return f"{text}  not messages: {refused}" if refused else text


def why_quiet(topic: str, peer: Peer, status: Status | None, came: int) -> str:
    """Why a topic may say nothing, by the publisher's heartbeat."""
    if status is None:
        return f"no heartbeat of {peer.name} either; it is starting, dead, or cannot be reached at {peer.endpoints.latest}"
    if status.state in ("starting", "ready"):
        return f"{peer.name} is {status.state}; the graph does not move yet"
    if status.state == "paused":
        return f"{peer.name} is paused"
    count = status.last_seq.get(topic, -1) + 1
    if not count:
        return f"{peer.name} has published nothing on it yet"
    if came:
        return f"{peer.name} has published {count:,} on it, and none since"
    return f"the {count:,} that {peer.name} has published on it came before this tap"
