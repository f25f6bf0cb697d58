"""YAML with line numbers: plain values, and where each key stands.

Only what JSON has too, so that nothing is lost on the way to the nodes: no tags, no dates, no numbers beyond
64 bits. Aliases and merges are followed, and counted, so that a small file cannot grow without end.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from launch.errors import LaunchError

Key = tuple[str | int, ...]
MAX_BYTES = 256 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 50
_YAML = "tag:yaml.org,2002:"


class Mark(NamedTuple):
    """A place in a file, for messages."""

    file: str
    line: int


class Source(NamedTuple):
    """A document as plain values, with the place of every key and list item."""

    value: dict[str, Any]
    marks: dict[Key, Mark]

    def mark(self, key: Key) -> Mark:
        """The place of `key`, or of the nearest thing around it."""
        for end in range(len(key), -1, -1):
            if key[:end] in self.marks:
                return self.marks[key[:end]]
        return Mark("", 0)

    def error(self, key: Key, text: str) -> LaunchError:
        return LaunchError(*self.mark(key), text)


class _Builder:
    """Turns composed YAML nodes into values, noting lines on the way."""

    def __init__(self, file: str, loader: yaml.SafeLoader) -> None:
        self.file, self.loader = file, loader
        self.marks: dict[Key, Mark] = {(): Mark(file, 1)}
        self.seen = 0

    def build(self, node: yaml.Node, key: Key) -> Any:
        self.seen += 1
        if self.seen > MAX_NODES or len(key) > MAX_DEPTH:
            raise self._error(node, "too large or nested in itself")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        kind = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if node.tag != _YAML + kind:
            raise self._error(node, f"the tag {node.tag} means nothing here")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        return [self._item(item, (*key, index)) for index, item in enumerate(node.value)]

    def _error(self, node: yaml.Node, text: str) -> LaunchError:
        return LaunchError(self.file, node.start_mark.line + 1, text)

    def _scalar(self, node: yaml.ScalarNode) -> bool | int | float | str | None:
        if node.tag == _YAML + "timestamp":
            return str(node.value)  # 2024-01-31 is a fine name
        try:
            value = self.loader.construct_object(node)
        except (ValueError, LookupError, AttributeError, OverflowError):  # of tags by hand, such as !!int x
            raise self._error(node, f"'{node.value[:40]}' is no {node.tag.removeprefix(_YAML)}") from None
        if not isinstance(value, bool | int | float | str | None):
            raise self._error(node, f"the tag {node.tag} means nothing here")
        if (isinstance(value, int) and not -(1 << 63) <= value < 1 << 63) or (isinstance(value, float) and not math.isfinite(value)):
            raise self._error(node, f"the number {node.value[:40]} is out of range")
        return value

    def _item(self, node: yaml.Node, key: Key) -> Any:
        self.marks[key] = Mark(self.file, node.start_mark.line + 1)
        return self.build(node, key)

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for name_node, value_node in node.value:
            if name_node.tag == _YAML + "merge":
                merged |= self._merge(value_node, key)
        for name_node, value_node in node.value:
            if name_node.tag == _YAML + "merge":
                continue
            if not isinstance(name_node, yaml.ScalarNode):
                raise self._error(name_node, "a key is a name, not a list or a mapping")
            name = str(name_node.value)  # as written: YAML would read `on` and `no` as truth values
            if name in own:
                raise self._error(name_node, f"key '{name}' stands here twice")
            self.marks[(*key, name)] = Mark(self.file, name_node.start_mark.line + 1)
            own[name] = self.build(value_node, (*key, name))
        return merged | own

    def _merge(self, node: yaml.Node, key: Key) -> dict[str, Any]:
        """What `<<` brings: a mapping, or several, of which the first says it."""
        value = self.build(node, key)
        several = value if isinstance(value, list) else [value]
        merged: dict[str, Any] = {}
        for one in reversed(several):
            if not isinstance(one, dict):
                raise self._error(node, "<< takes a mapping, or a list of them")
            merged |= one
        return merged


def parse(text: str, file: str) -> Source:
    """The mapping in `text`."""
    value, marks = _build(text, file)
    if not isinstance(value, dict):
        raise LaunchError(file, 1, "a launch file is a mapping: args, nodes")
    return Source(value, marks)


def parse_value(text: str) -> Any:
    """The value that `text` stands for on a command line; LaunchError when it is no YAML."""
    return _build(text, "")[0]


def _build(text: str, file: str) -> tuple[Any, dict[Key, Mark]]:
    if len(text) > MAX_BYTES:
        raise LaunchError(file, 0, f"{len(text)} letters, the limit is {MAX_BYTES}")
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(text)
        builder = _Builder(file, loader)
        node = loader.get_single_node()
        return None if node is None else builder.build(node, ()), builder.marks
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise LaunchError(file, mark.line + 1 if mark else 0, f"not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise LaunchError(file, 0, f"not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise LaunchError(file, 0, "too large or nested in itself") from None
    finally:
        if loader is not None:
            loader.dispose()


def read(file: Path) -> Source:
    """The mapping in `file`."""
    try:
        with file.open(encoding="utf-8") as opened:
            return parse(opened.read(MAX_BYTES + 1), str(file))
    except UnicodeDecodeError:
        raise LaunchError(str(file), 0, "not a text file in UTF-8") from None
    except OSError as error:
        raise LaunchError(str(file), 0, f"cannot be read: {error.strerror}") from None


def merge(base: Source, over: Source) -> Source:
    """`over` on top of `base`: mappings are joined key by key, everything else is replaced."""
    marks = {**base.marks, **over.marks}
    return Source(_join(base.value, over.value), marks)


def _join(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    joined = dict(base)
    for name, value in over.items():
        old = joined.get(name)
        joined[name] = _join(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return joined
