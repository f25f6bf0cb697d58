"""A group of commands whose modules are imported when they are called, so that `--help` answers at once."""

from importlib import import_module
from typing import Any

import click

Commands = dict[str, tuple[str, str]]
"""Name to `module:attribute` and one line of help."""


class LazyGroup(click.Group):
    """Knows its commands by name only."""

    def __init__(self, *args: Any, commands_by_name: Commands, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.by_name = commands_by_name

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.by_name:
            return None
        module, _, attribute = self.by_name[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.by_name and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], self.by_name, 1, 0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(self.by_name)}"
            ctx.fail(f"no command '{args[0]}'; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.by_name.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=text) for name, (_, text) in self.by_name.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)
