"""A broken MCAP is refused with a line for each fault that says where; --skip-bad takes what is sound and lists the rest."""

import re
import struct

import pytest

from storage.errors import ImportProblem
from storage.exchange.mcap.exporting import export_mcap
from storage.exchange.mcap.importing import import_mcap
from storage.header import read_header
from storage.reader import SessionReader
from storage.verify import check
from storage.writer import SessionWriter

pytest.importorskip("mcap")
HEAD = struct.Struct("<BQ")
FOOTER, CHUNK, STATISTICS, DATA_END = 2, 6, 11, 15


@pytest.fixture
def file(tmp_path, robot, make, frame, action, monkeypatch):
    """60 frames and actions in chunks of about 4 frames: the bytes, for the test to break."""
    monkeypatch.setattr("storage.exchange.mcap.exporting.CHUNK_BYTES", 8000)
    with SessionWriter.create(tmp_path / "walk") as writer:
        writer.append(make("robot/robot", 0, robot))
        for seq in range(60):
            writer.append(frame(seq))
            writer.append(action(seq))
    export_mcap(tmp_path / "walk", tmp_path / "a.mcap")
    return tmp_path / "a.mcap"


def records(data: bytes) -> list[tuple[int, int, int]]:
    """(opcode, where it begins, where it ends)."""
    found, at = [], 8
    while at < len(data) - 8:
        opcode, length = HEAD.unpack_from(data, at)
        found.append((opcode, at, at + HEAD.size + length))
        at += HEAD.size + length
    return found


def of(data: bytes, opcode: int) -> list[tuple[int, int]]:
    return [(begin, end) for kind, begin, end in records(data) if kind == opcode]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def refused(file, tmp_path, words: str) -> None:
    with pytest.raises(ImportProblem) as told:
        import_mcap(file, tmp_path / "strict")
    first, *_ = lines = str(told.value).splitlines()
    assert "--skip-bad" in first and any(re.search(words, line) for line in lines), lines
    assert not (tmp_path / "strict").exists()


def taken(file, tmp_path):
    """The frames that came, and the report; the session is sound and lists what was left out."""
    report = import_mcap(file, tmp_path / "rest", strict=False)
    assert check(tmp_path / "rest").verdict == "ok"
    assert read_header(tmp_path / "rest").source["left_out"] == [str(bad) for bad in report.skipped]
    with SessionReader(tmp_path / "rest") as reader:
        return [message.envelope.seq for message in reader.topic_messages("frame")], report


