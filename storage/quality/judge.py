"""Is a recording fit to learn from? Compares what was measured with limits; every finding is one line."""

from collections.abc import Iterator

import msgspec

from storage.info import SessionInfo
from storage.quality.limits import Limits
from storage.quality.report import CameraQuality, Count, Place, Quality
from storage.verify import Report

MANY_SAFE, MANY_REPEATED = 0.1, 0.5
"""Shares of safe actions, and of transitions that came before, from which on a remark says so."""
MAX_DAMAGE = 5
"""Lines on damage; `verify` has them all."""


class Finding(msgspec.Struct, frozen=True):
    """What was found, and one line: where, and how bad. A `reason` makes a recording unfit, a remark does not."""

    what: str
    text: str
    reason: bool = True


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of a session; fit when there is no reason against it."""

    session: str
    fit: bool
    steps: int
    reasons: list[Finding]
    remarks: list[Finding]


def judge(info: SessionInfo, quality: Quality, report: Report, limits: Limits) -> Verdict:
    """The verdict on a session that can be read."""
    found = [*_damage(report), *_steps(quality, limits), *_gaps(info, quality, limits), *_times(info, quality, limits)]
    for camera in quality.cameras:
        found += _camera(camera, quality, limits)
    found += [*_actions(quality, limits), *_episodes(info, limits), *_circumstances(info)]
    return _verdict(info.name, quality.transitions, found)


def unreadable(report: Report) -> Verdict:
    """The verdict on a session that is too damaged to be measured."""
    left = Finding("not judged", "how good the rest is: it cannot be read to its end", reason=False)
    return _verdict(report.session, 0, [*_damage(report), left])


def _verdict(session: str, steps: int, found: list[Finding]) -> Verdict:
    reasons = [finding for finding in found if finding.reason]
    remarks = [finding for finding in found if not finding.reason]
    return Verdict(session=session, fit=not reasons, steps=steps, reasons=reasons, remarks=remarks)


def _damage(report: Report) -> Iterator[Finding]:
    if report.corrupt_count:
        first = report.corrupt[0]
        where = f"the first is event {first.event} in segment {first.segment}"
        yield Finding("damaged", f"{report.corrupt_count} of {report.events_checked} events are not what was written, {where}: {first.why}")
    lines = [*report.problems, *report.index_mismatches]
    lines += [f"{hole.topic} {hole.first} to {hole.last} of run {hole.run} are not there, and no gap says so" for hole in report.holes]
    for line in lines[:MAX_DAMAGE]:
        yield Finding("damaged", line)
    if len(lines) > MAX_DAMAGE:
        yield Finding("damaged", f"and {len(lines) - MAX_DAMAGE} more: `toddle sessions verify` lists them")


def _steps(quality: Quality, limits: Limits) -> Iterator[Finding]:
    if quality.transitions < limits.min_steps:
        text = f"{quality.transitions} of {quality.frames} frames have an action and a next frame, at least {limits.min_steps} are wanted"
        yield Finding("few steps", text)
    if quality.transitions and quality.repeated > MANY_REPEATED * quality.transitions:
        text = f"{_of(quality.repeated, quality.transitions)} transitions are identical to an earlier one"
        yield Finding("repeated", text, reason=False)
    if quality.holes.count:
        text = f"steps are missing inside episodes in {quality.holes.count} places{_first(quality.holes.first)}"
        yield Finding("holes", text, reason=False)
    yield from _share("no action", "frames have no action before the next one", quality.no_action, quality.frames, None)
    if quality.shown_again:
        text = f"{quality.shown_again} frames show a step that was shown before: nobody had answered"
        yield Finding("shown again", text, reason=False)


def _gaps(info: SessionInfo, quality: Quality, limits: Limits) -> Iterator[Finding]:
    for name, topic in info.topics.items():
        if topic.missing:
            share = topic.missing / (topic.missing + topic.count)
            measured = quality.topics.get(name)
            where = _first(measured.first_gap if measured else None)
            text = f"{_of(topic.missing, topic.missing + topic.count)} messages of {name} never came{where}"
            learned = name.partition("/")[0] in ("frame", "action")
            yield Finding("gaps", text + _more(limits.max_gaps), reason=learned and share > limits.max_gaps)
    for tail in info.tails:
        text = f"what followed {tail.topic} {tail.last} of run {tail.run} is unknown: its publisher died without a last word"
        yield Finding("end unknown", text, reason=False)


def _times(info: SessionInfo, quality: Quality, limits: Limits) -> Iterator[Finding]:
    """Rate and jitter of frames, where the robot keeps the time."""
    if info.robot is None or info.robot.timing != "paced":
        return
    for name, topic in quality.topics.items():
        times = topic.intervals
        if not name.startswith("frame/") or not times.count or not times.nominal_hz:
            continue
        if times.rate_hz < limits.min_rate * times.nominal_hz:
            text = f"{name} came at {times.rate_hz:.3g} Hz, {_percent(times.rate_hz / times.nominal_hz)} of {times.nominal_hz:g} Hz"
            yield Finding("slow", f"{text}; at least {_percent(limits.min_rate)}")
        late = times.p99_s * times.nominal_hz - 1
        if late > limits.max_jitter:
            longest = f"the longest took {_ms(times.max_s)}{_at(times.longest)}"
            text = f"1 % of the intervals of {name} are longer than {_ms(times.p99_s)}, {_percent(late)} over the period; {longest}"
            yield Finding("jitter", f"{text}; at most {_percent(limits.max_jitter)} over")


def _camera(camera: CameraQuality, quality: Quality, limits: Limits) -> Iterator[Finding]:
    """Each camera by itself."""
    alone = len({other.topic for other in quality.cameras}) == 1
    name = f"camera {camera.name}" if alone else f"camera {camera.name} of {camera.topic}"
    total = camera.frames + camera.missing.count
    yield from _share("no picture", f"frames have no picture of {name}", camera.missing, total, limits.max_gaps)
    yield from _share("dark", f"frames of {name} are dark", camera.dark, camera.frames, limits.max_dark)
    yield from _share("saturated", f"frames of {name} are saturated", camera.bright, camera.frames, limits.max_saturated)
    stuck = f"moves changed nothing at all for {name}"
    yield from _share("duplicates", stuck, camera.stuck, camera.moves, limits.max_duplicates)
    frozen = [run for run in camera.frozen if run.seconds > limits.max_frozen_s]
    if frozen:
        worst = f"stood still for {frozen[0].seconds:.1f} s and {frozen[0].actions} moves{_at(frozen[0].start)}"
        times = f", and in {len(frozen) - 1} more places" if len(frozen) > 1 else ""
        yield Finding("frozen", f"the picture of {name} {worst}{times}; at most {limits.max_frozen_s:g} s")


def _actions(quality: Quality, limits: Limits) -> Iterator[Finding]:
    actions = quality.actions
    for taken in actions.choices:
        if actions.count and not taken.count:
            yield Finding("never taken", f"action {_action(taken.action)} was never taken", reason=not limits.allow_untaken)
    for row in actions.dimensions:
        if row.min == row.max:
            yield Finding("never changed", f"{row.name} was {row.min:g} in all {actions.count} actions", reason=False)
    yield from _share("other actions", "actions are none of this robot's", actions.other, actions.count, None)
    yield from _share("failed", "actions failed", actions.failed, actions.count, None)
    if actions.safe.count > MANY_SAFE * actions.count:
        text = "actions are the safe one, taken because no command came in time"
        yield from _share("safe", text, actions.safe, actions.count, None)


def _episodes(info: SessionInfo, limits: Limits) -> Iterator[Finding]:
    rows = info.episodes[:-1] if info.state == "open" else info.episodes
    unfinished = [row for row in rows if not any(mark.mark == "end" for mark in row.marks)]
    if unfinished:
        numbers = ", ".join(str(row.episode) for row in unfinished[:5]) + (", ..." if len(unfinished) > 5 else "")
        last = (
            "" if unfinished[-1].last_step is None else f"; the last frame of {unfinished[-1].episode} is step {unfinished[-1].last_step}"
        )
        text = f"{_of(len(unfinished), len(rows))} episodes have no end: {numbers}{last}"
        yield Finding("unfinished", text, reason=not limits.allow_unfinished)


def _circumstances(info: SessionInfo) -> Iterator[Finding]:
    if info.state == "open":
        yield Finding("open", f"it is being written: judged up to event {info.events}", reason=False)
    if info.robot is None:
        yield Finding("no robot", "no robot said what it is: its rate, cameras and actions are not known", reason=False)
    for jump in info.clock_jumps[:1]:
        text = f"the wall clock of {jump.source} jumped by {jump.jump_s:+.1f} s, one of {len(info.clock_jumps)} jumps"
        yield Finding("clock", text, reason=False)


def _share(what: str, text: str, count: Count, total: int, limit: float | None) -> Iterator[Finding]:
    """A share of something: a reason above its limit, a remark below it or without one."""
    if count.count and total:
        over = limit is not None and count.count > limit * total
        yield Finding(what, f"{_of(count.count, total)} {text}{_first(count.first)}{_more(limit)}", reason=over)


def _of(count: int, total: int) -> str:
    return f"{count} of {total} ({_percent(count / total)})"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"


def _more(limit: float | None) -> str:
    return "" if limit is None else f"; at most {_percent(limit)}"


def _first(place: Place | None) -> str:
    return f", the first{_at(place)}" if place else ""


def _at(place: Place | None) -> str:
    """Where, in words; "" when it is not known."""
    if place is None:
        return ""
    words = [f"{name} {value}" for name, value in (("episode", place.episode), ("step", place.step)) if value is not None]
    minutes, seconds = divmod(round(place.at_s, 1), 60)
    return " at " + ", ".join([*words, f"{int(minutes)}:{seconds:04.1f}"])


def _action(action: dict[str, float]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in action.items())
