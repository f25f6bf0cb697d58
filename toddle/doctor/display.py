"""OpenCV and the window."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions

from toddle.doctor.finding import Finding
from toddle.doctor.probe import ProbeFailed, ask

TIMEOUT_S = 9.0
WINDOW_TIMEOUT_S = 5.0
CODE = f"""
try:
    import cv2
except ModuleNotFoundError as error:
    if error.name != "cv2":
        raise
else:
    import re
    gui = re.search(r"^ *GUI: *(\\S+)", cv2.getBuildInformation(), re.MULTILINE)
    from nodes.viewer.sinks import window_problem
    answer = dict(
        version=cv2.__version__, file=cv2.__file__, gui="" if gui is None or gui[1] == "NONE" else gui[1],
        window=window_problem({WINDOW_TIMEOUT_S}) or "",
    )
"""


@dataclass(frozen=True, kw_only=True)
class DisplayFacts:
    """`gui` is what OpenCV draws windows with, `window` why none opens; `packages` are all that bring a cv2."""

    version: str = ""
    file: str = ""
    gui: str = ""
    window: str = ""
    failed: str = ""
    packages: Mapping[str, str]
    display: str
    ssh: bool


def gather(env: Mapping[str, str] | None = None) -> DisplayFacts:
    packages = {one.name.lower(): one.version for one in distributions() if one.name and one.name.lower().startswith("opencv-")}
    display = os.environ.get("DISPLAY", "") or os.environ.get("WAYLAND_DISPLAY", "")
    ssh = "SSH_CONNECTION" in os.environ
    try:
        answer = ask(CODE, TIMEOUT_S, env)
    except ProbeFailed as failed:
        return DisplayFacts(failed=str(failed), packages=packages, display=display, ssh=ssh)
    return DisplayFacts(**answer, packages=packages, display=display, ssh=ssh)


def opencv(facts: DisplayFacts) -> Finding:
    if facts.failed:
        return Finding("opencv", "problem", f"cannot be imported: {facts.failed}", _repair(facts.failed))
    if not facts.version:
        found = "not installed: there is no viewer"
        return Finding("opencv", "note", found, "to see: python -m pip install -c constraints.txt -e '.[viewer]'")
    if not facts.gui:
        found = f"{facts.version}, a build without windows: pictures go to files only"
        return Finding("opencv", "warning", found, _with_windows(facts.packages))
    return Finding("opencv", "ok", f"{facts.version}, windows by {facts.gui}")


def opencv_packages(facts: DisplayFacts) -> Finding:
    name = "opencv packages"
    said = ", ".join(f"{package} {version}" for package, version in sorted(facts.packages.items()))
    if len(facts.packages) == 0:
        return Finding(name, "ok", f"none by pip; cv2 is {facts.file}" if facts.file else "none")
    if len(facts.packages) == 1:
        return Finding(name, "ok", said)
    if len(set(facts.packages.values())) > 1:
        return Finding(name, "problem", f"{said}: different versions wrote their files into one folder", _with_windows(facts.packages))
    if not facts.gui:
        return Finding(name, "warning", f"{said}: the files of the one without windows are in effect", _with_windows(facts.packages))
    return Finding(name, "ok", f"{said}: one version, and the files of the one with windows are in effect")


def window(facts: DisplayFacts) -> Finding:
    if not facts.version:
        return Finding("window", "note", "none without OpenCV")
    if not facts.window:
        return Finding("window", "ok", f"opens{f' on {facts.display}' if facts.display else ''}")
    files = "the viewer writes runs/<name>/viewer/latest.png"
    if facts.display:
        fix = "log in at this machine's screen, or ssh -X to it; or unset DISPLAY WAYLAND_DISPLAY to have files only"
        return Finding("window", "warning", f"none: {facts.window}; {files}", fix)
    fix = "ssh -X brings windows over" if facts.ssh else ""
    return Finding("window", "note", f"none{' over this ssh' if facts.ssh else ''}: {facts.window}; {files}", fix)


def _repair(failed: str) -> str:
    if "libGL" in failed or "libgthread" in failed or "libglib" in failed:
        return "Debian: sudo apt-get install libgl1 libglib2.0-0"
    return "python -m pip install -c constraints.txt --force-reinstall --no-deps opencv-python"


def _with_windows(packages: Mapping[str, str]) -> str:
    """lerobot bounds the version of the headless package: that version it is."""
    version = packages.get("opencv-python-headless") or packages.get("opencv-python", "")
    return f"python -m pip install --force-reinstall --no-deps opencv-python{f'=={version}' if version else ''}"


CHECKS = (opencv, opencv_packages, window)
