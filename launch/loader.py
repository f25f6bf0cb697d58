"""From a launch file and `--set` to a checked graph: includes, args, conditions, types."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from launch import source as src
from launch.errors import LaunchError, nearest
from launch.schema import LaunchFile, NodeSpec
from launch.source import Key, Source
from launch.typed import check_keys, convert

MAX_FILES = 32
MAX_GRAPH = 256
MAX_SIZE = 4 << 20
"""Items and letters of a launch file in which every arg is filled in, where it may stand many times."""

_NAME = re.compile(r"\$\$|\$\{([^{}]*)\}")
_NOTS = re.compile(r"((?:not\s+)*)(.*)", re.DOTALL)
TOO_LARGE = "too large, or nested too deep, once its args are filled in"
_WHOLE = re.compile(r"^\$\{([^{}]*)\}$")


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A launch file after includes, args and conditions; `off` are nodes whose `if` said no."""

    file: str
    spec: LaunchFile
    args: dict[str, Any]
    off: list[str]
    source: Source

    def error(self, key: Key, text: str) -> LaunchError:
        return self.source.error(key, text)


def load(file: Path, sets: Sequence[str] = (), given: Mapping[str, Any] | None = None) -> Launch:
    """The launch file with `sets` (`name=value`) and the names the launcher gives (`run`, `run_dir`)."""
    whole = _with_includes(file, (), [])
    _check_shape(whole)
    args = _args(whole, sets, dict(given or {}))
    names = list(whole.value.get("args") or {})
    value = {k: v if k == "args" else _fill(v, args, whole, (k,)) for k, v in whole.value.items()}
    if _left(value, MAX_SIZE) < 0:
        raise whole.error((), TOO_LARGE)
    filled = Source({**value, "args": {name: args[name] for name in names}}, whole.marks)
    nodes = {name: _node(filled, name) for name in filled.value["nodes"]}
    off = [name for name, node in nodes.items() if not _on(filled, name, node.condition)]
    kept = {name: _without(node, off) for name, node in nodes.items() if name not in off}
    if not kept:
        raise filled.error(("nodes",), "no node is left to start")
    top = convert(LaunchFile, filled, (), "the launch file", {**filled.value, "nodes": {}})
    spec = msgspec.structs.replace(top, nodes=kept)
    return Launch(file=str(file), spec=spec, args=filled.value["args"], off=off, source=filled)


def _with_includes(file: Path, outer: tuple[Path, ...], so_far: list[Path], where: LaunchError | None = None) -> Source:
    if not _is_file(file):
        raise where or LaunchError(str(file), 0, f"no such launch file{_files_near(file)}")
    if file.resolve() in outer:
        raise where or LaunchError(str(file), 0, "includes itself")
    this = src.read(file)
    so_far.append(file)
    if len(so_far) > MAX_FILES:
        raise LaunchError(str(file), 0, f"more than {MAX_FILES} files are included")
    includes = this.value.get("include") or []
    names = [includes] if isinstance(includes, str) else includes
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise this.error(("include",), "include is the name of a file, or a list of names")
    base = Source({}, {(): this.marks[()]})
    for name in names:
        path = file.parent / name
        loops = _is_file(path) and path.resolve() in (*outer, file.resolve())
        text = f"include '{name}' leads back to itself" if loops else f"no such file '{path}'{_files_near(path)}"
        base = src.merge(base, _with_includes(path, (*outer, file.resolve()), so_far, this.error(("include",), text)))
    return src.merge(base, this)


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _files_near(file: Path) -> str:
    folder = file.parent
    try:
        return nearest(file.name, [path.name for path in folder.glob("*.y*ml")])
    except (OSError, ValueError):
        return ""


def _check_shape(whole: Source) -> None:
    check_keys(LaunchFile, whole, (), "the launch file", whole.value)
    nodes = whole.value.get("nodes")
    if not isinstance(nodes, dict) or not nodes:
        raise whole.error(("nodes",), "'nodes' must name at least one node, each with its kind")
    if len(nodes) > MAX_GRAPH:
        raise whole.error(("nodes",), f"{len(nodes)} nodes, the limit is {MAX_GRAPH}")
    if not isinstance(whole.value.get("args") or {}, dict):
        raise whole.error(("args",), "'args' gives each name a value")
    required = whole.value.get("required_args") or []
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise whole.error(("required_args",), "'required_args' is a list of names")
    for name, node in nodes.items():
        if not isinstance(node, dict):
            raise whole.error(("nodes", name), f"node {name} is a mapping with at least a kind")
        check_keys(NodeSpec, whole, ("nodes", name), f"node {name}", node)


