"""The keys: one table for what is shown on screen and for what a key does.

request = key_to_request(decode_cv_key(cv2.waitKeyEx(1)), state)
if request is not None: ...     # send request.command to a node of kind request.node_kind
"""

from typing import Any, Literal, Protocol

import msgspec

from protocol.messages import Action

Target = Literal["robot", "predictor", "launcher", "viewer"]


class Request(msgspec.Struct, frozen=True):
    """A control request: to which kind of node, which command, with which arguments."""

    node_kind: Target
    command: str
    args: dict[str, Any] = {}


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One row: the keys that do it, their short name on screen, what they do, and the request."""

    keys: tuple[str, ...]
    cap: str
    label: str
    what: str
    node_kind: Target
    command: str
    args: dict[str, Any] = {}


KEYS: tuple[Key, ...] = (
    Key(keys=("esc",), cap="Esc", label="HALT", what="stop the robot at once; pressing it again does no harm",
        node_kind="robot", command="halt"),
    Key(keys=("space",), cap="space", label="pause", what="pause the robot, or let it go on, also after a halt",
        node_kind="robot", command="pause"),
    Key(keys=("n",), cap="n", label="step", what="one step, while paused",
        node_kind="robot", command="step"),
    Key(keys=("m",), cap="m", label="success", what="mark this episode a success",
        node_kind="robot", command="mark", args={"mark": "success"}),
    Key(keys=("f",), cap="f", label="failure", what="mark this episode a failure",
        node_kind="robot", command="mark", args={"mark": "failure"}),
    Key(keys=("d",), cap="d", label="discard", what="mark this episode as one to leave out",
        node_kind="robot", command="mark", args={"mark": "discard"}),
    Key(keys=("r",), cap="r", label="reset", what="end this episode and start another",
        node_kind="robot", command="reset"),
    Key(keys=tuple("0123456789"), cap="0-9", label="drive", what="choose this candidate action",
        node_kind="predictor", command="drive"),
    Key(keys=("left", "right", "up", "down"), cap="arrows", label="drive",
        what="choose the lowest, highest first number (left, right) or second (down, up)",
        node_kind="predictor", command="drive"),
    Key(keys=("y",), cap="y", label="yes", what="agree to the action that was asked about",
        node_kind="predictor", command="confirm", args={"index": None}),
    Key(keys=("s",), cap="s", label="picture", what="save this picture",
        node_kind="viewer", command="save"),
    Key(keys=("h", "?"), cap="h", label="help", what="show or hide these keys",
        node_kind="viewer", command="help"),
    Key(keys=("q",), cap="q", label="close", what="close the viewer; the run goes on",
        node_kind="viewer", command="quit"),
    Key(keys=("x",), cap="x", label="stop", what="stop the whole run, in order",
        node_kind="launcher", command="stop"),
)  # fmt: skip


class KeyState(Protocol):
    """What keys need to know; `ViewState` has it."""

    @property
    def paused(self) -> bool: ...

    @property
    def prompt(self) -> str: ...

    @property
    def candidates(self) -> list[Action]: ...


def key_to_request(key: str, state: KeyState) -> Request | None:
    """What a key asks for now, or None when it means nothing at this moment."""
    row = next((row for row in KEYS if key in row.keys), None)
    if row is None:
        return None
    if row.command == "pause":
        return Request("robot", "resume" if state.paused else "pause")
    if row.command == "step" and not state.paused:
        return None
    if row.command == "confirm" and not state.prompt:
        return None
    if row.command == "drive":
        index = int(key) if key.isdigit() else _arrow_index(key, state.candidates)
        if index is None or index >= len(state.candidates):
            return None
        return Request("predictor", "confirm" if state.prompt else "drive", {"index": index})
    return Request(row.node_kind, row.command, dict(row.args))


def _arrow_index(key: str, candidates: list[Action]) -> int | None:
    """Left and right: the candidate with the lowest and highest first number; down and up: the second."""
    if not candidates:
        return None
    names = list(candidates[0])
    axis = 0 if key in ("left", "right") else 1
    if axis >= len(names):
        return None
    values = [candidate.get(names[axis], 0.0) for candidate in candidates]
    extreme = min(values) if key in ("left", "down") else max(values)
    return values.index(extreme) if min(values) < max(values) else None


_NAMED = {
    27: "esc", 32: "space", 13: "enter", 10: "enter", 9: "tab", 8: "backspace",
    # X11 key symbols (Qt and GTK on Linux), Windows virtual keys, macOS
    0xFF51: "left", 0xFF52: "up", 0xFF53: "right", 0xFF54: "down",
    0x250000: "left", 0x260000: "up", 0x270000: "right", 0x280000: "down",
    0xF702: "left", 0xF700: "up", 0xF703: "right", 0xF701: "down",
}  # fmt: skip


def decode_cv_key(code: int) -> str | None:
    """The name of a `cv2.waitKeyEx` code: "a", "7", "space", "left" ...; None for no key and unknown ones."""
    if code in (-1, 255):
        return None
    if code in _NAMED:
        return _NAMED[code]
    low = code & 0xFFFF  # above are modifier bits, such as Num Lock
    if low in _NAMED:
        return _NAMED[low]
    if 0xFFB0 <= low <= 0xFFB9:  # digits of the keypad
        return str(low - 0xFFB0)
    return chr(low).lower() if 33 <= low < 127 else None
