"""Real messages and what may become of them on the way: one of every topic, and a seeded mutator of them.

Half of the mutations work on bytes and parts, half on the unpacked header: a flipped byte mostly stops at
msgpack, a header that is packed well and lies gets as far as the arrays.
"""

import pickle
import random
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np

from protocol import codec
from protocol import messages as m
from protocol.codec import DTYPES
from protocol.topics import TOPICS

Parts = list[bytes]

IMAGE = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
ACTIONS = m.ActionSpaceInfo(names=["action"], choices=[{"action": 0.0}, {"action": 1.0}])
GAP = m.Gap(topic="frame/r", run="q", first=0, last=1)
COUNT = m.TopicCount(published=3, received=1, skipped=2, lost=0, lane="latest", end_known=True)
EXAMPLES: dict[str, tuple[m.Body, dict[str, np.ndarray]]] = {
    "robot": (m.Robot(
        robot="r", driver="d", params={"a": [1, {"b": None}]}, cameras=[m.CameraInfo(name="top", height=4, width=5)],
        actions=ACTIONS, state_names=["x"], rate_hz=2.5, timing="paced", safe_action={"action": 0.0},
    ), {}),
    "episode": (m.EpisodeMark(mark="success", reason="é", held_out=True, origin_session="s", origin_episode=3), {}),
    "frame": (m.Frame(held_out=True), {
        "image/top": IMAGE, "depth/top": np.ones((4, 5), np.uint16), "state": np.array([1.5, np.nan], np.float32),
    }),
    "action": (m.ActionTaken(action={"action": -1.5}, by="random", start_ns=2**62, end_ns=2**62 + 1, success=False, safe=True), {}),
    "probe": (m.Probe(description="rows"), {
        "history/top": np.zeros((2, 3, 4, 5, 3), np.uint8), "past_actions": np.ones((2, 2, 1), np.float32),
        "candidates": np.zeros((2, 1), np.float32), "next/top": np.zeros((2, 2, 4, 5, 3), np.uint8),
        "position": np.zeros((2, 2, 2), np.float32),
    }),
    "command": (m.Command(action={"action": 1.0}, by="person", deadline_mono_ns=2**60), {}),
    "prediction": (m.Prediction(
        candidates=[{"action": 0.0}], chosen=0, uncertainty=[0.5], weights_version=3, error=0.25, copy_last_error=0.5, latency_ms=1.0,
    ), {"next/top": IMAGE[None]}),
    "release": (m.Release(loss=0.5, steps=3), {}),
    "weights": (m.Weights(version=1, spec={"a": [1]}, spec_hash="h", sha256="s", steps=5, samples=6),
                {"safetensors": np.arange(7, dtype=np.uint8)}),
    "metrics": (m.Metrics(values={"loss": 0.5, "inf": float("inf")}), {}),
    "status": (m.Status(
        state="running", kind="robot", detail="d", confirmed=["a"], missing=["b"], last_seq={"frame/r": 3}, counts={"frame/r": COUNT},
        refused={"body": 1}, loop_age_s=0.5, queue_bytes=9, gaps=[GAP], tails=[m.Tail(topic="frame/r", run="q", last=3)],
        silent=["x"], final=True,
    ), {}),
    "log": (m.LogRecord(level="ERROR", logger="x", text="y" * 100), {}),
    "committed": (m.Committed(session="s", last_seq={"frame/r": 2}, events=3, bytes=4, gaps=[GAP]), {}),
    "control": (m.Control(command="mark", args={"mark": "discard", "n": 3}, by="viewer"), {}),
    "alarm": (m.Alarm(name="disk", text="low", active=False), {}),
    "played": (m.Played(left_out=["safetensors"]), {"~header": np.arange(9, dtype=np.uint8), "image/top": IMAGE}),
}  # fmt: skip

