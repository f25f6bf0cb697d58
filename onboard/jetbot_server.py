"""Runs on a JetBot: gives its camera and motors to toddle over the network, and stops the motors when nobody is there.

One file, for the JetBot's own Python (3.6 or newer), with rpyc and OpenCV. Copy it there and start it:

    scp jetbot_server.py jetbot@jetbot.local:
    ssh jetbot@jetbot.local python3 jetbot_server.py

`--camera test` needs no JetBot: it is a simulation, a drawn world that a simulated robot drives through.
"""

import argparse
import base64
import hashlib
import hmac
import logging
import math
import os
import signal
import socket
import ssl
import sys
import threading
import time

import rpyc
from rpyc.utils.authenticators import AuthenticationError, SSLAuthenticator
from rpyc.utils.server import ThreadedServer

PORT = 18861
VERSION = 1
WATCHDOG_S = 0.5
POLL_S = 0.05
LEASE_S = 5.0
"""A client that drove keeps the wheel for so long after its last call."""
CAMERA_GONE_S = 2.0
DOOR_S = 5.0
"""How long somebody who connects may take to show a key."""
MOST_CLIENTS = 16
SHORTEST_KEY = 16
JPEG_QUALITY = 90
CSI = (
    "nvarguscamerasrc ! video/x-raw(memory:NVMM), width=816, height=616, framerate={fps}/1 ! nvvidconv ! "
    "video/x-raw, width={size}, height={size}, format=BGRx ! videoconvert ! video/x-raw, format=BGR ! "
    "appsink drop=true max-buffers=1"
)

log = logging.getLogger("jetbot-server")


class Refused(Exception):
    """What was asked for at the start cannot be; one line."""


# -- motors ---------------------------------------------------------------------------------------


class Board:
    """The motors of a real JetBot, by NVIDIA's library. Raises Refused where it is missing."""

    simulated = False

    def __init__(self):
        try:
            from jetbot import Robot
        except ImportError as error:
            raise Refused(f"no motors: {error}; install NVIDIA's jetbot library, or say --motors none") from None
        self._robot = Robot()

    def set(self, left, right):
        self._robot.set_motors(left, right)


class NoMotors:
    """A stand-in that moves nothing."""

    simulated = True

    def set(self, left, right):
        pass


class Wheels:
    """Who drives, and how fast. Stops the motors when the driver's calls end. All times are of `clock`, monotonic seconds.

    Everybody may stop; only one may drive. A client is known by its token.
    """

    def __init__(self, board, watchdog_s=WATCHDOG_S, clock=time.monotonic):
        self.watchdog_s = watchdog_s
        self._board, self._clock = board, clock
        self._lock = threading.Lock()
        self._speeds = (0.0, 0.0)
        self._since_s = clock()
        self._why = "started"
        self._driver = None  # its token
        self._driver_name = ""
        self._heard_s = -math.inf
        board.set(0.0, 0.0)

    def heard(self, token):
        """A call of a client came."""
        if token == self._driver:
            self._heard_s = self._clock()

    def drive(self, token, name, left, right, heard_s=None):
        """Set the speeds, each in [-1, 1]; the clock now.

        `heard_s`: the clock as the client last heard it: one that is longer ago than the watchdog's time is refused.
        ValueError for no such speeds, or too late; PermissionError while somebody else drives.
        """
        for side, speed in (("left", left), ("right", right)):
            if type(speed) not in (int, float) or not -1 <= speed <= 1:
                raise ValueError(f"{side} motor: {_short(speed)} is no speed; give a number from -1 to 1")
        if heard_s is not None and type(heard_s) not in (int, float):
            raise ValueError(f"heard: {_short(heard_s)} is no time")
        with self._lock:
            now_s = self._clock()
            if heard_s is not None and not now_s - self.watchdog_s <= heard_s <= now_s:
                raise ValueError(f"too late: this was asked {now_s - heard_s:.3g} s ago")
            if left or right:
                if self._driver not in (None, token) and now_s - self._heard_s < LEASE_S:
                    raise PermissionError(f"{self._driver_name} drives this JetBot; wait until it has let go")
                self._driver, self._driver_name = token, name
            if token == self._driver:
                self._heard_s = now_s
            self._set(float(left), float(right), "asked")
            return now_s

    def gone(self, token):
        """A connection of this client has ended."""
        with self._lock:
            if token == self._driver:
                self._driver = None
                self._set(0.0, 0.0, "its client has gone")

    def stop(self, why):
        with self._lock:
            self._set(0.0, 0.0, why)

    def look(self):
        """Stop if the driver has been silent for too long; seconds until it may be."""
        with self._lock:
            if self._speeds == (0.0, 0.0):
                return math.inf
            left_s = self._heard_s + self.watchdog_s - self._clock()
            if left_s <= 0:
                self._set(0.0, 0.0, f"no call of its client for {self.watchdog_s:g} s")
                log.warning("motors stopped: no call of %s for %g s", self._driver_name, self.watchdog_s)
            return max(left_s, 0.0)

    def status(self):
        """Left, right, since when, why, who drives, and the clock now."""
        with self._lock:
            return self._speeds + (self._since_s, self._why, self._driver_name if self._driver else "", self._clock())

    def watch(self, ended):
        """The watchdog: looks every POLL_S at most, until the event `ended`. The motors' own thread."""
        while not ended.is_set():
            try:
                left_s = self.look()
            except Exception as error:  # the board's, of any kind: tried again at the next look
                log.error("the motors do not answer: %s", error)
                left_s = POLL_S
            ended.wait(min(left_s, POLL_S))

    def _set(self, left, right, why):
        self._board.set(left, right)
        if (left, right) != self._speeds:
            self._speeds, self._since_s, self._why = (left, right), self._clock(), why


