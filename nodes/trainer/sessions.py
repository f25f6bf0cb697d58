"""What of recorded sessions is learned from, and what is held out.

    learned, held_out = divided(readers, cameras=["front"], context=2, held_out=HeldOut(last=True))

What fits into memory is decoded once.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from nodes.trainer.recorded import Recorded
from storage.loading.frames import Frames
from storage.loading.windows import Windows
from storage.reader import SessionReader

MEMORY_MB = 1024


class HeldOut(msgspec.Struct, frozen=True):
    """What is held out beside the episodes that were recorded as such: `last` episode of each session, `episodes` by number,
    the last `share` of each session, everything `behind` a step, or whole `sessions`."""

    last: bool = False
    episodes: frozenset[int] = frozenset()
    share: float = 0.0
    behind: int | None = None
    sessions: frozenset[str] = frozenset()


def held_out_of(texts: Sequence[str], sessions: Sequence[str]) -> HeldOut:
    """From words: `last`, `3,5-7`, `20%`, `from=666`, or a session's name. ValueError in one line."""
    given: dict[str, Any] = {"episodes": set(), "sessions": set()}
    for text in texts:
        if text in sessions:
            given["sessions"].add(text)
        elif text == "last":
            given["last"] = True
        elif (found := re.fullmatch(r"(\d+(?:\.\d+)?)%", text)) and 0 < float(found[1]) < 100:
            given["share"] = float(found[1]) / 100
        elif found := re.fullmatch(r"from=(\d+)", text):
            given["behind"] = int(found[1])
        elif re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
            for part in text.split(","):
                first, _, last = part.partition("-")
                given["episodes"].update(range(int(first), int(last or first) + 1))
        else:
            raise ValueError(f"held out {text!r}: give last, episodes as in 3,5-7, a share as in 20%, from=STEP, or one of the sessions")
    return HeldOut(**{**given, "episodes": frozenset(given["episodes"]), "sessions": frozenset(given["sessions"])})


def divided(
    readers: Sequence[SessionReader], cameras: Sequence[str], context: int, held_out: HeldOut, memory_mb: int = MEMORY_MB
) -> tuple[Recorded, Recorded]:
    """(learned from, held out); no window of one shows a frame that one of the other predicts.

    Raises StorageError; ValueError when what is to be held out is not there.
    """
    frames = Frames(readers, cameras)
    windows = Windows(frames, context)
    newest = windows.frame
    whole = np.isin(frames.session, [n for n, reader in enumerate(readers) if reader.path.name in held_out.sessions])
    out = whole[newest] | np.isin(frames.episode[newest], list(held_out.episodes))
    if held_out.last:
        for session in range(len(readers)):
            mine = newest[frames.session[newest] == session]
            if len(mine):
                out |= (frames.session[newest] == session) & (frames.episode[newest] == frames.episode[mine].max())
    learned = ~(out | windows.held_out)
    cut = _cuts(frames, held_out)
    if cut is not None:
        behind = newest - (context - 1) >= cut[newest]
        learned &= newest + 1 < cut[newest]
        out |= behind
    if held_out != HeldOut() and len(newest) and not out.any():
        raise ValueError("what was asked for holds nothing out: these sessions have no such episodes or steps")
    out |= windows.held_out
    pictures = None
    if sum(int(np.prod(shape)) for shape in frames.shapes.values()) * len(frames) <= memory_mb << 20:
        pictures = frames.empty(len(frames))
        for start in range(0, len(frames), 256):
            picks = np.arange(start, min(start + 256, len(frames)))
            frames.read(picks, {name: array[start : start + 256] for name, array in pictures.items()})
    return Recorded(windows, np.flatnonzero(learned), pictures), Recorded(windows, np.flatnonzero(out), pictures)


def _cuts(frames: Frames, held_out: HeldOut) -> np.ndarray | None:
    """Of each frame, the first frame of its session that is held out by a share or by a step; None when nothing is."""
    if not held_out.share and held_out.behind is None:
        return None
    cuts = np.full(len(frames), len(frames) + 1)
    for session in np.unique(frames.session).tolist():
        mine = np.flatnonzero(frames.session == session)
        first = mine[0] + round(len(mine) * (1 - held_out.share)) if held_out.share else len(frames) + 1
        if held_out.behind is not None and (late := mine[frames.step[mine] >= held_out.behind]).size:
            first = min(first, late[0])
        cuts[mine] = first
    return cuts
