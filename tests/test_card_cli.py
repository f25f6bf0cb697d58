"""`toddle sessions card`: what it says of sessions, splits and imports, and the content hash that it tells."""

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from protocol import messages as m
from storage.header import change_header
from storage.reader import SessionReader
from storage.writer import SessionWriter
from toddle.sessions.command import sessions

pytest.importorskip("cv2")
SIDE = 24


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root with `walk`: a dot that moves right or not, three episodes of eight steps, the last one held out, one frame lost."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TODDLE_SESSIONS", str(tmp_path / "sessions"))
    robot = m.Robot(
        robot="robot", driver="toroidal_dot", params={"size": SIDE}, cameras=[m.CameraInfo(name="main", height=SIDE, width=SIDE)],
        actions=m.ActionSpaceInfo(names=["dx"], choices=[{"dx": 0.0}, {"dx": 1.0}]), rate_hz=10.0, timing="paced", safe_action={"dx": 0.0},
    )  # fmt: skip
    source = {
        "kind": "a tub | of mine",
        "path": "/home/somebody/secret/tub",
        "license": "cc-by-4.0",
        "left_out": ["x: y"],
        "left_out_count": 1,
    }
    with SessionWriter.create(tmp_path / "sessions" / "walk", robot=robot, source=source) as writer:
        at = 0
        for seq in range(24):
            episode, step = divmod(seq, 8)
            held_out = episode == 2

            def send(kind, number, body, arrays=None, episode=episode, step=step, seq=seq):
                envelope = m.Envelope(
                    topic=f"{kind}/robot", source="robot", run="r", seq=number, t_ns=10**18 + seq * 10**8, mono_ns=seq * 10**8,
                    episode=episode, step=step,
                )  # fmt: skip
                writer.append(m.Message(envelope=envelope, body=body, arrays=arrays or {}))

            if step in (0, 7):
                send("episode", 2 * episode + (step == 7), m.EpisodeMark(mark="end" if step else "start", held_out=held_out))
            at += seq % 2
            image = np.zeros((SIDE, SIDE, 3), np.uint8)
            image[10:14, at : at + 4] = 255
            if seq != 12:
                send("frame", seq, m.Frame(held_out=held_out), {"image/main": image})
            send("action", seq, m.ActionTaken(action={"dx": float(seq % 2)}, by="random", start_ns=0, end_ns=1))
    change_header(tmp_path / "sessions" / "walk", notes="a dot, *walking*\n---\n# not a title", tags=["dot"])
    return tmp_path / "sessions"


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(sessions, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_card(root, tmp_path, content):
    result = call("card", "walk")
    assert result.exit_code == 0, result.stderr
    text = (tmp_path / "card-walk" / "README.md").read_text()
    assert (tmp_path / "card-walk" / "contact-sheet.png").read_bytes()[:4] == b"\x89PNG"
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "pretty_name": "walk", "license": "cc-by-4.0", "task_categories": ["robotics"],
        "tags": ["robotics", "toddle", "toroidal_dot", "dot"], "size_categories": ["n<1K"],
        "toddle": {"frames": 23, "episodes": 3, "content_sha256": content(root / "walk")},
    }  # fmt: skip
    for line in (
        "| main | 24x24 | 23 |",
        "| dx = 1 | 12 | 50.0 % |",
        "| train | 2 | 15 | 16 | 0 to 1 |",
        "| held out | 1 | 8 | 8 | 2 |",
        "| 1 | 0 to 7 | 7 | 8 | start, end |",
        "- 1 messages never came",
        "- 1 places inside an episode where steps are missing",
        "- 1 things were left out when it was imported",
        "- licence: cc-by-4.0",
        f"`{content(root / 'walk')}`",
        "- kind: a tub \\| of mine",
        "- from: tub",
    ):
        assert line in body, line
    assert "secret" not in text and "\n# not a title" not in text
    again = call("card", "walk")
    assert again.exit_code == 1 and "card-walk/README.md exists" in again.stderr
    assert call("card", "walk", "--out", "other", "--license", "mit").exit_code == 0
    assert "license: mit\n" in (tmp_path / "other" / "README.md").read_text()
    assert call("card", "walk", "--license", "My Licence").exit_code == 2


