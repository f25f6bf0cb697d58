"""A disk that refuses one call after the other of a commit: `python refused_writes.py FOLDER ERROR once|forever`.

Each time a writer commits, is refused at the next call (of a write half is done before), and closes. Prints as JSON what it
said; ends with 1 when a session was not what was promised.
"""

import errno
import json
import os
import sys
from pathlib import Path

from lmdb_calls import Call, LmdbCalls
from numbered import message, read_all

from storage.errors import StorageError
from storage.verify import check
from storage.writer import SessionWriter

BATCH = 8


class Refusal:
    """Of call `nth` since it was armed, and of all later ones if `forever`."""

    def __init__(self, nth: int, code: int, forever: bool) -> None:
        self.nth, self.code, self.forever = nth, code, forever
        self.armed, self.count, self.refused = False, 0, 0
        LmdbCalls(self._call)

    def _call(self, call: Call) -> None:
        if not self.armed or not call.file.endswith("data.mdb"):
            return
        if self.count == self.nth or (self.forever and self.count > self.nth):
            self.refused += 1
            if call.name == "write":
                os.pwrite(call.descriptor, call.data[: len(call.data) // 2], call.offset)
            self.count += 1
            raise OSError(self.code, os.strerror(self.code))
        self.count += 1


def attempt(path: Path, refusal: Refusal) -> dict[str, object]:
    """What came of it, as a child process says it."""
    said: list[tuple[str, int]] = []
    writer = SessionWriter.create(path, commit_events=BATCH)
    for seq in range(2 * BATCH):
        writer.append(message(seq))
    announced = writer.committed.events
    refusal.armed = True
    try:
        for seq in range(2 * BATCH, 3 * BATCH):
            writer.append(message(seq))
    except StorageError as error:
        said.append((str(error), error.exit_code))
    try:
        writer.close()
    except StorageError as error:
        said.append((str(error), error.exit_code))
    refusal.armed = False
    announced = max(announced, writer.committed.events)
    numbers, gaps = read_all(path)
    assert numbers == list(range(len(numbers))) and not gaps
    assert announced <= len(numbers) <= 3 * BATCH, f"{len(numbers)} events, {announced} were announced"
    assert check(path).verdict == "ok", check(path)
    with SessionWriter.create(path, resume=True) as writer:
        for seq in range(len(numbers), 3 * BATCH):
            writer.append(message(seq))
    assert read_all(path)[0] == list(range(3 * BATCH)) and check(path).exit_code == 0
    return {"refused": refusal.refused, "said": said, "events": len(numbers)}


def main() -> int:
    folder, code, forever = Path(sys.argv[1]), getattr(errno, sys.argv[2]), sys.argv[3] == "forever"
    found: list[dict[str, object]] = []
    while True:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                told = attempt(folder / f"s{len(found)}", Refusal(len(found), code, forever))
            except BaseException as error:
                told = {"untrue": f"call {len(found)}: {error!r}"}
            os.write(writing, json.dumps(told).encode()[:60000])
            os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        told = json.loads(os.read(reading, 60000) or b'{"untrue": "the writer has died"}')
        os.close(reading)
        if told.get("refused") == 0:
            break
        found.append(told)
    sys.stdout.write(json.dumps(found))
    return 1 if any("untrue" in told for told in found) else 0


if __name__ == "__main__":
    sys.exit(main())
