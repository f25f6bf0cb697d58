"""`toddle topic`: what flows in a running graph.

toddle topic list
toddle topic echo frame/robot --count 3
toddle topic hz frame
toddle topic bw frame
toddle topic latency frame
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from toddle.attach import Attached, attach, complete_topic, run_option, runs_option

if TYPE_CHECKING:
    from protocol.tap import Heard
    from toddle.listen import Listening

EVERY_S = 1.0

topic_argument = click.argument("name", metavar="TOPIC", shell_complete=complete_topic)
seconds_option = click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Listen for so long; default: until Ctrl-C.")
count_option = click.option("--count", type=click.IntRange(1), help="End after so many messages.")


@click.group()
def topic() -> None:
    """List, print and measure the topics of a running graph, which does not notice.

    TOPIC is a full name such as frame/robot, or frame where one node publishes it.
    """


@topic.command("list")
@run_option
@runs_option
@click.option("--seconds", type=click.FloatRange(min=0.1), default=3.0, show_default=True, help="Listen for at most so long.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def list_topics(run: str | None, runs: str | None, seconds: float, as_json: bool) -> None:
    """Every topic: who takes it on which lane, how often, how large, how old."""
    at = attach(run, runs)
    from toddle import listing

    rows = listing.rows(at, seconds)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
    else:
        listing.show(rows, at.table.run)


@topic.command()
@topic_argument
@run_option
@runs_option
@seconds_option
@count_option
@click.option("--full", is_flag=True, help="All values of arrays, and long texts whole.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
def echo(name: str, run: str | None, runs: str | None, seconds: float | None, count: int | None, full: bool, as_json: bool) -> None:
    """Print messages; of a latched topic the last value comes first."""
    at = attach(run, runs)
    import msgspec

    from toddle import echo as show

    def said(heard: Heard) -> str:
        if as_json:
            return msgspec.json.encode(show.plain(heard.message, full)).decode()
        return show.text(heard.message, full)

    listening = _listening(at, name, seconds, count, newest=True)
    with suppress(KeyboardInterrupt):
        for heard in listening:
            if heard is not None:
                click.echo(said(heard))
    click.echo(f"{listening.came:,} of {listening.topic}{listening.missed()}", err=True)


@topic.command()
@topic_argument
@run_option
@runs_option
@seconds_option
@count_option
def hz(name: str, run: str | None, runs: str | None, seconds: float | None, count: int | None) -> None:
    """Rate and jitter, by the publisher's numbers and clock: what this tap skips does not lower it."""
    at = attach(run, runs)
    from toddle.measure import Pace

    pace = Pace()
    _measure(_listening(at, name, seconds, count), lambda heard: pace.add(heard.message.envelope), pace.line)


@topic.command()
@topic_argument
@run_option
@runs_option
@seconds_option
@count_option
def bw(name: str, run: str | None, runs: str | None, seconds: float | None, count: int | None) -> None:
    """Bytes a second, and the size of a message."""
    at = attach(run, runs)
    from toddle.measure import Volume

    volume = Volume()
    _measure(_listening(at, name, seconds, count), lambda heard: volume.add(heard.message.envelope, heard.nbytes), volume.line)


@topic.command()
@topic_argument
@run_option
@runs_option
@seconds_option
@count_option
def latency(name: str, run: str | None, runs: str | None, seconds: float | None, count: int | None) -> None:
    """From publish to receive, and the age since capture."""
    at = attach(run, runs)
    from toddle.measure import Latency

    measured = Latency()
    listening = _listening(at, name, seconds, count)

    def take(heard: Heard) -> None:
        if (beat := listening.heartbeat) is not None:
            measured.clocks(beat.message.envelope, beat.wall_ns, beat.mono_ns)
        measured.add(heard.message.envelope, heard.wall_ns, heard.mono_ns)

    _measure(listening, take, measured.line)


def _listening(at: Attached, name: str, seconds: float | None, count: int | None, newest: bool = False) -> Listening:
    from toddle.listen import Listening, find_topic

    full_name = find_topic(at, name)
    return Listening(at, full_name, seconds, count, newest and at.topics[full_name][0].latched)


def _measure(listening: Listening, take: Callable[[Heard], Any], line: Callable[[], str]) -> None:
    """A line a second while there is something new, and one at the end."""
    due_s, shown = time.monotonic() + EVERY_S, 0
    with suppress(KeyboardInterrupt):
        for heard in listening:
            if heard is not None:
                take(heard)
            if time.monotonic() >= due_s and listening.came > shown:
                due_s, shown = time.monotonic() + EVERY_S, listening.came
                click.echo(line())
    click.echo(f"{listening.topic}  {line()}{listening.missed()}")
