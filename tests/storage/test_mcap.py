"""A session becomes an MCAP that the `mcap` package and Foxglove read, and comes back to the bit."""

import json
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter

import msgspec
import numpy as np
import pytest

from protocol import messages as m
from storage.errors import CorruptEvent, ExportProblem, ImportProblem, SessionExists
from storage.exchange.mcap.exporting import export_mcap
from storage.exchange.mcap.importing import import_mcap
from storage.header import change_header, read_header
from storage.reader import SessionReader
from storage.verify import check
from storage.writer import SessionWriter

mcap_reader = pytest.importorskip("mcap.reader")


@pytest.fixture
def rich(tmp_path, robot, make, frame, one_of_each):
    """Everything that a session can hold: every topic, left out arrays, numbers that JSON lacks, gaps, a tail, two runs."""
    path = tmp_path / "rich"
    odd = {"loss": float("nan"), "up": float("inf"), "down": float("-inf"), "zero": -0.0, "tiny": 5e-324}
    with SessionWriter.create(path, robot=robot, codec="zstd", source={"kind": "test", "license": "mit"}) as writer:
        for message in one_of_each:
            writer.append(message)
        writer.append(make("prediction/node", 1, m.Prediction(candidates=[{"dx": 0.0}], weights_version=1, latency_ms=1.0),
                           {"next/front": np.zeros((2, 8, 8, 3), np.uint8), "x": np.ones(3)}), leave_out=["next/front"])  # fmt: skip
        writer.append(make("metrics/node", 5, m.Metrics(values=odd), t_ns=-7))
        writer.append(make("metrics/node", 0, m.Metrics(values={}), run="run-2", t_ns=2**63, mono_ns=-1))
        args = {"deep": [{"a": None, "b": 1.0, "c": float("nan")}], "n": 2**60}
        writer.append(make("control/node", 7, m.Control(command="set", args=args, by="é")))  # fmt: skip
        for seq in range(20):
            writer.append(frame(seq))
        writer.note_gap(m.Gap(topic="frame/robot", run="run-1", first=20, last=24))
        writer.note_tail(m.Tail(topic="metrics/node", run="run-2", last=0, told=3))
    change_header(path, notes="a note", tags=["a", "b"], derived_from=["older"])
    return path


@pytest.mark.parametrize("images", ["raw", "png"])
def test_a_session_comes_back_to_the_bit(rich, tmp_path, same, images, content):
    if images == "png":
        pytest.importorskip("cv2")
    told = export_mcap(rich, tmp_path / "a.mcap", images=images)
    report = import_mcap(tmp_path / "a.mcap", tmp_path / "back")
    with SessionReader(rich) as before, SessionReader(tmp_path / "back") as after:
        for a, b in zip(before.numbered(), after.numbered(), strict=True):
            assert a.left_out == b.left_out
            assert same(a.message, b.message) or (repr(a.message.body) == repr(b.message.body) and "nan" in repr(a.message.body))
        was, now = before.info(), after.info()
    kept = ("robot", "codecs", "notes", "tags", "derived_from", "events", "frames", "episodes", "gaps", "tails", "clock_jumps")
    assert [getattr(was, name) for name in kept] == [getattr(now, name) for name in kept]
    sizes = [{topic: msgspec.structs.replace(row, bytes=0) for topic, row in info.topics.items()} for info in (was, now)]
    assert sizes[0] == sizes[1]  # the shape of an array that was left out is known to nobody
    assert now.source["complete"] and now.source["session"] == "rich" and now.source["source"] == was.source
    assert content(rich) == content(tmp_path / "back")
    assert check(tmp_path / "back").verdict == "ok"
    assert (report.frames, report.skipped, report.notes) == (told.frames, [], [])


