"""JSON schemas of launch files and summaries, for editors and scripts.

toddle launch --write-schemas docs
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from launch.check import Kinds
from launch.schema import LaunchFile
from launch.summary import Summary

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ARG = {"type": "string", "pattern": r"\$\{"}


def texts(kinds: Kinds) -> dict[str, str]:
    """File name to text of every schema."""
    return {
        "launch.schema.json": _text("A toddle launch file", launch_schema(kinds)),
        "summary.schema.json": _text("runs/<name>/summary.json", msgspec.json.schema(Summary)),
    }


def write(folder: Path, kinds: Kinds) -> list[Path]:
    """Writes the schemas into a folder."""
    found = {folder / name: text for name, text in texts(kinds).items()}
    for path, text in found.items():
        path.write_text(text, encoding="utf-8")
    return list(found)


def launch_schema(kinds: Kinds) -> dict[str, Any]:
    """A launch file's schema; the params of each known kind are completed too."""
    configs = dict(kinds)
    roots, parts = msgspec.json.schema_components([LaunchFile, *configs.values()], ref_template="#/$defs/{name}")
    node = parts["NodeSpec"]
    node["allOf"] = [
        {"if": {"properties": {"kind": {"const": name}}}, "then": {"properties": {"params": root}}}
        for name, root in zip(configs, roots[1:], strict=True)
    ]
    node["properties"]["kind"] = {"enum": sorted(configs)} if configs else {"type": "string"}
    for part in parts.values():
        part.pop("required", None)  # an including file need not repeat what it includes
        for name, field in part.get("properties", {}).items():
            part["properties"][name] = _or_arg(field)
    return {**roots[0], "$defs": parts}


def _or_arg(field: dict[str, Any]) -> dict[str, Any]:
    """Every value may be an arg, `${name}`, whatever its type."""
    if field.get("type") == "string" and "enum" not in field:
        return field
    kept: dict[str, Any] = {name: field[name] for name in ("default", "description") if name in field}
    rest = {name: value for name, value in field.items() if name not in kept}
    choices: list[dict[str, Any]] = rest.get("anyOf", [rest])
    return {**kept, "anyOf": [*choices, _ARG]} if rest else field


def _text(title: str, schema: dict[str, Any]) -> str:
    return json.dumps({"$schema": DRAFT, "title": title, **schema}, indent=2) + "\n"
