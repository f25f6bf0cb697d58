"""One LMDB environment of a session: its tables, their keys, and the sharing of open environments.

| table | key | value |
|---|---|---|
| events | event | record |
| seq | stream, seq | event |
| step | kind, episode, step, event | - |
| time | t_ns, event | - |
| kind | kind, event | - |
| meta | `state`, `stream/<id>`, `episode/<number>` | msgpack |

Numbers are u64 big endian (streams u32), kinds are padded to 16 bytes: keys sort as their numbers do.
"""

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import msgspec

from storage.errors import CorruptSession
from storage.paths import SEGMENTS, sync_folder

TABLES = ("events", "seq", "step", "time", "kind", "meta")
NUMBER = struct.Struct(">Q")
SEQ_KEY = struct.Struct(">IQ")
STEP_KEY = struct.Struct(">16sQQQ")
TIME_KEY = struct.Struct(">QQ")
KIND_KEY = struct.Struct(">16sQ")
NO_STEP = 2**64 - 1
"""In a step key: the message belongs to the episode but to no step; sorts after all steps."""

_EMPTY_FILE = 2 * 4096  # an environment is at least its two meta pages


class _Shared:
    """An open environment and how many use it."""

    def __init__(self, env: lmdb.Environment) -> None:
        self.env = env
        self.tables: dict[str, lmdb._Database] = {}
        self.users = 0


# LMDB allows one open environment per file and process, whoever opens it: a reader beside the writer, or
# two readers, must share it. This table is that rule; it holds only what is open now.
_open: dict[Path, _Shared] = {}
_guard = threading.Lock()


class Segment:
    """One user's hold on a segment, from construction to `close`. Raises CorruptSession."""

    def __init__(self, path: Path, *, map_bytes: int | None = None) -> None:
        """Open the segment at `path` for reading, or create it for writing with a map of `map_bytes`."""
        self.path = path
        self.number = int(path.name)
        self._key = path.resolve()
        with _guard:
            shared = _open.get(self._key)
            if shared is None:
                shared = _open[self._key] = _Shared(_read_env(path) if map_bytes is None else _write_env(path, map_bytes))
            shared.users += 1
            self._shared: _Shared | None = shared
        if map_bytes is not None:
            with self.env.begin(write=True) as txn:
                shared.tables = {name: self.env.open_db(name.encode(), txn=txn) for name in TABLES}

    @property
    def env(self) -> lmdb.Environment:
        if self._shared is None:
            raise CorruptSession(f"{self.path} was closed: open the session again")
        return self._shared.env

    def table(self, name: str) -> lmdb._Database:
        assert self._shared is not None
        return self._shared.tables[name]

    def ready(self) -> bool:
        """Whether the tables exist: a writer that died early leaves a segment without them."""
        assert self._shared is not None
        if not self._shared.tables:
            try:
                self._shared.tables = {name: self.env.open_db(name.encode(), create=False) for name in TABLES}
            except lmdb.NotFoundError:
                return False
        return True

    @contextmanager
    def read(self) -> Iterator["lmdb.Transaction[memoryview]"]:
        """A read transaction; its buffers live as long as it does. LMDB's own errors become CorruptSession."""
        try:
            with self.env.begin(buffers=True) as txn:
                yield txn
        except lmdb.Error as error:
            raise CorruptSession(f"{self.path} cannot be read: {error}; `toddle sessions verify` says how far it is sound") from None

    def fill(self) -> float:
        """The used share of the map, 0 to 1."""
        info = self.env.info()
        return float(info["last_pgno"] + 1) * float(self.env.stat()["psize"]) / float(info["map_size"])

    def close(self) -> None:
        """Let go; the last user closes the environment. More than once is fine."""
        with _guard:
            if self._shared is None:
                return
            self._shared.users -= 1
            if self._shared.users == 0:
                self._shared.env.close()
                _open.pop(self._key, None)
            self._shared = None


def segment_folders(session: Path) -> list[Path]:
    """The folders of a session's segments that hold an environment, in order."""
    root = session / SEGMENTS
    if not root.is_dir():
        return []
    folders = (entry for entry in root.iterdir() if entry.name.isdigit())
    return sorted((folder for folder in folders if _size(folder / "data.mdb") >= _EMPTY_FILE), key=lambda folder: int(folder.name))


def next_segment(session: Path) -> Path:
    """The folder of the next segment: behind everything there is, half-made or not."""
    numbers = [int(entry.name) for entry in (session / SEGMENTS).glob("*") if entry.name.isdigit()]
    return session / SEGMENTS / f"{max(numbers, default=-1) + 1:06d}"


def step_key(kind: str, episode: int, step: int | None, event: int) -> bytes:
    """Key of the step table; 0 <= episode, step < 2^64 - 1."""
    return STEP_KEY.pack(kind.encode(), episode, NO_STEP if step is None else step, event)


def decode_meta[T](path: Path, value: memoryview, form: type[T]) -> T:
    """One value of the meta table. Raises CorruptSession."""
    try:
        return msgspec.msgpack.decode(value, type=form)
    except msgspec.MsgspecError as error:
        raise CorruptSession(f"{path} holds a damaged book: {error}; `toddle sessions verify` says what is sound") from None


def _write_env(path: Path, map_bytes: int) -> lmdb.Environment:
    path.mkdir(parents=True)
    env = lmdb.open(str(path), map_size=map_bytes, max_dbs=len(TABLES), max_readers=512)
    for folder in (path, path.parent, path.parent.parent):
        sync_folder(folder)  # a power cut must not lose the new names
    return env


def _read_env(path: Path) -> lmdb.Environment:
    try:
        # map_size 0: the writer's own size. With the lock table, pages in use by a reader are not reused.
        # No readahead: around each cold page of an index it brings in frames nobody asked for; see readahead.py.
        return lmdb.open(str(path), readonly=True, map_size=0, max_dbs=len(TABLES), create=False, readahead=False)
    except lmdb.InvalidError as error:
        raise CorruptSession(f"{path} is not a readable LMDB environment: {error}; restore it from a copy") from None
    except lmdb.Error as error:
        try:
            # somebody else's folder or a read-only disk: no lock table, which is sound while nobody writes
            return lmdb.open(str(path), readonly=True, map_size=0, max_dbs=len(TABLES), create=False, readahead=False, lock=False)
        except lmdb.Error:
            raise CorruptSession(f"{path} cannot be opened: {error}; check the permissions and the file") from None


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1
