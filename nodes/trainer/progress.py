"""How fast a run learned, from what it recorded: its scores against time, frames and samples, and its prequential error."""

import msgspec

from storage.reader import SessionReader

SCORE = "prediction_error"
KEPT = (SCORE, "skill_copy_last", "cf_accuracy", "hit_at_3px", "skill_action_blind")


class Point(msgspec.Struct, frozen=True):
    """Scores of what was held out, so many seconds after the first frame, when so many frames were held and samples trained."""

    seconds: float
    frames: int
    samples: int
    scores: dict[str, float]


class Progress(msgspec.Struct, frozen=True):
    """`prequential_error` is the mean over the whole stream of each prediction's error on the frame that then came, before that frame was
    learned from: nothing of it was trained on. None where no prediction was recorded.
    """

    points: list[Point]
    predictions: int
    prequential_error: float | None
    prequential_copy_last: float | None
    prequential_skill: float | None


def progress_of(reader: SessionReader) -> Progress:
    """From the metrics and predictions of a session. Raises CorruptEvent."""
    points: list[Point] = []
    start_ns: int | None = None
    frames = count = 0
    errors = copied = 0.0
    for message in reader.events(kinds=["metrics", "prediction"]):
        envelope = message.envelope
        start_ns = envelope.mono_ns if start_ns is None else start_ns
        if message.kind == "prediction":
            body = message.body
            if body.error is not None and body.copy_last_error is not None:
                count, errors, copied = count + 1, errors + body.error, copied + body.copy_last_error
            continue
        values = message.body.values
        frames = int(values.get("buffer_frames", frames))
        if SCORE in values:
            scores = {name: values[name] for name in KEPT if name in values}
            points.append(Point((envelope.mono_ns - start_ns) / 1e9, frames, int(values.get("samples", 0)), scores))
    mean, copy = (errors / count, copied / count) if count else (None, None)
    return Progress(points, count, mean, copy, 1.0 - mean / copy if mean is not None and copy else None)
