"""The log of decisions: JSON lines, one file an episode, or one file for all of them.

Nothing is made before there is a decision to write, so lerobot can make its dataset's folder itself and no file has
a header alone. An episode is told by its number, in the header and in the name of its file, never by counting files.
"""

import json
import time
from pathlib import Path
from typing import Any


class ActionLog:
    """`folder` of episode files, or one `file`; neither: nothing is written."""

    def __init__(self, folder: str | None, file: str | None) -> None:
        self._folder = Path(folder).expanduser() if folder else None
        self._file = Path(file).expanduser() if file else None
        self._path: Path | None = None
        self._header: dict[str, Any] | None = None

    def dataset_episode(self) -> int | None:
        """The episode that lerobot records now, where the log is in its dataset's `meta`; None elsewhere."""
        for folder in (self._file or self._folder or Path("/none")).parents[:2]:
            try:
                return int(json.loads((folder / "info.json").read_text())["total_episodes"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return None

    def begin(self, header: dict[str, Any]) -> None:
        """An episode with the number `header["episode_index"]`; written with its first decision."""
        self._header = {"type": "header", **header}
        self._path = self._file or (self._folder / f"episode_{header['episode_index']:06d}.jsonl" if self._folder else None)

    def decided(self, choice: int, frame_index: int) -> None:
        self._write({"type": "action", "timestamp": time.time(), "discrete_action": choice, "frame_index": frame_index})

    def end(self, frame_index: int) -> None:
        """The sequence is over: the frame shows what its last decision led to."""
        self._write({"type": "end", "timestamp": time.time(), "frame_index": frame_index})

    def _write(self, line: dict[str, Any]) -> None:
        """Opened for each line: a decision is on disk when the next one comes, whatever happens."""
        if self._path is None:
            return
        lines, mode = [line], "a"
        if self._header is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lines, self._header = [self._header, line], None
            mode = "a" if self._path == self._file else "w"  # an episode that is recorded again replaces its log
        with self._path.open(mode, encoding="utf-8") as file:
            file.write("".join(json.dumps(one) + "\n" for one in lines))
