"""The driver and the real server, over TCP."""

import base64
import math
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rpyc
from rpyc.core.stream import SocketStream

from nodes.robot.drivers import make_driver
from nodes.robot.interface import RobotError
from nodes.robot.jetbot import link as jetbot_link
from onboard import jetbot_server
from tests.live.relay import Relay

from .conftest import Server, start_server

TURN = {"motor_left": 0.3, "motor_right": -0.3, "duration": 0.1}
STAND = {"motor_left": 0.0, "motor_right": 0.0, "duration": 0.1}
LONG = {"motor_left": 0.3, "motor_right": -0.3, "duration": 30.0}


def jpeg(rgb: tuple[int, int, int]) -> bytes:
    picture = np.full((16, 16, 3), rgb[::-1], np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


class Still:
    """A camera that has read one picture, and no more."""

    def __init__(self, trouble: str = "") -> None:
        self.trouble, self.read_s = trouble, time.monotonic()

    def newest(self) -> tuple[int, float, bytes]:
        if self.trouble:
            raise RuntimeError(self.trouble)
        return 1, self.read_s, jpeg((200, 30, 30))


def look_for_ever(driver: Any) -> None:
    while True:
        driver.observe()


def with_camera(camera: Still) -> type[jetbot_server.JetBotService]:
    about = {"version": 1, "watchdog_s": 0.5, "poll_s": 0.05, "period_s": 0.02, "simulated": True}
    return type("Service", (jetbot_server.JetBotService,), {
        "camera": camera, "wheels": jetbot_server.Wheels(jetbot_server.NoMotors()), "about": about,
    })  # fmt: skip


class Original(rpyc.Service):
    """What the original's server offers, and no more."""

    speeds: list[tuple[float, float]] = []  # noqa: RUF012 (of all connections)

    def exposed_get_camera_frame(self) -> str:
        return base64.b64encode(jpeg((220, 20, 20))).decode()

    def exposed_set_motors(self, left: float, right: float) -> None:
        self.speeds.append((left, right))


def test_an_action_is_seen_in_the_picture_after_it(server: Server, robot: Callable[..., Any]) -> None:
    driver = robot(server.port, actions=[STAND, TURN])
    driver.observe()
    assert driver.execute(STAND)
    before = driver.observe().images["front"]
    assert before.shape == (64, 64, 3) and before.dtype == np.uint8
    for action, changes in ((STAND, False), (TURN, True), (STAND, False)):
        began_s = time.monotonic()
        assert driver.execute(action) is True
        assert time.monotonic() - began_s >= 0.1 + 0.045
        after = driver.observe().images["front"]
        panels = np.abs(after[4:28].astype(int) - before[4:28])  # JPEG blocks with a bar at the side may differ a little
        assert (panels.mean() > 5) == changes
        before = after
    assert driver.counts() == {"reconnects": 0, "stops_unheard": 0}


def test_a_picture_was_read_after_the_action_had_ended(server: Server, robot: Callable[..., Any]) -> None:
    driver = robot(server.port, actions=[STAND, TURN])
    for action in (TURN, STAND, TURN):
        driver.execute(action)
        stood_s = server.status()[2]
        driver.observe()
        assert driver._newer_than_s >= stood_s


def test_stop_ends_an_action_at_once(server: Server, robot: Callable[..., Any]) -> None:
    driver = robot(server.port, actions=[STAND, LONG])
    done: list[bool] = []
    acting = threading.Thread(target=lambda: done.append(driver.execute(LONG)))
    acting.start()
    server.wait_moving()
    driver.stop()
    assert server.status()[:2] == (0, 0) or server.wait_stopped()
    acting.join(20)
    assert done == [False]
    assert server.wait_stopped()[3] == "asked", "neither the watchdog nor a broken link"
    driver.stop()
    assert driver.execute(STAND) is True


def test_a_long_action_is_no_silence(server: Server, robot: Callable[..., Any]) -> None:
    """Longer than the server's watchdog allows without a call."""
    driver = robot(server.port, actions=[STAND, {**TURN, "duration": 1.2}])
    began_s = time.monotonic()
    assert driver.execute({**TURN, "duration": 1.2})
    _, _, since_s, why, _, now_s = server.status()
    assert why == "asked" and now_s - since_s < time.monotonic() - began_s - 1.15


def test_one_robot_drives_the_other_is_told_who(server: Server, robot: Callable[..., Any]) -> None:
    first, second = robot(server.port, actions=[STAND, TURN]), robot(server.port, actions=[STAND, TURN])
    assert first.execute(TURN)
    with pytest.raises(RobotError, match=r"toddle at 127\.0\.0\.1 drives this JetBot; wait until it has let go"):
        second.execute(TURN)
    assert second.observe().images
    first.close()
    server.wait_stopped()
    assert second.execute(TURN)


def test_a_link_that_is_cut_is_found_again(server: Server, relay: Relay, robot: Callable[..., Any]) -> None:
    driver = robot(relay.port, actions=[STAND, TURN])
    driver.observe()
    relay.set("cut")
    assert driver.execute(TURN) is False
    timer = threading.Timer(0.3, relay.set, ("pass",))
    timer.start()
    assert driver.observe().images
    timer.join()
    assert driver.counts()["reconnects"] == 1
    assert driver.execute(TURN) is True


def test_a_server_that_stays_away_ends_it_with_one_line(server: Server, relay: Relay, robot: Callable[..., Any]) -> None:
    driver = robot(relay.port, reconnect_s=0.3)
    relay.set("cut")
    with pytest.raises(RobotError, match=r"no JetBot for 0\.3 s: .*127\.0\.0\.1:\d+.*; start jetbot_server.py on it") as raised:
        driver.observe()
    assert "\n" not in str(raised.value)


def test_the_originals_server_works_too(serve: Callable[..., int], robot: Callable[..., Any]) -> None:
    Original.speeds.clear()
    driver = robot(serve(Original), actions=[STAND, TURN], frozen_s=0)
    red = driver.observe().images["front"]
    assert (red[..., 0] > 180).all() and (red[..., 2] < 60).all(), "RGB, not BGR"
    assert driver.execute(TURN)
    assert max(Original.speeds) == (0.3, -0.3) and Original.speeds[0] == Original.speeds[-1] == (0, 0)


class Before6(jetbot_server.Server):
    """Writes messages as rpyc 4 and 5 do; what they answer to a message of 6 was seen with 4.1.5, 5.0.1 and 5.3.1."""

    def _serve_client(self, sock: socket.socket, credentials: Any) -> None:
        self.service._connect(jetbot_link._ChannelBefore6(SocketStream(sock)), {}).serve_all()


def test_a_server_with_an_older_rpyc_is_spoken_to_in_its_way(serve: Callable[..., int], robot: Callable[..., Any]) -> None:
    Original.speeds.clear()
    between = Relay(serve(Original, Before6))
    driver = robot(between.port, actions=[STAND, TURN], frozen_s=0)
    assert driver.observe().images and driver.execute(TURN) and Original.speeds
    between.set("cut")
    assert not driver.execute(TURN)
    made = between.connections_made
    between.set("pass")
    assert driver.observe().images
    assert between.connections_made - made == 2, "it remembers"
    driver.close()
    between.close()


def test_a_lost_server_without_a_watchdog_counts_as_moving(serve: Callable[..., int], robot: Callable[..., Any]) -> None:
    between = Relay(serve(Original))
    driver = robot(between.port, actions=[STAND, TURN], frozen_s=0, call_timeout_s=0.3)
    between.set("stall")
    with pytest.raises(RobotError, match="has no watchdog of its own"):
        driver.stop()
    assert driver.execute(TURN) is False
    with pytest.raises(RobotError, match="it may be moving"):
        driver.stop()
    between.close()


@pytest.mark.parametrize("service", [Original, with_camera(Still())])
def test_a_camera_that_hangs_is_noticed(service: Any, serve: Callable[..., int], robot: Callable[..., Any]) -> None:
    driver = robot(serve(service), frozen_s=0.2)
    with pytest.raises(RobotError, match="camera frozen"):
        look_for_ever(driver)


def test_a_camera_that_is_gone_is_told_as_the_server_has_it(serve: Callable[..., int], robot: Callable[..., Any]) -> None:
    driver = robot(serve(with_camera(Still("camera: cable pulled"))))
    with pytest.raises(RobotError, match=r"camera: cable pulled$"):
        driver.observe()


def test_a_picture_may_be_too_old(serve: Callable[..., int], robot: Callable[..., Any]) -> None:
    camera = Still()
    driver = robot(serve(with_camera(camera)), max_frame_age_s=1e-6, frozen_s=0.1)
    camera.read_s = time.monotonic()  # newer than the link, but never new enough
    with pytest.raises(RobotError, match=r"its last is 0\.\d s old"):
        driver.observe()


def test_a_video_in_place_of_a_camera_comes_in_the_right_colours(tmp_path: Path, robot: Callable[..., Any]) -> None:
    path = tmp_path / "blue.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (80, 64))
    for level in (200, 240):
        video.write(np.full((64, 80, 3), (level, 20, 20), np.uint8))
    video.release()
    own = start_server("--camera", str(path), "--motors", "none", "--size", "32", "--fps", "60")
    driver = robot(own.port)
    for _ in range(5):  # it begins again
        blue = driver.observe().images["front"]
        assert blue.shape == (32, 32, 3) and (blue[..., 2] > 180).all() and (blue[..., 0] < 60).all()
    driver.close()
    assert own.end() == 0


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"host": ""}, "give the JetBot's name"), ({"port": 0}, "port"), ({"actions": [TURN]}, "none stands still"),
        ({"actions": [STAND, {"motor_left": 0.1}]}, "has not the names"), ({"actions": [STAND, {**STAND, "motor_left": 2}]}, "from -1 to"),
        ({"key_file": "/no/such"}, "key_file /no/such"), ({"speed": 1}, "unknown field `speed`"), ({"call_timeout_s": 0}, "above 0"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused_with_one_line(options: dict[str, Any], what: str) -> None:
    with pytest.raises(RobotError, match=what) as raised:
        make_driver("jetbot", {"host": "127.0.0.1", **options}, 0)
    assert "\n" not in str(raised.value)


# -- who may connect, and what ---------------------------------------------------------------------


def hostile(port: int) -> rpyc.Connection:
    return rpyc.connect("127.0.0.1", port, config={"allow_all_attrs": True, "allow_pickle": True})


def test_hostile_calls_are_refused_and_the_server_lives(server: Server, robot: Callable[..., Any]) -> None:
    with hostile(server.port) as connection:
        root = connection.root
        for speed in (math.nan, 2.0, 10**400, "1", None, True, [1], object()):
            with pytest.raises(ValueError, match="is no speed"):
                root.set_motors(speed, 0.1)
        for name in ("wheels", "camera", "_token", "__class__", "__init__", "__dict__", "on_connect", "exposed_nothing", "_conn"):
            with pytest.raises(AttributeError):
                getattr(root, name).anything  # noqa: B018
        with pytest.raises(AttributeError):
            root.wheels = None
        with pytest.raises(ValueError, match="pickling is disabled"):
            rpyc.classic.obtain(root)
        for name, token in (("", "t"), ("x" * 65, "t"), ("a\nb", "t"), (1, "t"), ("a", None)):
            with pytest.raises(ValueError, match="is no name"):
                root.hello(name, token)
        with pytest.raises(ValueError, match="newer_than"):
            root.get_frame("now")
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)) * 20)
    assert robot(server.port).observe().images
    assert server.status()[:2] == (0, 0) and server.process.poll() is None


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server that wants a key and speaks TLS, one that wants a key only, and the folder of what is needed for them."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "right").write_text("0123456789abcdef0123\n")
    (folder / "wrong").write_text("another key that is long\n")
    for name in ("server", "other"):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"), "-subj", "/CN=jetbot"]
        subprocess.run([*command, *files], check=True, capture_output=True)
    common = ("--camera", "test", "--size", "32", "--key-file", str(folder / "right"))
    tls = ("--tls-cert", str(folder / "server.pem"), "--tls-key", str(folder / "server.key"))
    with_key, with_tls = start_server(*common), start_server(*common, *tls)
    yield with_key, with_tls, folder
    assert with_key.end() == with_tls.end() == 0


