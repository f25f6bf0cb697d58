"""Imports an MCAP as a session: read once to judge it, and once to write."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from protocol.messages import Message
from storage.arrays import DEFAULT_CODEC, LOSSY
from storage.errors import ImportProblem
from storage.exchange.common import ImportReport, LeftOut, Notes, Tell, nothing, quiet
from storage.exchange.imported import check_target, imported
from storage.exchange.mcap.exporting import SESSION, About
from storage.exchange.mcap.foreign import Foreign
from storage.exchange.mcap.ours import Ours, about
from storage.exchange.mcap.survey import Survey
from storage.exchange.mcap.walk import McapFile
from storage.header import change_header
from storage.paths import HEADER_FILE
from storage.reader import SessionReader
from storage.writer import SessionWriter

KIND = "mcap"


class _Judged:
    """The first reading: what the file is, and what is wrong with it."""

    def __init__(self, path: Path, cameras: Mapping[str, str], action: str | None, tell: Tell, *, strict: bool) -> None:
        faults = LeftOut(path)
        file = McapFile(path, faults, tell=tell, hashed=True)
        survey = Survey(file, cameras, action, decode=strict)
        ours = Ours(file)
        for found in file.messages():
            if SESSION not in file.metadata:
                survey.take(found)
            elif strict:
                ours.take(found)
        self.about = self._about(file, cameras, action)
        if self.about is not None and strict:
            ours.end()
        self.survey = survey
        self.sha256 = file.sha256
        if strict:
            faults.refuse()
        if not file.messages_seen:
            raise ImportProblem(f"{path} has no messages to import")

    def _about(self, file: McapFile, cameras: Mapping[str, str], action: str | None) -> About | None:
        """Of a file of ours; else None."""
        if SESSION not in file.metadata:
            return None
        if cameras or action:
            raise ImportProblem(f"{file.path} was a session: it comes back as it was, without --camera and --action")
        try:
            return about(file.metadata[SESSION])
        except (ValueError, msgspec.MsgspecError) as error:
            raise ImportProblem(f"{file.path}: its metadata {SESSION!r} is none of toddle's: {error}") from None


def import_mcap(
    path: Path, target: Path, *, cameras: Mapping[str, str] | None = None, action: str | None = None, strict: bool = True,
    tell: Tell = quiet,
) -> ImportReport:  # fmt: skip
    """Make a session at `target` of the file at `path`, or go on with one that this import left unfinished.

    `cameras` (name to topic) and `action` (a topic) choose from a file that toddle did not write. With `strict` anything
    that is wrong refuses the file before anything is written. `tell` hears of the bytes
    that were read: the file's, twice. Raises ImportProblem, SessionExists.
    """
    check_target(target, KIND)
    judged = _Judged(path, cameras or {}, action, lambda done, size: tell(done, 2 * size), strict=strict)
    was, left_out, notes = judged.about, LeftOut(path, strict=strict), Notes()
    file = McapFile(path, left_out, tell=lambda done, size: tell(size + done, 2 * size))
    foreign = None if was else Foreign(file, judged.survey, judged.sha256[:12], action)
    source = {"kind": KIND, "path": str(path.resolve()), "sha256": judged.sha256, **_told(was, foreign, action)}
    resumed_at = _frames_there(target)
    with imported(target, source, left_out, notes, codec=_codec(was)) as writer:
        there = writer.events
        for number, (message, names) in enumerate(_foreign(file, foreign) if foreign else _ours(file)):
            if number >= there:
                writer.append(message, names)
        if not writer.events:
            raise nothing(path, left_out)
        if was is not None:
            _restore(target, writer, was)
        for line in [*file.remarks, *(_notes(judged.survey, foreign) if foreign else [])]:
            notes.add(line)
    with SessionReader(target) as reader:
        info = reader.info()
    return ImportReport(
        session=target.name, episodes=len(info.episodes), frames=info.frames, rate_hz=info.robot.rate_hz if info.robot else 0.0,
        rate_from=f"the times of {foreign.cameras[0].topic}" if foreign else "as it was recorded",
        skipped=left_out.told(), notes=notes.lines(), resumed_at=resumed_at,
    )  # fmt: skip


def _told(was: About | None, foreign: Foreign | None, action: str | None) -> dict[str, Any]:
    """What the source says beside the file: how it is read, or what the session was made of."""
    if foreign is not None:
        return {"cameras": {camera.name: camera.topic for camera in foreign.cameras}} | ({"action": action} if action else {})
    return {"session": was.name} | ({"source": was.source} if was.source else {}) if was else {}


def _codec(was: About | None) -> str:
    """As the session had it; what was lost once is not lost again."""
    codec = was.codecs.get("frame", DEFAULT_CODEC) if was else DEFAULT_CODEC
    return DEFAULT_CODEC if codec in LOSSY else codec


def _ours(file: McapFile) -> Iterator[tuple[Message, tuple[str, ...]]]:
    ours = Ours(file)
    for found in file.messages():
        taken = ours.take(found)
        if taken is not None:
            yield taken
    ours.end()


def _foreign(file: McapFile, foreign: Foreign) -> Iterator[tuple[Message, tuple[str, ...]]]:
    for found in file.messages():
        for message in foreign.take(found):
            yield message, ()
    for message in foreign.end():
        yield message, ()


def _frames_there(target: Path) -> int:
    if not (target / HEADER_FILE).exists():
        return 0
    with SessionReader(target) as reader:
        return reader.info().frames


def _restore(target: Path, writer: SessionWriter, was: About) -> None:
    """What the messages cannot say: numbers that never came at an end, publishers that died, what people wrote."""
    for gap in was.gaps:
        writer.note_gap(gap)
    for tail in was.tails:
        writer.note_tail(tail)
    if writer.robot is None and was.robot is not None:
        writer.set_robot(was.robot)
    change_header(target, notes=was.notes, tags=was.tags, derived_from=was.derived_from)


def _notes(survey: Survey, foreign: Foreign) -> list[str]:
    notes = foreign.remarks() + [f"not imported: {topic} ({why})" for topic, why in survey.not_imported().items()]
    if not foreign.robot.actions.names and survey.numbers:
        notes.append(f"it has no actions: --action TOPIC takes them from one of {', '.join(sorted(survey.numbers)[:12])}")
    return notes