def test_jpeg_is_smaller_and_says_that_it_loses(session, tmp_path, make, robot):
    pytest.importorskip("cv2")
    path = tmp_path / "smooth"
    rows = np.add.outer(np.arange(96), np.arange(128)).astype(np.uint8)
    with SessionWriter.create(path, robot=robot) as writer:
        for seq in range(5):
            image = np.stack([rows, rows[::-1], np.roll(rows, seq, 1) // 2], 2)
            writer.append(make("frame/robot", seq, m.Frame(), {"image/front": image}, episode=0, step=seq))
    report = export_mcap(path, tmp_path / "a.mcap", images="jpeg")
    assert "come back as they look" in report.notes[-1]
    import_mcap(tmp_path / "a.mcap", tmp_path / "back")
    with SessionReader(path) as before, SessionReader(tmp_path / "back") as after:
        for a, b in zip(before.events(), after.events(), strict=True):
            assert a.envelope == b.envelope
            error = a.arrays["image/front"].astype(float) - b.arrays["image/front"]
            assert 0 < np.mean(error**2) ** 0.5 < 6


def test_the_mcap_package_reads_it_whole(rich, tmp_path):
    file = tmp_path / "a.mcap"
    export_mcap(rich, file)
    with SessionReader(rich) as reader:
        messages = list(reader.events())
        info = reader.info()
    with file.open("rb") as stream:  # checksums of chunks and of the whole data section
        whole = list(mcap_reader.NonSeekingReader(stream, validate_crcs=True).iter_messages(log_time_order=False))
    with file.open("rb") as stream:
        reader = mcap_reader.make_reader(stream, validate_crcs=True)
        assert len(list(reader.iter_messages())) == len(whole)
        summary, (about,) = reader.get_summary(), list(reader.iter_metadata())
    assert summary.statistics.message_count == len(whole)
    assert json.loads(about.metadata["robot"])["driver"] == "toroidal_dot"
    spoken = [(channel, message) for _, channel, message in whole if channel.topic in info.topics]
    assert Counter(channel.topic for channel, _ in spoken) == {topic: row.count for topic, row in info.topics.items()}
    for (_, found), message in zip(spoken, messages, strict=True):
        assert found.log_time == found.publish_time == max(message.envelope.t_ns, 0)
        assert found.sequence == message.envelope.seq
    for schema, channel, message in whole:
        if channel.message_encoding == "json":
            fits(json.loads(message.data), json.loads(schema.data), channel.topic)
    names = {channel.topic: schema.name for schema, channel, _ in whole}
    assert names["log/node"] == "foxglove.Log"
    assert {names[topic] for topic in names if "/image/" in topic or "/depth/" in topic} == {"foxglove.RawImage"}


def fits(value, schema, path):
    """What is there has the schema's type; the schema is of the plain kind that Foxglove reads."""
    assert set(schema) <= {"type", "properties", "items"}
    if value is None:
        assert schema["type"] in ("number", "integer"), path
        return
    types = {"object": dict, "array": list, "integer": int, "number": (int, float), "boolean": bool, "string": str}
    assert isinstance(value, types[schema["type"]]), (path, schema, value)
    for name, inner in schema.get("properties", {}).items():
        if name in value:
            fits(value[name], inner, f"{path}.{name}")
    for inner in value if schema["type"] == "array" else []:
        fits(inner, schema["items"], path)


@pytest.mark.parametrize("images", ["raw", "png"])
def test_images_are_what_their_schema_in_the_file_says(session, tmp_path, pixels, images):
    """As anybody with protobuf reads them: by the descriptor that the file brings along."""
    pool = pytest.importorskip("google.protobuf.descriptor_pool")
    from google.protobuf import descriptor_pb2, message_factory

    export_mcap(session, tmp_path / "a.mcap", images=images)
    with (tmp_path / "a.mcap").open("rb") as stream:
        found = list(mcap_reader.make_reader(stream).iter_messages(topics=["frame/robot/image/front"]))
    files, known = descriptor_pb2.FileDescriptorSet.FromString(found[0][0].data), pool.DescriptorPool()
    for file in files.file:
        known.Add(file)
    image = message_factory.GetMessageClass(known.FindMessageTypeByName(found[0][0].name))
    for seq, (_, _, message) in enumerate(found):
        read = image.FromString(message.data)
        assert read.timestamp.seconds * 10**9 + read.timestamp.nanos == message.log_time == 10**18 + seq * 10**8
        assert read.frame_id == "front"
        if images == "raw":
            assert (read.width, read.height, read.encoding, read.step) == (32, 24, "rgb8", 96)
            assert read.data == pixels(seq).tobytes()
        else:
            cv2 = pytest.importorskip("cv2")
            assert read.format == "png"
            assert np.array_equal(cv2.imdecode(np.frombuffer(read.data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1], pixels(seq))


def test_nothing_is_overwritten_and_nothing_is_left_half_made(session, tmp_path):
    file = tmp_path / "a.mcap"
    file.write_text("mine")
    with pytest.raises(ExportProblem, match=r"a\.mcap exists"):
        export_mcap(session, file)
    assert file.read_text() == "mine"

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_mcap(session, tmp_path / "b.mcap", tell=stop)
    data = session / "segments" / "000000" / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"toroidal_dot", b"toroidal_dog"))
    with pytest.raises(CorruptEvent):
        export_mcap(session, tmp_path / "b.mcap")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mcap", "walk"]
    export_mcap_of_mine = tmp_path / "a.mcap"
    with pytest.raises(ImportProblem, match="does not begin as one"):
        import_mcap(export_mcap_of_mine, tmp_path / "t")
    with pytest.raises(ImportProblem, match="No such file"):
        import_mcap(tmp_path / "none.mcap", tmp_path / "t")


CHILD = """
import sys
from pathlib import Path
from storage.exchange.mcap.importing import import_mcap

def tell(done, total):
    if done > 1.6 * total / 2:
        print("half", flush=True)
        sys.stdin.readline()

import_mcap(Path(sys.argv[1]), Path(sys.argv[2]), tell=tell)
"""


@pytest.fixture
def long_file(tmp_path, robot, make, pixels):
    """A function that makes a session of frames of 58 kB: (the session, its file)."""

    def made(frames=700):
        path, file = tmp_path / f"long-{frames}", tmp_path / f"long-{frames}.mcap"
        with SessionWriter.create(path, robot=robot, codec="raw") as writer:
            for seq in range(frames):
                image = np.roll(pixels(seq % 7, 120, 160), seq, 0)
                writer.append(make("frame/robot", seq, m.Frame(), {"image/front": image}, episode=seq // 100, step=seq % 100))
        export_mcap(path, file)
        return path, file

    return made


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_what_was_interrupted_goes_on(long_file, tmp_path, how, content):
    path, file = long_file()
    words = [sys.executable, "-c", CHILD, str(file), str(tmp_path / "back")]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "half\n"
    child.send_signal(how)
    _, said = child.communicate(timeout=60)
    assert child.returncode == -how, said
    with SessionReader(tmp_path / "back") as reader:
        there = len(reader)
        assert reader.header.source["complete"] is False
    assert 300 <= there < 700
    assert check(tmp_path / "back").verdict == "ok"
    other = tmp_path / "other.mcap"
    export_mcap(tmp_path / "back", other)
    with pytest.raises(SessionExists, match="of something else"):
        import_mcap(other, tmp_path / "back")
    report = import_mcap(file, tmp_path / "back")
    assert (report.resumed_at, report.frames) == (there, 700)
    assert content(path) == content(tmp_path / "back")
    assert read_header(tmp_path / "back").source["complete"] is True
    with pytest.raises(SessionExists):
        import_mcap(file, tmp_path / "back")


def test_memory_is_flat(long_file, tmp_path):
    """Chunks and a batch are in memory, not the file."""

    def peak(work):
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    short, long = long_file(300), long_file(900)
    peaks = [peak(lambda file=file: import_mcap(file, file.with_suffix(".back"))) for _, file in (short, long)]
    assert peaks[1] < 1.2 * peaks[0]
    peaks = [peak(lambda path=path: export_mcap(path, path.with_suffix(".again"))) for path, _ in (short, long)]
    assert peaks[1] < 1.2 * peaks[0]


def test_not_every_json_is_ours(session, tmp_path):
    """A field that no toddle knows is refused by name, as on the wire."""
    from mcap.writer import Writer

    export_mcap(session, tmp_path / "a.mcap")
    with (tmp_path / "a.mcap").open("rb") as stream, (tmp_path / "b.mcap").open("wb") as out:
        reader = mcap_reader.make_reader(stream)
        writer = Writer(out)
        writer.start()
        (about,) = reader.iter_metadata()
        writer.add_metadata(about.name, about.metadata)
        ids = {}
        for schema, channel, message in reader.iter_messages(log_time_order=False):
            if channel.topic not in ids:
                ids[channel.topic] = writer.register_channel(
                    channel.topic,
                    channel.message_encoding,
                    writer.register_schema(schema.name, schema.encoding, schema.data),
                    channel.metadata,
                )
            data = message.data
            if channel.topic == "action/robot" and message.sequence in (3, 4):
                plain = json.loads(data)
                plain["body"]["success"] = "perhaps"
                data = msgspec.json.encode(plain)
            if (channel.topic, message.sequence) not in (("frame/robot/image/front", 7), ("frame/robot", 9)):
                writer.add_message(ids[channel.topic], message.log_time, data, message.publish_time, message.sequence)
        writer.finish()
    with pytest.raises(ImportProblem, match=r"has 4 faults; .*\n.*b\.mcap: byte \d+, message \d+: action/robot 3: .*success"):
        import_mcap(tmp_path / "b.mcap", tmp_path / "t")
    assert not (tmp_path / "t").exists()
    report = import_mcap(tmp_path / "b.mcap", tmp_path / "t", strict=False)
    assert ["".join(str(bad).partition("b.mcap: ")[2].partition("robot ")[2])[:22] for bad in report.skipped] == [
        "3: Expected `bool`, go", "4: Expected `bool`, go", "7: its picture on fram", "9: its pictures are th",
    ]  # fmt: skip
    with SessionReader(tmp_path / "t") as reader:
        assert [(gap.topic, gap.first, gap.last) for gap in reader.gaps()] == [
            ("frame/robot", 7, 7),
            ("frame/robot", 9, 9),
            ("action/robot", 3, 4),
        ]
    source = read_header(tmp_path / "t").source
    assert source["left_out_count"] == len(source["left_out"]) == 4
