"""`toddle checkpoints compare`: what differs between two."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from toddle.attach import runs_option
from toddle.checkpoints.find import checkpoint_argument, find_checkpoint
from toddle.checkpoints.list import WIDTH, figure
from toddle.checkpoints.show import plain, said
from toddle.sessions.common import echo_json, json_option

if TYPE_CHECKING:
    from worldmodel.kept import Kept
    from worldmodel.weight_distance import Apart


@click.command()
@checkpoint_argument("first")
@checkpoint_argument("second")
@runs_option
@json_option
def compare(first: str, second: str, runs: str | None, as_json: bool) -> None:
    """What differs from one CHECKPOINT to another: model, settings, scores, and how far the weights went, layer by layer."""
    from worldmodel.kept import read
    from worldmodel.weight_distance import apart

    one, other = read(find_checkpoint(first, runs)), read(find_checkpoint(second, runs))
    layers = apart(one.path, other.path)
    tables = {
        "model": differing(msgspec.to_builtins(one.spec), msgspec.to_builtins(other.spec)),
        "training": differing(_config(one), _config(other)),
        "versions": differing(one.record.made.get("versions", {}), other.record.made.get("versions", {})),
        "learned": differing(
            {"samples": one.samples, "sessions": _sessions(one)}, {"samples": other.samples, "sessions": _sessions(other)}
        ),
        "scores": {name: (one.scores.get(name), other.scores.get(name)) for name in {**one.scores, **other.scores}},
    }
    if as_json:
        echo_json({"first": str(one.path), "second": str(other.path), **tables, "weights": layers})
        return
    tables["model"] = differing(plain(one.spec), plain(other.spec))
    _print(one, other, tables, layers)


def differing(mine: Any, theirs: Any) -> dict[str, tuple[Any, Any]]:
    """Name of what differs -> (mine, theirs)."""
    return {name: (mine.get(name), theirs.get(name)) for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)}


def _config(one: Kept) -> dict[str, Any]:
    found = one.record.values.get("config")
    return found if isinstance(found, dict) else {}


def _sessions(one: Kept) -> list[str]:
    return list(one.record.metadata.get("sessions", []))


def _print(one: Kept, other: Kept, tables: dict[str, dict[str, tuple[Any, Any]]], layers: list[Apart]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", one.path.name, other.path.name):
        table.add_column(column, overflow="fold")
    for title, rows in tables.items():
        table.add_row(f"[bold]{title}", *(() if rows else ("the same", "")))
        for name, pair in rows.items():
            table.add_row(f"  {name}", *(figure(value) if title == "scores" else said(value) for value in pair))
    console.print(table)
    weights = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(("weights", "parameters", "distance", "relative", "cosine")):
        weights.add_column(column, justify="right" if place else "left")
    for layer in layers:
        far = (
            (f"{layer.distance:.4g}", f"{layer.relative:.2%}", f"{layer.cosine:.4f}")
            if layer.cosine is not None
            else ("only in one", "", "")
        )
        weights.add_row(layer.name, f"{layer.parameters:,}", *far)
    console.print(weights)
