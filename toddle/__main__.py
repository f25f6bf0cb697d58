"""`toddle` and `python -m toddle`."""

from toddle.cli import cli


def main() -> None:
    """The command line."""
    cli(prog_name="toddle")


if __name__ == "__main__":
    main()
