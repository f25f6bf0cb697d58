"""YAML with line numbers: plain values, and where each key stands."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from launch.errors import LaunchError

Key = tuple[str | int, ...]
MAX_NODES = 20_000


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
        if self.seen > MAX_NODES or len(key) > 50:
            raise LaunchError(self.file, node.start_mark.line + 1, "too large or nested in itself")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*key, index)) for index, item in enumerate(node.value)]
        return self.loader.construct_object(node)

    def _item(self, node: yaml.Node, key: Key) -> Any:
        self.marks[key] = Mark(self.file, node.start_mark.line + 1)
        return self.build(node, key)

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        merged = any(name.tag == "tag:yaml.org,2002:merge" for name, _ in node.value)
        if merged:
            self.loader.flatten_mapping(node)
        result: dict[str, Any] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                raise LaunchError(self.file, line, "a key is a name, not a list or a mapping")
            name = str(name_node.value)  # as written: YAML would read `on` and `no` as truth values
            if name in result and not merged:
                raise LaunchError(self.file, line, f"key '{name}' stands here twice")
            self.marks[(*key, name)] = Mark(self.file, line)
            result[name] = self.build(value_node, (*key, name))
        return result


def parse(text: str, file: str) -> Source:
    """The mapping in `text`."""
    loader = yaml.SafeLoader(text)
    builder = _Builder(file, loader)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise LaunchError(file, 1, "a launch file is a mapping: args, nodes")
        return Source(builder.build(node, ()), builder.marks)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise LaunchError(file, mark.line + 1 if mark else 0, f"not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise LaunchError(file, 0, f"not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise LaunchError(file, 0, "too large or nested in itself") from None
    finally:
        loader.dispose()


def read(file: Path) -> Source:
    """The mapping in `file`."""
    try:
        return parse(file.read_text(encoding="utf-8"), str(file))
    except UnicodeDecodeError:
        raise LaunchError(str(file), 0, "not a text file in UTF-8") from None


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
