"""Transitions that two sessions share: what a model has learned from says nothing about what it has not seen.

A transition is a frame, the action carried out after it, and the next frame of its episode. Two are identical
when all three are, byte for byte; they look the same when the dHashes of both frames, of every camera, differ
in at most some bits of 64 and the actions are equal, where actions are discrete.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.messages import Action, Message
from storage.editing.source import Source
from storage.editing.splits import Division
from storage.errors import EditRefused
from storage.reader import SessionReader
from storage.spans import Numbering, joined, outside

HASH_BITS = 64
_ROWS, _COLUMNS = 8, 9
_CHUNK = 256

Hashes = NDArray[np.uint64]


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """Which transitions of `validation` are in `train` too. `events` are the numbers of their actions."""

    train: str
    validation: str
    bits: int | None
    transitions: int
    shared: int
    train_transitions: int
    first: list[tuple[int, int]]
    events: list[int]


class _Transitions(NamedTuple):
    """Of each transition: its place (episode, step), its action's event, a digest of all of it, one of its action, and its hashes."""

    places: list[tuple[int, int]]
    events: list[int]
    exact: list[bytes]
    actions: list[bytes]
    looks: Hashes


def find_overlap(train: SessionReader, validation: SessionReader, bits: int | None = None) -> Overlap:
    """The transitions of `validation` that are in `train`: identical ones, or with `bits` those that look the same. Raises EditRefused."""
    ours, theirs = _transitions(train), _transitions(validation)
    if bits is None:
        known = set(ours.exact)
        found = [digest in known for digest in theirs.exact]
    else:
        if not 0 <= bits <= HASH_BITS:
            raise EditRefused(f"{bits} bits cannot be: a hash has {HASH_BITS}")
        if ours.looks.shape[1:] != theirs.looks.shape[1:] and len(ours.places) and len(theirs.places):
            raise EditRefused(f"{train.path.name} and {validation.path.name} have not the same cameras: nothing to compare")
        robot = validation.robot
        by_action = robot is not None and robot.actions.discrete
        found = _near(ours, theirs, bits, by_action).tolist()
    at = [place for place, same in enumerate(found) if same]
    return Overlap(
        train=train.path.name, validation=validation.path.name, bits=bits, transitions=len(theirs.places), shared=len(at),
        train_transitions=len(ours.places), first=[theirs.places[place] for place in at[:10]],
        events=[theirs.events[place] for place in at],
    )  # fmt: skip


def without(source: Source, found: Overlap, name: str) -> Division:
    """A split of the validation that does not hold these transitions: without their actions, so that their frames stay as history."""
    numbering = Numbering(source.spans)
    gone = joined((number, number) for number in map(numbering.number_at, found.events))
    return Division(source, [(name, outside(source.spans, gone))])


def dhash(image: NDArray[np.uint8]) -> np.uint64:
    """Sixty-four bits of a [H, W, 3] picture: of 8 rows of 9 mean brightnesses, whether each is darker than the one to its right."""
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    rows = np.linspace(0, grey.shape[0], _ROWS + 1).astype(np.intp)[:-1]
    columns = np.linspace(0, grey.shape[1], _COLUMNS + 1).astype(np.intp)[:-1]
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=0), columns, axis=1)
    sizes = np.outer(_sizes(rows, grey.shape[0]), _sizes(columns, grey.shape[1]))
    means = sums / sizes
    return np.uint64(int.from_bytes(np.packbits(means[:, :-1] < means[:, 1:]).tobytes()))


def _sizes(starts: NDArray[np.intp], end: int) -> NDArray[np.intp]:
    """How many rows each stretch has; at least one, as reduceat takes it."""
    return np.asarray(np.maximum(np.diff(np.append(starts, end)), 1), np.intp)


def _transitions(reader: SessionReader) -> _Transitions:
    """All transitions that a learner would see: of actions that succeeded, between frames of consecutive steps."""
    out = _Transitions([], [], [], [], np.empty((0, 0), np.uint64))
    looks: list[Hashes] = []
    # by source, so that two robots of one session do not mix
    before: dict[str, tuple[Message, bytes, Hashes]] = {}
    taken: dict[tuple[str, int, int], tuple[int, Action]] = {}
    for event in reader.numbered(kinds=("frame", "action")):
        message, envelope = event.message, event.message.envelope
        if envelope.episode is None or envelope.step is None:
            continue
        if message.kind == "action":
            if message.body.success:
                taken[envelope.source, envelope.episode, envelope.step] = event.number, message.body.action
            continue
        digest, hashes = _digest(message.arrays), _hashes(message.arrays)
        last = before.get(envelope.source)
        before[envelope.source] = message, digest, hashes
        place = envelope.episode, envelope.step - 1
        action = taken.pop((envelope.source, *place), None)
        if last is None or action is None or (last[0].envelope.episode, last[0].envelope.step) != place:
            continue
        told = msgspec.json.encode(sorted(action[1].items()))
        out.places.append(place)
        out.events.append(action[0])
        out.actions.append(told)
        out.exact.append(hashlib.blake2b(last[1] + digest + told, digest_size=16).digest())
        looks.append(np.concatenate([last[2], hashes]))
    return out._replace(looks=np.stack(looks) if looks else out.looks)


def _digest(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.digest()


def _hashes(arrays: Mapping[str, NDArray[Any]]) -> Hashes:
    return np.array([dhash(array) for name, array in sorted(arrays.items()) if name.startswith("image/")], np.uint64)


def _near(ours: _Transitions, theirs: _Transitions, bits: int, by_action: bool) -> NDArray[np.bool_]:
    """Which of `theirs` look like one of `ours`."""
    found = np.zeros(len(theirs.places), np.bool_)
    groups: dict[bytes, tuple[list[int], list[int]]] = {}
    for transitions, side in ((ours, 0), (theirs, 1)):
        for place, action in enumerate(transitions.actions):
            groups.setdefault(action if by_action else b"", ([], []))[side].append(place)
    for mine, others in groups.values():
        if not mine:
            continue
        known = np.unique(ours.looks[mine], axis=0)
        for start in range(0, len(others), _CHUNK):
            chunk = others[start : start + _CHUNK]
            apart = np.zeros((len(chunk), len(known)), np.uint8)
            for column in range(known.shape[1]):
                differing = np.bitwise_count(theirs.looks[chunk, column][:, None] ^ known[None, :, column])
                np.maximum(apart, differing, out=apart)
            found[chunk] = (apart <= bits).any(axis=1)
    return found
