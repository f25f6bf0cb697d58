"""The system calls that LMDB makes in this process, seen one by one before they happen; for scripts of these tests.

    calls = LmdbCalls(hook)

The library looks its calls up in a table of addresses (ELF); ours stand in their place. Linux, 64 bit; no compiler, no root.
`hook(call)` may note the call, raise OSError in its place, or end the process.
"""

import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import lmdb.cpython as library

_LIBC = ctypes.CDLL(None, use_errno=True)
_PAGE = os.sysconf("SC_PAGESIZE")
_FOR_GOOD: list[object] = []  # the library's table does not keep what it points to alive
_DYNAMIC, _STRTAB, _SYMTAB, _RELA, _RELASZ, _PLTRELSZ, _JMPREL = 2, 5, 6, 7, 8, 2, 23


class Call(NamedTuple):
    """One call on a file; `synced`: what it writes is on the disk when it returns."""

    name: str
    descriptor: int
    offset: int = 0
    data: bytes = b""
    synced: bool = False

    @property
    def file(self) -> str:
        return os.readlink(f"/proc/self/fd/{self.descriptor}")


Hook = Callable[[Call], None]


class LmdbCalls:
    """Puts itself between LMDB and the system, once per process and for good."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        signed, size, number, pointer = ctypes.c_ssize_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p
        forms = {
            "pwrite": (self._pwrite, signed, number, pointer, size, ctypes.c_int64),
            "write": (self._write, signed, number, pointer, size),
            "writev": (self._writev, signed, number, pointer, number),
            "fdatasync": (self._sync, number, number),
            "fsync": (self._sync, number, number),
            "msync": (self._never, number, pointer, size, number),
            "ftruncate": (self._truncate, number, number, ctypes.c_int64),
        }
        self._kept = {name: ctypes.CFUNCTYPE(*form, use_errno=True)(method) for name, (method, *form) in forms.items()}
        _FOR_GOOD.append(self._kept)
        slots = _slots()
        assert {"pwrite", "writev", "fdatasync"} <= slots.keys(), slots
        for name, callback in self._kept.items():
            for address in slots.get(name, []):
                _LIBC.mprotect(ctypes.c_void_p(address & -_PAGE), 2 * _PAGE, 3)
                ctypes.c_void_p.from_address(address).value = ctypes.cast(callback, ctypes.c_void_p).value

    def _pwrite(self, descriptor: int, data: int, size: int, offset: int) -> int:
        return self._put(descriptor, ctypes.string_at(data, size), offset)

    def _write(self, descriptor: int, data: int, size: int) -> int:
        done = self._put(descriptor, ctypes.string_at(data, size), os.lseek(descriptor, 0, os.SEEK_CUR))
        return self._moved(descriptor, done)

    def _writev(self, descriptor: int, vectors: int, count: int) -> int:
        pairs = struct.iter_unpack("<QQ", ctypes.string_at(vectors, 16 * count))
        data = b"".join(ctypes.string_at(base, size) for base, size in pairs)
        return self._moved(descriptor, self._put(descriptor, data, os.lseek(descriptor, 0, os.SEEK_CUR)))

    def _moved(self, descriptor: int, done: int) -> int:
        if done > 0:
            os.lseek(descriptor, done, os.SEEK_CUR)
        return done

    def _put(self, descriptor: int, data: bytes, offset: int) -> int:
        synced = bool(_LIBC.fcntl(descriptor, 3) & os.O_DSYNC)
        return self._done(Call("write", descriptor, offset, data, synced), lambda: os.pwrite(descriptor, data, offset))

    def _sync(self, descriptor: int) -> int:
        return self._done(Call("sync", descriptor), lambda: os.fdatasync(descriptor) or 0)

    def _truncate(self, descriptor: int, size: int) -> int:
        return self._done(Call("truncate", descriptor, size), lambda: os.ftruncate(descriptor, size) or 0)

    def _never(self, *_: int) -> int:
        os._exit(99)  # LMDB as it is used here does not do this; if it does, these tests miss a way to the disk

    def _done(self, call: Call, do: Callable[[], int]) -> int:
        try:
            self.hook(call)
            return do()
        except OSError as error:
            ctypes.set_errno(error.errno or 5)
            return -1
        except BaseException as error:  # a callback cannot raise
            os.write(2, f"{error!r}\n".encode())
            os._exit(98)


def _slots() -> dict[str, list[int]]:
    """Name of a function to the addresses where LMDB's library keeps its address."""
    file = Path(library.__file__)
    lines = Path("/proc/self/maps").read_text().splitlines()
    base = min(int(line.partition("-")[0], 16) for line in lines if line.endswith(file.name))
    data = file.read_bytes()
    (headers,), (count,) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<H", data, 56)
    parts = [struct.unpack_from("<IIQQQQ", data, headers + 56 * index) for index in range(count)]
    place, size = next((part[2], part[5]) for part in parts if part[0] == _DYNAMIC)
    tags = dict(struct.iter_unpack("<qQ", data[place : place + size]))
    names, symbols = base + tags[_STRTAB], base + tags[_SYMTAB]
    found: dict[str, list[int]] = {}
    for table, length in ((tags[_RELA], tags[_RELASZ]), (tags[_JMPREL], tags[_PLTRELSZ])):
        for offset, info, _ in struct.iter_unpack("<QQq", ctypes.string_at(base + table, length)):
            (name,) = struct.unpack("<I", ctypes.string_at(symbols + 24 * (info >> 32), 4))
            if info >> 32:
                found.setdefault(ctypes.string_at(names + name).decode(), []).append(base + offset)
    return found
