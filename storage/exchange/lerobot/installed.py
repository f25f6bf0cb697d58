"""lerobot and what comes with it, imported only when they are needed."""

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


def first_line(error: Exception) -> str:
    """What an error of others says, as far as a line goes."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
