"""A question to a Python process of its own, because some imports crash or never end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]


class ProbeFailed(Exception):
    """Why there is no answer."""


def ask(code: str, timeout_s: float, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What `code` leaves in `answer`. The environment is a node's, unless given. Raises ProbeFailed."""
    whole = (
        f"import json, os, sys\nsys.path.append({str(ROOT)!r})\nanswer = {{}}\n{code}\nos.write(1, b'\\n' + json.dumps(answer).encode())"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", whole], env=dict(_node_environment() if env is None else env),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    try:
        said, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise ProbeFailed(f"it took longer than {timeout_s:g} s") from None
    finally:
        _end(process)
    if process.returncode != 0:
        raise ProbeFailed(_why(process.returncode, errors))
    answer: dict[str, Any] = json.loads(said.rstrip().rpartition("\n")[2])
    return answer


def _node_environment() -> dict[str, str]:
    from launch.child import environment

    return environment("trainer", {}, os.environ)


def _end(process: subprocess.Popen[str]) -> None:
    """Nothing that it started stays."""
    if process.poll() is not None:
        return
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
    process.kill()
    with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: no one can end it
        process.communicate(timeout=1.0)


def _why(code: int, errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    if code < 0:
        return f"Python was ended by {signal.Signals(-code).name}"
    return lines[-1][:300] if lines else f"exit code {code}"
