"""Imports a Donkeycar tub as a session, message for message as a live run would have recorded it.

Steps follow the tub's indexes: a record that is skipped or deleted leaves its step empty, so that the
frames around it are never taken for neighbours. An episode begins where the tub's times jump, where another
drive begins, and where the caller says.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from protocol.clock import NS_PER_S
from protocol.messages import ActionSpaceInfo, ActionTaken, Array, CameraInfo, Frame, Robot
from storage.errors import ImportProblem
from storage.exchange.common import ImportReport, Skipped, Tell, checked_fps, quiet
from storage.exchange.images import read_image
from storage.exchange.imported import check_target
from storage.exchange.intake import Intake, intake
from storage.exchange.steps import MarkRow
from storage.exchange.tub import PLAUSIBLE_HZ, Own, Survey, Tub, TubRecord, read_manifest, records, survey

KIND = "donkeycar tub"
CAMERA = "front"
NODE = "robot"
AS_EXPORTED = "as exported"
"""Where the tub is of a session: then it comes back as that was, unless --fps sets the times."""
GAP_PERIODS, GAP_S = 5.0, 1.0
"""Times further apart than both, or going back, are a jump: the frames around it are no neighbours."""


def import_tub(
    path: Path, target: Path, *, fps: float | None = None, episodes_at: Sequence[int] = (), strict: bool = True, tell: Tell = quiet,
) -> ImportReport:  # fmt: skip
    """Make a session at `target` of the tub at `path`, or go on with it where that was interrupted.

    `episodes_at` are indexes at which a new episode begins. Without `fps` the tub's own times are used. When
    anything cannot be imported, `strict` refuses the whole tub; otherwise it is skipped and reported.
    Raises ImportProblem, SessionExists; nothing new is left at `target` then.
    """
    check_target(target, KIND)
    tub = read_manifest(path)
    found = survey(tub, tell)
    if strict:
        found.faults.refuse()
    if not found.records:
        raise ImportProblem(f"{path} has no records to import ({len(tub.deleted)} deleted, {found.faults.count} unreadable)")
    outside = [index for index in episodes_at if not found.first <= index <= found.last]
    if outside:
        raise ImportProblem(
            f"{path} has records {found.first} to {found.last}: no episode can begin at {outside[0]}; "
            "give --episodes-at indexes of this tub"
        )
    clock = _Clock(tub, found, checked_fps(fps), strict=strict)
    source = {
        "kind": KIND, "path": str(path.resolve()), "records": found.records, "rate_hz": clock.rate_hz,
        "times": clock.rate_from, "episodes_at": sorted(set(episodes_at)), "deleted": len(tub.deleted),
    }  # fmt: skip
    begin_ns = clock.begin_ns
    with intake(target, source, run=found.sha256[:12], begin_ns=begin_ns, strict=strict) as taking:
        taking.period_ns = clock.period_ns
        for note in [*found.notes, *clock.notes]:
            taking.notes.add(note)
        importer = _Importer(tub, found, clock, taking, set(episodes_at))
        for done, item in enumerate(records(tub)):
            tell(done, found.records)
            if isinstance(item, Skipped):
                taking.leave_out(item)
            else:
                importer.take(item)
        importer.end()
        return taking.report(clock.rate_hz, clock.rate_from)


class _Clock:
    """When each record was taken."""

    def __init__(self, tub: Tub, found: Survey, fps: float | None, *, strict: bool) -> None:
        exported = found.own and tub.robot is not None and fps is None
        rate = tub.robot.rate_hz if exported and tub.robot else fps or found.rate_hz
        if rate is None:
            raise ImportProblem(f"the times in {tub.path} say nothing: say how fast it was recorded with --fps, 20 is Donkeycar's default")
        self.notes: list[str] = []
        if not (exported or fps or PLAUSIBLE_HZ[0] <= rate <= PLAUSIBLE_HZ[1]):
            strange = f"the times in {tub.path}, {1000 / rate:.3g} ms apart, are not those of a camera (a conversion wrote them)"
            if strict:
                raise ImportProblem(
                    f"{strange}: say how fast it was recorded with --fps, 20 is Donkeycar's default; --skip-bad keeps them as they are"
                )
            self.notes = [f"{strange}; they are kept as they are, --fps sets them"]
        self.rate_hz = float(rate)
        self.rate_from = AS_EXPORTED if exported else "given" if fps else "the tub's times"
        self.period_ns = round(NS_PER_S / rate)
        self.begin_ns = int((tub.created_s or 0.0) * NS_PER_S) if fps else found.first_t_ns
        self._fps = fps
        self._first = found.first
        self._last_ns = self.begin_ns - self.period_ns

    def at(self, record: TubRecord) -> int:
        """Capture time in ns; a record without a time stands where its neighbour would be."""
        if record.own is not None and self.rate_from == AS_EXPORTED:
            return record.own.t_ns
        if self._fps:
            return self.begin_ns + round((record.index - self._first) * NS_PER_S / self._fps)
        self._last_ns = self._last_ns + self.period_ns if record.t_ms is None else record.t_ms * 1_000_000
        return self._last_ns

    def jump(self, before_ns: int, records_between: int, now_ns: int) -> str:
        """What is strange about the time between two records; "" when nothing is."""
        gone_s = (now_ns - before_ns) / NS_PER_S
        if gone_s < 0:
            return f"{-gone_s:g} s before the record before it"
        usual_s = (records_between + 1) * self.period_ns / NS_PER_S
        return f"{gone_s:g} s after the record before it, {usual_s:.3g} s are usual" if gone_s > max(GAP_S, GAP_PERIODS * usual_s) else ""


class _Importer:
    """Turns records into messages."""

    def __init__(self, tub: Tub, found: Survey, clock: _Clock, taking: Intake, episodes_at: set[int]) -> None:
        self._tub = tub
        self._found = found
        self._clock = clock
        self._taking = taking
        self._cuts = sorted(episodes_at, reverse=True)
        self._own = clock.rate_from == AS_EXPORTED
        self._before: TubRecord | None = None
        self._before_ns = 0
        self._first = found.first
        self._step: int | None = None
        self._t_ns = 0
        self._marks: list[MarkRow] = []

    def take(self, record: TubRecord) -> None:
        t_ns = self._clock.at(record)
        if self._begins(record, t_ns):
            self.end()
            self._first = record.index
        self._before, self._before_ns = record, t_ns
        own = record.own if self._own else None
        if own and own.marks:
            self._marks = own.marks
        image = self._taking.picture(record.line, lambda: read_image(record.image))
        if image is None:
            return
        step = own.step if own else record.index - self._first
        if not self._taking.frames:
            self._taking.robot(self._robot(image.shape), self._clock.begin_ns, own.mono_ns if own else None)
        if self._step is None:
            self._taking.episode = own.episode if own else self._taking.episode
            self._taking.start(t_ns, step, self._marks)
        self._step, self._t_ns = step, t_ns
        arrays: dict[str, Array] = {f"image/{self._camera}": image}
        if self._tub.state_names:
            arrays["state"] = np.array(record.state, np.float32)
        frame = Frame(held_out=own.held_out, last=own.last) if own else Frame()
        self._taking.send(frame, t_ns, step, arrays, own.mono_ns if own else None)
        self._taking.send(self._action(record, own, t_ns), own.acted_ns if own else t_ns, step, mono_ns=own.acted_mono_ns if own else None)

    def _begins(self, record: TubRecord, t_ns: int) -> bool:
        """Whether an episode begins with this record."""
        before = self._before
        if before is None:
            return False
        if self._own and before.own and record.own:
            return before.own.episode != record.own.episode
        cut = False
        while self._cuts and self._cuts[-1] <= record.index:
            cut = self._cuts.pop() > before.index or cut
        if record.drive != before.drive:
            return True
        jump = "" if self._clock.rate_from == "given" else self._clock.jump(self._before_ns, record.index - before.index - 1, t_ns)
        if jump:
            self._taking.notes.add(f"{record.line}: {jump}; an episode begins here")
        return cut or bool(jump)

    def end(self) -> None:
        """End the episode that stands, if a frame of it came."""
        if self._step is not None:
            self._taking.end(self._t_ns, self._step, self._marks)
        self._step, self._marks = None, []

    def _action(self, record: TubRecord, own: Own | None, t_ns: int) -> ActionTaken:
        action = {"angle": record.angle, "throttle": record.throttle}
        if own is None:
            return ActionTaken(action=action, by=record.mode, start_ns=t_ns, end_ns=t_ns + self._clock.period_ns)
        return ActionTaken(action=action, by=own.by, start_ns=own.start_ns, end_ns=own.end_ns, success=own.success, safe=own.safe)

    @property
    def _camera(self) -> str:
        return self._tub.robot.cameras[0].name if self._own and self._tub.robot else CAMERA

    def _robot(self, shape: tuple[Any, ...]) -> Robot:
        if self._own and self._tub.robot:
            return self._tub.robot
        return Robot(
            robot=NODE, driver="donkeycar", params={},
            cameras=[CameraInfo(name=CAMERA, height=shape[0], width=shape[1])],
            actions=ActionSpaceInfo(names=["angle", "throttle"], low=[-1.0, -1.0 if self._found.reverse else 0.0], high=[1.0, 1.0]),
            state_names=self._tub.state_names, rate_hz=self._clock.rate_hz, timing="paced", safe_action={"angle": 0.0, "throttle": 0.0},
        )  # fmt: skip