HUGE = [-1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)]
ODD: list[Any] = [
    *HUGE, None, True, False, 0, 1, 0.0, 1.0, -0.5, float("nan"), float("inf"), "", "x", "\0", "\n", "é" * 300, "a" * 5000, b"", b"\xff",
    [], {}, [[]], [None] * 100, {"": {}}, {"a": {"b": [1, 2, {"c": None}]}}, [0] * 9, "__class__", "frame/r", "NaN", "1",
]  # fmt: skip
SHAPES: list[Any] = [
    [], [0], [-1], [1] * 8, [1] * 9, [60], [0, 2**63], [0, 2**64 - 1], [2**32, 2**32], [2**62, 2**62, 2**62], [2**64 - 1],
    [4, -5, -3], [-60, -1], [4.0, 5.0, 3.0], ["4", 5, 3], [None], [True, 60], {}, "60", 60, None, [[60]], [2**31, 2**33], [0] * 8, [0] * 9,
]  # fmt: skip
NAMES: list[Any] = [
    "object", "O", "V8", "V60", ">f4", "<f4", "f4", "uint8 ", "UINT8", "U15", "S60", "M8[ns]", "complex64", "float128", "", None, 1,
    b"uint8",
]  # fmt: skip
PICKLE = pickle.dumps({"v": 1, "envelope": {}, "body": {}, "arrays": []})
SNIPPETS = [
    PICKLE, b"\xc1", b"\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x05", b"\xd6\xff\0\0\0\0", b"\xd7\xff" + bytes(8),
    b"\xc7\x0c\xff" + bytes(12), b"\x91" * 200, b"\x81\xa1a" * 200, b"\xc0", b"\x80", b"\x90", b"\xcb\x7f\xf8\0\0\0\0\0\0",
    b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7), b"\xa1\xff", b"\0",
]  # fmt: skip


def messages() -> dict[str, Parts]:
    """One message of every kind as it stands on the wire."""
    made = {}
    for kind in TOPICS:
        body, arrays = EXAMPLES[kind]
        envelope = m.Envelope(topic=f"{kind}/r", source="r", run="q", seq=7, t_ns=10**18, mono_ns=5, session="s", episode=1, step=2)
        made[kind] = [bytes(part) for part in codec.encode(m.Message(envelope=envelope, body=body, arrays=arrays))]
    return made


