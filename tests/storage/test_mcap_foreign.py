"""MCAP files of others: images of Foxglove and ROS 2 become frames, numbers become actions."""

import base64
import json
import struct

import numpy as np
import pytest

from storage.errors import ImportProblem
from storage.exchange.mcap import protobuf
from storage.exchange.mcap.cdr import Definition
from storage.exchange.mcap.importing import import_mcap
from storage.header import read_header
from storage.reader import SessionReader
from storage.verify import check

pytest.importorskip("mcap")
cv2 = pytest.importorskip("cv2")
T0, PERIOD = 1_700_000_000 * 10**9, 10**8
HEADER = "std_msgs/Header header\n"
HEADER_TEXT = """================================================================================
MSG: std_msgs/Header
# Two-integer timestamp
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
IMAGE = HEADER + "uint32 height\nuint32 width\nstring encoding  # of pixels\nuint8 is_bigendian\nuint32 step\nuint8[] data\n" + HEADER_TEXT
COMPRESSED = HEADER + "string format\nuint8[] data\n" + HEADER_TEXT
TWIST = """Vector3 linear
Vector3 angular
===
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z
"""


class Cdr:
    """Writes little-endian CDR."""

    def __init__(self):
        self.data = b""

    def put(self, form, *values):
        size = struct.calcsize(form)
        self.data += b"\0" * (-len(self.data) % size)
        for value in values:
            self.data += struct.pack("<" + form, value)
        return self

    def text(self, value):
        self.put("I", len(value) + 1)
        self.data += value.encode() + b"\0"
        return self

    def many(self, data):
        self.put("I", len(data))
        self.data += bytes(data)
        return self

    def done(self):
        return b"\0\1\0\0" + self.data


def ros_image(image, encoding="rgb8", pad=0):
    rows = np.pad(image.reshape(len(image), -1).view(np.uint8), ((0, 0), (0, pad)))
    cdr = Cdr().put("i", 5).put("I", 6).text("cam").put("I", image.shape[0], image.shape[1]).text(encoding).put("B", 0)
    return cdr.put("I", rows.shape[1]).many(rows.tobytes()).done()


def ros_compressed(image, form=".png"):
    return (
        Cdr()
        .put("i", 5)
        .put("I", 6)
        .text("cam")
        .text("rgb8; png compressed")
        .many(cv2.imencode(form, image[:, :, ::-1])[1].tobytes())
        .done()
    )


def twist(x, z):
    return Cdr().put("d", x, 0.0, 0.0, 0.0, 0.0, z).done()


@pytest.fixture
def write(tmp_path):
    """A function that writes (topic, encoding, schema, schema encoding, schema text, log time, data) as a.mcap."""
    from mcap.writer import Writer

    def run(rows, **options):
        with (tmp_path / "a.mcap").open("wb") as stream:
            writer = Writer(stream, **options)
            writer.start(profile="ros2")
            channels = {}
            for topic, encoding, name, schema_encoding, text, t_ns, data in rows:
                if topic not in channels:
                    schema = writer.register_schema(name, schema_encoding, text.encode() if isinstance(text, str) else text) if name else 0
                    channels[topic] = writer.register_channel(topic, encoding, schema)
                writer.add_message(channels[topic], t_ns, data, t_ns)
            writer.finish()
        return tmp_path / "a.mcap"

    return run


def image_row(k, data, topic="/camera/front/image_raw", name="sensor_msgs/msg/Image", text=IMAGE, at=None):
    return (topic, "cdr", name, "ros2msg", text, T0 + k * PERIOD if at is None else at, data)


def cmd_row(t_ns, data):
    return ("/cmd_vel", "cdr", "geometry_msgs/msg/Twist", "ros2msg", TWIST, t_ns, data)


def read(path):
    with SessionReader(path) as reader:
        return list(reader.events()), reader.info()


def test_ros2_images_and_commands(write, tmp_path, pixels):
    rows = []
    for k in range(20):
        rows.append(image_row(k, ros_image(pixels(k), pad=4)))
        if k != 7:
            rows += [cmd_row(T0 + k * PERIOD + 10**7, twist(9.0, 9.0)), cmd_row(T0 + k * PERIOD + 5 * 10**7, twist(k / 10, -k / 5))]
    rows.append(("/rosout", "cdr", "rcl_interfaces/msg/Log", "ros2msg", "string msg\n", T0 + 10**9, Cdr().text("hi").done()))
    report = import_mcap(write(rows), tmp_path / "t", action="/cmd_vel")
    assert (report.frames, report.episodes, report.rate_hz, report.skipped) == (20, 1, 10.0, [])
    assert report.rate_from == "the times of /camera/front/image_raw"
    assert report.notes == [
        "1 frames have no action before the next one",
        "not imported: /rosout (rcl_interfaces/msg/Log in cdr, 1 messages)",
    ]
    messages, info = read(tmp_path / "t")
    assert [(camera.name, camera.height, camera.width) for camera in info.robot.cameras] == [("front", 24, 32)]
    assert info.robot.actions.names == ["linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z"]
    assert (info.robot.actions.low[0], info.robot.actions.high[0], info.robot.actions.low[5]) == (0.0, 9.0, -3.8)
    frames = {one.envelope.step: one for one in messages if one.kind == "frame"}
    assert list(frames) == list(range(20))
    for step, one in frames.items():
        assert np.array_equal(one.arrays["image/front"], pixels(step))
        assert (one.envelope.t_ns, one.envelope.mono_ns) == (T0 + step * PERIOD, step * PERIOD)
    actions = {one.envelope.step: one.body for one in messages if one.kind == "action"}
    assert sorted(actions) == [step for step in range(20) if step != 7]
    assert actions[3].action["linear.x"] == 0.3 and actions[3].action["angular.z"] == -0.6
    assert actions[3].start_ns == T0 + 3 * PERIOD + 5 * 10**7
    assert check(tmp_path / "t").verdict == "ok"
    assert read_header(tmp_path / "t").source["cameras"] == {"front": "/camera/front/image_raw"}


def foxglove_json(k, pixels):
    raw = {"timestamp": {"sec": 1, "nsec": 2}, "frame_id": "c", "width": 32, "height": 24, "encoding": "bgr8", "step": 96,
           "data": base64.b64encode(pixels(k)[:, :, ::-1].tobytes()).decode()}  # fmt: skip
    return ("/left/raw", "json", "foxglove.RawImage", "jsonschema", "{}", T0 + k * PERIOD, json.dumps(raw).encode())


def foxglove_proto(k, pixels):
    name = "foxglove.CompressedImage"
    fields = {"frame_id": "c", "data": cv2.imencode(".png", pixels(100 + k))[1].tobytes(), "format": "png"}
    data = protobuf.encode_image(name, T0, fields)
    return ("/right/compressed", "protobuf", name, "protobuf", protobuf.descriptor(name), T0 + k * PERIOD - 10**7, data)


def test_foxglove_images_of_several_cameras_and_json_actions(write, tmp_path, pixels):
    rows = []
    for k in range(12):
        if k < 6 or k > 10:
            rows.append(foxglove_proto(k, pixels))
        rows.append(foxglove_json(k, pixels))
        action = {"stamp": {"sec": 3}, "steer": k / 10, "drive": {"gas": 1, "on": True}, "mode": "auto"}
        rows.append(("/act", "json", "", "", "", T0 + k * PERIOD + 5, json.dumps(action).encode()))
    file = write(rows)
    report = import_mcap(file, tmp_path / "t", cameras={"l": "/left/raw", "r": "/right/compressed"}, action="/act")
    messages, info = read(tmp_path / "t")
    assert [camera.name for camera in info.robot.cameras] == ["l", "r"]
    assert info.robot.actions.names == ["steer", "drive.gas", "drive.on"]
    frames = [one for one in messages if one.kind == "frame"]
    for k, one in enumerate(frames):
        assert np.array_equal(one.arrays["image/l"], pixels(k))
        # the other camera stood still from 6 on: for three of its periods its last image is still shown
        wanted = None if k in (8, 9, 10) else min(k, 5) if k < 11 else k
        assert (wanted is None) is ("image/r" not in one.arrays)
        if wanted is not None:
            assert np.array_equal(one.arrays["image/r"], pixels(100 + wanted)[:, :, ::-1])
    assert report.notes[0] == "3 images of other cameras were too old for their frame, which has none of that camera"
    assert [one.body.action["steer"] for one in messages if one.kind == "action"] == [k / 10 for k in range(12)]
    # by default the slowest camera makes the frames, and those before every camera had an image are left out
    report = import_mcap(file, tmp_path / "u")
    assert (report.frames, report.rate_from) == (6, "the times of /right/compressed")
    assert report.notes[0] == "1 frames before every camera had an image are left out"
    assert report.notes[-1] == "it has no actions: --action TOPIC takes them from one of /act"


def test_encodings(write, tmp_path):
    rng = np.random.default_rng(3)
    grey, depth, metres = (
        rng.integers(0, 256, (24, 32), np.uint8),
        rng.integers(0, 65536, (24, 32), np.uint16),
        rng.random((24, 32), np.float32),
    )
    colour = rng.integers(0, 256, (24, 32, 3), np.uint8)
    rgba = np.dstack([colour, grey])
    rows = []
    for k in range(3):
        at = T0 + k * PERIOD
        rows += [
            image_row(0, ros_image(grey, "mono8"), "/grey/image", at=at), image_row(0, ros_image(depth, "16UC1"), "/deep/image", at=at + 1),
            image_row(0, ros_image(metres, "32FC1"), "/metres/image", at=at + 2),
            image_row(0, ros_image(rgba[:, :, [2, 1, 0, 3]].copy(), "bgra8"), "/bgra/image", at=at + 3),
            image_row(0, ros_compressed(colour), "/png/image/compressed", "sensor_msgs/msg/CompressedImage", COMPRESSED, at=at + 4),
        ]  # fmt: skip
    report = import_mcap(write(rows), tmp_path / "t")
    messages, info = read(tmp_path / "t")
    frame = [one for one in messages if one.kind == "frame"][-1]
    assert np.array_equal(frame.arrays["image/grey"], np.dstack([grey] * 3))
    assert np.array_equal(frame.arrays["depth/deep"], depth) and frame.arrays["depth/deep"].dtype == np.uint16
    assert np.array_equal(frame.arrays["depth/metres"], metres)
    assert np.array_equal(frame.arrays["image/bgra"], colour) and np.array_equal(frame.arrays["image/png"], colour)
    assert sorted(camera.name for camera in info.robot.cameras) == ["bgra", "grey", "png"]
    assert report.skipped == []


def bad_rows(pixels):
    """Ten images, five of them bad, each in its own way; and an action that is no number."""
    jpeg = cv2.imencode(".jpg", pixels(0))[1].tobytes()
    good = [ros_image(pixels(k)) for k in range(10)]
    rows = [image_row(k, data) for k, data in enumerate(good)]
    rows[2] = image_row(2, ros_image(pixels(2, 12, 16)))
    rows[4] = image_row(4, good[4][:500])
    rows[5] = image_row(5, ros_image(pixels(5), "yuv422"))
    rows[7] = image_row(0, good[7], at=T0 + 6 * PERIOD - 7)
    rows += [cmd_row(T0 + 10**9 - 10 + k, twist(float("nan") if k == 1 else 1.0, 0.0)) for k in range(3)]
    cut = Cdr().put("i", 5).put("I", 6).text("cam").text("jpeg").many(jpeg[:-200]).done()
    return rows, cut


def test_what_is_wrong_with_messages(write, tmp_path, pixels):
    rows, _ = bad_rows(pixels)
    file = write(rows, use_chunking=False)
    words = r"has 4 faults; .*\n.*a\.mcap: byte \d+, message 0: /camera/front/image_raw: an image of 16x12, the first one is 32x24\n"
    with pytest.raises(ImportProblem, match=words):
        import_mcap(file, tmp_path / "t", action="/cmd_vel")
    assert not (tmp_path / "t").exists()
    report = import_mcap(file, tmp_path / "t", action="/cmd_vel", strict=False)
    assert [bad.why.partition(": ")[2] for bad in report.skipped] == [
        "an image of 16x12, the first one is 32x24", "it is cut off",
        "images in 'yuv422' cannot be read; rgb8, 8UC3, bgr8, rgba8, bgra8, mono8, 8UC1, mono16, 16UC1, 32FC1 can",
        "an image whose time is 7 ns before the one before it", "linear.x is nan",
    ]  # fmt: skip
    messages, _ = read(tmp_path / "t")
    assert [one.envelope.step for one in messages if one.kind == "frame"] == [0, 1, 3, 6, 8, 9]
    assert read_header(tmp_path / "t").source["left_out_count"] == 5


def test_a_time_that_goes_back_alone_is_refused(write, tmp_path, pixels):
    rows = [image_row(0, ros_image(pixels(k)), at=T0 + (k if k != 3 else 1) * PERIOD) for k in range(6)]
    file = write(rows, use_chunking=False)
    with pytest.raises(ImportProblem, match=r"an image whose time is \d+ ns before the one before it; --skip-bad"):
        import_mcap(file, tmp_path / "t")
    assert not (tmp_path / "t").exists()
    assert import_mcap(file, tmp_path / "t", strict=False).frames == 5


def test_a_jpeg_that_was_cut(write, tmp_path, pixels):
    _, cut = bad_rows(pixels)
    name, text = "sensor_msgs/msg/CompressedImage", COMPRESSED
    rows = [image_row(k, ros_compressed(pixels(k), ".jpg"), name=name, text=text) for k in range(5)]
    rows[3] = image_row(3, cut, name=name, text=text)
    with pytest.raises(ImportProblem, match="its jpeg is cut off"):
        import_mcap(write(rows), tmp_path / "t")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cameras": {"a": "/nothing"}}, "has no messages on '/nothing'; it has /camera/front/image_raw, /cmd_vel, /h264"),
        ({"cameras": {"a": "/cmd_vel"}}, r"/cmd_vel holds no images that can be read \(geometry_msgs/msg/Twist in cdr\)"),
        ({"action": "/h264"}, "messages in 'protobuf' cannot be read"),
    ],
)
def test_wrong_choices_say_what_there_is(write, tmp_path, pixels, options, words):
    rows = [image_row(k, ros_image(pixels(k))) for k in range(3)]
    rows += [cmd_row(T0, twist(1, 1)), ("/h264", "protobuf", "foxglove.CompressedVideo", "protobuf", b"", T0, b"\x0a\x00")]
    with pytest.raises(ImportProblem, match=words):
        import_mcap(write(rows), tmp_path / "t", **options)
    assert not (tmp_path / "t").exists()


def test_a_file_without_images_names_what_it_has(write, tmp_path):
    with pytest.raises(ImportProblem, match=r"has no images that can be read: .*; it has /cmd_vel \(geometry_msgs/msg/Twist in cdr\)"):
        import_mcap(write([cmd_row(T0, twist(1, 1))]), tmp_path / "t")


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "ZSTD"])
def test_every_compression(write, tmp_path, pixels, compression):
    from mcap.writer import CompressionType

    rows = [image_row(k, ros_image(pixels(k))) for k in range(5)]
    assert import_mcap(write(rows, compression=CompressionType[compression]), tmp_path / "t").frames == 5


def test_definitions_of_ros():
    text = """# a comment
