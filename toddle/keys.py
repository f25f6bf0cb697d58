"""`toddle keys`: who this machine is to others, and whom it lets in.

toddle keys new                    an identity of this machine, by its host name
toddle keys allow laptop KEY       let the holder of a public key watch and steer the graphs that run here
toddle keys list
toddle keys revoke laptop          graphs that run drop it within seconds
"""

import json
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from protocol.keys import Listed

BAD_INPUT = 2


def _one_line[**P, T](verb: Callable[P, T]) -> Callable[P, T]:
    """Errors in one line, with exit code 2."""
    from functools import wraps

    @wraps(verb)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        from protocol.errors import KeysError

        try:
            return verb(*args, **kwargs)
        except KeysError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(BAD_INPUT)
        except OSError as error:
            click.echo(f"Error: {error.filename}: {error.strerror}", err=True)
            sys.exit(BAD_INPUT)

    return checked


def _complete_allowed(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from protocol.keys import ALLOWED, keys_folder

    return [path.stem for path in (keys_folder() / ALLOWED).glob(f"{incomplete}*.pub")]


def complete_identity(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The identities of this machine, for `--key`."""
    from protocol.keys import keys_folder, names

    return [name for name in names(keys_folder()) if name.startswith(incomplete)]


@click.group()
def keys() -> None:
    """Make keys for graphs that are reached from other machines, and say who may connect.

    They lie in $TODDLE_KEYS, else in ~/.config/toddle/keys. docs/security.md goes through two machines.
    """


@keys.command()
@click.argument("name", required=False)
@_one_line
def new(name: str | None) -> None:
    """Make an identity; NAME is the host's where none is given. Prints its public key, never the secret one."""
    from socket import gethostname

    from protocol import keys as store

    name = name or re.sub(r"[^A-Za-z0-9._-]+", "-", gethostname()).strip(".-_") or "me"
    folder = store.keys_folder()
    key = store.new(folder, name)
    click.echo(f"made key '{name}' in {folder}. On each machine that shall let it in, run:")
    click.echo(f"toddle keys allow {name} '{key}'")


@keys.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_one_line
def list_(as_json: bool) -> None:
    """Show the identities of this machine and who may connect, with their public keys."""
    from protocol import keys as store

    found = store.listing(store.keys_folder())
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(found), indent=2))
        return
    click.echo(found.folder)
    _show("this machine", found.identities, "none; make one with `toddle keys new`")
    _show("allowed to connect", found.allowed, "nobody; `toddle keys allow NAME KEY`")
    if found.revoked:
        _show("revoked", found.revoked, "")


@keys.command()
@click.argument("name")
@click.argument("key", metavar="KEY|FILE")
@_one_line
def allow(name: str, key: str) -> None:
    """Let in whoever holds the secret of this public KEY (or of the one in FILE); you will know it as NAME."""
    from protocol import keys as store

    store.allow(store.keys_folder(), name, key)
    click.echo(f"'{name}' may connect to the graphs that run here with a key, watch and steer them")


@keys.command()
@click.argument("name", shell_complete=_complete_allowed)
@_one_line
def revoke(name: str) -> None:
    """Let NAME in no more; graphs that run drop its connections within seconds."""
    from protocol import keys as store

    store.revoke(store.keys_folder(), name)
    click.echo(f"'{name}' is revoked: running graphs drop it within seconds")


def _show(title: str, entries: "list[Listed]", otherwise: str) -> None:
    click.echo(f"{title}:" if entries else f"{title}: {otherwise}")
    width = max((len(one.name) for one in entries), default=0)
    for one in entries:
        said: Any = one.problem or one.key
        click.echo(f"  {one.name:<{width}}  {said}")
