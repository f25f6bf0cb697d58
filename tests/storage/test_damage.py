"""A flipped bit is named, and never read as data."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.messages import Gap
from storage.errors import CorruptEvent, CorruptSession
from storage.header import read_header
from storage.reader import SessionReader
from storage.segment import KIND_KEY, step_key
from storage.verify import check, verify
from storage.writer import SessionWriter


def data_file(path: Path) -> Path:
    return path / "segments" / "000000" / "data.mdb"


def flip(file: Path, position: int, bit: int = 0) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1 << bit
    file.write_bytes(data)


def test_a_flip_in_a_frame_names_the_event_and_spares_the_others(tmp_path, frame, pixels, same):
    path = tmp_path / "s"
    with SessionWriter.create(path, codec="raw") as writer:
        for seq in range(20):
            writer.append(frame(seq))
    flip(data_file(path), data_file(path).read_bytes().rindex(pixels(13).tobytes()) + 1000, 3)
    report = verify(path)
    assert report.verdict == "damaged"
    assert report.exit_code == 1
    assert report.events_checked == 20
    assert [(damage.event, damage.segment) for damage in report.corrupt] == [(13, "000000")]
    assert "CRC32C" in report.corrupt[0].why
    with SessionReader(path) as reader:
        for ask in (
            lambda: reader.event(13),
            lambda: reader.frame(1, 3),
            lambda: list(reader.events()),
            lambda: list(reader.topic_messages("frame")),
        ):
            with pytest.raises(CorruptEvent, match=r"event 13 of .*/s is damaged") as caught:
                ask()
            assert caught.value.event == 13
        assert same(reader.frame(1, 4), frame(14))


# Flips bits one after the other in copies of a session and reads everything in a forked child each time:
# the right data, a named error, or a crash; never other data.
FLIPPER = """
import os, random, sys
from pathlib import Path
import numpy as np
from storage.errors import StorageError
from storage.reader import SessionReader

path, seed = Path(sys.argv[1]), int(sys.argv[2])
data_file = path / "segments" / "000000" / "data.mdb"
sound = data_file.read_bytes()
rng = random.Random(seed)

