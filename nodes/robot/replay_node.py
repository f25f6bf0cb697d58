"""The robot node that plays a recording: its frames, actions, episodes and probe, as if a robot were there.

Nobody downstream can tell: everything is numbered and timed as said now. When a frame was captured is in the
frame, where an episode comes from is in its marks.
"""

import time
from typing import Any

import msgspec

from nodes.leftbehind import LeftBehind
from nodes.robot.episodes import Episodes
from nodes.robot.interface import Origin
from nodes.robot.player import Due, Player
from nodes.robot.playing import Step
from nodes.robot.replay import Place, Recording
from nodes.robot.statistics import Statistics
from protocol import messages as m

BY = "recording"


class ReplayNode(Player):
    def open(self) -> None:
        self.recording = Recording(self.options)
        self.statistics = Statistics(self.recording.info.actions)
        self.episodes = Episodes(LeftBehind(self.run_dir / f"place-{self.name}", self.log), self.publish)
        self.progress = self.episodes.progress
        self._origin = Origin(self.recording.session, 0, held_out=False)

    def go(self) -> None:
        """Say what the recorded robot was, and what is held out; then begin."""
        self.publish("robot", self.recording.info)
        probe = self.recording.probe()
        if probe is not None:
            self.publish("probe", m.Probe(description=probe[0]), probe[1])
        super().go()

    def read(self) -> Due | None:
        step = self.recording.next_step()
        return None if step is None else Due(step.at_s, step)

    def play(self, what: Step) -> None:
        """Publish one recorded step."""
        episode, step = what.frame.envelope.episode or 0, what.frame.envelope.step
        if what.first:
            self.episodes.end("another place was asked for", self._origin)  # only then it is still open
            self._origin = Origin(self.recording.session, episode, held_out=episode in self.recording.held_out)
            self.episodes.begin(step, self._origin)
        elif step is not None:
            self.progress.step = step
        self._publish_frame(what)
        if what.action is not None:
            self._publish_action(what.action.body)
        self.progress.advance()
        self.steps += 1
        for mark in what.marks:
            self.episodes.mark(mark, origin=self._origin)  # type: ignore[arg-type]
        if what.last:
            self.episodes.end("end of what is played of the recorded episode", self._origin)

    def _publish_frame(self, step: Step) -> None:
        interval_s = self.statistics.frame(time.monotonic())
        if interval_s is not None:
            self.took(interval_s)
        recorded: m.Frame = step.frame.body
        captured_ns = step.frame.envelope.t_ns if recorded.origin_t_ns is None else recorded.origin_t_ns
        body = m.Frame(held_out=self._origin.held_out, last=step.last, origin_t_ns=captured_ns)
        self.publish("frame", body, step.frame.arrays, episode=self.progress.episode, step=self.progress.step)

    def _publish_action(self, recorded: m.ActionTaken) -> None:
        body = msgspec.structs.replace(recorded, by=BY)
        self.statistics.action(body.action, (body.end_ns - body.start_ns) / 1e9, body.success, body.safe)
        self.publish("action", body, episode=self.progress.episode, step=self.progress.step)

    def end(self) -> str:
        self.episodes.end("end of what is played", self._origin)
        return f"end of session {self.recording.session}"

    def let_go(self) -> None:
        self.episodes.end("the run was stopped", self._origin)
        self.recording.close()

    def values(self, last: bool) -> dict[str, float]:
        begun = self.progress.episode - self.episodes.earlier[0]
        return {"episodes": begun, **(self.statistics.numbers() if last else self.statistics.counts())}

    # -- control ----------------------------------------------------------------------------------

    def do_pause(self, args: dict[str, Any]) -> None:
        self.statistics.pause()
        super().do_pause(args)

    do_halt = do_pause

    def seek(self, place: Place) -> None:
        self.recording.seek(place)
        self.statistics.pause()

    def do_mark(self, args: dict[str, Any]) -> None:
        """`mark`: success, failure, discard or reset, of the episode that is played."""
        mark = args["mark"]
        if mark not in ("success", "failure", "discard", "reset"):
            raise ValueError(f"unknown mark {mark!r}; it knows success, failure, discard, reset")
        if self.ended:
            raise ValueError("the run has ended")
        self.episodes.mark(mark, "by a person")

    def do_reset(self, args: dict[str, Any]) -> None:
        self.do_mark({"mark": "reset"})
