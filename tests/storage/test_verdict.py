"""What `verify` says is true: nobody else can read more, and nothing that it calls sound is missing."""

import json
import shutil
import struct
import sys
from collections import Counter
from pathlib import Path

import crc32c
import lmdb
import msgspec
import pytest
from click.testing import CliRunner

from protocol.messages import Gap
from storage import verify as module
from storage.errors import CorruptEvent, CorruptSession
from storage.reader import SessionReader
from storage.verify import check, verify
from storage.writer import SessionWriter
from toddle.sessions.command import sessions


@pytest.fixture
def long(tmp_path: Path, frame) -> Path:
    """60 frames in several segments, with a gap after the 40th."""
    path = tmp_path / "long"
    with SessionWriter.create(path, map_bytes=1 << 17, commit_events=5) as writer:
        for seq in [*range(40), *range(43, 63)]:
            writer.append(frame(seq))
    assert len(segments(path)) > 3
    return path


def segments(path: Path) -> list[Path]:
    return sorted((path / "segments").iterdir())


def test_the_report_agrees_with_a_reader_that_shares_no_code(long):
    """LMDB, struct, msgpack and a checksum: counts and gaps as `--json` tells them."""
    report = json.loads(CliRunner().invoke(sessions, ["verify", str(long), "--json"]).stdout)
    numbers: list[int] = []
    topics: Counter[str] = Counter()
    for folder in segments(long):
        with lmdb.open(str(folder), readonly=True, max_dbs=6) as env, env.begin() as txn:
            for key, record in txn.cursor(db=env.open_db(b"events", txn=txn, create=False)):
                crc, event, size, arrays = struct.unpack_from(">IQIH", record)
                assert crc == crc32c.crc32c(record[4:]) and key == struct.pack(">Q", event)
                header = msgspec.msgpack.decode(record[18 + 9 * arrays :][:size])
                text = repr(header)
                topics["frame/robot"] += "frame/robot" in text
                numbers.append(event)
    assert numbers == list(range(60)) and report["events_checked"] == 60 == topics["frame/robot"]
    assert [(gap["first"], gap["last"]) for gap in report["gaps"]] == [(40, 42)]
    assert report["verdict"] == "ok" and report["corrupt_count"] == 0


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("""echo '{"session":"walk","events_checked":61}'; kill -9 $$""", "exit status -9"),
        ("""echo '{"session":"walk","events_checked":61}'; exit 1""", "exit status 1"),
        ("exit 0", "exit status 0"),
        ("echo '{\"session\":'; exit 0", "exit status 0"),
        ("echo 'MDB says no' >&2; kill -ABRT $$", "exit status -6: MDB says no"),
    ],
)
def test_a_reading_process_that_did_not_end_well_is_never_ok(session, tmp_path, monkeypatch, script, words):
    reading = tmp_path / "python"
    reading.write_text(f"#!/bin/sh\n{script}\n")
    reading.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(reading))
    report = verify(session)
    assert (report.verdict, report.exit_code) == ("damaged", 1)
    assert "broke the reading process" in report.problems[0] and words in report.problems[0]


def test_what_was_found_sound_is_read_once_more(session, monkeypatch, capfdbinary):
    monkeypatch.setattr(sys, "argv", ["verify", str(session)])
    every = SessionReader.numbered
    monkeypatch.setattr(SessionReader, "numbered", lambda self, *args: (event for event in every(self, *args) if event.number != 30))
    assert check(session).verdict == "ok"
    assert module.main() == 0
    report = msgspec.json.decode(capfdbinary.readouterr().out, type=module.Report)
    assert report.verdict == "damaged" and "a reader gets 60 of 61 events" in report.problems[0]


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_segment_that_is_gone_is_missed(long, which):
    with SessionReader(long) as reader:
        everything = [message.envelope.seq for message in reader.events()]
    shutil.rmtree(segments(long)[which])
    report = check(long)
    assert report.exit_code == 1
    assert any("cannot be reached" in text or "60 events up to commit 12 were announced" in text for text in report.problems), report
    with SessionReader(long) as reader:
        found: list[int] = []
        if which >= 0:
            with pytest.raises(CorruptEvent, match="are in no segment") as caught:
                found.extend(message.envelope.seq for message in reader.events())
        found += [message.envelope.seq for message in reader.events(0 if which < 0 else caught.value.event + 1)]
    assert 15 < len(found) < 60 and set(found) < set(everything), "the others are given"


