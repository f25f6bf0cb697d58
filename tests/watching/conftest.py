"""Prometheus and its tool, where they are installed."""

import shutil

import pytest


def _installed(command: str) -> str:
    found = shutil.which(command)
    if found is None:
        pytest.skip(f"{command} is not installed: apt-get install prometheus")
    return found


@pytest.fixture(scope="session")
def promtool() -> str:
    return _installed("promtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    return _installed("prometheus")
