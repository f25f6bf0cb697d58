"""TensorBoard and Weights & Biases, for those who want their curves there."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nodes.trainer.journal import Aside, Warn

Wandb = Literal["", "offline", "online"]


class TensorBoard:
    def __init__(self, folder: Path) -> None:
        with _installed():
            from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))  # type: ignore[no-untyped-call]

    def numbers(self, values: Mapping[str, float], samples: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, samples)
        self._writer.flush()

    def picture(self, name: str, picture: np.ndarray, samples: int) -> None:
        self._writer.add_image(name, picture, samples, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """`offline` writes into the folder alone; `wandb sync` sends it later."""

    def __init__(self, folder: Path, name: str, mode: Wandb) -> None:
        with _installed():
            import wandb

        os.makedirs(folder, exist_ok=True)
        settings = wandb.Settings(silent=True, console="off", init_timeout=60)
        self._wandb: Any = wandb
        self._run: Any = wandb.init(project="toddle", name=name, dir=str(folder), mode=mode or "offline", settings=settings)

    def numbers(self, values: Mapping[str, float], samples: int) -> None:
        self._run.log({**values, "samples": samples})

    def picture(self, name: str, picture: np.ndarray, samples: int) -> None:
        self._run.log({name: self._wandb.Image(picture), "samples": samples})

    def close(self) -> None:
        self._run.finish()


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise RuntimeError(f"{error.name} is not installed: pip install 'toddle-robotics[track]'") from None


def asides(folder: Path, name: str, tensorboard: bool, wandb: Wandb, warn: Warn) -> list[Aside]:
    """Those that are asked for."""
    found = []
    if tensorboard:
        found.append(Aside("tensorboard", lambda: TensorBoard(folder / "tensorboard"), warn))
    if wandb:
        found.append(Aside("wandb", lambda: WeightsAndBiases(folder / "wandb", name, wandb), warn))
    return found
