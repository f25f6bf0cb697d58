"""`toddle completion`: what a shell needs to complete verbs, files, args and names."""

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash  eval "$(toddle completion bash)"        in ~/.bashrc
    zsh   eval "$(toddle completion zsh)"         in ~/.zshrc
    fish  toddle completion fish | source         in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    from toddle.cli import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"click knows no completion for {shell}")
    complete = kind(cli, {}, "toddle", "_TODDLE_COMPLETE")
    click.echo(complete.source_template % complete.source_vars())