class Mutator:
    """Calls give mutated messages without end, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.messages = list(messages().values())
        self._on_parts: list[Callable[[Parts], None]] = [
            self._flip, self._overwrite, self._insert, self._delete, self._double, self._truncate, self._extend,
            self._swap, self._drop, self._repeat, self._splice, self._replace,
        ]  # fmt: skip
        self._on_header: list[Callable[[dict[str, Any]], None]] = [
            self._odd_value, self._odd_value, self._odd_value, self._lose_key, self._new_key, self._lie, self._lie, self._lie, self._topic,
        ]  # fmt: skip

    def __call__(self) -> Parts:
        parts = list(self.random.choice(self.messages))
        for _ in range(self.random.choice((1, 1, 1, 1, 2, 2, 3))):
            if self.random.random() < 0.3:
                self.random.choice(self._on_parts)(parts)
            else:
                self._change_header(parts)
        return parts

    # -- bytes and parts --------------------------------------------------------------------------

    def _pick(self, parts: Parts) -> tuple[int, bytearray, int]:
        """A part, mostly the header; its number, a copy, and a place in it."""
        if not parts:
            parts.append(b"")
        which = 1 if len(parts) > 1 and self.random.random() < 0.6 else self.random.randrange(len(parts))
        part = bytearray(parts[which])
        return which, part, self.random.randrange(len(part) + 1)

    def _flip(self, parts: Parts) -> None:
        which, part, at = self._pick(parts)
        if at < len(part):
            part[at] ^= 1 << self.random.randrange(8)
        parts[which] = bytes(part)

    def _overwrite(self, parts: Parts) -> None:
        which, part, at = self._pick(parts)
        snippet = self.random.choice(SNIPPETS)
        part[at : at + len(snippet)] = snippet
        parts[which] = bytes(part)

    def _insert(self, parts: Parts) -> None:
        which, part, at = self._pick(parts)
        part[at:at] = self.random.choice((self.random.randbytes(self.random.randrange(1, 9)), self.random.choice(SNIPPETS)))
        parts[which] = bytes(part)

    def _delete(self, parts: Parts) -> None:
        which, part, at = self._pick(parts)
        del part[at : at + self.random.randrange(1, 9)]
        parts[which] = bytes(part)

    def _double(self, parts: Parts) -> None:
        which, part, at = self._pick(parts)
        part[at:at] = part[at : at + self.random.randrange(1, 33)]
        parts[which] = bytes(part)

    def _truncate(self, parts: Parts) -> None:
        which, part, at = self._pick(parts)
        parts[which] = bytes(part[:at])

    def _extend(self, parts: Parts) -> None:
        which, part, _ = self._pick(parts)
        parts[which] = bytes(part) + self.random.randbytes(self.random.choice((1, 3, 64, 3000)))

    def _swap(self, parts: Parts) -> None:
        self.random.shuffle(parts)

    def _drop(self, parts: Parts) -> None:
        which, _, _ = self._pick(parts)
        del parts[which]

    def _repeat(self, parts: Parts) -> None:
        which, part, _ = self._pick(parts)
        parts[which:which] = [bytes(part)] * self.random.choice((1, 1, 2, 70))

    def _splice(self, parts: Parts) -> None:
        """A part of another message in the place of ours."""
        which, _, _ = self._pick(parts)
        parts[which] = self.random.choice(self.random.choice(self.messages))

    def _replace(self, parts: Parts) -> None:
        which, part, _ = self._pick(parts)
        parts[which] = self.random.choice((b"", PICKLE, bytes(len(part)), self.random.randbytes(len(part)), self.random.choice(SNIPPETS)))

    # -- the header -------------------------------------------------------------------------------

    def _change_header(self, parts: Parts) -> None:
        try:
            header = msgpack.unpackb(parts[1])
            assert isinstance(header, dict)
            self.random.choice(self._on_header)(header)
            parts[1] = msgpack.packb(header)
        except Exception:  # it is broken already, or holds what does not pack
            self._flip(parts)

    def _somewhere(self, inside: Any) -> tuple[Any, Any]:
        """A container in the header, and a key or index in it."""
        while True:
            keys = list(inside) if isinstance(inside, dict) else range(len(inside))
            key = self.random.choice(keys)
            below = inside[key]
            if not isinstance(below, dict | list) or not below or self.random.random() < 0.2:
                return inside, key
            inside = below

    def _odd_value(self, header: dict[str, Any]) -> None:
        container, key = self._somewhere(header)
        container[key] = self.random.choice(ODD)

    def _lose_key(self, header: dict[str, Any]) -> None:
        container, key = self._somewhere(header)
        del container[key]

    def _new_key(self, header: dict[str, Any]) -> None:
        container, _ = self._somewhere(header)
        if isinstance(container, dict):
            container[self.random.choice(["", "x", "v", "topic", "é", 1, None, b"v", 2.5])] = self.random.choice(ODD)
        else:
            container.append(self.random.choice(ODD))

    def _lie(self, header: dict[str, Any]) -> None:
        """About an array: its name, its dtype or its shape; or about one that is not there."""
        described = header["arrays"]
        if not described or self.random.random() < 0.1:
            described.append(["x", self.random.choice(list(DTYPES)), self.random.choice(SHAPES)])
            return
        one = self.random.choice(described)
        what = self.random.randrange(4)
        if what == 0:
            one[0] = self.random.choice([*ODD, "image/top", "state", "next/top"])
        elif what == 1:
            one[1] = self.random.choice([*NAMES, *DTYPES])
        elif what == 2:
            one[2] = self.random.choice(SHAPES)
        else:
            self.random.shuffle(one[2])

    def _topic(self, header: dict[str, Any]) -> None:
        header["envelope"]["topic"] = self.random.choice([*(f"{kind}/r" for kind in TOPICS), "frame/", "/r", "frame", "x/r", "frame/r/r"])
