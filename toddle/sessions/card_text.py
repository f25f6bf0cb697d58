"""The words of a data card: what was recorded, how, and what is missing, in Markdown with the hub's front matter."""

from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from storage.info import SessionInfo
from storage.quality.report import Quality
from toddle.sessions.common import duration, size

MAX_ROWS = 50
_SIZES = ((1000, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"), (10**8, "10M<n<100M"))


def card_text(
    info: SessionInfo, quality: Quality, content_sha256: str, *, splits: Sequence[SessionInfo], licence: str | None, sheet: str
) -> str:
    """The whole README.md; `splits` are the session's, `sheet` is the file of the contact sheet beside it."""
    licence = licence or _said(info.source, "license") or "unknown"
    parts = [
        f"# {info.name}\n\n{_summary(info, quality)}\n\n![contact sheet of {info.name}]({sheet})",
        _section("Robot", _robot(info, quality)),
        _section("Actions", _actions(info, quality)),
        _section("Episodes and splits", _episodes(info, splits)),
        _section("What is missing", _missing(info, quality)),
        _section("Source and licence", _source(info, licence)),
        _section("Hashes", _hashes(content_sha256)),
    ]
    return f"---\n{_front_matter(info, content_sha256, licence)}---\n\n" + "\n\n".join(parts) + "\n"


def _front_matter(info: SessionInfo, content_sha256: str, licence: str) -> str:
    driver = [info.robot.driver] if info.robot else []
    fields = {
        "pretty_name": info.name, "license": licence, "task_categories": ["robotics"],
        "tags": list(dict.fromkeys(["robotics", "toddle", *driver, *info.tags])),
        "size_categories": [next((name for limit, name in _SIZES if info.frames < limit), "100M<n<1B")],
        "toddle": {"frames": info.frames, "episodes": len(info.episodes), "content_sha256": content_sha256},
    }  # fmt: skip
    return str(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True))


def _summary(info: SessionInfo, quality: Quality) -> str:
    what = f"A split of session {info.source['of']}" if _split(info) else "A recording"
    kind = f" of a `{info.robot.driver}` robot" if info.robot else ""
    said = (
        f"{what}{kind} with {info.frames} frames in {len(info.episodes)} episodes, {duration(info.duration_s)} long: "
        f"{quality.transitions} steps with frame, action and next frame; {size(info.disk_bytes)} on disk."
    )
    return f"{said}\n\n{_plain(info.notes)}" if info.notes else said


def _robot(info: SessionInfo, quality: Quality) -> str:
    robot = info.robot
    if robot is None:
        return "No robot announced itself."
    sizes = {camera.name: f"{camera.width}x{camera.height}" for camera in robot.cameras}
    cameras = [
        (
            camera.name,
            sizes.get(camera.name, ""),
            camera.frames,
            f"{camera.brightness_mean:.3g}",
            camera.duplicates.count,
            camera.dark.count,
        )
        for camera in quality.cameras
    ]
    rates = []
    for name, topic in quality.topics.items():
        if topic.intervals.count and name.startswith(("frame/", "action/")):
            times = [f"{1000 * value:.4g}" for value in (topic.intervals.p50_s, topic.intervals.p99_s)]
            rates.append((name, info.topics[name].count, f"{topic.intervals.rate_hz:.4g}", *times))
    told = [f"Driver `{robot.driver}`, {robot.rate_hz:g} Hz {robot.timing}."]
    if robot.state_names:
        told.append(f"State: {', '.join(f'`{name}`' for name in robot.state_names)}.")
    told.append(_table(("camera", "size", "frames", "mean brightness", "identical to the one before", "dark"), cameras))
    told.append(_table(("topic", "messages", "Hz", "median interval (ms)", "p99 (ms)"), rates))
    return "\n\n".join(part for part in told if part)


def _actions(info: SessionInfo, quality: Quality) -> str:
    actions = quality.actions
    if not actions.count:
        return "There are none."
    told = [
        f"{actions.count} were executed; {actions.safe.count} were the safe one because no command came, {actions.failed.count} failed."
    ]
    choices = [
        (", ".join(f"{name} = {value:g}" for name, value in one.action.items()), one.count, f"{100 * one.count / actions.count:.1f} %")
        for one in actions.choices
    ]
    ranges = [
        (row.name, *("" if value is None else f"{value:.4g}" for value in (row.low, row.high, row.min, row.max, row.mean)))
        for row in actions.dimensions
    ]
    told.append(_table(("action", "times", "share"), choices))
    told.append(_table(("number", "lowest allowed", "highest allowed", "lowest taken", "highest taken", "mean"), ranges))
    return "\n\n".join(part for part in told if part)


def _episodes(info: SessionInfo, named: Sequence[SessionInfo]) -> str:
    parts = [
        (name, [row for row in info.episodes if row.held_out is held_out])
        for name, held_out in (("this one" if _split(info) else "train", False), ("held out", True))
    ]
    parts += [(split.name, split.episodes) for split in named]
    splits = [
        (name, len(rows), sum(row.frames for row in rows), sum(row.actions for row in rows), _spans([row.episode for row in rows]))
        for name, rows in parts
        if rows
    ]
    rows = [
        (row.episode, f"{row.first_step} to {row.last_step}", row.frames, row.actions, ", ".join(mark.mark for mark in row.marks) or "none")
        for row in info.episodes
    ]
    return "\n\n".join([
        _table(("split", "episodes", "frames", "actions", "which"), splits),
        _table(("episode", "steps", "frames", "actions", "marks"), rows),
    ])  # fmt: skip


def _split(info: SessionInfo) -> bool:
    return info.source.get("kind") == "split"


def _missing(info: SessionInfo, quality: Quality) -> str:
    left_out = _said(info.source, "left_out_count") or _said(info.source, "skipped") or 0
    counted = [
        (sum(gap.last - gap.first + 1 for gap in info.gaps), "messages never came"),
        (len(info.tails), "publishers died without a last word"),
        (len(info.clock_jumps), "jumps of a wall clock"),
        (quality.holes.count, "places inside an episode where steps are missing"),
        (quality.no_action.count, "frames have a next frame, but no action before it"),
        (left_out if isinstance(left_out, int) else 0, "things were left out when it was imported; `session.json` lists them"),
        (0 if info.source.get("complete", True) else 1, "import that did not come to its end"),
    ]
    found = [f"- {count} {text}" for count, text in counted if count]
    return "\n".join(found) if found else "Nothing that is known of."


def _source(info: SessionInfo, licence: str) -> str:
    rows = [f"- recorded or imported {info.created} by toddle {_plain(info.toddle)}"]
    rows += [f"- {key}: {_plain(value)}" for key, value in _public(info.source)]
    rows += [f"- made of {_plain(', '.join(info.derived_from))}"] if info.derived_from else []
    return "\n".join([*rows, f"- licence: {licence}"])


def _hashes(content_sha256: str) -> str:
    return (
        f"Content, SHA-256: `{content_sha256}`\n\n"
        "It is over every message and the pixels of every frame, not over files: another codec, name or folder does not "
        "change it. `toddle sessions card` computes it anew."
    )


def _public(source: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """What may be told to everybody: of paths the last part, long lists not."""
    for key, value in source.items():
        if key in ("path", "license", "left_out", "left_out_count", "notes", "complete") or value in ("", [], {}):
            if key == "path":
                yield "from", PurePath(str(value)).name
        elif isinstance(value, dict) and "kind" in value:
            yield f"{key} before", ", ".join(f"{name} {told}" for name, told in _public(value))
        elif not isinstance(value, list) or len(value) <= MAX_ROWS:
            yield key, value


def _said(source: dict[str, Any], key: str) -> Any:
    """A value of the source, or of what that was made of."""
    inner = source.get("source")
    return source.get(key) or (_said(inner, key) if isinstance(inner, dict) else None)


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}"


def _table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown; nothing where there are no rows, and only the first of very many."""
    if not rows:
        return ""
    lines = [names, ["---"] * len(names), *([_plain(cell) for cell in row] for row in rows[:MAX_ROWS])]
    more = [f"\nand {len(rows) - MAX_ROWS} more"] if len(rows) > MAX_ROWS else []
    return "\n".join([*(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines), *more])


def _plain(value: object) -> str:
    """What others wrote, so that it stays in its place in Markdown."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "\\`*_<>|[]#" else letter for letter in text)


def _spans(numbers: list[int]) -> str:
    """Sorted numbers as `0 to 7, 9`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in spans)
