"""What a LeRobot v3.0 dataset says of itself: features, episodes and tasks, as lerobot's own reader gives them."""

import json
import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from storage.errors import ImportProblem
from storage.exchange.lerobot.installed import first_line, lerobot_module, quietly

VERSION = "v3.0"
OLDER = "v2.1"
OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Columns that every dataset has; they become times, steps, episodes and tasks."""
IMAGE_PREFIXES = ("observation.images.", "observation.image.", "observation.")
NUMBERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of numbers: `names` has one name for each number of a row, as `shape` lays them out."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def width(self) -> int:
        return math.prod(self.shape)


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """A camera by its name in the session; `video` is False where pictures lie in the data files. `codec` is "" where none is told."""

    name: str
    key: str
    video: bool
    height: int
    width: int
    codec: str = ""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Where an episode lies in a video file, in seconds."""

    file: Path
    from_s: float
    to_s: float


class EpisodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the metadata say of an episode. `parts`: camera key to video."""

    number: int
    length: int
    first_index: int
    after_index: int
    data: Path
    parts: dict[str, Part]


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The whole dataset. `action` and `state` are the columns that become those; `extras` are numbers besides.

    `left_out`: columns of which nothing is taken, with the reason. `tasks` by task_index.
    """

    path: Path
    fps: float
    robot_type: str
    episodes: int
    frames: int
    cameras: list[Camera]
    action: Column | None
    state: Column | None
    extras: list[Column]
    left_out: dict[str, str]
    tasks: dict[int, str]
    meta: Any

    @property
    def info_file(self) -> Path:
        return self.path / "meta" / "info.json"

    def rows(self) -> Iterator[EpisodeRow]:
        """Every episode, in order. Raises ImportProblem."""
        for place, row in enumerate(self.meta.episodes):
            try:
                yield self._row(row)
            except (KeyError, TypeError, ValueError) as error:
                what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
                raise ImportProblem(f"{self.path / 'meta' / 'episodes'}: row {place}: {what}") from None

    def _row(self, row: dict[str, Any]) -> EpisodeRow:
        data = self.meta.data_path.format(chunk_index=int(row["data/chunk_index"]), file_index=int(row["data/file_index"]))
        first, after = int(row["dataset_from_index"]), int(row["dataset_to_index"])
        return EpisodeRow(
            number=int(row["episode_index"]), length=int(row["length"]), first_index=first, after_index=after,
            data=self.path / data, parts={camera.key: self._part(row, camera.key) for camera in self.cameras if camera.video},
        )  # fmt: skip

    def _part(self, row: dict[str, Any], key: str) -> Part:
        name = f"videos/{key}"
        chunk, file = int(row[f"{name}/chunk_index"]), int(row[f"{name}/file_index"])
        path = self.meta.video_path.format(video_key=key, chunk_index=chunk, file_index=file)
        return Part(file=self.path / path, from_s=float(row[f"{name}/from_timestamp"]), to_s=float(row[f"{name}/to_timestamp"]))


def read_layout(path: Path, action: str | None = None, state: str | None = None) -> Layout:
    """The dataset in the folder `path`; `action` and `state` name columns that have other names than lerobot's.

    Raises ImportProblem.
    """
    _check_version(path)
    info_file = path / "meta" / "info.json"
    meta = _read_meta(path)
    info = meta.info
    columns, cameras, left_out = _features(info_file, info.features, set(meta.depth_keys))
    action_column = _chosen(info_file, columns, action, _likely(columns, "action", "action"))
    state_column = _chosen(info_file, columns, state, _likely(columns, "observation.state", "observation.state"))
    extras = [column for column in columns.values() if column.key not in (action_column, state_column)]
    if not cameras:
        raise ImportProblem(f"{info_file}: no feature is a picture or a video: a session has frames")
    return Layout(
        path=path, fps=float(info.fps), robot_type=str(info.robot_type or ""), episodes=len(meta.episodes), frames=int(info.total_frames),
        cameras=cameras, action=columns.get(action_column or ""), state=columns.get(state_column or ""), extras=extras,
        left_out=left_out, tasks=_tasks(path, meta), meta=meta,
    )  # fmt: skip


