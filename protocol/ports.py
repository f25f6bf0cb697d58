"""Tcp ports to bind, where no port was asked for."""

import errno
import random
import socket
from contextlib import ExitStack

QUIET = range(20_000, 32_768)
"""Below the ports that Linux, macOS and Windows give to outgoing connections: one of those may be taken before it is bound,
or while the process that had it starts again."""

TAKEN = (errno.EADDRINUSE, errno.EACCES)
"""The numbers of an OSError that says so of a port."""


def hold(host: str, port: int) -> socket.socket:
    """A socket that has the port, for as long as it is open. Raises OSError when that is taken, or no address of this machine."""
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((host, port))
    except BaseException:
        one.close()
        raise
    return one


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that nobody has. Raises OSError when there are none, or the host is no address of this machine."""
    found: list[int] = []
    with ExitStack() as held:  # each until all are found: no two are the same
        # the system's own chance: two processes that were given one seed would draw the same ports
        for port in random.SystemRandom().sample(QUIET, len(QUIET)):
            if len(found) == count:
                break
            try:
                held.enter_context(hold(host, port))
            except OSError as error:
                if error.errno not in TAKEN:
                    raise
            else:
                found.append(port)
    if len(found) < count:
        raise OSError(errno.EADDRINUSE, f"only {len(found)} of {count} ports from {QUIET.start} to {QUIET.stop - 1} are free on {host}")
    return found
