"""`toddle checkpoints show`: what a checkpoint is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import click

from toddle.attach import runs_option
from toddle.checkpoints.find import checkpoint_argument, find_checkpoint
from toddle.checkpoints.list import facts, figure, made
from toddle.sessions.common import echo_json, json_option, size, wrapped


@click.command()
@checkpoint_argument("what")
@runs_option
@json_option
def show(what: str, runs: str | None, as_json: bool) -> None:
    """What CHECKPOINT is: its model, training, scores and how many parameters each part has."""
    from worldmodel.kept import read

    one = read(find_checkpoint(what, runs))
    parts = parameters(one.path)
    if as_json:
        training = one.record.values.get("config", {})
        echo_json({**facts(one), "spec": one.spec, "training": training, "parameters": parts})
        return
    metadata, versions = one.record.metadata, one.record.made.get("versions", {})
    others = {name: value for name, value in metadata.items() if name not in ("scores", "held_out", "run", "sessions")}
    lines = [
        f"{one.path}",
        *_line("made", made(one)),
        *_line("with", ", ".join(f"{name} {value}" for name, value in versions.items())),
        *_line("run", str(metadata.get("run", "-"))),
        *_line("sessions", ", ".join(metadata.get("sessions", [])) or "-"),
        *_line("learned", f"{one.samples:,} samples in {one.record.values.get('steps', 0):,} steps"),
        *_line("scores", ", ".join(f"{name} {figure(value)}" for name, value in one.scores.items()) or "none"),
        *_line("held out", f"{one.held_out.cases} cases; compared by {one.held_out.score}" if one.held_out else "nobody said"),
        *_line("metadata", settings(others)),
        *_line("model", settings(plain(one.spec))),
        *_line("training", settings(one.record.values.get("config", {}))),
        *_line("size", f"{size(one.bytes)}, {sum(parts.values()):,} parameters:"),
        *(f"  {'':9} {name:20} {count:>12,}" for name, count in parts.items()),
    ]
    click.echo("\n".join(lines))


def parameters(path: Path) -> dict[str, int]:
    """How many numbers each part of the model has."""
    from worldmodel.kept import shapes

    found: dict[str, int] = {}
    for name, shape in shapes(path).items():
        if name.startswith("model."):
            part = name.split(".")[1]
            found[part] = found.get(part, 0) + prod(shape)
    return found


def plain(spec: Any) -> dict[str, Any]:
    """The fields of a spec, with cameras and actions as a person says them."""
    fields = {name: getattr(spec, name) for name in spec.__struct_fields__}
    fields["cameras"] = " ".join(f"{c.name} {c.height}x{c.width}" for c in spec.cameras)
    kind = f"{len(spec.actions.choices)} choices" if spec.actions.discrete else "continuous"
    fields["actions"] = f"{' '.join(spec.actions.names)} ({kind})"
    return fields


def settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {said(value)}" for name, value in values.items()) or "-"


def said(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + settings(value) + "}"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return "[" + " ".join(said(one) for one in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _line(label: str, text: str) -> list[str]:
    return wrapped(label, text or "-")