def test_an_older_state_of_the_log_is_told_from_the_one_that_was_announced(session, frame, tmp_path):
    """As when LMDB falls back to the root of the commit before: all of it is whole, and the newest events are missing."""
    log = session / "segments" / "000000" / "data.mdb"
    older = tmp_path / "older"
    shutil.copytree(session, older)
    with SessionWriter.create(session, resume=True) as writer:
        writer.append(frame(30))
    shutil.rmtree(session / "segments")
    shutil.copytree(older / "segments", session / "segments")
    assert log.exists()
    report = check(session)
    assert report.verdict == "damaged" and report.events_checked == 61
    assert "62 events up to commit" in report.problems[0] and "the rest is lost" in report.problems[0]
    with pytest.raises(CorruptSession, match="were announced"):
        SessionWriter.create(session, resume=True)


@pytest.mark.parametrize("content", [None, b"", bytes(20)])
def test_without_a_witness_the_log_is_believed(session, content):
    """After a power cut the system may not have written it."""
    (session / "announced").unlink()
    if content is not None:
        (session / "announced").write_bytes(content)
    assert check(session).exit_code == 0
    with SessionWriter.create(session, resume=True) as writer:
        assert writer.events == 61


def test_a_damaged_witness_is_damage(session):
    file = session / "announced"
    data = bytearray(file.read_bytes())
    data[15] ^= 1
    file.write_bytes(data)
    report = check(session)
    assert report.exit_code == 1 and "is not what was written" in report.problems[0]


def test_books_that_say_other_than_the_log_are_found(session):
    """Rows with a right checksum that count other events, as a lost write leaves them."""
    from storage.books import Episode, Stream
    from storage.segment import decode_meta, encode_meta

    file = session / "segments" / "000000"
    with lmdb.open(str(file), max_dbs=6) as env, env.begin(write=True, buffers=True) as txn:
        table = env.open_db(b"meta", txn=txn)
        stream = decode_meta(file, txn.get(b"stream/00000001", db=table), Stream)
        episode = decode_meta(file, txn.get(b"episode/%016x" % 1, db=table), Episode)
        stream.count -= 1
        episode.frames -= 1
        txn.put(b"stream/00000001", encode_meta(stream), db=table)
        txn.put(b"episode/%016x" % 1, encode_meta(episode), db=table)
    report = check(session)
    assert report.exit_code == 1
    assert "count 29 events" in report.problems[0] and "there are 30" in report.problems[0]
    assert "episode 1 of" in report.problems[1]


def test_a_gap_that_was_written_down_is_told_and_its_events_are_not_missed(tmp_path, frame):
    with SessionWriter.create(tmp_path / "s") as writer:
        writer.append(frame(0))
        writer.note_gap(Gap(topic="frame/robot", run="run-1", first=1, last=4))
    report = check(tmp_path / "s")
    assert (report.exit_code, report.holes) == (3, []) and [(gap.first, gap.last) for gap in report.gaps] == [(1, 4)]


def test_sound_events_before_and_after_a_damaged_one_are_given(tmp_path, frame, pixels):
    path = tmp_path / "s"
    with SessionWriter.create(path, codec="raw") as writer:
        for seq in range(20):
            writer.append(frame(seq))
    log = path / "segments" / "000000" / "data.mdb"
    data = bytearray(log.read_bytes())
    data[data.rindex(pixels(13).tobytes()) + 100] ^= 1
    log.write_bytes(data)
    with SessionReader(path) as reader:
        given = []
        with pytest.raises(CorruptEvent) as caught:
            given.extend(event.number for event in reader.numbered())
        given += [event.number for event in reader.numbered(caught.value.event + 1)]
    assert caught.value.event == 13 and given == [seq for seq in range(20) if seq != 13]
