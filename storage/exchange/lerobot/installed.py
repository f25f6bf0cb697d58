"""lerobot and what comes with it, imported only when they are needed."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from storage.errors import StorageError


def lerobot_module(name: str) -> Any:
    """The module `name` of lerobot, or of a package that it brings. Raises StorageError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise StorageError(
            f"LeRobot datasets need lerobot, which is not installed ({error}): python -m pip install -c constraints.txt -e '.[export]'"
        ) from None


@contextmanager
def quietly() -> Iterator[None]:
    """What is raised is told, so that nobody needs the log lines before it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def first_line(error: BaseException) -> str:
    """What an error of others says, as far as a line goes."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
