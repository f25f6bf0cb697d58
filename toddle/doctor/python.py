"""Python itself, and the packages that toddle wants."""

import platform
import struct
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from toddle.doctor.finding import Finding
from toddle.doctor.probe import ROOT

PACKAGE = "toddle-robotics"
NOT_FOR_USERS = ("all", "dev")
TESTED_MACHINES = ("x86_64", "amd64", "aarch64", "arm64")


@dataclass(frozen=True)
class Need:
    """A package that something of ours wants; `installed` is empty when it is not there."""

    name: str
    specifier: str
    installed: str
    fits: bool


@dataclass(frozen=True)
class PythonFacts:
    """`needs` by extra ("" for everybody); `tested` are pins of constraints.txt, by package, that are not met."""

    version: str
    wanted: str
    fits: bool
    in_venv: bool
    prefix: str
    machine: str
    bits: int
    needs: Mapping[str, Sequence[Need]]
    tested: Mapping[str, tuple[str, str]]


def gather(root: Path = ROOT) -> PythonFacts:
    """A checkout's pyproject.toml is newer than what was installed from it: it goes first."""
    try:
        wanted, groups = _from_checkout(root / "pyproject.toml")
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        wanted, groups = _from_metadata()
    needs = {extra: [_need(one) for one in groups[extra]] for extra in groups if extra not in NOT_FOR_USERS}
    here = platform.python_version()
    return PythonFacts(
        version=here, wanted=wanted, fits=SpecifierSet(wanted).contains(here, True),
        in_venv=sys.prefix != sys.base_prefix or (Path(sys.prefix) / "conda-meta").is_dir(), prefix=sys.prefix,
        machine=platform.machine(), bits=8 * struct.calcsize("P"), needs=needs,
        tested=dict(_untested(root / "constraints.txt", [need for needed in needs.values() for need in needed])),
    )  # fmt: skip


def _from_checkout(path: Path) -> tuple[str, dict[str, list[Requirement]]]:
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return project["requires-python"], {extra: [Requirement(text) for text in texts] for extra, texts in groups.items()}


def _from_metadata() -> tuple[str, dict[str, list[Requirement]]]:
    about = metadata(PACKAGE)
    groups: dict[str, list[Requirement]] = {extra: [] for extra in ["", *(about.get_all("Provides-Extra") or [])]}
    for text in about.get_all("Requires-Dist") or []:
        one = Requirement(text)
        extras = [extra for extra in groups if one.marker is None or one.marker.evaluate({"extra": extra})]
        for extra in [""] if "" in extras else extras:
            groups[extra].append(one)
    return about["Requires-Python"], groups


def _need(one: Requirement) -> Need:
    found = installed(one.name)
    return Need(one.name, str(one.specifier), found, bool(found) and one.specifier.contains(found, True))


def installed(package: str) -> str:
    """Its version, or nothing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _untested(path: Path, needs: Sequence[Need]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Package, installed and tested version, where these differ; a build's mark (`+cpu`) is no difference."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:  # not a checkout
        return
    pins = {_plain(name): pin.strip() for name, _, pin in (line.partition("==") for line in lines) if pin}
    for need in needs:
        pin = pins.get(_plain(need.name), "")
        if need.installed and pin and need.installed.partition("+")[0] != pin.partition("+")[0]:
            yield need.name, (need.installed, pin)


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


def python_version(facts: PythonFacts) -> Finding:
    name = "python version"
    if facts.fits:
        return Finding(name, "ok", facts.version)
    return Finding(
        name, "problem", f"{facts.version}; toddle wants {facts.wanted}", "install a newer Python, remove .venv and run make again"
    )


def virtual_environment(facts: PythonFacts) -> Finding:
    name = "virtual environment"
    if facts.in_venv:
        return Finding(name, "ok", facts.prefix)
    fix = "python3 -m venv .venv, then .venv/bin/python -m pip install -c constraints.txt -e '.[train,viewer]'"
    return Finding(name, "warning", f"none: packages of the system are in {facts.prefix}", fix)


def architecture(facts: PythonFacts) -> Finding:
    found = f"{facts.machine}, {facts.bits} bit"
    if facts.bits < 64:
        return Finding("architecture", "problem", f"{found}: too few addresses for a session's map", "install a 64 bit system and Python")
    if facts.machine.lower() not in TESTED_MACHINES:
        return Finding("architecture", "note", f"{found}: nobody has tried toddle there", "some packages may need a compiler")
    return Finding("architecture", "ok", found)


def required_packages(facts: PythonFacts) -> Finding:
    name, needs = "required packages", facts.needs[""]
    wrong = [_said(need) for need in needs if not need.fits]
    if not wrong:
        return Finding(name, "ok", f"all {len(needs)}")
    return Finding(name, "problem", "; ".join(wrong), "python -m pip install -c constraints.txt -e . (or make)")


def optional_packages(facts: PythonFacts) -> Finding:
    name = "optional packages"
    wrong = {extra: [need for need in needs if not need.fits] for extra, needs in facts.needs.items() if extra}
    wrong = {extra: needs for extra, needs in wrong.items() if needs}
    if not wrong:
        return Finding(name, "ok", f"all: {', '.join(extra for extra in facts.needs if extra)}")
    unfit = any(need.installed for needs in wrong.values() for need in needs)
    found = "; ".join(f"{extra}: {', '.join(_said(need) for need in needs)}" for extra, needs in wrong.items())
    fix = f"if you want them: python -m pip install -c constraints.txt -e '.[{','.join(wrong)}]'"
    return Finding(name, "warning" if unfit else "note", found, fix)


def tested_versions(facts: PythonFacts) -> Finding:
    name = "tested versions"
    if not facts.tested:
        return Finding(name, "ok", "what is installed is what was tested")
    found = ", ".join(f"{package} {there} (tested: {pin})" for package, (there, pin) in facts.tested.items())
    return Finding(name, "note", found, "python -m pip install -c constraints.txt -e . brings the tested versions")


def _said(need: Need) -> str:
    return f"{need.name} {need.installed} does not fit {need.specifier}" if need.installed else f"{need.name} is missing"


CHECKS = (python_version, virtual_environment, architecture, required_packages, optional_packages, tested_versions)