def _check_version(path: Path) -> None:
    """Name what is in `path` when it is no v3.0 dataset."""
    info = path / "meta" / "info.json"
    if not info.is_file():
        raise ImportProblem(f"{path} is not a LeRobot dataset: it has no meta/info.json; give the folder that holds meta, data and videos")
    try:
        told = json.loads(info.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ImportProblem(f"{info} cannot be read: {error}") from None
    version = told.get("codebase_version") if isinstance(told, dict) else None
    if version is None:
        raise ImportProblem(f"{info} is not that of a LeRobot dataset: it has no codebase_version")
    if version == OLDER:
        raise ImportProblem(
            f"{path} is LeRobot {version}, toddle reads {VERSION}: convert it with lerobot's own converter, in place and offline (the "
            f"folder must be writable, the old one is kept as {path.name}_old): python -m lerobot.scripts.convert_dataset_v21_to_v30 "
            f"--repo-id={shlex.quote(f'local/{path.name}')} --root={shlex.quote(str(path))} --push-to-hub=false"
        )
    if version != VERSION:
        raise ImportProblem(f"{info} says LeRobot {version}, toddle reads {VERSION}: convert it with the lerobot that wrote it")
    for needed, what in (("meta/tasks.parquet", "tasks"), ("meta/episodes/*/*.parquet", "episodes")):
        if not any(path.glob(needed)):  # lerobot would ask the hub for it
            raise ImportProblem(f"{path / needed} is missing: the {what} are in it; get the dataset again, or restore it from a copy")


def _read_meta(path: Path) -> Any:
    """lerobot's own LeRobotDatasetMetadata of a folder, never of the hub."""
    module = lerobot_module("lerobot.datasets.dataset_metadata")
    try:
        with quietly():
            meta = module.LeRobotDatasetMetadata(f"local/{path.name}", root=path)
    except Exception as error:  # its readers raise whatever pandas, pyarrow and datasets do
        why = error if error.__cause__ is None else error.__cause__
        raise ImportProblem(f"{path / 'meta'} cannot be read by lerobot: {type(why).__name__}: {first_line(why)}") from None
    if not meta.episodes:
        raise ImportProblem(f"{path} has no episodes to import")
    return meta


def _tasks(path: Path, meta: Any) -> dict[int, str]:
    if meta.tasks is None:
        return {}
    try:
        return {int(number): str(task) for task, number in zip(meta.tasks.index, meta.tasks["task_index"], strict=True)}
    except (KeyError, ValueError, TypeError) as error:
        raise ImportProblem(f"{path / 'meta' / 'tasks.parquet'} has no tasks by number: {first_line(error)}") from None


def _features(info: Path, features: dict[str, Any], depth: set[str]) -> tuple[dict[str, Column], list[Camera], dict[str, str]]:
    columns: dict[str, Column] = {}
    cameras: list[Camera] = []
    left_out: dict[str, str] = {}
    for key, feature in features.items():
        try:
            dtype, shape = str(feature["dtype"]), tuple(int(side) for side in feature["shape"])
            if min(shape, default=1) < 1:
                raise ValueError(shape)
        except (KeyError, TypeError, ValueError):
            raise ImportProblem(f"{info}: feature {key!r} has no dtype and shape") from None
        if key in OWN:
            continue
        if key in depth:
            left_out[key] = "depth pictures are not imported"
        elif dtype in ("video", "image"):
            cameras.append(_camera(info, key, feature, shape, [camera.name for camera in cameras]))
        elif dtype in NUMBERS:
            columns[key] = Column(key=key, dtype=dtype, shape=shape, names=_names(key, feature.get("names"), math.prod(shape)))
        else:
            left_out[key] = f"a column of {dtype} has no place in a session"
    return columns, cameras, left_out


def _camera(info: Path, key: str, feature: dict[str, Any], shape: tuple[int, ...], taken: list[str]) -> Camera:
    if len(shape) != 3 or 3 not in (shape[0], shape[2]):
        raise ImportProblem(f"{info}: {key} has shape {list(shape)}, expected height, width and 3 colours")
    height, width = shape[:2] if shape[2] == 3 else shape[1:]
    name = next(key.removeprefix(prefix) for prefix in (*IMAGE_PREFIXES, "") if key.startswith(prefix)).replace("/", "_")
    details = feature.get("info") or feature.get("video_info") or {}
    return Camera(
        name=name if name not in taken else key.replace("/", "_"), key=key, video=feature["dtype"] == "video",
        height=height, width=width, codec=str(details.get("video.codec") or ""),
    )  # fmt: skip


def _names(key: str, given: Any, width: int) -> tuple[str, ...]:
    """A name for each number; made of the key where the dataset has none that fit."""
    found = [str(name) for name in _flat(given)]
    if len(found) == width and len(set(found)) == width:
        return tuple(found)
    last = key.rpartition(".")[2]
    return (last,) if width == 1 else tuple(f"{last}.{place}" for place in range(width))


def _flat(names: Any) -> Iterator[Any]:
    if isinstance(names, dict):
        names = list(names.values())
    if isinstance(names, list | tuple):
        for name in names:
            yield from _flat(name)
    elif names is not None:
        yield names


def _likely(columns: dict[str, Column], exact: str, prefix: str) -> str | None:
    """The column called `exact`, or else the only one whose key begins so."""
    near = [key for key in columns if key.startswith(prefix)]
    return exact if exact in columns else near[0] if len(near) == 1 else None


def _chosen(info: Path, columns: dict[str, Column], asked: str | None, otherwise: str | None) -> str | None:
    if asked is not None and asked not in columns:
        raise ImportProblem(f"{info} has no column of numbers {asked!r}; there are {', '.join(columns)}")
    return asked or otherwise
