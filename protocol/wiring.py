"""What a node is told when it starts: who it is, where it binds, whom it hears and who hears it.

The launcher writes one `Wiring` per node as JSON; `python -m nodes.<kind> FILE` reads it.
"""

from pathlib import Path
from typing import Any, Literal

import msgspec

from protocol.errors import ProtocolError, one_line


class Endpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The three addresses a node binds."""

    latest: str
    reliable: str
    control: str


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another node of the graph; `key` is the public key that its tcp endpoints must prove, empty: none."""

    name: str
    kind: str
    endpoints: Endpoints
    key: str = ""


class Subscriber(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node that was declared to take this node's topics; the graph waits for its subscription."""

    name: str
    kind: str


class Wiring(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything one process needs to join the graph.

    `on_full` says what happens when the ring of `ring_bytes` holds only messages that a reliable
    subscriber has not taken: `block` waits (simulation, replay), `count` drops the oldest and counts it
    (a real robot never waits). `peers` are nodes it may send control requests to. `identity` names the key
    in `keys_dir` that guards its tcp endpoints and opens those of others; the secret itself stays there.
    """

    run: str
    run_dir: str
    name: str
    kind: str
    endpoints: Endpoints
    inputs: list[Peer] = []
    subscribers: list[Subscriber] = []
    peers: list[Peer] = []
    params: dict[str, Any] = {}
    seed: int = 0
    ring_bytes: int = 256 << 20
    on_full: Literal["block", "count"] = "block"
    max_age_s: float = 2.0
    identity: str = ""
    keys_dir: str = ""

    def write(self, path: Path) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2))


def read_wiring(path: Path) -> Wiring:
    """The wiring in `path`; ProtocolError with the file and the reason when it cannot be used."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Wiring)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"{path}: {one_line(str(error))}; this file is written by `toddle launch`") from None
