"""Pictures of MuJoCo without a display: by EGL where it works, else by OSMesa."""

import ctypes
import os
import sys
from collections.abc import Callable
from types import ModuleType

from nodes.robot.interface import RobotError

INSTALL = "Debian: sudo apt-get install libegl1 libgl1-mesa-dri (or libosmesa6)"
_PLATFORM_DEVICE = 0x313F  # EGL_PLATFORM_DEVICE_EXT
_MOST_DEVICES = 16


def _egl_works() -> bool:
    """Whether EGL is installed and one of its devices can be used."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
        egl.eglGetProcAddress.restype = ctypes.c_void_p
        query, display_of = egl.eglGetProcAddress(b"eglQueryDevicesEXT"), egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT")
    except (OSError, AttributeError):
        return False
    if not query or not display_of:
        return False
    devices, count = (ctypes.c_void_p * _MOST_DEVICES)(), ctypes.c_int()
    ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(query)(_MOST_DEVICES, devices, ctypes.byref(count))
    display = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p)(display_of)
    egl.eglInitialize.argtypes = [ctypes.c_void_p] * 3
    return any(egl.eglInitialize(display(_PLATFORM_DEVICE, device, None), None, None) for device in devices[: count.value])


def _osmesa_works() -> bool:
    for name in ("libOSMesa.so", "libOSMesa.so.8", "libOSMesa.so.6"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


BACKENDS: dict[str, Callable[[], bool]] = {"egl": _egl_works, "osmesa": _osmesa_works}
"""In the order in which they are tried."""


def choose_gl() -> None:
    """Set MUJOCO_GL, unless somebody did; before mujoco is imported. Raises RobotError, one line, when there is nothing to draw with."""
    if os.environ.get("MUJOCO_GL") or not sys.platform.startswith("linux"):
        return
    found = next((name for name, works in BACKENDS.items() if works()), None)
    if found is None:
        raise RobotError(f"nothing to draw with: neither EGL nor OSMesa works here; {INSTALL}, or set MUJOCO_GL")
    os.environ["MUJOCO_GL"] = found


def load_mujoco() -> ModuleType:
    """MuJoCo, made to draw without a display. Raises RobotError, one line."""
    choose_gl()
    try:
        import mujoco
    except RuntimeError as error:  # MUJOCO_GL holds what it does not know
        raise RobotError(f"{error}; unset MUJOCO_GL, or give egl or osmesa") from None
    return mujoco


def cannot_draw(error: Exception) -> RobotError:
    """What to say when a picture cannot be made after all."""
    why = " ".join(str(error).split()) or type(error).__name__
    return RobotError(f"MuJoCo cannot draw with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')}: {why}; {INSTALL}, or unset MUJOCO_GL")