# -- camera ---------------------------------------------------------------------------------------


class DrawnWorld:
    """A simulation of a JetBot, its camera and motors: not a real one.

    It stands in a round room of coloured panels on a chequered floor. Wheels of different speeds turn it, which moves the
    panels; equal ones drive it, which moves the floor. The bars at the sides are the speeds; the small mark goes on with each frame.
    """

    simulated = True

    def __init__(self, size, fps, seed=0):
        import numpy

        self._np, self._size, self._period_s = numpy, size, 1.0 / fps
        random = numpy.random.RandomState(seed)
        self._panels = random.randint(30, 226, (36, 3)).astype(numpy.uint8)
        self._lock = threading.Lock()
        self._speeds = (0.0, 0.0)
        self._heading = self._distance = 0.0
        self._moved_s = self._due_s = time.monotonic()
        self._frames = 0

    def set(self, left, right):
        with self._lock:
            self._move()
            self._speeds = (left, right)

    def read(self):
        """The next frame, when it is due: BGR."""
        self._due_s = max(self._due_s + self._period_s, time.monotonic() - self._period_s)
        time.sleep(max(self._due_s - time.monotonic(), 0.0))
        with self._lock:
            self._move()
            heading, distance, speeds = self._heading, self._distance, self._speeds
        self._frames += 1
        return True, self._draw(heading, distance, speeds)

    def release(self):
        pass

    def _move(self):
        now_s = time.monotonic()
        elapsed_s, self._moved_s = now_s - self._moved_s, now_s
        left, right = self._speeds
        self._heading = (self._heading + 2.0 * (left - right) * elapsed_s) % (2 * math.pi)
        self._distance = (self._distance + 2.0 * (left + right) * elapsed_s) % 2.0

    def _draw(self, heading, distance, speeds):
        numpy, size = self._np, self._size
        picture = numpy.zeros((size, size, 3), numpy.uint8)
        columns = numpy.arange(size)
        angle = heading + (columns - size / 2) / size * (math.pi / 2)
        horizon = size // 2
        picture[:horizon] = self._panels[(angle / (2 * math.pi) * len(self._panels)).astype(int) % len(self._panels)]
        depth = size / (numpy.arange(size - horizon)[:, None] + size / 8.0)
        across = (columns[None, :] - size / 2) / size * depth * 2
        turned = across + heading * 2
        picture[horizon:] = numpy.where((numpy.floor(depth + distance) + numpy.floor(turned)) % 2, 170, 70)[..., None]
        bar = max(size // 28, 2)
        for speed, place in zip(speeds, (slice(0, bar), slice(size - bar, size))):  # noqa: B905 (Python 3.6 has no strict)
            end = horizon - int(speed * horizon)
            picture[min(end, horizon) : max(end, horizon) + 1, place] = (0, 220, 0) if speed >= 0 else (0, 0, 220)
        mark = self._frames * bar % (size - bar)
        picture[size - bar :, mark : mark + bar] = 255
        return picture


def open_camera(name, size, fps):
    """`csi`, a number or /dev/video*, a file, a GStreamer pipeline. Raises Refused when it gives no picture."""
    import cv2

    if name == "csi" or "!" in name:
        pipeline = CSI.format(size=size, fps=fps) if name == "csi" else name
        source, hint = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER), "try `sudo systemctl restart nvargus-daemon`"
    elif name.isdigit() or name.startswith("/dev/"):
        source, hint = cv2.VideoCapture(int(name) if name.isdigit() else name), "look at `ls /dev/video*`"
    elif os.path.exists(name):
        source, hint = cv2.VideoCapture(name), "is it a video?"
    else:
        raise Refused(f"camera {name!r}: give csi, a number, /dev/videoN, a video file, a GStreamer pipeline, or test")
    if not source.read()[0]:
        source.release()
        raise Refused(f"camera {name!r} gives no picture; {hint}")
    return source


