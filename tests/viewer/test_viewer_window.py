"""The window on a real X server: what is shown is on the screen, keys come back, closing is noticed."""

import os
import shutil
import subprocess
import sys
import time
from typing import ClassVar

import cv2
import numpy as np
import pytest

from nodes.viewer.compose import compose

SIZE = (960, 540)
DEADLINE_S = 30.0

# Shows one picture until "q"; tells what happens, a line each.
PROGRAM = """
import sys, time
import numpy as np
from nodes.viewer.config import ViewerConfig
from nodes.viewer.sinks import open_sinks
picture = np.load(sys.argv[1])
opened = open_sinks(ViewerConfig(size=(960, 540), title="toddle test"), __import__("pathlib").Path(sys.argv[2]))
assert opened.window is not None, opened.notes
end = time.monotonic() + 60
while time.monotonic() < end:
    opened.window.show(picture, 0.0)
    key = opened.window.poll_key()
    if opened.window.closed:
        opened.window.show(picture, 0.0)  # does not open it again
        assert opened.window.poll_key() is None
        sys.stdout.write("closed\\n")
        break
    if key is not None:
        sys.stdout.write(key + "\\n")
    if not hasattr(opened.window, "told"):
        opened.window.told = sys.stdout.write("shown\\n")
    sys.stdout.flush()
    if key == "q":
        break
for sink in opened.sinks:
    sink.close()
"""


@pytest.fixture
def display():
    """An X server on a number that it finds free itself."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed (apt-get install xvfb)")
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", "1200x800x24", "-nolisten", "tcp", "-noreset"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        number = server.stdout.readline().strip()
        if not number:
            pytest.skip("Xvfb does not start here")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(10)
        server.stdout.close()


def screenshot(display):
    """The whole screen, RGB."""
    if shutil.which("import") is None:
        pytest.skip("import is not installed (apt-get install imagemagick)")
    done = subprocess.run(["import", "-display", display, "-window", "root", "png:-"], capture_output=True, check=True)
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def xdotool(display, *words):
    if shutil.which("xdotool") is None:
        pytest.skip("xdotool is not installed (apt-get install xdotool)")
    env = {**os.environ, "DISPLAY": display}
    return subprocess.run(["xdotool", *words], env=env, check=True, capture_output=True, text=True).stdout.strip()


def on_screen(display, picture):
    """Where the picture is on the screen (x, y), and the mean difference there."""
    found = cv2.matchTemplate(screenshot(display), picture, cv2.TM_SQDIFF)
    _, _, (x, y), _ = cv2.minMaxLoc(found)
    part = screenshot(display)[y : y + picture.shape[0], x : x + picture.shape[1]]
    return (x, y), float(np.abs(part.astype(np.int16) - picture).mean())


def wait_until_shown(display, picture):
    """Where the picture is. Without a window manager Qt sometimes misses that its window became visible (about one
    time in ten on a busy machine): every few looks the window is mapped anew, as a window manager would."""
    end = time.monotonic() + DEADLINE_S
    look = 0
    while True:
        look += 1
        if look % 5 == 0:
            for window in xdotool(display, "search", "--name", "toddle test").split():
                xdotool(display, "windowunmap", window, "windowmap", window)
        place, difference = on_screen(display, picture)
        if difference < 2.0:
            return place
        assert time.monotonic() < end, f"not on the screen: mean difference {difference:.1f} at best, at {place}"


@pytest.fixture
def viewer(display, make_dot_run, tmp_path):
    """A process with the window open, and the picture it shows."""
    run = make_dot_run(64)
    picture = compose(run.state, SIZE, run.now)
    np.save(tmp_path / "picture.npy", picture)
    env = {**os.environ, "DISPLAY": display}
    env.pop("WAYLAND_DISPLAY", None)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "picture.npy"), str(tmp_path)], env=env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline().strip()
        assert line == "shown", f"{line!r}: {process.communicate(timeout=DEADLINE_S)}"
        yield process, picture
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


@pytest.mark.timeout(90)
def test_the_picture_is_on_the_screen_and_keys_come_back(viewer, display):
    process, picture = viewer
    x, y = wait_until_shown(display, picture)
    xdotool(display, "mousemove", str(x + 100), str(y + 100))
    for pressed, name in [("space", "space"), ("Left", "left"), ("Up", "up"), ("7", "7"), ("m", "m"), ("q", "q")]:
        xdotool(display, "key", pressed)
        assert process.stdout.readline().strip() == name
    assert process.wait(DEADLINE_S) == 0
    assert process.stderr.read() == ""  # Qt has nothing to complain about


@pytest.mark.timeout(90)
def test_a_person_closes_the_window(viewer, display):
    process, picture = viewer
    wait_until_shown(display, picture)
    close_politely(display, xdotool(display, "search", "--name", "toddle test").split())
    line = process.stdout.readline().strip()
    assert line == "closed", process.stderr.read()
    assert process.wait(DEADLINE_S) == 0


def close_politely(display, windows):
    """What a window manager does for the button at the corner: send WM_DELETE_WINDOW."""
    ctypes = pytest.importorskip("ctypes")
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        pytest.skip("libX11 is not installed (apt-get install libx11-6)")

    class ClientMessage(ctypes.Structure):
        _fields_: ClassVar = [
            ("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send_event", ctypes.c_int),
            ("display", ctypes.c_void_p), ("window", ctypes.c_ulong), ("message_type", ctypes.c_ulong),
            ("format", ctypes.c_int), ("data", ctypes.c_long * 5), ("pad", ctypes.c_long * 24),
        ]  # fmt: skip

    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    x11.XInternAtom.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    x11.XSendEvent.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    x11.XCloseDisplay.argtypes = x11.XSync.argtypes[:1] if x11.XSync.argtypes else [ctypes.c_void_p]
    connection = x11.XOpenDisplay(display.encode())
    delete = x11.XInternAtom(connection, b"WM_DELETE_WINDOW", 0)
    protocols = x11.XInternAtom(connection, b"WM_PROTOCOLS", 0)
    for window in windows:
        event = ClientMessage(33, 0, 1, connection, int(window), protocols, 32, (delete, 0, 0, 0, 0))
        x11.XSendEvent(connection, int(window), 0, 0, ctypes.byref(event))
    x11.XCloseDisplay(connection)
