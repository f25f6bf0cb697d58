"""The folder of keys: secrets stay secret, nothing is written over, the allow-list is the one on disk."""

import os
from pathlib import Path

import pytest
import zmq

from protocol import keys
from protocol.allow_list import AllowList
from protocol.errors import BindError, KeysError
from protocol.sockets import is_loopback, refuse_open


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "config" / "keys"


def other_key() -> str:
    return zmq.curve_keypair()[0].decode()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_key_is_for_its_owner_alone_whatever_the_umask(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        public = keys.new(folder, "robot-pc")
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    assert mode(folder / "robot-pc.key") == 0o600
    assert (folder / "robot-pc.pub").read_text() == public + "\n"
    pair = keys.read_pair(folder, "robot-pc")
    assert pair.public == public
    assert pair.secret not in repr(pair)
    assert not list(folder.rglob("*.part"))


def test_nothing_is_written_over(folder: Path) -> None:
    public = keys.new(folder, "a")
    with pytest.raises(KeysError, match="key 'a' is there already"):
        keys.new(folder, "a")
    assert keys.read_pair(folder, "a").public == public
    key = other_key()
    assert keys.allow(folder, "laptop", key) == keys.allow(folder, "laptop", key) == key
    with pytest.raises(KeysError, match="'laptop' is allowed already with another key"):
        keys.allow(folder, "laptop", other_key())
    with pytest.raises(KeysError, match="allowed already, as 'laptop'"):
        keys.allow(folder, "notebook", key)


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660])
def test_a_secret_that_others_may_read_is_refused(folder: Path, bits: int) -> None:
    keys.new(folder, "a")
    (folder / "a.key").chmod(bits)
    with pytest.raises(KeysError, match=f"open to other users; run `chmod 600 {folder / 'a.key'}`"):
        keys.read_pair(folder, "a")
    assert "chmod 600" in keys.listing(folder).identities[0].problem


def test_a_folder_that_others_may_enter_is_refused(folder: Path) -> None:
    keys.new(folder, "a")
    folder.chmod(0o755)
    for act in (lambda: keys.read_pair(folder, "a"), lambda: keys.new(folder, "b"), lambda: keys.allow(folder, "c", other_key())):
        with pytest.raises(KeysError, match=f"open to other users; run `chmod 700 {folder}`"):
            act()


@pytest.mark.parametrize(
    ("name", "said"),
    [("robot-cp", "did you mean 'robot-pc'?"), ("zzz", "known: robot-pc"), ("../x", "cannot name a key"), ("", "cannot name a key")],
)
def test_a_wrong_name_gets_one_line(folder: Path, name: str, said: str) -> None:
    keys.new(folder, "robot-pc")
    with pytest.raises(KeysError) as caught:
        keys.read_pair(folder, name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_any_key_the_command_is_named(folder: Path) -> None:
    with pytest.raises(KeysError, match="run `toddle keys new me`"):
        keys.read_pair(folder, "me")


def test_what_is_no_key_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "laptop.key").write_text(other_key())
    for given, said in (
        ("short", "neither a public key"), (str(tmp_path / "text"), "holds no public key"), (str(tmp_path), "neither a public key"),
        (str(tmp_path / "laptop.key"), "is a SECRET key"), ('"' * 40, "neither a public key"), ("%" * 40, "neither a public key"),
        ("a\0b", "neither a public key"), ("x" * 5000, "neither a public key"),
    ):  # fmt: skip
        with pytest.raises(KeysError, match=said):
            keys.allow(folder, "laptop", given)
    keys.new(folder, "a")
    (folder / "a.key").write_text("nothing")
    with pytest.raises(KeysError, match="holds no key"):
        keys.read_pair(folder, "a")


def test_a_revoked_key_stays_known_until_it_is_allowed_again(folder: Path) -> None:
    key = other_key()
    keys.allow(folder, "laptop", key)
    allowed = AllowList(folder)
    allowed.look()
    assert (allowed.allowed(key), allowed.revoked(key)) == ("laptop", None)
    with pytest.raises(KeysError, match="did you mean 'laptop'"):
        keys.revoke(folder, "lapto")
    keys.revoke(folder, "laptop")
    allowed.look()
    assert (allowed.allowed(key), allowed.revoked(key)) == (None, "laptop")
    keys.allow(folder, "notebook", key)
    allowed.look()
    assert (allowed.allowed(key), allowed.revoked(key)) == ("notebook", None)
    with pytest.raises(KeysError, match="'laptop' is not allowed"):
        keys.revoke(folder, "laptop")


def test_an_allow_list_is_read_again_however_it_changed(folder: Path) -> None:
    """A file put there by hand, written over in place, damaged, removed with its folder."""
    keys.new(folder, "a")
    one, two = other_key(), other_key()
    allowed = AllowList(folder)
    allowed.look()
    file = folder / "allowed" / "x.pub"
    file.write_text(one)
    allowed.look()
    assert allowed.allowed(one) == "x"
    file.write_text(two + "\n")
    allowed.look()
    assert (allowed.allowed(one), allowed.allowed(two)) == (None, "x")
    file.write_text("damaged")
    allowed.look()
    assert allowed.allowed(two) is None
    assert str(file) in allowed.problem
    file.unlink()
    file.parent.rmdir()
    allowed.look()
    assert allowed.problem == ""
    assert not keys.has_allow_list(folder)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "[::1]"])
def test_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(f"tcp://{host}:5999")
    refuse_open(f"tcp://{host}:5999", guarded=False)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "*", "192.168.1.7", "10.0.0.1", "example.org", "[::]", "[fe80::1%eth0]", "eth0", "", "0", "127.1", "127.0.0.1;10.0.0.1",
     "10.0.0.1@127.0.0.1", "127.0.0.1@10.0.0.1", "[::ffff:10.0.0.1]", "2130706433"],
)  # fmt: skip
def test_everywhere_else_needs_one(host: str) -> None:
    endpoint = f"tcp://{host}:5999"
    assert not is_loopback(endpoint)
    with pytest.raises(BindError, match="toddle keys new") as caught:
        refuse_open(endpoint, guarded=False)
    assert "\n" not in str(caught.value)
    refuse_open(endpoint, guarded=True)


def test_other_transports_are_refused_even_with_keys() -> None:
    for endpoint in ("udp://127.0.0.1:5", "ws://127.0.0.1:5", "nonsense", "vmci://*:5", "TCP://0.0.0.0:5"):
        with pytest.raises(BindError):
            refuse_open(endpoint, guarded=True)


@pytest.mark.parametrize("bits", [0o755, 0o711, 0o750, 0o777])
def test_a_socket_in_a_folder_open_to_others_is_refused(tmp_path: Path, bits: int) -> None:
    tmp_path.chmod(bits)
    with pytest.raises(BindError, match="chmod 700"):
        refuse_open(f"ipc://{tmp_path}/x", guarded=True)
    tmp_path.chmod(0o700)
    refuse_open(f"ipc://{tmp_path}/x", guarded=False)
    with pytest.raises(BindError, match="every user of this machine"):
        refuse_open("ipc://@abstract", guarded=True)
