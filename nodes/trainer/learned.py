"""What a run without a recorder learned from, left in its folder for whoever scores it: `learned.json`."""

from pathlib import Path

import msgspec

from nodes.trainer.sessions import Spans

FILE = "learned.json"


class Learned(msgspec.Struct, frozen=True):
    """Of each session and episode the steps that were learned from, and those that were held out."""

    learned: Spans
    held_out: Spans


def write(folder: Path, learned: Learned) -> None:
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(learned), indent=1))


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