def _args(whole: Source, sets: Sequence[str], given: dict[str, Any]) -> dict[str, Any]:
    defaults = whole.value.get("args") or {}
    for index, name in enumerate(whole.value.get("required_args") or ()):
        if name not in defaults:
            raise whole.error(("required_args", index), f"required arg '{name}' is not one of 'args'{nearest(name, defaults)}")
    chosen = dict(_chosen(one, defaults, str(whole.mark(()).file)) for one in sets)
    args = dict(given)
    left = MAX_SIZE
    for name, default in defaults.items():
        if name in given:
            raise whole.error(("args", name), f"arg '{name}' is a name that the launcher gives itself")
        if name in (whole.value.get("required_args") or ()) and name not in chosen:
            raise whole.error(("args", name), f"arg '{name}' must be given; add --set {name}=VALUE")
        value = chosen.get(name, default)
        args[name] = value if name in chosen else _fill(value, args, whole, ("args", name))
        left = _left(args[name], left)
        if left < 0:
            raise whole.error(("args", name), TOO_LARGE)
    return args


def _chosen(one: str, defaults: Mapping[str, Any], file: str) -> tuple[str, Any]:
    name, equals, text = one.partition("=")
    if not equals:
        raise LaunchError("", 0, f"--set {one}: write --set NAME=VALUE")
    if name not in defaults:
        raise LaunchError("", 0, f"--set {one}: {file} has no arg '{name}'{nearest(name, defaults)}")
    try:
        return name, src.parse_value(text) if text else ""
    except LaunchError:
        return name, text


def _fill(value: Any, args: Mapping[str, Any], whole: Source, key: Key) -> Any:
    """`value` with every `${name}` replaced; a string that is nothing else takes the arg's own type."""
    if isinstance(value, dict):
        return {name: _fill(item, args, whole, (*key, name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, args, whole, (*key, index)) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def look_up(name: str) -> Any:
        if name not in args:
            raise whole.error(key, f"unknown arg '${{{name}}}'{nearest(name, args)}")
        return args[name]

    if match := _WHOLE.match(value):
        return look_up(match[1])
    size = 0

    def put(found: re.Match[str]) -> str:
        nonlocal size
        text = "$" if found[1] is None else _text(look_up(found[1]))
        size += len(text)
        if size > MAX_SIZE:
            raise whole.error(key, TOO_LARGE)
        return text

    return _NAME.sub(put, value)


def _left(value: Any, size: int, depth: int = 0) -> int:
    """What is left of `size` after one for each item and each letter of `value`; below 0 when there is more."""
    size -= 1 + len(value) if isinstance(value, str) else 1
    if depth > src.MAX_DEPTH:
        return -1
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            if size < 0:
                break
            size = _left(item, size, depth + 1)
    return size


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _node(filled: Source, name: str) -> NodeSpec:
    return convert(NodeSpec, filled, ("nodes", name), f"node {name}")


def _on(filled: Source, name: str, condition: bool | str) -> bool:
    """What an `if` says: true, false, `not X`, `A == B`, `A != B`."""
    if isinstance(condition, bool):
        return condition
    nots, text = _NOTS.match(condition.strip()).groups()  # type: ignore[union-attr]  # it always matches
    wanted = nots.count("not") % 2 == 0
    for sign, same in (("==", True), ("!=", False)):
        left, found, right = text.partition(sign)
        if found:
            return ((left.strip() == right.strip()) is same) is wanted
    if text in ("true", "false"):
        return (text == "true") is wanted
    raise filled.error(("nodes", name, "if"), f"'if' of {name}: '{text}' is not true, false, 'not X', 'A == B'")


def _without(node: NodeSpec, off: Sequence[str]) -> NodeSpec:
    inputs = [name for name in node.inputs if name not in off]
    after = [name for name in node.after if name not in off]
    return msgspec.structs.replace(node, inputs=inputs, after=after)
