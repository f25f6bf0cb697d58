"""A message as JSON that Foxglove plots and the importer reads back to the bit, and its JSON schema.

    {"envelope": {...}, "body": {...}, "arrays": [{"name", "dtype", "shape", "topic" or "data"}], ...}

JSON has no NaN and no infinity: such a number is null, and `not_finite` says where and which it was.
"""

import math
from typing import Any

import msgspec
from msgspec import inspect

from protocol.messages import Body, Envelope, Frame, LogRecord, Message, Robot

LEVELS = {"DEBUG": 1, "INFO": 2, "WARNING": 3, "ERROR": 4, "CRITICAL": 5}  # foxglove.Log
NS = 10**9


def to_json(message: Message, arrays: list[dict[str, Any]], left_out: tuple[str, ...], robot: Robot | None) -> dict[str, Any]:
    """The JSON object of a message; `arrays` say where its arrays are."""
    not_finite: list[tuple[list[Any], str]] = []
    plain = {
        "envelope": _without_none(msgspec.to_builtins(message.envelope)),
        "body": _finite(_without_none(msgspec.to_builtins(message.body)), ["body"], not_finite),
    }
    if isinstance(message.body, LogRecord):
        plain = {**_log(message), **plain}
    if isinstance(message.body, Frame) and "state" in message.arrays:
        plain["state"] = _state(message, robot)
    if arrays:
        plain["arrays"] = arrays
    if left_out:
        plain["left_out"] = list(left_out)
    if not_finite:
        plain["not_finite"] = not_finite
    return plain


def put_back_not_finite(plain: dict[str, Any]) -> None:
    """Numbers that JSON does not have, where they were. Raises LookupError, TypeError, ValueError where it says nonsense."""
    for path, word in plain.get("not_finite", []):
        at: Any = plain
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = float(word)


def schema_of(plain: dict[str, Any], body: type[Body]) -> bytes:
    """The JSON schema of messages like this one: types by the body's, names of open tables by this message.

    Everything stands in place and has one type, as Foxglove wants it.
    """
    properties = {name: _by_value(value) for name, value in plain.items() if name not in ("envelope", "body", "not_finite")}
    properties["envelope"] = _by_type(inspect.type_info(Envelope), plain["envelope"])
    properties["body"] = _by_type(inspect.type_info(body), plain["body"])
    return msgspec.json.encode({"type": "object", "properties": properties})


def _log(message: Message) -> dict[str, Any]:
    seconds, nanos = divmod(message.envelope.t_ns, NS)
    body: LogRecord = message.body
    return {
        "timestamp": {"sec": seconds, "nsec": nanos}, "level": LEVELS[body.level], "message": body.text,
        "name": f"{message.envelope.source} {body.logger}", "file": "", "line": 0,
    }  # fmt: skip


def _state(message: Message, robot: Robot | None) -> dict[str, float | None]:
    """For plots; the exact bytes are among the arrays."""
    values = message.arrays["state"].reshape(-1).tolist()
    names = robot.state_names if robot and len(robot.state_names) == len(values) else [str(index) for index in range(len(values))]
    return {name: value if math.isfinite(value) else None for name, value in zip(names, values, strict=True)}


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    """A field that is None is its default."""
    return {name: value for name, value in fields.items() if value is not None}


def _finite(value: Any, path: list[Any], found: list[tuple[list[Any], str]]) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner, [*path, key], found) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner, [*path, index], found) for index, inner in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        found.append((path, str(value)))
        return None
    return value


def _by_type(kind: inspect.Type, value: Any) -> dict[str, Any]:
    """`value` is a sample, or None where there is none."""
    match kind:
        case inspect.StructType(fields=fields):
            known = value if isinstance(value, dict) else {}
            return _object({field.encode_name: _by_type(field.type, known.get(field.encode_name)) for field in fields})
        case inspect.UnionType(types=types):
            return _by_type(next(inner for inner in types if not isinstance(inner, inspect.NoneType)), value)
        case inspect.ListType(item_type=item):
            return {"type": "array", "items": _by_type(item, value[0] if value else None)}
        case inspect.DictType(value_type=inner):
            return _object({key: _by_type(inner, one) for key, one in (value or {}).items()})
        case inspect.IntType():
            return {"type": "integer"}
        case inspect.FloatType():
            return {"type": "number"}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.StrType() | inspect.LiteralType():
            return {"type": "string"}
    return _by_value(value)


def _by_value(value: Any) -> dict[str, Any]:
    match value:
        case dict():
            return _object({key: _by_value(inner) for key, inner in value.items()})
        case list() | tuple():
            return {"type": "array", "items": _by_value(value[0]) if value else {"type": "string"}}
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float() | None:
            return {"type": "number"}
    return {"type": "string"}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}
