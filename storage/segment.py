"""One LMDB environment of a session: its tables, their keys, and the sharing of open environments.

| table | key | value |
|---|---|---|
| events | event | record |
| seq | stream, seq | event |
| step | kind, episode, step, event | - |
| time | t_ns, event | - |
| kind | kind, event | - |
| meta | `state`, `stream/<id>`, `episode/<number>` | CRC32C, msgpack |

Numbers are u64 big endian (streams u32), kinds are padded to 16 bytes: keys sort as their numbers do.
"""

import shutil
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import crc32c
import lmdb
import lmdb.verify
import msgspec

from storage.errors import CorruptSession
from storage.paths import SEGMENTS, sync_folder

TABLES = ("events", "seq", "step", "time", "kind", "meta")
NUMBER = struct.Struct(">Q")
SEQ_KEY = struct.Struct(">IQ")
STEP_KEY = struct.Struct(">16sQQQ")
TIME_KEY = struct.Struct(">QQ")
KIND_KEY = struct.Struct(">16sQ")
_CRC = struct.Struct(">I")
NO_STEP = 2**64 - 1
"""In a step key: the message belongs to the episode but to no step; sorts after all steps."""

MAX_READERS = 512
_LOCK_BYTES = MAX_READERS * 64 + 4096  # a cache line for each reader, and LMDB's own

_MAKING = ".making"  # a segment before it has its name


class _Shared:
    """An open environment with its tables, and how many use it."""

    def __init__(self, env: lmdb.Environment, tables: dict[str, lmdb._Database]) -> None:
        self.env = env
        self.tables = tables
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
                env = _read_env(path) if map_bytes is None else _write_env(path, map_bytes)
                shared = _open[self._key] = _Shared(env, _open_tables(path, env))
            shared.users += 1
            self._shared: _Shared | None = shared

    @property
    def env(self) -> lmdb.Environment:
        if self._shared is None:
            raise CorruptSession(f"{self.path} was closed: open the session again")
        return self._shared.env

    def table(self, name: str) -> lmdb._Database:
        assert self._shared is not None
        return self._shared.tables[name]

    @contextmanager
    def read(self) -> Iterator["lmdb.Transaction[memoryview]"]:
        """A read transaction; its buffers live as long as it does. LMDB's own errors become CorruptSession."""
        try:
            with self.env.begin(buffers=True) as txn:
                yield txn
        except (lmdb.Error, struct.error) as error:  # struct: a key that is none of ours
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
    """The folders of a session's segments, in order."""
    root = session / SEGMENTS
    if not root.is_dir():
        return []
    return sorted((entry for entry in root.iterdir() if entry.name.isdigit()), key=lambda folder: int(folder.name))


def next_segment(session: Path) -> Path:
    """The folder of the next segment: behind everything there is."""
    numbers = [int(folder.name) for folder in segment_folders(session)]
    return session / SEGMENTS / f"{max(numbers, default=-1) + 1:06d}"


def step_key(kind: str, episode: int, step: int | None, event: int) -> bytes:
    """Key of the step table; 0 <= episode, step < 2^64 - 1."""
    return STEP_KEY.pack(kind.encode(), episode, NO_STEP if step is None else step, event)


def encode_meta(row: msgspec.Struct) -> bytes:
    """One value of the meta table: msgpack behind its CRC32C."""
    body = msgspec.msgpack.encode(row)
    return _CRC.pack(crc32c.crc32c(body)) + body


def decode_meta[T](path: Path, value: memoryview, form: type[T]) -> T:
    """One value of the meta table. Raises CorruptSession."""
    body = value[_CRC.size :]
    try:
        if _CRC.pack(crc32c.crc32c(body)) != value[: _CRC.size]:
            raise ValueError("its bytes are not the ones that were written (CRC32C)")
        return msgspec.msgpack.decode(body, type=form)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CorruptSession(f"{path} holds a damaged book: {error}; `toddle sessions verify` says what is sound") from None


def _write_env(path: Path, map_bytes: int) -> lmdb.Environment:
    """A new segment. It has its name when it is whole and synced, so that neither a kill nor a power cut leaves half of one."""
    making = path.parent / _MAKING
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    # LMDB maps its lock file with holes, and to fill one on a full disk ends the process: without holes it is an error here
    (making / "lock.mdb").write_bytes(bytes(_LOCK_BYTES))
    with _open_env(making, map_bytes) as env, env.begin(write=True) as txn:
        for name in TABLES:
            env.open_db(name.encode(), txn=txn)
    sync_folder(making)
    making.rename(path)
    for folder in (path.parent, path.parent.parent):
        sync_folder(folder)
    return _open_env(path, map_bytes)


def _open_env(path: Path, map_bytes: int) -> lmdb.Environment:
    return lmdb.open(str(path), map_size=map_bytes, max_dbs=len(TABLES), max_readers=MAX_READERS)


def _read_env(path: Path) -> lmdb.Environment:
    try:
        # map_size 0: the writer's own size. With the lock table, pages in use by a reader are not reused.
        # No readahead: around each cold page of an index it brings in frames nobody asked for; see readahead.py.
        env = lmdb.open(str(path), readonly=True, map_size=0, max_dbs=len(TABLES), max_readers=MAX_READERS, create=False, readahead=False)
    except lmdb.InvalidError as error:
        raise CorruptSession(f"{path} is not a readable LMDB environment: {error}; restore it from a copy") from None
    except lmdb.Error as error:
        try:
            # somebody else's folder or a read-only disk: no lock table, which is sound while nobody writes
            env = lmdb.open(str(path), readonly=True, map_size=0, max_dbs=len(TABLES), create=False, readahead=False, lock=False)
        except lmdb.Error:
            raise CorruptSession(f"{path} cannot be opened: {error}; check the permissions and the file") from None
    try:
        _check_length(path, env)
    except BaseException:
        env.close()
        raise
    return env


def _open_tables(path: Path, env: lmdb.Environment) -> dict[str, lmdb._Database]:
    try:
        return {name: env.open_db(name.encode(), create=False) for name in TABLES}
    except lmdb.Error as error:
        env.close()
        raise CorruptSession(f"{path} has not the tables of a segment: {error}; restore it from a copy") from None


def _check_length(path: Path, env: lmdb.Environment) -> None:
    """Raise CorruptSession when the file was cut off: LMDB would read beyond its end, which kills the process."""
    file = path / "data.mdb"
    expected = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    there = file.stat().st_size
    # pages at the end that are free may never have been written: only a page in use is a loss
    if there < expected and page_problems(path):
        raise CorruptSession(f"{file} was cut off: it has {there} bytes of {expected}; restore it from a copy")


def page_problems(path: Path) -> list[str]:
    """What is wrong with the pages of the segment at `path`, which nobody may be writing; found without opening it."""
    try:
        return list(map(str, lmdb.verify.verify(str(path), subdir=True)))  # type: ignore[no-untyped-call]
    except (lmdb.verify.VerifyError, OSError) as error:
        return [str(error)]