uint8 KIND=3
string<=5 NAME="x # y"
int16[3] three
float32[<=4] some
string[] words
bool on true
pkg/Inner[2] pair
pkg/Empty nothing
uint64 last
================
MSG: pkg/Inner
byte b
float64 d
================
MSG: pkg/Empty
"""
    cdr = Cdr().put("h", 1, -2, 3).put("I", 2).put("f", 0.5, 1.5).put("I", 2).text("a").text("bcd").put("B", 1)
    cdr.put("B", 7).put("d", 2.5).put("B", 8).put("d", 3.5).put("B", 0).put("Q", 2**63)
    found = Definition("pkg/msg/Outer", text).decode(memoryview(cdr.done()))
    assert {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()} == {
        "three": [1, -2, 3], "some": [0.5, 1.5], "words": ["a", "bcd"], "on": True,
        "pair": [{"b": 7, "d": 2.5}, {"b": 8, "d": 3.5}], "nothing": {}, "last": 2**63,
    }  # fmt: skip
    for cut in range(len(cdr.done())):
        with pytest.raises(ValueError, match=r"cut off|no more bytes|not plain CDR"):
            Definition("pkg/msg/Outer", text).decode(memoryview(cdr.done()[:cut]))
    with pytest.raises(ValueError, match="nothing says what Lost is"):
        Definition("pkg/msg/Outer", "Lost lost\n").decode(memoryview(cdr.done()))
    with pytest.raises(ValueError, match="not understood: 'what-is this'"):
        Definition("pkg/msg/Outer", "what-is this\n")
