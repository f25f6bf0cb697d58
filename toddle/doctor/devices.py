"""Cameras and serial ports, and whether this user may use them."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from toddle.doctor.finding import Finding

CAMERAS = ("video*",)
SERIAL = ("ttyUSB*", "ttyACM*")
GRABBERS = ("ModemManager", "brltty")
"""Programs that talk to every serial port that appears."""


@dataclass(frozen=True)
class Device:
    """`group` may use it, and this user is in it: `member` since this login, `listed` from the next one on."""

    path: str
    usable: bool
    group: str
    member: bool
    listed: bool


@dataclass(frozen=True)
class DeviceFacts:
    """`looked`: whether devices are files here."""

    looked: bool
    cameras: Sequence[Device]
    serial: Sequence[Device]
    grabbers: Sequence[str]


def gather(dev: Path = Path("/dev"), linux: bool = sys.platform.startswith("linux")) -> DeviceFacts:
    if not linux:
        return DeviceFacts(False, (), (), ())
    cameras, serial = _devices(dev, CAMERAS, os.R_OK), _devices(dev, SERIAL, os.R_OK | os.W_OK)
    running = {process.info["name"] for process in psutil.process_iter(["name"])} if serial else set()
    return DeviceFacts(True, cameras, serial, [name for name in GRABBERS if name in running])


def _devices(dev: Path, patterns: Sequence[str], mode: int) -> list[Device]:
    return [_device(path, mode) for pattern in patterns for path in sorted(dev.glob(pattern))]


def _device(path: Path, mode: int) -> Device:
    import grp
    import pwd

    number = path.stat().st_gid
    try:
        group = grp.getgrgid(number)
        name, listed = group.gr_name, pwd.getpwuid(os.getuid()).pw_name in group.gr_mem
    except KeyError:  # in a container, say
        name, listed = str(number), False
    member = number in (os.getgid(), *os.getgroups())
    return Device(str(path), os.access(path, mode), name, member, listed)


def cameras(facts: DeviceFacts) -> Finding:
    return _usable("cameras", facts, facts.cameras, "read", "/dev/video*")


def serial_ports(facts: DeviceFacts) -> Finding:
    return _usable("serial ports", facts, facts.serial, "read and written", "/dev/ttyUSB* or /dev/ttyACM*")


def _usable(name: str, facts: DeviceFacts, devices: Sequence[Device], how: str, where: str) -> Finding:
    if not facts.looked:
        return Finding(name, "note", "not looked at: devices are files on Linux only")
    if not devices:
        return Finding(name, "note", f"none at {where}: plugged in, a robot's would be there (in a container: passed on by --device)")
    barred = [device for device in devices if not device.usable]
    if not barred:
        return Finding(name, "ok", ", ".join(device.path for device in devices))
    found = f"{', '.join(device.path for device in barred)} cannot be {how} by this user (group {barred[0].group})"
    return Finding(name, "warning", found, _permission(barred[0]))


def _permission(device: Device) -> str:
    if device.listed and not device.member:
        return f"you are in group {device.group} from the next login on: log out and in"
    if device.member or device.group == "root" or device.group.isdigit():
        return f"until it is unplugged: sudo chmod a+rw {device.path}; for good: a udev rule that gives it to a group of yours"
    return f"sudo usermod -aG {device.group} $USER, then log out and in"


def serial_grabbers(facts: DeviceFacts) -> Finding:
    name = "serial grabbers"
    if not facts.grabbers or not facts.serial:
        return Finding(name, "ok", "no program that talks to every new serial port is running")
    found = f"{', '.join(facts.grabbers)} talks to new serial ports: the first commands to a robot may be lost"
    return Finding(name, "note", found, f"sudo systemctl disable --now {' '.join(facts.grabbers)}")


CHECKS = (cameras, serial_ports, serial_grabbers)
