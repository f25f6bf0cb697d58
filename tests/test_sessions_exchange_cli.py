"""`toddle sessions card`, and MCAP as a person imports and exports it."""

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from protocol import messages as m
from storage.content_hash import ContentHash
from storage.header import change_header
from storage.reader import SessionReader
from storage.writer import SessionWriter
from toddle.sessions.command import sessions

pytest.importorskip("cv2")
pytest.importorskip("mcap")
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


def content(path) -> str:
    hashed = ContentHash()
    with SessionReader(path) as reader:
        for event in reader.numbered():
            hashed.add(event)
    return hashed.hexdigest()


def test_card(root, tmp_path):
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


def test_the_content_hash_knows_content_and_nothing_else(root):
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


def test_mcap_there_and_back(root, tmp_path):
    result = call("export", "mcap", "walk")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("walk.mcap: 23 frames in 3 episodes\n  note      76 messages on 4 topics, ")
    result = call("import", "mcap", "walk.mcap", "--name", "again")
    assert result.stdout == "again: 23 frames in 3 episodes at 10 Hz (as it was recorded)\n"
    assert content(root / "again") == content(root / "walk")
    assert call("verify", "again").exit_code == 3  # the gap came along
    for arguments, words in (
        (("export", "mcap", "walk"), "Error: walk.mcap exists"),
        (("import", "mcap", "walk.mcap", "--name", "again"), "again exists: choose another name"),
        (("import", "mcap", "walk.mcap", "--name", "b", "--action", "/x"), "walk.mcap was a session: it comes back as it was"),
        (("import", "mcap", "none.mcap", "--name", "b"), "Error: none.mcap cannot be read"),
    ):
        result = call(*arguments)
        assert result.exit_code in (1, 2) and words in result.stderr and len(result.stderr.splitlines()) == 1
    assert call("import", "mcap", "walk.mcap", "--name", "b", "--camera", "a-b=/x").exit_code == 2


def test_mcap_of_a_split_and_of_damage(root, tmp_path):
    call("split", "walk", "--by", "episode", "--validate", "1", "--as", "part")
    (name,) = [path.name for path in root.iterdir() if path.name.startswith("part_validate")]
    assert call("export", "mcap", name, "--out", "part.mcap").exit_code == 0
    assert call("import", "mcap", "part.mcap", "--name", "b").stdout.startswith("b: 7 frames in 1 episodes")
    (tmp_path / "cut.mcap").write_bytes((tmp_path / "part.mcap").read_bytes()[:-100])
    result = call("import", "mcap", "cut.mcap", "--name", "c")
    assert result.exit_code == 1 and "cut.mcap: byte " in result.stderr and "--skip-bad" in result.stderr
    result = call("import", "mcap", "cut.mcap", "--name", "c", "--skip-bad")
    assert result.exit_code == 0 and "  skipped   cut.mcap: byte " in result.stdout


def test_a_real_recording_there_and_back(root, recordings):
    result = call("import", "donkeycar", str(recordings / "donkeycar_tub"), "--name", "car", "--fps", "20", "--episodes-at", "151,514")
    assert result.exit_code == 0
    assert call("export", "mcap", "car", "--images", "png", "--out", "car.mcap").exit_code == 0
    assert call("import", "mcap", "car.mcap", "--name", "again").exit_code == 0
    assert content(root / "again") == content(root / "car")
