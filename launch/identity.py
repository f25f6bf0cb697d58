"""The key that guards a graph's tcp endpoints, and who may come from other machines."""

import ipaddress
import socket

import msgspec
import psutil

from launch.loader import Launch
from launch.schema import LaunchFile
from protocol import keys
from protocol.errors import KeysError
from protocol.keys import KeyPair


def identity(launch: Launch) -> KeyPair | None:
    """The identity that the launch file names; LaunchError where the host needs one and it, or somebody allowed, is missing."""
    host, folder = launch.spec.host, keys.keys_folder()
    _check_host(launch, host)
    if launch.spec.key:
        try:
            pair = keys.read_pair(folder, launch.spec.key)
        except KeysError as error:
            raise launch.error(("key",), str(error)) from None
    elif _loopback(host):
        return None
    else:
        text = f"host '{host}' can be reached from other machines, which takes a key: run `toddle keys new` and start with --key NAME"
        raise launch.error(("host",), text)
    if not launch.spec.hosts and not _loopback(host) and all(one.problem for one in keys.listing(folder).allowed):
        text = f"host '{host}' is for other machines, and nobody is allowed to connect: run `toddle keys allow NAME KEY`"
        raise launch.error(("host",), text)
    return pair


def host_keys(launch: Launch, here: str, own: KeyPair | None) -> dict[str, str]:
    """Host to public key, where the launch file names several: that of another is the one that is allowed here by its name."""
    if own is None:
        return {}
    allowed = {one.name: one.key for one in keys.listing(own.folder).allowed if not one.problem}
    found = {here: own.public}
    for host in launch.spec.hosts:
        if host != here and host not in allowed:
            text = f"host '{host}' has no key here: run there `toddle keys new {host}`, and here `toddle keys allow {host} KEY`"
            raise launch.error(("hosts", host), text)
        found.setdefault(host, allowed.get(host, ""))
    return found


def at_host(launch: Launch, name: str, key: str) -> Launch:
    """The launch file as the host `name` sees it, with its address and its key; as it is, where it names no hosts."""
    spec = launch.spec
    if not spec.hosts:
        if name:
            raise launch.error((), f"--on {name}: the file names no hosts")
        return launch
    if name not in spec.hosts:
        text = f"--on {name}: there is no such host" if name else "it is for several hosts: say which one this is with --on NAME"
        raise launch.error(("hosts",), f"{text}; there are {', '.join(spec.hosts)}")
    for field in ("host", "key"):
        if getattr(spec, field) != getattr(LaunchFile(nodes={}), field):
            raise launch.error((field,), f"'{field}' does not go with 'hosts': each of them has its own address, and the key of its name")
    if not spec.base_port:
        raise launch.error(("hosts",), "several hosts need a base_port, the same on each: add `base_port: 27000`")
    for address in spec.hosts.values():
        _check_host(launch, address)
    alone = all(map(_loopback, spec.hosts.values()))
    changed = msgspec.structs.replace(spec, host=spec.hosts[name], key=key or ("" if alone else name))
    return msgspec.structs.replace(launch, spec=changed)


def describe(pair: KeyPair) -> str:
    """For `--dry-run`: who guards, and who gets in."""
    allowed = ", ".join(one.name for one in keys.listing(pair.folder).allowed if not one.problem)
    return f"key {pair.name}; allowed to connect: {allowed or 'nobody but this graph'}"


def _check_host(launch: Launch, host: str) -> None:
    """Others connect to what the nodes bind: it must be one address, by number."""
    try:
        every = host != "localhost" and ipaddress.ip_address(host).is_unspecified
    except ValueError:
        raise launch.error(("host",), f"host '{host}' is no IP address; this machine has {_addresses()}") from None
    if every:
        raise launch.error(("host",), f"host '{host}' stands for every address; name the one that others connect to: {_addresses()}")


def _loopback(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def _addresses() -> str:
    families = (socket.AF_INET, socket.AF_INET6)
    found = {one.address for all_ in psutil.net_if_addrs().values() for one in all_ if one.family in families}
    return ", ".join(sorted(found, key=lambda address: (":" in address, address)))
