"""What is written behind an importer is what the writer itself would have written, in order; what fails is told."""

import numpy as np
import pytest

from storage.errors import BadMessage
from storage.exchange.behind import Behind
from storage.reader import SessionReader
from storage.verify import check
from storage.writer import SessionWriter


def test_the_same_events_in_the_same_order(tmp_path, frame, make, robot):
    messages = [make("robot/robot", 0, robot), *(frame(seq, size=(300, 200) if seq % 3 else (8, 8)) for seq in range(1, 150))]
    with SessionWriter.create(tmp_path / "direct", commit_events=7) as writer:
        for message in messages:
            writer.append(message)
    with SessionWriter.create(tmp_path / "behind", commit_events=7) as writer, Behind(writer) as behind:
        for message in messages:
            behind.append(message)
    with SessionReader(tmp_path / "direct") as direct, SessionReader(tmp_path / "behind") as other:
        for a, b in zip(direct.events(), other.events(), strict=True):
            assert (a.envelope, a.body) == (b.envelope, b.body)
            assert all(np.array_equal(a.arrays[name], b.arrays[name]) for name in a.arrays)
        assert other.robot == robot
    assert check(tmp_path / "behind").exit_code == 0


def test_a_message_that_is_refused_ends_it_with_all_before_on_disk(tmp_path, frame):
    bad = frame(3)
    bad.arrays["image/front"] = np.zeros(20_000, np.complex64)

    def write() -> None:
        with SessionWriter.create(tmp_path / "s") as writer, Behind(writer) as behind:
            for seq in range(150):
                behind.append(bad if seq == 3 else frame(seq, size=(300, 200)))

    with pytest.raises(BadMessage, match="complex64"):
        write()
    with SessionReader(tmp_path / "s") as reader:
        assert [message.envelope.seq for message in reader.events()] == [0, 1, 2]


def test_what_fails_last_is_told_at_the_end(tmp_path, frame):
    bad = frame(0)
    bad.arrays["image/front"] = np.zeros(20_000, np.complex64)
    with SessionWriter.create(tmp_path / "s") as writer, pytest.raises(BadMessage), Behind(writer) as behind:
        behind.append(bad)