class Camera(threading.Thread):
    """Holds the newest picture as a JPEG, with its number and the time at which it was read."""

    def __init__(self, source, again, size, fps, paced):
        """`again` opens the source anew when it gives nothing; `paced`: it is a file, which must be held to `fps`."""
        threading.Thread.__init__(self, name="camera", daemon=True)
        self.period_s = 1.0 / fps
        self._source, self._again, self._size, self._paced = source, again, size, paced
        self._newest = (0, -math.inf, b"")
        self._trouble = ""

    def newest(self):
        """Number, time read, JPEG; RuntimeError when the camera has been giving nothing."""
        number, read_s, jpeg = self._newest
        if self._trouble and time.monotonic() - read_s > CAMERA_GONE_S:
            raise RuntimeError(f"camera: {self._trouble}")
        return number, read_s, jpeg

    def run(self):
        due_s = time.monotonic()
        while True:
            try:
                good, picture = self._source.read()
                if good:
                    read_s = time.monotonic()
                    self._newest = (self._newest[0] + 1, read_s, self._encode(picture))
                    self._trouble = ""
                else:
                    self._source.release()
                    self._source = self._again()
            except Exception as error:  # of any driver, any kind: said to whoever asks for a frame, tried again
                self._trouble = str(error).splitlines()[0] if str(error) else type(error).__name__
                time.sleep(1.0)
            if self._paced:
                due_s = max(due_s + self.period_s, time.monotonic() - self.period_s)
                time.sleep(max(due_s - time.monotonic(), 0.0))

    def _encode(self, picture):
        """The middle of it, `size` x `size`."""
        import cv2

        height, width = picture.shape[:2]
        if (height, width) != (self._size, self._size):
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            picture = cv2.resize(picture[top : top + side, left : left + side], (self._size, self._size), interpolation=cv2.INTER_AREA)
        good, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not good:
            raise RuntimeError(f"a picture of {picture.shape} cannot be encoded")
        return data.tobytes()


# -- what clients may call ------------------------------------------------------------------------


class JetBotService(rpyc.Service):
    """One for each connection; `wheels`, `camera` and `about` are those of the server."""

    wheels = camera = about = None

    def on_connect(self, conn):
        self._token = f"connection {id(self)}"
        endpoints = conn._config.get("endpoints")
        self._name = self._address = str(endpoints[1][0]) if endpoints else "somebody"

    def on_disconnect(self, conn):
        self.wheels.gone(self._token)

    def exposed_get_camera_frame(self):
        """The newest picture, a JPEG as base64 text; empty before the first."""
        self.wheels.heard(self._token)
        return base64.b64encode(self.camera.newest()[2]).decode("ascii")

    def exposed_set_motors(self, left, right):
        """Speeds in [-1, 1]."""
        self.wheels.drive(self._token, self._name, left, right)

    def exposed_hello(self, name, token):
        """Who is there: connections with the same token are one client. What this server is, as pairs."""
        for text in (name, token):
            if type(text) is not str or not 0 < len(text) <= 64 or not text.isprintable():
                raise ValueError(f"hello: {_short(text)} is no name")
        self._name, self._token = f"{name} at {self._address}", token
        return tuple(self.about.items()) + (("clock", time.monotonic()),)

    def exposed_get_frame(self, newer_than):
        """Number, time read, the clock now, JPEG: empty unless it was read after `newer_than`, a time of the same clock."""
        if type(newer_than) not in (int, float):
            raise ValueError(f"newer_than: {_short(newer_than)} is no time")
        self.wheels.heard(self._token)
        number, read_s, jpeg = self.camera.newest()
        return number, read_s, time.monotonic(), jpeg if read_s > newer_than else b""

    def exposed_move(self, left, right, heard):
        """Speeds in [-1, 1]; refused when `heard`, the clock as it was last heard, is too long ago. The clock now."""
        return self.wheels.drive(self._token, self._name, left, right, heard)

    def exposed_get_status(self):
        """Left, right, since when, why, who drives, and the clock now. No call of a driver: the watchdog does not count it."""
        return self.wheels.status()


