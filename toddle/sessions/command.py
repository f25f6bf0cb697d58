"""`toddle sessions`: what was recorded.

toddle sessions import donkeycar ~/tub --name track --fps 20
toddle sessions list
toddle sessions info track --json
toddle sessions verify track
toddle sessions check track && echo fit
toddle sessions contact-sheet track
toddle sessions split track --by episode --guard 10
"""

from typing import Any

import click

from toddle.lazy import Commands, LazyGroup

COMMANDS: Commands = {
    "list": ("toddle.sessions.list:list_sessions", "All sessions, oldest first."),
    "info": ("toddle.sessions.info:info", "What a session holds."),
    "verify": ("toddle.sessions.verify:verify", "Is every byte of a session what was written?"),
    "check": ("toddle.sessions.check:check", "Are sessions fit to learn from? For scripts."),
    "contact-sheet": ("toddle.sessions.contact_sheet:contact_sheet", "A picture of what happened in a session."),
    "card": ("toddle.sessions.card:card", "A data card of a session, as the Hugging Face hub reads it."),
    "import": ("toddle.sessions.imports:import_group", "Make sessions of recordings of other systems."),
    "export": ("toddle.sessions.exports:export_group", "Write sessions in the formats of other systems."),
    "trim": ("toddle.sessions.edit:trim", "A new session with a part of another."),
    "drop": ("toddle.sessions.edit:drop", "A new session without some episodes."),
    "merge": ("toddle.sessions.edit:merge", "A new session of several."),
    "mark": ("toddle.sessions.edit:mark", "A new session with episodes marked, or relabelled."),
    "split": ("toddle.sessions.split:split", "Parts to train and to validate on, without copies."),
    "overlap": ("toddle.sessions.overlap:overlap", "Transitions that are in two sessions or splits."),
    "tag": ("toddle.sessions.label:tag", "Put tags on a session, or take them off."),
    "note": ("toddle.sessions.label:note", "Write a note on a session."),
    "pin": ("toddle.sessions.keep:pin", "Keep a session from being deleted."),
    "unpin": ("toddle.sessions.keep:unpin", "Let a session be deleted again."),
    "delete": ("toddle.sessions.keep:delete", "Delete a session, whole."),
}


class Sessions(LazyGroup):
    """Ends a StorageError of a command with its one line and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        from storage.errors import StorageError

        try:
            return super().invoke(ctx)
        except StorageError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=Sessions, commands_by_name=COMMANDS)
def sessions() -> None:
    """List, check, edit, split and import recorded sessions."""
