"""What a run without a recorder learned from, left in its folder for whoever scores it: `learned.json`."""

from pathlib import Path

import msgspec
import numpy as np

from nodes.trainer.recorded import Recorded
from storage.header import read_header

FILE = "learned.json"
Spans = dict[str, dict[int, list[tuple[int, int]]]]
"""Session, episode, and of its steps each first one and the one behind the last."""


class Learned(msgspec.Struct, frozen=True):
    """Of each session and episode the steps that were learned from, and those that were held out."""

    learned: Spans
    held_out: Spans


def write(folder: Path, learned: Learned) -> None:
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(learned), indent=1))


def spans(source: Recorded) -> Spans:
    """The steps that windows begin with and end with; steps of a split are steps of its session."""
    found: Spans = {}
    ids = source.ids()
    for number, reader in enumerate(source.readers):
        mine = ids[source.session(ids) == number]
        episodes = found.setdefault(read_header(reader.path).split or reader.path.name, {}) if len(mine) else {}
        for episode in np.unique(source.episode(mine)).tolist():
            steps = np.sort(source.step(mine[source.episode(mine) == episode]))
            breaks = np.flatnonzero(np.diff(steps) > 1)
            starts, ends = steps[np.append(0, breaks + 1)], steps[np.append(breaks, len(steps) - 1)]
            episodes.setdefault(int(episode), []).extend((int(a), int(b) + 2) for a, b in zip(starts, ends, strict=True))
    return found


def ranges(spans: Spans) -> dict[tuple[str, int], list[range]]:
    """By session and episode, as `History` has them."""
    return {
        (session, episode): [range(*pair) for pair in pairs] for session, episodes in spans.items() for episode, pairs in episodes.items()
    }


def read(folder: Path) -> Learned | None:
    """None where there is none, or one that cannot be read."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Learned)
    except (OSError, msgspec.MsgspecError):
        return None
