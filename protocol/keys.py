"""Identities and the allow-list of this user: a folder of CURVE keys that nobody else may enter.

    keys/                    mode 0700; TODDLE_KEYS, else ~/.config/toddle/keys
      robot-pc.key           the secret key of an identity of this machine, mode 0600
      robot-pc.pub           its public key, to be carried to other machines
      allowed/laptop.pub     may connect to the graphs that run here
      revoked/tablet.pub     might once

A file holds one key of 40 characters (z85). A public key follows from its secret key, so nothing can
disagree. Files appear whole or not at all, and none is ever written over.
"""

import os
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
import zmq
from zmq.utils import z85

from protocol.errors import KeysError
from protocol.wiring import Peer

ALLOWED, REVOKED = "allowed", "revoked"
KEY_CHARS = 40
MAX_FILE_BYTES = 4096
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


@dataclass(frozen=True)
class KeyPair:
    """An identity of this machine: whom its sockets prove to be."""

    folder: Path
    name: str
    public: str
    secret: str = field(repr=False)

    def serve(self, socket: zmq.Socket[Any]) -> None:
        """Make `socket`, before it binds, one that speaks only with those who know and prove a key."""
        self._prove(socket)
        socket.curve_server = True
        socket.zap_domain = b"toddle"

    def call(self, socket: zmq.Socket[Any], server_key: str) -> None:
        """Make `socket`, before it connects, one that speaks only with the holder of `server_key`."""
        self._prove(socket)
        socket.curve_serverkey = server_key.encode()

    def _prove(self, socket: zmq.Socket[Any]) -> None:
        socket.curve_publickey, socket.curve_secretkey = self.public.encode(), self.secret.encode()


class Listed(msgspec.Struct, frozen=True):
    """A key as `toddle keys list` shows it; `problem` says why it cannot be used."""

    name: str
    key: str
    problem: str = ""


class Listing(msgspec.Struct, frozen=True):
    """Everything in a folder of keys, but for secrets."""

    folder: str
    identities: list[Listed]
    allowed: list[Listed]
    revoked: list[Listed]


def keys_folder() -> Path:
    """Where this user's keys are."""
    given = os.environ.get("TODDLE_KEYS")
    return Path(given) if given else Path.home() / ".config" / "toddle" / "keys"


def new(folder: Path, name: str) -> str:
    """Make an identity; its public key."""
    _check_name(name)
    _make(folder)
    public, secret = zmq.curve_keypair()
    while public.startswith(b"-"):  # a command line would take it for an option
        public, secret = zmq.curve_keypair()
    _write(folder / f"{name}.key", secret.decode(), 0o600, f"key '{name}' is there already; take another name, or remove")
    (folder / f"{name}.pub").unlink(missing_ok=True)  # of an identity whose secret was removed
    _write(folder / f"{name}.pub", public.decode(), 0o644, "taken:")
    return public.decode()


def read_pair(folder: Path, name: str) -> KeyPair:
    """The identity `name`; KeysError when it is missing, open to others, or no key."""
    _check_name(name)
    path = folder / f"{name}.key"
    try:
        if not path.is_file():
            raise KeysError(f"no key '{name}' in {folder}; {_nearest(name, names(folder)) or f'run `toddle keys new {name}`'}")
        check_private(folder)
        secret = _read_secret(path)
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}") from None
    return KeyPair(folder.absolute(), name, zmq.curve_public(secret.encode()).decode(), secret)


def names(folder: Path) -> list[str]:
    """The identities of this machine."""
    return sorted(path.stem for path in folder.glob("*.key"))


def own_for(peers: Iterable[Peer], name: str) -> KeyPair | None:
    """The identity to join these with: `name`, else their own if this machine has it; None where they have no keys."""
    folder = keys_folder()
    if name:
        return read_pair(folder, name)
    wanted = {peer.key for peer in peers} - {""}
    if not wanted:
        return None
    for known in names(folder):
        with suppress(KeysError):
            pair = read_pair(folder, known)
            if pair.public in wanted:
                return pair
    hint = f"give --key with one of {', '.join(names(folder))}" if names(folder) else "run `toddle keys new` and give --key NAME"
    raise KeysError(f"this graph lets in only whom it allows: {hint}; where it runs: `toddle keys allow NAME KEY`")