def test_card_is_read_by_the_hub(root, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    call("split", "walk", "--by", "episode", "--validate", "1", "--as", "part")
    assert call("card", "walk", "--out", "card").exit_code == 0
    read = hub.DatasetCard.load(tmp_path / "card" / "README.md")
    assert read.data.license == "cc-by-4.0" and read.data.size_categories == ["n<1K"] and read.data.pretty_name == "walk"
    assert read.data.to_dict()["toddle"]["frames"] == 23
    assert read.text.lstrip().startswith("# walk")
    (split,) = [line for line in read.text.splitlines() if "validate" in line]
    assert split == "| part\\_validate\\_7 | 1 | 7 | 8 | 1 |"
    assert call("card", "part_validate_7", "--out", "part").exit_code == 0
    read = hub.DatasetCard.load(tmp_path / "part" / "README.md")
    assert read.data.license == "cc-by-4.0" and "A split of session walk of a `toroidal_dot` robot with 7 frames" in read.text
    assert "| this one | 1 | 7 | 8 | 1 |" in read.text and "- source before: kind a tub" in read.text


def test_the_content_hash_knows_content_and_nothing_else(root, content):
    with SessionReader(root / "walk") as reader, SessionWriter.create(root / "copy", codec="raw", map_bytes=1 << 20) as writer:
        for event in reader.numbered():
            writer.append(event.message)
            writer.flush()
    assert content(root / "copy") == content(root / "walk")
    with SessionReader(root / "walk") as reader, SessionWriter.create(root / "changed") as writer:
        for event in reader.numbered():
            arrays = {name: array.copy() for name, array in event.message.arrays.items()}
            if event.number == 19 and arrays:
                arrays["image/main"][0, 0, 0] = 1
            envelope = event.message.envelope
            writer.append(m.Message(envelope=envelope, body=event.message.body, arrays=arrays))
    with SessionReader(root / "changed") as reader:
        assert "image/main" in reader.event(19).message.arrays
    assert content(root / "changed") != content(root / "walk")


def test_the_card_of_an_import_says_where_it_is_from_and_under_which_licence(root, tmp_path):
    robot = m.Robot(
        robot="robot", driver="car", params={}, cameras=[m.CameraInfo(name="main", height=SIDE, width=SIDE)], rate_hz=10.0, timing="paced",
        actions=m.ActionSpaceInfo(names=["angle", "throttle"], low=[-1.0] * 2, high=[1.0] * 2), safe_action={"angle": 0.0, "throttle": 0.0},
    )  # fmt: skip
    with SessionWriter.create(root / "car", robot=robot) as writer:
        for seq in range(3):
            place = {"source": "robot", "run": "r", "seq": seq, "t_ns": seq * 10**8, "mono_ns": seq * 10**8, "episode": 0, "step": seq}
            image = np.full((SIDE, SIDE, 3), 50 * seq, np.uint8)
            writer.append(m.Message(envelope=m.Envelope(topic="frame/robot", **place), body=m.Frame(), arrays={"image/main": image}))
            taken = m.ActionTaken(action={"angle": 0.1, "throttle": 0.5}, by="user", start_ns=0, end_ns=1)
            writer.append(m.Message(envelope=m.Envelope(topic="action/robot", **place), body=taken))
    assert call("export", "donkeycar", "car").exit_code == 0
    tub = tmp_path / "car-tub"
    for name, file, text, licence in (
        ("a", "LICENSE", "\nMIT License\n\nCopyright (c) somebody", "mit"), ("b", "LICENSE", "My own terms", "other"),
        ("c", "README.md", "---\nlicense: cc-by-4.0\ntags: [x]\n---\n# a tub", "cc-by-4.0"),
        ("d", "README.md", "---\nlicense: [broken\n---\n", "other"), ("e", "LICENSE", "", "unknown"),
    ):  # fmt: skip
        (tub / file).write_text(text)
        assert call("import", "donkeycar", str(tub), "--name", name).exit_code == 0
        assert call("card", name).exit_code == 0
        text = (tmp_path / f"card-{name}" / "README.md").read_text()
        assert f"\nlicense: {licence}\n" in text and f"- licence: {licence}\n" in text
        assert "- kind: donkeycar tub\n- from: car-tub\n" in text and str(tmp_path) not in text
        assert "| angle | -1 | 1 | 0.1 | 0.1 | 0.1 |" in text and "| frame/robot | 3 | 10 | 100 | 100 |" in text


def test_a_card_of_what_is_damaged_or_empty_is_one_line(root, tmp_path):
    (data,) = (root / "walk").glob("segments/*/data.mdb")
    raw = data.read_bytes()
    place = raw.index(b"toroidal_dot") if b"toroidal_dot" in raw else raw.index(b"random")
    data.write_bytes(raw[:place] + b"?" + raw[place + 1 :])
    with SessionWriter.create(root / "empty"):
        pass
    for name, words in (("walk", "`toddle sessions verify walk` lists every damaged event"), ("empty", "empty has no frames to show")):
        result = call("card", name)
        assert result.exit_code in (1, 2) and words in result.stderr and len(result.stderr.splitlines()) == 1
        assert not (tmp_path / f"card-{name}").exists()
