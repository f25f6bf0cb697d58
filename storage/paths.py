"""Where sessions lie: `<root>/<name>/`, the root from an option, TODDLE_SESSIONS, or ./sessions."""

import difflib
import os
import re
import shutil
from pathlib import Path

from storage.errors import BadName, SessionNotFound

HEADER_FILE = "session.json"
SEGMENTS = "segments"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def sessions_root(option: str | None = None) -> Path:
    """The folder of all sessions; it may not exist yet."""
    return Path(option or os.environ.get("TODDLE_SESSIONS") or "sessions")


def session_path(root: Path, name: str) -> Path:
    """The folder of session `name`. Raises BadName."""
    if not _NAME.fullmatch(name):
        raise BadName(
            f"{name[:60]!r} cannot name a session: use letters, digits, '.', '_' and '-', starting with a letter or digit, at most 100"
        )
    return root / name


def session_names(root: Path) -> list[str]:
    """The names of all sessions under `root`, sorted; folders that begin with a dot are half-made and left out."""
    if not root.is_dir():
        return []
    return sorted(entry.name for entry in root.iterdir() if not entry.name.startswith(".") and (entry / HEADER_FILE).is_file())


def find_session(root: Path, name_or_path: str) -> Path:
    """The folder of a session given by name under `root` or by path. Raises SessionNotFound with the nearest names."""
    for candidate in (root / name_or_path, Path(name_or_path)):
        if (candidate / HEADER_FILE).is_file():
            return candidate
    names = session_names(root)
    near = difflib.get_close_matches(name_or_path, names, n=3)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif names:
        hint = "`toddle sessions list` shows what is there"
    else:
        hint = "there is none yet; --root or TODDLE_SESSIONS says where sessions are"
    raise SessionNotFound(f"no session {name_or_path!r} in {root}: {hint}")


def free_bytes(path: Path) -> int:
    """Bytes free on the file system that holds `path` or its nearest existing parent."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def disk_bytes(path: Path) -> int:
    """Bytes that the files under `path` take on disk; sparse parts do not count."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                status = os.stat(os.path.join(folder, name))
            except FileNotFoundError:  # deleted meanwhile
                continue
            total += status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size
    return total


def make_folder(path: Path) -> None:
    """Make the folder and its missing parents, so that a power cut does not lose their names; it may be there already."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def forget_cached(file: Path, start: int, end: int) -> None:
    """Tell the system that the synced bytes from `start` to `end` of `file` need not stay in its cache, where it can be told."""
    if not hasattr(os, "posix_fadvise"):
        return
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, start, end - start, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make new names inside `path` survive a power cut, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
