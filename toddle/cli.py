"""The one command. A verb's module is imported when it is called, so that `toddle --help` answers at once."""

from importlib import import_module
from typing import Any

import click

VERBS: dict[str, tuple[str, str]] = {
    "launch": ("toddle.launch:launch", "Start a graph of nodes from a launch file."),
    "sessions": ("toddle.sessions:sessions", "List, show, verify and import recorded sessions."),
    "evaluate": ("toddle.evaluate:evaluate", "Score a run or a checkpoint against truth and baselines."),
    "view": ("toddle.view:view", "Look at a running graph or a recorded session."),
    "topic": ("toddle.topic:topic", "List, print and measure the topics of a running graph."),
    "top": ("toddle.top:top", "Watch the nodes of a running graph."),
    "graph": ("toddle.graph:graph", "Draw a launch file or a running graph."),
    "logs": ("toddle.logs:logs", "Read and follow the logs of a run."),
    "doctor": ("toddle.doctor.command:doctor", "Look for what is wrong on this machine, and say what to do."),
    "keys": ("toddle.keys:keys", "Make keys for graphs reached from other machines; say who may connect."),
    "completion": ("toddle.completion:completion", "Print the completion script of a shell."),
}
"""Verb to `module:attribute` and one line of help."""


class LazyGroup(click.Group):
    """A group that knows its commands by name only."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _, attribute = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], VERBS, 1, 0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(VERBS)}"
            ctx.fail(f"no command '{args[0]}'; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=text) for name, (_, text) in VERBS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="toddle-robotics", prog_name="toddle")
def cli() -> None:
    """A robot learns, live, how the world answers its actions.

    Begin with: toddle launch launch/online.yaml
    """
