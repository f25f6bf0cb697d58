"""Values into frozen structs, with errors that name the place and the nearest right key."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from launch.errors import nearest
from launch.source import Key, Source

_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_MESSAGE = re.compile(r"^(?P<text>.*?)(?: - at `(?:key` in `)?(?P<path>\$[^`]*)`)?$", re.DOTALL)


def convert[S: msgspec.Struct](kind: type[S], source: Source, key: Key, what: str, value: Any = None) -> S:
    """The struct at `key` of the source; a LaunchError says what is wrong with `what`."""
    if value is None:
        value = _at(source.value, key)
    check_keys(kind, source, key, what, value)
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise _explain(str(error), source, key, what, value) from None


def check_keys(kind: Any, source: Source, key: Key, what: str, value: Any) -> None:
    """Refuses keys that the struct does not have, here and in structs inside."""
    structs = list(_structs(kind))
    if not structs or not isinstance(value, dict):
        return
    fields = {field.encode_name: field for struct in structs for field in msgspec.structs.fields(struct)}
    for name, item in value.items():
        if name not in fields:
            raise source.error((*key, name), f"unknown key '{name}' in {what}{nearest(name, fields)}")
        check_keys(fields[name].type, source, (*key, name), f"{name} of {what}", item)


def _structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """The struct types that a field's type allows, without looking into containers."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    elif getattr(kind, "__origin__", None) not in (list, dict, tuple, set):
        for part in get_args(kind):
            yield from _structs(part)


def _explain(message: str, source: Source, key: Key, what: str, value: Any) -> Exception:
    match = _MESSAGE.match(message)
    text, path = (match["text"], match["path"] or "") if match else (message, "")
    steps = tuple(int(number) if number else name for name, number in _STEP.findall(path))
    text = text[:1].lower() + text[1:]
    if not steps:
        return source.error(key, f"{what}: {text}")
    found = _at(value, steps)
    shown = f" ({found!r})" if isinstance(found, str | int | float | bool) else ""
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
    return source.error((*key, *steps), f"'{name}' in {what}: {text}{shown}")


def _at(value: Any, key: Key) -> Any:
    for step in key:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value
