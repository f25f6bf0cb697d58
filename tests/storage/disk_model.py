"""A disk that keeps what was synced; of what was not, chance decides when the power goes. For scripts of these tests.

Names and contents are apart, as they are on a real one: a file that was synced is lost with a folder that was not. Of the
changes of names in a folder the first few are kept; of writes any, whole or by sectors of 512 bytes, which do not tear.
"""

import random
from dataclasses import dataclass, field
from pathlib import Path, PurePath

SECTOR = 512


@dataclass
class File:
    kept: bytearray = field(default_factory=bytearray)
    waiting: list[tuple[int, bytes, bool]] = field(default_factory=list)
    """Offset, data, and whether it is on the disk all the same (O_DSYNC)."""

    def sync(self) -> None:
        for offset, data, _ in self.waiting:
            put(self.kept, offset, data)
        self.waiting.clear()


@dataclass
class Folder:
    names: dict[str, "File | Folder"] = field(default_factory=dict)
    kept: dict[str, "File | Folder"] = field(default_factory=dict)
    waiting: list[dict[str, "File | Folder | None"]] = field(default_factory=list)

    def change(self, names: dict[str, "File | Folder | None"]) -> None:
        """All of it happens, or nothing; None: the name is gone."""
        rename(self.names, names)
        self.waiting.append(names)

    def sync(self) -> None:
        self.kept = dict(self.names)
        self.waiting.clear()


@dataclass
class Cut:
    """What a power cut cost: changes of names, writes as a whole, and writes of which a part was kept."""

    names: int = 0
    dropped: int = 0
    torn: int = 0


class Disk:
    """All that happens under `root`, operation by operation."""

    def __init__(self, root: PurePath) -> None:
        self.root = root
        self.top = Folder()

    def find(self, path: str) -> "File | Folder":
        node: File | Folder = self.top
        for name in PurePath(path).relative_to(self.root).parts:
            assert isinstance(node, Folder)
            node = node.names[name]
        return node

    def do(self, name: str, path: str, *rest: object) -> None:
        """One operation: make folder or file, rename, remove, write, sync (a file or a folder)."""
        place = PurePath(path)
        folder = None if place == self.root else self.find(str(place.parent))
        if name in ("folder", "file"):
            assert isinstance(folder, Folder)
            if place.name not in folder.names:
                folder.change({place.name: Folder() if name == "folder" else File()})
        elif name == "rename":
            assert isinstance(folder, Folder)
            folder.change({place.name: None, PurePath(str(rest[0])).name: folder.names[place.name]})
        elif name == "remove":
            assert isinstance(folder, Folder)
            folder.change({place.name: None})
        elif name == "write":
            file = self.find(path)
            assert isinstance(file, File)
            file.waiting.append(rest)
        else:
            self.find(path).sync()

    def cut(self, chance: random.Random, target: Path) -> Cut:
        """Put under `target` what is found when the power is back."""
        cost = Cut()
        _leave(self.top, target, chance, chance.choice(("none", "all", "some", "torn")), cost)
        return cost


def _leave(node: File | Folder, target: Path, chance: random.Random, mood: str, cost: Cut) -> None:
    if isinstance(node, File):
        target.write_bytes(_content(node, chance, mood, cost))
        return
    target.mkdir(parents=True, exist_ok=True)
    names = dict(node.kept)
    count = {"none": 0, "all": len(node.waiting)}.get(mood, chance.randint(0, len(node.waiting)))
    cost.names += len(node.waiting) - count
    for change in node.waiting[:count]:
        rename(names, change)
    for name, inner in names.items():
        _leave(inner, target / name, chance, mood, cost)


def _content(file: File, chance: random.Random, mood: str, cost: Cut) -> bytes:
    data = bytearray(file.kept)
    for offset, written, synced in file.waiting:
        if synced or mood == "all" or (mood == "some" and chance.random() < 0.5):
            put(data, offset, written)
        elif mood == "torn" and chance.random() < 0.8:
            cost.torn += 1
            begin = offset
            while begin < offset + len(written):
                end = min(begin - begin % SECTOR + SECTOR, offset + len(written))
                if chance.random() < 0.5:
                    put(data, begin, written[begin - offset : end - offset])
                begin = end
        else:
            cost.dropped += 1
            if chance.random() < 0.5:  # its length was kept, its content was not
                put(data, len(data), bytes(max(offset + len(written) - len(data), 0)))
    return bytes(data)


def put(data: bytearray, offset: int, written: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(written)] = written


def rename[T](names: dict[str, T], change: dict[str, T | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node
