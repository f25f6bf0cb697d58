"""`toddle sessions` edits and splits as a person uses them: what is said, what is done, what is refused."""

import json

import numpy as np
import pytest
from click.testing import CliRunner, Result

from protocol import messages as m
from storage.header import read_header
from storage.paths import session_names
from storage.views import open_session
from storage.writer import SessionWriter
from toddle.sessions.command import sessions
from toddle.sessions.common import complete_session


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root with `walk`: 3 episodes of 10 steps; the first two show the same."""
    monkeypatch.setenv("TODDLE_SESSIONS", str(tmp_path))
    robot = m.Robot(
        robot="robot", driver="toroidal_dot", params={}, cameras=[m.CameraInfo(name="front", height=24, width=32)],
        actions=m.ActionSpaceInfo(names=["dx"], choices=[{"dx": 0.0}]), rate_hz=10.0, timing="paced", safe_action={"dx": 0.0},
    )  # fmt: skip
    with SessionWriter.create(tmp_path / "walk", robot=robot) as writer:
        for seq in range(30):
            place = {
                "source": "robot",
                "run": "r",
                "seq": seq,
                "t_ns": seq * 10**8,
                "mono_ns": seq * 10**8,
                "episode": seq // 10,
                "step": seq % 10,
            }
            image = np.random.default_rng(seq if seq >= 20 else seq % 10).integers(0, 256, (24, 32, 3), np.uint8)
            writer.append(m.Message(envelope=m.Envelope(topic="frame/robot", **place), body=m.Frame(), arrays={"image/front": image}))
            body = m.ActionTaken(action={"dx": 0.0}, by="random", start_ns=0, end_ns=1)
            writer.append(m.Message(envelope=m.Envelope(topic="action/robot", **place), body=body))
    return tmp_path


def call(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(sessions, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result


def refused(words: str, *arguments: str, code: int = 2) -> None:
    result = call(*arguments, code=code)
    assert result.stdout == ""
    assert [line for line in result.stderr.splitlines() if line and not line.startswith(("Usage:", "Try "))] == [
        result.stderr.splitlines()[-1]
    ]
    assert words in result.stderr


EDITS = [
    (("trim", "walk", "--as", "new", "--from", "0.5", "--until", "2:5"), "20 frames in 3 episodes, 40 events"),
    (("drop", "walk", "--as", "new", "--episodes", "0,2"), "10 frames in 1 episodes, 20 events"),
    (("mark", "walk", "success", "--episodes", "1", "--as", "new"), "30 frames in 3 episodes, 61 events"),
    (("overlap", "walk", "walk", "--as", "new"), "30 frames in 3 episodes, 33 events"),
]


@pytest.mark.parametrize(("words", "said"), EDITS)
def test_a_dry_run_says_what_then_happens(root, words, said):
    before = {path: path.read_bytes() for path in (root / "walk").rglob("*") if path.is_file() and path.name == "session.json"}
    told = call(*words, "--dry-run").stdout
    assert f"would make new of walk: {said}" in told
    assert session_names(root) == ["walk"]
    assert call(*words).stdout == told.replace("would make", "made")
    assert read_header(root / "new").derived_from == ["walk"]
    assert all(path.read_bytes() == content for path, content in before.items())
    assert call("verify", "new").exit_code == 0
    refused("new exists: choose another name", *words)
    refused("new exists: choose another name", *words, "--dry-run")


def test_json_is_the_same_before_and_after(root):
    words = ("split", "walk", "--by", "episode", "--guard", "2", "--json")
    told = json.loads(call(*words, "--dry-run").stdout)
    assert (
        [(one["name"], one["frames"]) for one in told]
        == [("walk_train_20", 20), ("walk_validate_8", 8)]
        == [(r["name"], r["frames"]) for r in told]
    )
    assert json.loads(call(*words).stdout) == told
    found = json.loads(call("overlap", "walk_train_20", "walk_validate_8", "--json").stdout)
    assert found["overlap"]["shared"] == 0 and found["overlap"]["transitions"] == 7


def test_merge_wants_two_and_says_what_they_become(root):
    call("trim", "walk", "--until", "1:5", "--as", "a")
    call("trim", "walk", "--from", "1:5", "--as", "b")
    assert call("merge", "a", "b", "--as", "ab", "--dry-run").stdout.startswith("would make ab of a, b: 30 frames in 4 episodes, 60 events")
    call("merge", "a", "b", "--as", "ab")
    refused("give at least two sessions", "merge", "a", "--as", "x")
    refused("both hold", "merge", "a", "walk", "--as", "x")


def test_splits_open_by_their_names(root):
    call("split", "walk", "--by", "time", "--train", "50", "--guard", "0.3s")
    names = [name for name in session_names(root) if name != "walk"]
    assert names == ["walk_train_15", "walk_validate_13"]
    rows = {row["name"]: row["frames"] for row in json.loads(call("list", "--json").stdout)}
    assert rows == {"walk": 30, "walk_train_15": 15, "walk_validate_13": 13}
    assert call("list").stdout.count("split of walk") == 2
    assert "ok, 30 events checked" in call("verify", "walk_train_15").stdout
    checked = CliRunner().invoke(sessions, ["check", "walk", "walk_validate_13", "--json"])
    assert [(one["session"], one["steps"]) for one in json.loads(checked.stdout)] == [("walk", 27), ("walk_validate_13", 11)]
    with open_session(root / "walk_validate_13") as reader:
        assert next(reader.topic_messages("frame")).envelope.seq == 17


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "give either --by or --stages"),
        (("--by", "time", "--stages", "3"), "give either --by or --stages"),
        (("--stages", "many"), "give doubling or a number"),
        (("--stages", "31"), "31 stages of 30 frames cannot be"),
        (("--by", "session"), "holds only one session"),
        (("--by", "session", "--validate", "1"), "--validate goes with --by episode"),
        (("--by", "episode", "--validate", "7"), "there is no episode 7: there are 3 from 0 to 2"),
        (("--by", "episode", "--guard", "-1"), "is no guard"),
        (("--by", "episode", "--guard", "30"), "leaves none to validate on"),
        (("--by", "time", "--as", "../x"), "cannot name a session"),
    ],
)
def test_a_split_that_cannot_be(root, words, why):
    refused(why, "split", "walk", *words)
    assert session_names(root) == ["walk"]


def test_overlap_finds_and_filters(root):
    call("split", "walk", "--by", "episode", "--each")
    text = call("overlap", "walk_episode0", "walk_episode1").stdout
    assert text.splitlines()[0] == "9 of 9 transitions of walk_episode1 are among the 9 of walk_episode0 (identical)"
    assert "1:0, 1:1" in text
    assert call("overlap", "walk_episode0", "walk_episode2").stdout.startswith("0 of 9")
    text = call("overlap", "walk_episode0", "walk_episode1", "--perceptual", "4", "--as", "fresh").stdout
    assert "(at most 4 of 64 bits of dHash apart)" in text and "made fresh of walk_episode1: 10 frames in 1 episodes, 11 events" in text
    assert call("overlap", "walk_episode0", "fresh").stdout.startswith("0 of 0")


def test_a_source_cannot_go_before_its_splits(root):
    call("split", "walk", "--by", "episode")
    for option in ("--yes", "--dry-run"):
        refused("walk is the source of split walk_train_20 and 1 more: delete the splits first", "delete", "walk", option, code=1)
    assert "would delete" in call("delete", "walk_train_20", "--dry-run").stdout
    assert "20 frames in 2 episodes, 40 events" in call("delete", "walk_train_20", "--dry-run").stdout
    for name in ("walk_train_20", "walk_validate_10", "walk"):
        assert call("delete", name, "--yes").stdout.startswith("deleted ")
    assert session_names(root) == []


def test_tags_and_notes(root):
    assert call("tag", "walk", "night", "rain", "--dry-run").stdout == "walk would have the tags night, rain\n"
    assert read_header(root / "walk").tags == []
    assert call("tag", "walk", "night", "rain", "night").stdout == "walk has the tags night, rain\n"
    assert call("tag", "walk", "rain", "--remove").stdout == "walk has the tags night\n"
    refused("has no tag 'sun'; it has night", "tag", "walk", "sun", "--remove")
    refused("is no tag", "tag", "walk", "a\nb")
    assert call("note", "walk", "slippery", "--dry-run").stdout == "walk: the note would be 'slippery'; it was ''\n"
    call("note", "walk", "slippery")
    told = call("info", "walk").stdout.splitlines()
    assert "  tags      night" in told and "  notes     slippery" in told
    assert call("note", "walk", "").stdout == "walk: the note is ''; it was 'slippery'\n"
    assert not any(line.startswith("  notes") for line in call("info", "walk").stdout.splitlines())
    assert call("pin", "walk", "--dry-run").stdout == "walk would be pinned\n"
    assert read_header(root / "walk").pinned is False


def test_info_says_what_an_edit_cut(root):
    call("drop", "walk", "--episodes", "1", "--as", "new")
    text = call("info", "new").stdout
    assert "made of   walk" in text and "missing" not in text
    assert [line.split(", ")[-1] for line in text.splitlines() if line.startswith("  frame/robot")] == ["10 cut out"]
    assert json.loads(call("info", "new", "--json").stdout)["topics"]["action/robot"]["cut"] == 10
    assert "cut out" not in call("info", "walk").stdout


def test_completion_knows_splits_and_one_line_tells_of_a_changed_source(root):
    import click

    call("split", "walk", "--by", "episode")
    context = click.Context(sessions, info_name="sessions")
    assert [item.value for item in complete_session(context, context.command, "walk_")] == ["walk_train_20", "walk_validate_10"]
    with SessionWriter.create(root / "walk", resume=True) as writer:
        envelope = m.Envelope(topic="log/robot", source="robot", run="r", seq=0, t_ns=0, mono_ns=0)
        writer.append(m.Message(envelope=envelope, body=m.LogRecord(level="INFO", logger="x", text="y")))
    refused(
        "split walk_train_20 does not fit any more: its source walk has 61 events, not 60 as then",
        "trim",
        "walk_train_20",
        "--as",
        "x",
        code=1,
    )
    assert "cannot be read: walk_train_20: split walk_train_20 does not fit any more" in call("list").stderr
    assert call("verify", "walk_train_20", code=1).stdout.count("\n") == 2