def test_a_chunk_with_a_flipped_bit_is_left_out_alone(file, tmp_path):
    data = file.read_bytes()
    chunks = of(data, CHUNK)
    assert len(chunks) > 8
    begin, end = chunks[3]
    file.write_bytes(flipped(data, (begin + end) // 2))
    refused(file, tmp_path, rf"a\.mcap: byte {begin}: a chunk whose messages are lost \(times \d+ to \d+ ns\): ")
    frames, report = taken(file, tmp_path)
    lost = set(range(60)) - set(frames)
    assert 3 <= len(lost) <= 6 and max(lost) - min(lost) == len(lost) - 1
    assert str(report.skipped[0]).startswith(f"{file}: byte {begin}: a chunk")
    assert len(report.notes) == 1 and "its summary counts 18" in report.notes[0]


def test_a_wrong_checksum_is_told_even_when_the_bytes_unpack(file, tmp_path):
    data = file.read_bytes()
    begin, _ = of(data, CHUNK)[2]
    file.write_bytes(flipped(data, begin + HEAD.size + 24))  # the CRC itself
    refused(file, tmp_path, rf"byte {begin}: .*CRC32")


def test_the_first_chunk_may_be_lost_with_all_that_it_declares(file, tmp_path):
    data = file.read_bytes()
    begin, _ = of(data, CHUNK)[0]
    file.write_bytes(flipped(data, begin + HEAD.size + 24))
    frames, _ = taken(file, tmp_path)
    assert frames == list(range(60 - len(frames), 60)) and len(frames) > 50


def test_a_file_that_was_cut(file, tmp_path):
    data = file.read_bytes()
    begin, end = of(data, CHUNK)[-4]
    file.write_bytes(data[: end - 5])
    refused(
        file, tmp_path, rf"byte {begin}: the file ends inside a chunk record of {end - begin - 9} bytes; \d+ messages before it are there"
    )
    frames, _ = taken(file, tmp_path)
    assert frames == list(range(len(frames))) and 40 < len(frames) < 60
    (tmp_path / "rest").rename(tmp_path / "first")
    file.write_bytes(data[:end])  # between two records
    refused(file, tmp_path, f"byte {end}: the file ends without a footer: it was cut off, or its writer died")
    file.write_bytes(data[:end] + bytes(5000))  # as after a power cut
    refused(file, tmp_path, f"byte {end}: no record begins here")
    frames, _ = taken(file, tmp_path)
    assert frames == list(range(len(frames)))
    file.write_bytes(data[:300])
    with pytest.raises(ImportProblem, match=r"a\.mcap"):
        import_mcap(file, tmp_path / "none", strict=False)
    assert not (tmp_path / "none").exists()


def test_a_length_beyond_reason_allocates_nothing(file, tmp_path):
    data = file.read_bytes()
    begin, _ = of(data, CHUNK)[1]
    file.write_bytes(data[: begin + 1] + struct.pack("<Q", 2**62) + data[begin + 9 :])
    refused(file, tmp_path, rf"byte {begin}: the file ends inside a chunk record of {2**62} bytes")
    file.write_bytes(data[: begin + HEAD.size + 16] + struct.pack("<Q", 2**50) + data[begin + HEAD.size + 24 :])
    refused(file, tmp_path, rf"byte {begin}: a chunk .*: it says that it holds {2**50} bytes")
    frames, _ = taken(file, tmp_path)
    assert len(frames) > 50


def test_a_missing_summary_is_said_and_no_fault(tmp_path, file):
    data = file.read_bytes()
    ((begin, _),) = of(data, FOOTER)
    ((_, data_end),) = of(data, DATA_END)
    file.write_bytes(data[:data_end] + HEAD.pack(FOOTER, 20) + bytes(20) + data[-8:])
    report = import_mcap(file, tmp_path / "t")
    assert (report.frames, report.skipped) == (60, [])
    assert report.notes == ["it has no summary: nothing says how many messages there should be"]
    assert begin > data_end


def test_a_summary_that_contradicts_the_file(file, tmp_path):
    data = file.read_bytes()
    ((begin, _),) = of(data, STATISTICS)
    wrong = bytearray(data)
    wrong[begin + HEAD.size : begin + HEAD.size + 8] = struct.pack("<Q", 500)
    ((footer, _),) = of(data, FOOTER)
    file.write_bytes(wrong)
    refused(file, tmp_path, rf"byte {footer}: the summary is not what was written \(CRC32\)")
    wrong[footer + HEAD.size + 16 : footer + HEAD.size + 20] = bytes(4)  # no checksum: then the numbers tell
    file.write_bytes(wrong)
    refused(file, tmp_path, r"a\.mcap: its summary counts 500 messages, 18\d could be read; --skip-bad")
    frames, _ = taken(file, tmp_path)
    assert frames == list(range(60))


def test_damage_between_the_chunks_is_told(file, tmp_path):
    data = file.read_bytes()
    (begin, end), (data_end, _) = of(data, 7)[0], of(data, DATA_END)[0]
    file.write_bytes(flipped(data, end - 1))
    refused(file, tmp_path, rf"byte {data_end}: the data section is not what was written \(CRC32\)")
    frames, report = taken(file, tmp_path)
    assert frames == list(range(60)) and len(report.skipped) == 1
    assert begin < end


def test_the_metadata_of_ours_may_be_wrong(file, tmp_path):
    data = file.read_bytes()
    file.write_bytes(data.replace(b'"toroidal_dot"', b'"toroidal_do" '))
    with pytest.raises(ImportProblem):
        import_mcap(file, tmp_path / "t")
    file.write_bytes(data.replace(b'{"frame":"delta-zstd"', b'["frame","delta-zstd"'))
    with pytest.raises(ImportProblem, match=r"its metadata 'toddle.session' is none of toddle's"):
        import_mcap(file, tmp_path / "t", strict=False)
