"""What a person means by a place in a session, by a list of episodes, and by a guard: text to frames."""

import re
from typing import NamedTuple

import numpy as np

from storage.editing.table import Frames, Mask, Numbers
from storage.errors import EditRefused

_PLACE = re.compile(r"(\d+):(\d*)")
MAX_EPISODES = 10**6  # of one range
_EPISODES = re.compile(r"(\d+)(?:-(\d+))?")
_GUARD = re.compile(r"(\d+(?:\.\d*)?)s")


class Guard(NamedTuple):
    """How far the parts of a split stay from one another: so many frames, and so many seconds."""

    frames: int = 0
    seconds: float = 0.0


def before(frames: Frames, place: str) -> Mask:
    """The frames before `place`: `12.5` seconds after the first frame, or `3:40`, episode 3 step 40, or `3:`, where it begins.

    Raises EditRefused.
    """
    found = _PLACE.fullmatch(place)
    if found is None:
        try:
            seconds = float(place)
        except ValueError:
            seconds = np.nan
        if not np.isfinite(seconds):
            raise EditRefused(f"{place!r} is no place: give seconds from the first frame, such as 12.5, or episode:step, such as 3:40")
        return np.less(frames.seconds, seconds)
    episode, step = int(found[1]), int(found[2] or 0)
    if episode not in frames.episode:
        raise EditRefused(f"there is no episode {episode} with frames: there are {told(frames.episode)}")
    later = np.flatnonzero((frames.episode == episode) & (frames.step >= step))
    at = later[0] if later.size else np.flatnonzero(frames.episode == episode)[-1] + 1
    return np.asarray(np.arange(len(frames)) < at, np.bool_)


def episodes(text: str) -> list[int]:
    """`3,5-7` as numbers. Raises EditRefused."""
    out: set[int] = set()
    for part in text.split(","):
        found = _EPISODES.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
        if not first <= last < first + MAX_EPISODES:
            raise EditRefused(f"{text!r} names no episodes: give numbers such as 3,5-7")
        out.update(range(first, last + 1))
    return sorted(out)


def known_episodes(text: str, there: Numbers) -> list[int]:
    """The same, of episodes that are there. Raises EditRefused."""
    wanted = episodes(text)
    missing = sorted(set(wanted) - set(there.tolist()))
    if missing:
        raise EditRefused(f"there is no episode {missing[0]}: there are {told(there)}")
    return wanted


def told(there: Numbers) -> str:
    """The numbers of episodes in few words."""
    known = np.unique(there[there >= 0]).tolist()
    if not known:
        return "none"
    return f"{len(known)} from {known[0]} to {known[-1]}" if len(known) > 1 else f"only {known[0]}"


def guard(text: str) -> Guard:
    """`10` frames or `2s` as a guard. Raises EditRefused."""
    if text.isdigit():
        return Guard(frames=int(text))
    found = _GUARD.fullmatch(text)
    if found is None:
        raise EditRefused(f"{text!r} is no guard: give a number of frames such as 10, or seconds such as 2s")
    return Guard(seconds=float(found[1]))
