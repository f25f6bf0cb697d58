"""A small dataset, written by lerobot itself, that tests read and break."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: nothing here may need the hub
pytest.importorskip("lerobot", reason="lerobot is not installed")

LENGTHS = (12, 9)
FEATURES = {
    "observation.images.top": {"dtype": "video", "shape": (48, 64, 3), "names": ["height", "width", "channels"]},
    "observation.images.wrist": {"dtype": "video", "shape": (48, 32, 3), "names": ["height", "width", "channels"]},
    "observation.state": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
    "action": {"dtype": "float32", "shape": (3,), "names": {"motors": ["pan", "lift", "grip"]}},
    "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
    "next.success": {"dtype": "bool", "shape": (1,), "names": None},
}


@pytest.fixture(scope="session")
def scene() -> Callable[..., np.ndarray]:
    """A smooth picture that moves with its number."""

    def make(number: int, height: int, width: int) -> np.ndarray:
        y, x = np.mgrid[0:height, 0:width]
        planes = [np.sin((x + 3 * number) / 9) * 100 + 128, y * 4 % 256, np.full_like(x, 10 * number % 256)]
        return np.stack(planes, axis=-1).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def write_dataset(scene: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """Writes a dataset with lerobot: `row` gives what changes of a row, by episode and frame; `options` are those of lerobot's `create`."""

    def write(
        root: Path, features: dict | None = None, row: Callable[[int, int], dict] = lambda episode, frame: {}, **options: Any
    ) -> Path:  # fmt: skip
        from lerobot.configs import RGBEncoderConfig
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        features = {key: dict(feature) for key, feature in (features or FEATURES).items()}
        encoder = RGBEncoderConfig(vcodec="h264")
        dataset = LeRobotDataset.create("local/small", 10, features, root=root, robot_type="arm", rgb_encoder=encoder, **options)
        for episode, length in enumerate(LENGTHS):
            for frame in range(length):
                number = 100 * episode + frame
                values = {
                    "observation.state": np.array([number, -number / 3], np.float32),
                    "action": np.array([number / 7, frame, -1], np.float32),
                    "next.reward": np.array([frame / 4], np.float32),
                    "next.success": np.array([episode == 0 and frame == length - 1], bool),
                } | row(episode, frame)
                pictures = {key: scene(number, *f["shape"][:2]) for key, f in features.items() if f["dtype"] in ("video", "image")}
                task = "pick" if frame < 5 else f"place {episode}"
                dataset.add_frame({**pictures, **{key: values[key] for key in features if key in values}, "task": task})
            dataset.save_episode(parallel_encoding=False)
        dataset.finalize()
        return root

    return write


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, write_dataset: Callable[..., Path]) -> Path:
    """Two episodes of 12 and 9 frames at 10 fps: two cameras (H.264), state, action, reward, success, tasks. Only to be read."""
    return write_dataset(tmp_path_factory.mktemp("lerobot") / "small")


@pytest.fixture
def mine(dataset: Path, tmp_path: Path) -> Path:
    """A copy of the dataset that the test may break."""
    shutil.copytree(dataset, tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture(scope="session")
def loaded() -> Callable[..., object]:
    """A dataset by lerobot's own reader, frames as uint8."""

    def load(root: Path, **options: object) -> object:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        return LeRobotDataset("local/any", root=root, video_backend="pyav", return_uint8=True, **options)

    return load