def _short(value):
    """What a client gave, by its type: a value of its own may be an object on its side, which is not asked."""
    if type(value) in (int, float, bool, str, bytes) or value is None:
        text = repr(value) if not isinstance(value, int) or abs(value) < 10**9 else "a huge number"
        return text if len(text) <= 40 else text[:40] + "..."
    return "what was given"


# -- who may connect ------------------------------------------------------------------------------


class Door:
    """Lets a connection in, as rpyc's authenticators do: by TLS, a shared key, both, or neither. The key never travels.

    With a key the server says `toddle-key 1 NONCE`, the client `NONCE PROOF`, the server `ok PROOF`: each proof is the
    HMAC-SHA256, by the key, of who says it and both nonces.
    """

    def __init__(self, key=b"", tls=None):
        self._key, self._tls = key, tls
        self.clients = ()

    def __call__(self, sock):
        if len(self.clients) > MOST_CLIENTS:
            raise AuthenticationError("too many clients")
        sock.settimeout(DOOR_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            address, credentials = sock.getpeername()[0], None
            if self._tls is not None:
                sock, credentials = self._tls(sock)
            if self._key:
                self._ask(sock, address)
        except (OSError, ValueError) as error:
            raise AuthenticationError(str(error)) from None
        except AuthenticationError as error:
            log.warning("refused: %s", error)
            raise
        sock.settimeout(None)
        return sock, credentials

    def _ask(self, sock, address):
        nonce = os.urandom(16).hex().encode()
        sock.sendall(b"toddle-key 1 " + nonce + b"\n")
        theirs, _, proof = read_line(sock).partition(b" ")
        if not hmac.compare_digest(proof, prove(self._key, b"client", nonce, theirs)):
            sock.sendall(b"refused\n")
            raise AuthenticationError(f"{address} has no key, or another one")
        sock.sendall(b"ok " + prove(self._key, b"server", nonce, theirs) + b"\n")


def prove(key, who, first, second):
    """Hexadecimal, as bytes."""
    return hmac.new(key, b" ".join((who, first, second)), hashlib.sha256).hexdigest().encode()


def read_line(sock, longest=200):
    """Up to the end of a line and no further; ValueError when there is none."""
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        if not byte or len(line) >= longest:
            raise ValueError("no answer that makes sense")
        line += byte
    return line[:-1]


def read_key(path):
    """The key in a file. Raises Refused."""
    try:
        with open(path, "rb") as file:
            key = file.read().strip()
    except OSError as error:
        raise Refused(f"key file {path}: {error.strerror}") from None
    if len(key) < SHORTEST_KEY:
        raise Refused(f"key file {path}: a key has {SHORTEST_KEY} letters or more; `openssl rand -hex 16` makes one")
    return key


# -- the command ----------------------------------------------------------------------------------


class Server(ThreadedServer):
    """One thread for each client; whatever a client does wrong ends its own connection only, with one line."""

    def _authenticate_and_serve_client(self, sock):
        try:
            ThreadedServer._authenticate_and_serve_client(self, sock)
        except Exception as error:
            log.warning("a connection broke off: %s", str(error).splitlines()[0] if str(error) else type(error).__name__)


def parse(words):
    ask = argparse.ArgumentParser(prog="jetbot_server.py", description="Gives a JetBot's camera and motors to toddle.")
    ask.add_argument("--host", default="0.0.0.0", help="address to listen on (%(default)s: all)")
    ask.add_argument("--port", type=int, default=PORT, help="(%(default)s)")
    ask.add_argument(
        "--camera", default="csi", help="csi (the JetBot's own), a number, /dev/videoN, a video, a GStreamer pipeline; test: simulated"
    )
    ask.add_argument("--motors", choices=("jetbot", "none"), default="jetbot", help="none: nothing moves; simulated with --camera test")
    ask.add_argument("--size", type=int, default=224, help="pixels, square (%(default)s)")
    ask.add_argument("--fps", type=int, default=21, help="pictures a second (%(default)s)")
    ask.add_argument("--watchdog-s", type=float, default=WATCHDOG_S, help="motors stop after so long without a call (%(default)s)")
    ask.add_argument("--key-file", help="only who has the same key may connect")
    ask.add_argument("--tls-cert", help="TLS: the server's certificate (PEM)")
    ask.add_argument("--tls-key", help="TLS: the key of that certificate")
    ask.add_argument("--tls-ca", help="TLS: clients must show a certificate signed by this")
    given = ask.parse_args(words)
    if not 16 <= given.size <= 2048 or not 1 <= given.fps <= 240 or not 0.05 <= given.watchdog_s <= 10 or not 0 <= given.port < 65536:
        ask.error("--size is 16 to 2048, --fps 1 to 240, --watchdog-s 0.05 to 10, --port below 65536")
    if bool(given.tls_cert) != bool(given.tls_key) or (given.tls_ca and not given.tls_cert):
        ask.error("--tls-cert and --tls-key go together, --tls-ca with them")
    return given


def make_server(given):
    """The server, its wheels and its camera, as asked for. Raises Refused."""
    door = Door(read_key(given.key_file) if given.key_file else b"", _tls(given))
    if given.camera == "test":
        board = source = DrawnWorld(given.size, given.fps)
    else:
        board = Board() if given.motors == "jetbot" else NoMotors()
        source = open_camera(given.camera, given.size, given.fps)
    wheels = Wheels(board, given.watchdog_s)
    paced = given.camera != "test" and os.path.isfile(given.camera)
    camera = Camera(source, lambda: open_camera(given.camera, given.size, given.fps), given.size, given.fps, paced)
    about = {
        "version": VERSION, "watchdog_s": wheels.watchdog_s, "poll_s": POLL_S, "period_s": camera.period_s, "simulated": board.simulated,
    }  # fmt: skip
    service = type("JetBotService", (JetBotService,), {"wheels": wheels, "camera": camera, "about": about})
    quiet = logging.getLogger("jetbot-server.rpyc")
    quiet.setLevel(logging.CRITICAL)
    rules = {
        "allow_all_attrs": False, "allow_public_attrs": False, "allow_safe_attrs": False, "allow_setattr": False,
        "allow_delattr": False, "allow_pickle": False, "include_local_traceback": False, "sync_request_timeout": 1,
    }  # fmt: skip
    try:
        server = Server(
            service, hostname=given.host, port=given.port, authenticator=door, auto_register=False, protocol_config=rules, logger=quiet
        )
    except OSError as error:
        raise Refused(f"{given.host}:{given.port}: {error.strerror or error}; does another server run?") from None
    door.clients = server.clients
    return server, wheels, camera


def _tls(given):
    if not given.tls_cert:
        return None
    for path in filter(None, (given.tls_cert, given.tls_key, given.tls_ca)):
        if not os.path.isfile(path):
            raise Refused(f"{path}: no such file")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(given.tls_cert, given.tls_key)
    except ssl.SSLError as error:
        raise Refused(f"{given.tls_cert} and {given.tls_key}: {error}") from None
    return SSLAuthenticator(given.tls_key, given.tls_cert, ca_certs=given.tls_ca)


def main(words=None):
    """Serve until Ctrl-C or SIGTERM; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    given = parse(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    try:
        server, wheels, camera = make_server(given)
    except Refused as refused:
        log.error("%s", refused)
        return 2
    except KeyboardInterrupt:
        return 0
    ended = threading.Event()
    watchdog = threading.Thread(target=wheels.watch, args=(ended,), name="watchdog", daemon=True)
    try:
        watchdog.start()
        camera.start()
        if not (given.key_file or given.tls_ca):
            log.warning("no key: whoever reaches this port can drive; see --key-file")
        what = "a SIMULATED JetBot" if given.camera == "test" else f"camera {given.camera}, motors {given.motors}"
        server.listener.listen(server.backlog)  # before it is said
        log.info("listening on %s:%d, %s; motors stop after %g s without a call", given.host, server.port, what, wheels.watchdog_s)
        server.start()
    except KeyboardInterrupt:
        pass
    finally:
        wheels.stop("the server ends")
        ended.set()
        server.close()
    return 0


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    os._exit(code)  # a thread that speaks while Python ends would abort it
