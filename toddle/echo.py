"""A message as text for people, and as plain values for JSON. Pure."""

import time
from typing import Any

import msgspec
import numpy as np

from protocol.clock import NS_PER_S
from protocol.messages import Array, Message

LONGEST = 160
FEW = 8


def plain(message: Message, full: bool) -> dict[str, Any]:
    """Envelope, body and a description of each array; with `full` their values too."""
    envelope = {name: value for name, value in msgspec.to_builtins(message.envelope).items() if value is not None}
    arrays = {name: describe(array) | ({"values": array.tolist()} if full else {}) for name, array in message.arrays.items()}
    return {**envelope, "body": msgspec.to_builtins(message.body), "arrays": arrays}


def describe(array: Array) -> dict[str, Any]:
    """An array without its values: dtype, shape and range."""
    found: dict[str, Any] = {"dtype": array.dtype.name, "shape": list(array.shape)}
    if array.size:
        found |= {"min": array.min().item(), "max": array.max().item()}
    return found


def text(message: Message, full: bool) -> str:
    """One line for the envelope, one for each field of the body and each array."""
    envelope = message.envelope
    head = [f"{envelope.topic} #{envelope.seq}", clock(envelope.t_ns), f"mono {envelope.mono_ns / NS_PER_S:.6f}"]
    head += [f"{name} {value}" for name in ("session", "episode", "step") if (value := getattr(envelope, name)) is not None]
    fields = [(name, _short(value, full)) for name, value in msgspec.to_builtins(message.body).items()]
    fields += [(name, _array(array, full)) for name, array in message.arrays.items()]
    width = max((len(name) for name, _ in fields), default=0)
    return "\n".join(["  ".join(head), *(f"  {name:<{width}}  {said}" for name, said in fields)])


def clock(t_ns: int) -> str:
    """Wall clock, to the millisecond; a time that no calendar has as its number."""
    try:
        return f"{time.strftime('%H:%M:%S', time.localtime(t_ns // NS_PER_S))}.{t_ns // 1_000_000 % 1000:03}"
    except (OverflowError, ValueError, OSError):
        return f"{t_ns} ns"


def _array(array: Array, full: bool) -> str:
    told = describe(array)
    shape = "x".join(map(str, array.shape)) or "scalar"
    said = f"{told['dtype']} {shape}"
    if array.size:
        said += f"  min {told['min']:g}  max {told['max']:g}"
    if full or 0 < array.size <= FEW:
        said += "  " + np.array2string(np.asarray(array), separator=", ", threshold=array.size + 1, max_line_width=10**9).replace("\n", "")
    return said


def _short(value: Any, full: bool) -> str:
    """A value of a body as JSON, which has no characters that move a cursor."""
    said = msgspec.json.encode(value).decode()
    said = "".join(char if char.isprintable() else " " for char in said)
    return said if full or len(said) <= LONGEST else f"{said[:LONGEST]}... ({len(said):,} characters, --full shows them)"