def right(message):
    seq = message.envelope.seq
    image = np.random.default_rng(seq).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    place = (message.envelope.episode, message.envelope.step)
    return np.array_equal(message.arrays["image/front"], image) and place == (seq // 10, seq % 10)

def read():
    with SessionReader(path) as reader:
        everything = [message.envelope.seq for message in reader.events() if right(message) or os._exit(9)]
        if everything != list(range(len(everything))):
            return 9
        for seq in (0, 7, 19, 29):
            message = reader.read("frame", seq // 10, seq % 10)
            if message is not None and not (right(message) and message.envelope.seq == seq):
                return 9
        for message in reader.events(kinds=["frame"]):
            if not right(message):
                return 9
        reader.info()
    return 0

outcomes = {}
for _ in range(int(sys.argv[3])):
    data = bytearray(sound)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    data_file.write_bytes(data)
    child = os.fork()
    if child == 0:
        try:
            code = read()
        except StorageError:
            code = 3
        os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    outcomes[status] = outcomes.get(status, 0) + 1
print(outcomes)
sys.exit(1 if 9 in outcomes or 1 in outcomes else 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("seed", [1, 2])
def test_flips_anywhere_never_give_other_data(tmp_path, frame, seed):
    with SessionWriter.create(tmp_path / "s", commit_events=10) as writer:
        for seq in range(30):
            writer.append(frame(seq))
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", FLIPPER, str(tmp_path / "s"), str(seed), "60"], capture_output=True, text=True, check=False, env=environment
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_verify_survives_what_crashes_its_reading_process(session):
    """Pages that are cut off are a bus error in whoever reads them."""
    file = data_file(session)
    os.truncate(file, file.stat().st_size // 2)
    report = verify(session)
    assert report.verdict == "damaged"
    assert len(report.problems + report.corrupt) > 0


def test_both_first_pages_gone(session):
    data = bytearray(data_file(session).read_bytes())
    data[: 2 * 4096] = bytes(2 * 4096)
    data_file(session).write_bytes(data)
    with pytest.raises(CorruptSession, match="restore it from a copy"):
        SessionReader(session)
    assert verify(session).exit_code == 1


def test_records_that_changed_places_are_noticed(tmp_path, frame):
    """The checksum covers the event's number: a right record under a wrong key is damage."""
    import lmdb

    with SessionWriter.create(tmp_path / "s") as writer:
        for seq in range(3):
            writer.append(frame(seq))
    with lmdb.open(str(tmp_path / "s" / "segments" / "000000"), max_dbs=6) as env:
        table = env.open_db(b"events")
        with env.begin(write=True) as txn:
            keys = [number.to_bytes(8, "big") for number in (0, 1)]
            zero, one = (txn.get(key, db=table) for key in keys)
            txn.put(keys[0], one, db=table)
            txn.put(keys[1], zero, db=table)
    assert [damage.why for damage in check(tmp_path / "s").corrupt] == ["it holds the bytes of event 1", "it holds the bytes of event 0"]


@pytest.mark.parametrize("table", ["seq", "step", "time", "kind"])
def test_a_lost_index_entry_is_a_mismatch(session, table):
    import lmdb

    with lmdb.open(str(session / "segments" / "000000"), max_dbs=6) as env:
        db = env.open_db(table.encode())
        with env.begin(write=True) as txn, txn.cursor(db=db) as cursor:
            cursor.first()
            cursor.delete()
    report = check(session)
    assert report.verdict == "damaged"
    assert f"table {table}" in report.index_mismatches[0]


def test_an_index_that_leads_elsewhere_is_not_followed(session):
    import lmdb

    with lmdb.open(str(session / "segments" / "000000"), max_dbs=6) as env:
        step, kind = env.open_db(b"step"), env.open_db(b"kind")
        with env.begin(write=True) as txn:  # frame 0/5 and 0/6 are events 11 and 13
            for key in (step_key("frame", 0, 5, 11), step_key("frame", 0, 6, 13)):
                assert txn.delete(key, db=step)
            txn.put(step_key("frame", 0, 5, 13), b"", db=step)
            txn.put(KIND_KEY.pack(b"frame", 12), b"", db=kind)
    with SessionReader(session) as reader:
        with pytest.raises(CorruptSession, match="leads to event 13, which is another"):
            reader.frame(0, 5)
        with pytest.raises(CorruptSession, match="leads to event 12, which is another"):
            list(reader.events(kinds=["frame"]))
    assert check(session).exit_code == 1


def test_a_lost_event_is_not_passed_over(session):
    import lmdb

    with lmdb.open(str(session / "segments" / "000000"), max_dbs=6) as env:
        db = env.open_db(b"events")
        with env.begin(write=True) as txn:
            txn.delete((30).to_bytes(8, "big"), db=db)
    with SessionReader(session) as reader, pytest.raises(CorruptSession, match="event 30"):
        list(reader.events())
    assert check(session).exit_code == 1


def test_a_header_that_is_no_header(session):
    shutil.copy(session / "session.json", session / "copy")
    for content, words in (
        ("{", "is not a session header"),
        (random.randbytes(20).hex(), "is not"),
        ((session / "copy").read_text().replace('"format": 2', '"format": 3'), "format 3"),
    ):
        (session / "session.json").write_text(content)
        with pytest.raises(CorruptSession, match=words):
            read_header(session)


def test_a_segment_whose_writer_died_before_it_was_whole_is_no_damage(session):
    shutil.copytree(session / "segments" / "000000", session / "segments" / ".making")
    with SessionReader(session) as reader:
        assert len(reader) == 61
    with SessionWriter.create(session, resume=True) as writer:
        assert writer.events == 61
        writer.note_gap(Gap(topic="frame/robot", run="run-1", first=30, last=31))
    assert sorted(folder.name for folder in (session / "segments").iterdir()) == ["000000", "000001"]
    assert check(session).exit_code == 3
