"""Frames that are what their number says, so that a session can be told from any other; for scripts of these tests."""

from pathlib import Path

import numpy as np

from protocol import messages as m
from storage.reader import SessionReader

TOPIC = "frame/robot"


def message(seq: int) -> m.Message:
    """Frame `seq`: noise of its number, some larger than others, and number 99 of 3 MB."""
    size = (1000, 1000) if seq == 99 else (300, 40) if seq % 13 == 7 else (10 + seq % 7 * 6, 40)
    image = np.random.default_rng(seq).integers(0, 256, (*size, 3), dtype=np.uint8)
    envelope = m.Envelope(topic=TOPIC, source="robot", run="r", seq=seq, t_ns=seq, mono_ns=seq, episode=seq // 8, step=seq % 8)
    return m.Message(envelope=envelope, body=m.Frame(), arrays={"image/front": image})


def small(number: int) -> m.Message:
    """A small message of another topic."""
    envelope = m.Envelope(topic="metrics/trainer", source="trainer", run="t", seq=number, t_ns=number, mono_ns=number)
    return m.Message(envelope=envelope, body=m.Metrics(values={"loss": float(number)}))


def is_right(found: m.Message) -> bool:
    """Whether it is the message of its number, pixel for pixel."""
    expected = (message if found.kind == "frame" else small)(found.envelope.seq)
    if (found.envelope, found.body, found.arrays.keys()) != (expected.envelope, expected.body, expected.arrays.keys()):
        return False
    return all(np.array_equal(array, expected.arrays[name]) for name, array in found.arrays.items())


def read_all(path: Path) -> tuple[list[int], list[tuple[int, int]]]:
    """The numbers that a session holds, each compared with what it should be, and its gaps. Raises StorageError."""
    with SessionReader(path) as reader:
        numbers = []
        for found in reader.events():
            assert is_right(found), f"frame {found.envelope.seq} is another"
            numbers.append(found.envelope.seq)
        assert len(reader) == len(numbers)
        return numbers, [(gap.first, gap.last) for gap in reader.gaps()]
