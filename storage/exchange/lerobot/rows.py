"""Streams the rows of LeRobot data files, some at a time and once when episodes stand in their order."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.exchange.lerobot.installed import first_line, lerobot_module
from storage.exchange.lerobot.layout import OWN, Column, EpisodeRow

BATCH_ROWS, BATCH_PICTURES = 1024, 16


class Chunk(msgspec.Struct, frozen=True):
    """Neighbouring rows of one episode: N numbers of each of lerobot's own columns, `numbers` [N, width] by key.

    `pictures` are {"bytes", "path"} by key; `bad` says of a row, by its place here, what cannot be read of it.
    """

    file: Path
    first_row: int
    episode: int
    frame_index: NDArray[np.int64]
    index: NDArray[np.int64]
    timestamp: NDArray[np.float64]
    task_index: NDArray[np.int64]
    numbers: dict[str, NDArray[Any]]
    pictures: dict[str, Any]
    bad: dict[int, str]

    def __len__(self) -> int:
        return len(self.frame_index)

    def where(self, place: int) -> str:
        return f"{self.file}: row {self.first_row + place}"


class Rows:
    """Reads data files with the columns asked for."""

    def __init__(self, columns: Sequence[Column], pictures: Sequence[str] = ()) -> None:
        self._columns = columns
        self._pictures = pictures
        self._file: Path | None = None
        self._chunks: Iterator[Chunk] = iter(())
        self._waiting: Chunk | None = None

    def of(self, episode: EpisodeRow) -> Iterator[Chunk]:
        """The rows of an episode. Raises ValueError that says what is wrong with its file."""
        if episode.data != self._file or self._waiting is None:
            self._file, self._waiting = episode.data, None
            self._chunks = self._read(episode.data)
        found = False
        while True:
            chunk = self._waiting or self._next()
            self._waiting = None
            if chunk is None:
                if not found:
                    raise ValueError(f"has no rows of episode {episode.number}")
                return
            if chunk.episode == episode.number:
                found = True
                yield chunk
            elif found:
                self._waiting = chunk
                return

    def _next(self) -> Chunk | None:
        try:
            return next(self._chunks, None)
        except BaseException:
            self._file = None
            raise

    def _read(self, file: Path) -> Iterator[Chunk]:
        parquet, arrow = lerobot_module("pyarrow.parquet"), lerobot_module("pyarrow")
        row = 0
        if not file.is_file():
            raise ValueError("is missing")
        try:
            with parquet.ParquetFile(file) as opened:
                wanted = [*OWN, *(column.key for column in self._columns), *self._pictures]
                lacking = [key for key in wanted if key not in opened.schema_arrow.names]
                if lacking:
                    raise ValueError(f"has no column {lacking[0]!r}, which meta/info.json promises")
                for batch in opened.iter_batches(BATCH_PICTURES if self._pictures else BATCH_ROWS, columns=wanted):
                    yield from self._chunks_of(file, row, batch)
                    row += batch.num_rows
        except (OSError, arrow.ArrowException) as error:
            raise ValueError(f"cannot be read from row {row} on: {first_line(error)}") from None

    def _chunks_of(self, file: Path, first_row: int, batch: Any) -> Iterator[Chunk]:
        """A batch, cut where the episode changes."""
        bad: dict[int, str] = {}
        own = {key: _numbers(batch[key], Column(key=key, dtype="", shape=(1,), names=(key,)), bad)[:, 0] for key in OWN}
        whole = {key: np.nan_to_num(values).astype(np.int64) for key, values in own.items() if key != "timestamp"}
        numbers = {column.key: _numbers(batch[column.key], column, bad) for column in self._columns}
        episodes = whole["episode_index"]
        edges = [0, *(np.flatnonzero(np.diff(episodes)) + 1).tolist(), len(episodes)]
        for start, stop in pairwise(edges):
            rows = slice(start, stop)
            yield Chunk(
                file, first_row + start, int(episodes[start]), whole["frame_index"][rows], whole["index"][rows],
                own["timestamp"][rows].astype(np.float64), whole["task_index"][rows],
                {key: values[rows] for key, values in numbers.items()},
                {key: batch[key].slice(start, stop - start) for key in self._pictures},
                {place - start: why for place, why in bad.items() if start <= place < stop},
            )  # fmt: skip


def _numbers(array: Any, column: Column, bad: dict[int, str]) -> NDArray[Any]:
    """[N, width] of an arrow array of numbers, or of lists of them, however deep; rows that are not so go to `bad`, and are zero or NaN."""
    rows, width = len(array), column.width
    flat = array.storage if hasattr(array, "storage") else array
    while hasattr(flat, "flatten") and str(flat.type).startswith(("list", "large_list", "fixed_size_list")):
        flat = flat.flatten()
    if flat.null_count == 0 and array.null_count == 0 and len(flat) == rows * width:
        values: NDArray[Any] = flat.to_numpy(zero_copy_only=False).reshape(rows, width)
        if values.dtype != object:
            return values
    out = np.full((rows, width), np.nan)
    for place, value in enumerate(array.to_pylist()):
        try:
            row = np.asarray(value, np.float64).reshape(-1)
        except (TypeError, ValueError):
            bad[place] = f"{column.key} is {str(value)[:40]!r}, expected numbers"
            continue
        if value is None or len(row) != width:
            bad[place] = f"{column.key} is missing" if value is None else f"{column.key} has {len(row)} numbers, expected {width}"
        else:
            out[place] = row
    return out
