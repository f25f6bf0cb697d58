"""A session whose pages are damaged one after the other; each time `verify` and a reader are asked what is there.

    python bad_pages.py FOLDER KIND [STRIDE]

KIND: zeroed, torn (the second half is lost), stale (an older content of the page), flipped (one bit), meta (one bit of a meta
page), cut (the file ends there). Every STRIDE-th page of the log is damaged, and the whole tail. Prints as JSON how often what
was the answer; ends with 1 when an answer was not true.
"""

import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from numbered import is_right, message, small

from storage.errors import CorruptEvent, CorruptSession
from storage.reader import SessionReader
from storage.verify import check, verify
from storage.writer import SessionWriter

PAGE = 4096
EVENTS = 120
TAIL = 16
"""Pages at the end that are all damaged."""


def record(path: Path) -> bytes:
    """Frames and small messages in many commits; the log as it was in the middle."""
    file = path / "segments" / "000000" / "data.mdb"
    with SessionWriter.create(path, commit_events=8, codec="raw") as writer:
        for number in range(EVENTS):
            if number == EVENTS // 2:
                writer.flush()
                middle = file.read_bytes()
            writer.append((small if number % 2 else message)(number // 2))
    return middle


def damages(sound: bytes, middle: bytes, kind: str, stride: int) -> Iterator[tuple[int, bytes]]:
    """Number of the page, and the whole file with the damage."""
    count = len(sound) // PAGE
    chance = random.Random(kind)
    for page in range(count):
        at = page * PAGE
        if (kind == "meta") != (page < 2) or (page < count - TAIL and page % stride):
            continue
        old = sound[at : at + PAGE]
        if kind == "cut":
            yield page, sound[:at]
        elif kind == "meta":
            for bit in range(0, 168 * 8, stride):
                yield page, sound[:at] + flipped(old, bit) + sound[at + PAGE :]
            for new in (bytes(PAGE), old[:80] + bytes(PAGE - 80), middle[at : at + PAGE]):
                yield page, sound[:at] + new + sound[at + PAGE :]
        else:
            new = {
                "zeroed": bytes(PAGE), "torn": old[: PAGE // 2] + bytes(PAGE // 2), "stale": middle[at : at + PAGE],
                "flipped": flipped(old, chance.randrange(PAGE * 8)),
            }[kind]  # fmt: skip
            if new and new != old:
                yield page, sound[:at] + new + sound[at + PAGE :]


def flipped(page: bytes, bit: int) -> bytes:
    return page[: bit // 8] + bytes([page[bit // 8] ^ 1 << bit % 8]) + page[bit // 8 + 1 :]


def salvage(path: Path) -> tuple[list[int], list[int]]:
    """The numbers of all events that a reader gives, each compared, and of those that it names as damaged."""
    given: list[int] = []
    named: list[int] = []
    with SessionReader(path) as reader:
        at = 0
        while True:
            try:
                for event in reader.numbered(at):
                    number = event.message.envelope.seq * 2 + (event.message.kind != "frame")
                    assert is_right(event.message) and number == event.number, f"event {event.number} is another"
                    given.append(event.number)
                    at = event.number + 1
                return given, named
            except CorruptEvent as error:
                named.append(error.event)
                at = error.event + 1


def judge(path: Path, described: bytes) -> str:
    """What was answered; AssertionError when that was not true."""
    report = check(path)
    corrupt = [damage.event for damage in report.corrupt]
    try:
        given, named = salvage(path)
    except CorruptSession as error:
        return "not readable, and named" if report.verdict == "damaged" else f"untrue: verify says ok, a reader says {error}"
    assert named == corrupt, f"a reader cannot give {named}, verify names {corrupt}"
    if report.verdict == "ok":
        assert given == list(range(EVENTS)), "verify says ok, and events are missing"
        assert description(path) == described, "verify says ok, and the books are others"
        return "no matter"
    assert sorted(given + named) == list(range(EVENTS)) or report.problems
    return "events named, the others given" if named else "named, all events given" if given == list(range(EVENTS)) else "named, some given"


def description(path: Path) -> bytes:
    with SessionReader(path) as reader:
        info = reader.info()
        return repr((info.topics, info.episodes, info.gaps, info.tails, info.events)).encode()


def main() -> int:
    folder, kind, stride = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if sys.argv[3:] else 1
    path = folder / "s"
    shutil.rmtree(path, ignore_errors=True)
    middle = record(path)
    file = path / "segments" / "000000" / "data.mdb"
    sound, described = file.read_bytes(), description(path)
    answers: Counter[str] = Counter()
    untrue: list[str] = []
    for page, damaged in damages(sound, middle, kind, stride):
        file.write_bytes(damaged)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what LMDB says when it gives up
            try:
                answer = judge(path, described)
            except BaseException as error:
                answer = f"untrue: page {page}: {error!r}"
            os.write(writing, answer.encode()[:1000])
            os._exit(0)
        os.close(writing)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answer = os.read(reading, 1000).decode()
        os.close(reading)
        if status < 0:
            report = verify(path)
            answer = "ended the reading process" if report.verdict == "damaged" else f"untrue: {status} and verify says {report}"
        if answer.startswith("untrue"):
            untrue.append(answer)
        answers[answer.partition(":")[0]] += 1
    sys.stdout.write(json.dumps({"answers": answers, "damages": answers.total(), "untrue": untrue[:10]}))
    return 1 if untrue else 0


if __name__ == "__main__":
    sys.exit(main())
