"""`toddle jetbot-server`: what runs on a JetBot; here to try everything without one.

toddle jetbot-server --camera test
"""

import sys

import click


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS]")
def jetbot_server(words: tuple[str, ...]) -> None:
    """Run on a JetBot: give its camera and motors to toddle. `--help` lists the options; `--camera test` is a simulation."""
    try:
        from onboard.jetbot_server import main
    except ImportError as error:
        raise click.ClickException(f"{error}; python -m pip install -c constraints.txt -e '.[jetbot]'") from None
    sys.exit(main(list(words)))