def allow(folder: Path, name: str, key_or_file: str) -> str:
    """Let in whoever holds a key; the key."""
    _check_name(name)
    key = _public_key(key_or_file)
    _make(folder)
    for other in public_keys(folder / ALLOWED):
        if other.key == key:
            if other.name == name:
                return key
            raise KeysError(f"this key is allowed already, as '{other.name}'")
    _write(folder / ALLOWED / f"{name}.pub", key, 0o644, f"'{name}' is allowed already with another key; revoke it first, or remove")
    for old in public_keys(folder / REVOKED):
        if old.key == key:
            (folder / REVOKED / f"{old.name}.pub").unlink(missing_ok=True)
    return key


def revoke(folder: Path, name: str) -> None:
    """Let a name in no more; its key stays known as a revoked one."""
    path = folder / ALLOWED / f"{name}.pub"
    if not _NAME.match(name) or not path.is_file():
        raise KeysError(
            f"'{name}' is not allowed in {folder}; {_nearest(name, [one.name for one in public_keys(path.parent)]) or 'nobody is'}"
        )
    check_private(folder)
    (folder / REVOKED).mkdir(mode=0o700, exist_ok=True)
    path.replace(folder / REVOKED / path.name)


def listing(folder: Path) -> Listing:
    """What there is; an identity that cannot be used is listed with its problem."""
    identities = []
    for name in names(folder):
        try:
            identities.append(Listed(name, read_pair(folder, name).public))
        except KeysError as error:
            identities.append(Listed(name, "", str(error)))
    return Listing(str(folder), identities, public_keys(folder / ALLOWED), public_keys(folder / REVOKED))


def has_allow_list(folder: Path) -> bool:
    """Whether there is a list of who may connect; one that is empty lets nobody in but the graph's own nodes."""
    return (folder / ALLOWED).is_dir()


def check_private(folder: Path) -> None:
    """KeysError when somebody else could change or read the keys in `folder`."""
    if os.name == "nt":
        return
    found = folder.stat()
    if found.st_uid not in (0, os.geteuid()):
        raise KeysError(f"{folder} belongs to another user; set TODDLE_KEYS to a folder of yours")
    if found.st_mode & 0o077:
        raise KeysError(f"{folder} is open to other users; run `chmod 700 {folder}`")


def is_key(text: str) -> bool:
    """Whether `text` is a key in z85."""
    try:
        return len(text) == KEY_CHARS and len(z85.decode(text.encode("ascii"))) == 32
    except Exception:  # z85 raises many kinds; all mean the same here
        return False


def public_keys(folder: Path) -> list[Listed]:
    """The public keys in a folder."""
    found = []
    for path in sorted(folder.glob("*.pub")):
        try:
            with path.open(errors="replace") as file:
                key = file.read(MAX_FILE_BYTES).strip()
        except FileNotFoundError:  # revoked at this moment
            continue
        except OSError as error:
            found.append(Listed(path.stem, "", f"cannot be read: {error.strerror}"))
            continue
        found.append(Listed(path.stem, key) if is_key(key) else Listed(path.stem, "", "is no public key; remove it and allow it again"))
    return found


def _read_secret(path: Path) -> str:
    with path.open(errors="replace") as file:
        if os.name != "nt" and os.fstat(file.fileno()).st_mode & 0o077:
            raise KeysError(f"{path} is open to other users; run `chmod 600 {path}`, or make a new key if one of them may have read it")
        secret = file.read(MAX_FILE_BYTES).strip()
    if not is_key(secret):
        raise KeysError(f"{path} holds no key; remove it and run `toddle keys new {path.stem}`")
    return secret


def _public_key(key_or_file: str) -> str:
    if is_key(key_or_file):
        return key_or_file
    path = Path(key_or_file)
    if path.suffix == ".key":
        raise KeysError(f"{path.name} is a SECRET key and stays where it was made; give its public key, which `toddle keys list` prints")
    try:
        with path.open(errors="replace") as file:
            key = file.read(MAX_FILE_BYTES).strip()
    except (OSError, ValueError):
        raise KeysError(f"'{key_or_file[:80]}' is neither a public key ({KEY_CHARS} characters) nor a file with one") from None
    if not is_key(key):
        raise KeysError(f"{path} holds no public key ({KEY_CHARS} characters)")
    return key


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        raise KeysError(f"'{name[:80]}' cannot name a key: letters, digits, . - and _")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(folder)
        (folder / ALLOWED).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise KeysError(f"cannot make {folder}: {error.strerror}; set TODDLE_KEYS to another folder") from None


def _write(path: Path, text: str, mode: int, taken: str) -> None:
    """Whole or not at all, and never over another file."""
    part = path.with_name(f".{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    except FileExistsError:
        raise KeysError(f"{taken} {path}") from None
    except OSError as error:
        raise KeysError(f"cannot write {path}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def _nearest(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, 1, 0.5)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}" if known else ""
