"""The end of a run in words: what was learned, recorded, dropped, and what to try next."""

from collections.abc import Iterator, Mapping

from launch.summary import Scores, Summary
from protocol.messages import Committed

_OUTCOMES = {
    "learned": "the world is learned",
    "time": "the time is over",
    "ended": "the source has ended",
    "stopped": "stopped",
    "lost": "finished, but something was LOST",
    "failed": "FAILED",
}


FEW = 4
"""So many numbers of an action stand in one line; of more each has its own."""
MOST_LINES = 40


def tell(
    summary: Summary, why: str, committed: Committed | None, run_dir: str, robot: Mapping[str, float] | None = None, toddle: str = "toddle"
) -> str:
    """Some lines for the terminal; `robot` are the robot's last metrics."""
    lines = [f"{summary.name}: {_OUTCOMES[summary.outcome]} after {summary.seconds:.0f} s{_why(summary, why)}"]
    facts = [*_facts(summary, committed), *_statistics(robot or {}), ("dropped", _dropped(summary)), ("kept in", run_dir)]
    lines += [f"  {name:9} {text}" for name, text in facts]
    lines += [f"  note      {note}" for note in summary.notes]
    lines += ["next", *(f"  {command}" for command in _next(summary, run_dir, toddle))]
    return "\n".join(lines)


def _why(summary: Summary, why: str) -> str:
    return f" ({why})" if why and summary.outcome in ("failed", "lost", "stopped", "ended") else ""


def _facts(summary: Summary, committed: Committed | None) -> Iterator[tuple[str, str]]:
    if summary.samples:
        yield "learned", f"{_said(summary.scores)}; {summary.samples:,} samples, {summary.samples_per_s:,.0f} a second"
    yield "moved", f"{summary.steps:,} steps in {_many(summary.episodes, 'episode')}"
    if committed is not None:
        size = committed.bytes / 2**20
        yield "recorded", f"session {committed.session}: {committed.events:,} events, {size:,.1f} MB in {committed.path}"
    else:
        yield "recorded", "nothing"
    if summary.alarms:
        said = [f"{one.node} {one.name.replace('_', ' ')} {one.raised} x{', still on' if one.active else ''}" for one in summary.alarms]
        yield "alarms", ", ".join(said)


def _statistics(robot: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Which actions a robot executed, and how evenly its steps came."""
    actions = {name.removeprefix("action."): value for name, value in robot.items() if name.startswith("action.")}
    counts = [f"{name} {value:,.0f} x" for name, value in actions.items() if "=" in name]
    names = sorted({name.rpartition(".")[0] for name in actions if "=" not in name})
    numbers = {
        name: f"{actions[f'{name}.mean']:.3g} on average, {actions.get(f'{name}.min', 0):.3g} to {actions.get(f'{name}.max', 0):.3g}"
        for name in names
        if f"{name}.mean" in actions
    }
    few = len(numbers) <= FEW
    counts += [f"{name} {told}" for name, told in numbers.items()] if few else [f"of {len(numbers)} numbers"]
    if counts:
        failed, safe = robot.get("actions_failed", 0), robot.get("actions_safe", 0)
        yield "actions", f"{', '.join(counts)}; {failed:.0f} failed, {safe:.0f} safe ones for want of a command"
    if not few:
        width = max(map(len, numbers))
        yield from (("", f"{name:{width}} {told}") for name, told in list(numbers.items())[:MOST_LINES])
        if len(numbers) > MOST_LINES:
            yield "", f"and {len(numbers) - MOST_LINES} more"
    if safety := list(_safety(robot)):
        yield "safety", "; ".join(safety)
    times = {figure: robot.get(f"interval_ms.{figure}") for figure in ("mean", "p50", "p99", "max")}
    if None not in times.values():
        yield "timing", "ms between frames: " + ", ".join(f"{figure} {value:.1f}" for figure, value in times.items())


def _safety(robot: Mapping[str, float]) -> Iterator[str]:
    """What the robot did not do, and why."""
    refused = {name.removeprefix("refused_").replace("_", " "): count for name, count in robot.items() if name.startswith("refused_")}
    if refused:
        yield "commands refused: " + ", ".join(f"{count:.0f} {reason}" for reason, count in refused.items())
    if robot.get("rate_limited"):
        yield f"{robot['rate_limited']:.0f} actions held back by max_rate_per_s"
    stopped = {
        "halted": "halted by a person", "silent": "stopped in silence", "stuck": "stopped while it hung",
        "reconnects": "its link lost and found again", "stops_unheard": "stops cut the link, as nobody answered",
    }  # fmt: skip
    for name, what in stopped.items():
        if count := robot.get(name):
            yield f"{what} {count:.0f} x"


def _said(scores: Scores) -> str:
    parts = []
    if scores.cf_accuracy is not None:
        parts.append(f"right frame for the action {scores.cf_accuracy:.1%} of the time")
    if scores.hit_at_3px is not None:
        parts.append(f"position within 3 px {scores.hit_at_3px:.1%}")
    if scores.skill_copy_last is not None:
        parts.append(f"skill over copying the last frame {scores.skill_copy_last:.2f}")
    if scores.skill_action_blind is not None:
        parts.append(f"over not knowing the action {scores.skill_action_blind:.2f}")
    if scores.prediction_error is not None:
        parts.append(f"error {scores.prediction_error:.2g}")
    return ", ".join(parts) or "no score yet"


def _dropped(summary: Summary) -> str:
    """Losses by name; what the latest lane passes over is no loss."""
    lost = skipped = 0
    for subscribers in summary.topics.values():
        lost += sum(count.lost for count in subscribers.values())
        skipped += sum(count.skipped for count in subscribers.values())
    text = "nothing" if not lost else f"{_many(lost, 'message')} LOST, see the notes"
    return f"{text} ({skipped:,} skipped by those who take only the newest)" if skipped else text


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _next(summary: Summary, run_dir: str, toddle: str) -> Iterator[str]:
    if summary.outcome == "failed":
        yield f"tail {run_dir}/logs/*"
    if summary.samples:
        yield f"{toddle} evaluate {summary.name}"
    if summary.session and summary.steps:
        yield f"{toddle} replay {summary.session}"
        yield f"{toddle} sessions info {summary.session}"
    if not summary.samples and summary.outcome != "failed":
        yield f"{toddle} launch launch/online.yaml{'' if summary.session else '   # learn a simulated world'}"