def test_who_has_the_key_drives(guarded: Any, robot: Callable[..., Any]) -> None:
    with_key, with_tls, folder = guarded
    key = {"key_file": str(folder / "right"), "actions": [STAND, TURN]}
    for port, options in ((with_key.port, key), (with_tls.port, {**key, "tls": {"ca": str(folder / "server.pem")}})):
        driver = robot(port, **options)
        assert driver.observe().images and driver.execute(TURN)
        driver.close()


def test_who_has_not_is_told_what_is_wrong(guarded: Any, server: Server) -> None:
    with_key, with_tls, folder = guarded
    cases = [
        (with_key.port, {}, "wants a key: give key_file"),
        (with_key.port, {"key_file": str(folder / "wrong")}, "refuses this key"),
        (with_tls.port, {"key_file": str(folder / "wrong"), "tls": {"ca": str(folder / "server.pem")}}, "refuses this key"),
        (with_tls.port, {"tls": {"ca": str(folder / "other.pem")}}, "refuses TLS, or shows another certificate"),
        (with_tls.port, {"tls": {"ca": str(folder / "right")}}, "^tls: "),
        (with_tls.port, {}, "do key_file and tls fit"),
        (server.port, {"key_file": str(folder / "right")}, "does not ask for a key"),
    ]
    for port, options, what in cases:
        with pytest.raises(RobotError, match=what) as raised:
            make_driver("jetbot", {"host": "127.0.0.1", "port": port, "reconnect_s": 0.1, **options}, 0)
        assert "\n" not in str(raised.value)
    assert any("refused" in line for line in with_key.said) or with_key.process.poll() is None


def test_the_key_itself_is_never_sent(guarded: Any) -> None:
    with_key, _, folder = guarded
    heard = b""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def overhear() -> None:
            nonlocal heard
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", with_key.port)) as onward:
                client.sendall(onward.recv(200))
                heard = client.recv(200)

        thread = threading.Thread(target=overhear)
        thread.start()
        with pytest.raises(RobotError):
            make_driver("jetbot", {
                "host": "127.0.0.1", "port": listener.getsockname()[1], "key_file": str(folder / "right"), "reconnect_s": 0.1,
            }, 0)  # fmt: skip
        thread.join(20)
    assert len(heard) > 60 and b"0123456789abcdef" not in heard
