"""`toddle attention`: what does a model read when it predicts?

toddle attention demo                                     the newest checkpoint of a run, on the session it recorded
toddle attention demo track --episode 3 --step 12 --select change --view overlay --out read.png
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toddle.attach import runs_option
from toddle.checkpoints.find import checkpoint_argument, find_checkpoint
from toddle.sessions.common import complete_session, echo_json, json_option
from toddle.sessions.pictures import png_file

if TYPE_CHECKING:
    from storage.loading.windows import WindowBatch, Windows
    from worldmodel.attention import Attention
    from worldmodel.spec import ModelSpec

BAD_INPUT = 2
LOOKED_AT = 64
JOINED = click.Choice(["mean", "max", "sum"])


@click.command()
@checkpoint_argument("what")
@click.argument("session", required=False, shell_complete=complete_session)
@click.option("--episode", type=click.IntRange(0), help="Of the session.")
@click.option("--step", type=click.IntRange(0), help="The last that is seen; its action is imagined. Default: where most changes.")
@click.option("--select", "selected", default="change", show_default=True, metavar="PATCHES",
              help="change[:SHARE], brightness[:SHARE], all, or numbers as 0,5,10-15.")  # fmt: skip
@click.option("--layers", metavar="0,2-3", help="Which; default: all.")
@click.option("--heads", metavar="0,2-3", help="Which; default: all.")
@click.option("--stage", type=click.Choice(["decoder", "encoder"]), default="decoder", show_default=True, help="Whose blocks.")
@click.option("--quantile", default=95.0, show_default=True, type=click.FloatRange(0, 100), help="Lines are drawn from this percentile on.")
@click.option("--heads-by", type=JOINED, default="mean", show_default=True, help="How heads are joined.")
@click.option("--patches-by", type=JOINED, default="mean", show_default=True, help="How patches are joined, in the overlay.")
@click.option("--view", type=click.Choice(["lines", "matrix", "overlay"]), default="lines", show_default=True)
@click.option("--out", metavar="FILE.png", callback=png_file, help="The picture [attention.png; with --json none].")
@runs_option
@click.option("--root", metavar="FOLDER", is_eager=True, help="Folder of sessions [TODDLE_SESSIONS or ./sessions].")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@json_option
def attention(what: str, session: str | None, runs: str | None, root: str | None, as_json: bool, out: str | None, **how: Any) -> None:
    """What a CHECKPOINT (or a RUN's newest) reads for chosen patches of a frame that it predicts, from a recorded SESSION.

    The attention is that of the pass that makes the prediction. Patches are counted row by row, from 0.
    """
    from storage.errors import StorageError
    from storage.paths import find_session, sessions_root
    from storage.views import open_session
    from worldmodel import checkpoint
    from worldmodel.predictor import FramePredictor

    try:
        path = find_checkpoint(what, runs)
        loaded = checkpoint.load(path)
        with open_session(find_session(sessions_root(root), session or _own_session(path, loaded.metadata))) as reader:
            windows = _windows(reader, loaded.spec)
            pick = _pick(windows, how["episode"], how["step"])
            seen = windows.empty(1)
            windows.read([pick], seen)
            predictor = FramePredictor(loaded.spec, loaded.weights(), how["device"])
            found, patches = _look(predictor, seen, how)
            frame = int(windows.frame[pick])
            where = {
                "checkpoint": str(path), "session": reader.path.name,
                "episode": int(windows.frames.episode[frame]), "step": int(windows.frames.step[frame]),
            }  # fmt: skip
        if out or not as_json:
            _write(found, patches, how, out or "attention.png")
    except (StorageError, checkpoint.CheckpointError, ValueError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(BAD_INPUT)
    _tell(found, patches, where, how, as_json)


def _own_session(path: Path, metadata: dict[str, Any]) -> str:
    """The session that the checkpoint's run recorded, or one that it learned from."""
    from worldmodel.finding import session_of

    name = session_of(path) or next(iter(metadata.get("sessions", [])), None)
    if name is None:
        raise ValueError(f"{path.name} names no session of its own: name one, `toddle sessions list` shows them")
    return str(name)


def _windows(reader: Any, spec: "ModelSpec") -> "Windows":
    from storage.loading.frames import Frames
    from storage.loading.windows import Windows

    windows = Windows(Frames([reader], [camera.name for camera in spec.cameras]), spec.context)
    if tuple(windows.names) != spec.actions.names:
        ours, theirs = ", ".join(spec.actions.names), ", ".join(windows.names)
        raise ValueError(f"session {reader.path.name} has actions {theirs}; the model was made for {ours}")
    if not len(windows):
        raise ValueError(f"session {reader.path.name} holds no frame with an action and a next frame")
    return windows


def _pick(windows: "Windows", episode: int | None, step: int | None) -> int:
    """The transition that is meant: of this episode and step, or, of those left open, the one in which most changes."""
    import numpy as np

    episodes, steps = windows.frames.episode[windows.frame], windows.frames.step[windows.frame]
    fits = (episodes == episode if episode is not None else np.ones(len(steps), bool)) & (steps == step if step is not None else True)
    picks = np.flatnonzero(fits)
    if not len(picks):
        asked = " ".join(f"{name} {value}" for name, value in (("episode", episode), ("step", step)) if value is not None)
        known = sorted(set(episodes.tolist()))
        raise ValueError(f"no transition at {asked}: there are episodes {known[0]} to {known[-1]}, with steps 0 to {steps.max()}")
    picks = picks[np.linspace(0, len(picks) - 1, min(LOOKED_AT, len(picks))).round().astype(int)]
    batch = windows.empty(len(picks))
    windows.read(picks, batch)
    changes = sum(
        np.abs(array[:, -1].astype(np.int16) - array[:, -2]).mean(axis=(1, 2, 3), dtype=np.float64) for array in batch.frames.values()
    )
    return int(picks[np.argmax(changes)])


def _look(predictor: Any, seen: "WindowBatch", how: dict[str, Any]) -> tuple["Attention", list[int]]:
    from worldmodel.attention import capture, numbers_in, select

    layers, heads = (numbers_in(how[name], 10**6, name[:-1]) if how[name] else None for name in ("layers", "heads"))
    history = {name: array[0, :-1] for name, array in seen.frames.items()}
    found = capture(predictor, history, seen.actions[0, :-1], seen.actions[0, -1], layers, heads, how["stage"])
    return found, select(how["selected"], found, {name: array[0, -1] for name, array in seen.frames.items()})


def _write(found: "Attention", patches: list[int], how: dict[str, Any], out: str) -> None:
    from worldmodel.attention import draw

    try:
        from matplotlib.image import imsave
    except ImportError:
        raise ValueError("pictures need matplotlib: python -m pip install -c constraints.txt -e '.[train]'") from None
    picture = draw(found, patches, how["view"], how["quantile"], how["heads_by"], how["patches_by"])
    try:
        imsave(out, picture)
    except OSError as error:
        raise ValueError(f"{out} cannot be written: {error.strerror or error}") from None
    click.echo(f"picture {out}", err=True)


def _tell(found: "Attention", patches: list[int], where: dict[str, Any], how: dict[str, Any], as_json: bool) -> None:
    from worldmodel.attention import join_heads, join_patches, metrics, statistics

    numbers = statistics(found, patches)
    measured = metrics(found) if found.stage == "decoder" else None
    if as_json:
        read = join_patches(join_heads(found, patches, how["heads_by"]), how["patches_by"])
        weights = [{"layer": layer, "weights": row.tolist()} for layer, row in zip(found.layers, read, strict=True)]
        echo_json({**where, "stage": found.stage, **numbers, "metrics": measured, "tokens": found.keys, "read": weights})
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(f"{where['session']} episode {where['episode']} step {where['step']}, {found.stage} of {where['checkpoint']}")
    console.print(f"patches {', '.join(map(str, patches))}: {numbers['count']} of {numbers['of']}; each reads {numbers['keys']} tokens")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    groups = list(numbers["layers"][0]["shares"])
    for column in ("layer", *groups, "entropy", "largest"):
        table.add_column(column, justify="right")
    for layer in numbers["layers"]:
        shares = (f"{layer['shares'][group]:.1%}" for group in groups)
        table.add_row(str(layer["layer"]), *shares, f"{layer['entropy']:.2f}", f"{layer['max']:.3f}")
    console.print(table)
    if measured:
        said = [f"{name} {value:.3f} (even {measured['even'][name]:.3f})" for name, value in measured["model"].items() if value is not None]
        console.print(f"all patches, layer {found.layers[-1]}: {', '.join(said)}")
        if measured["model"]["apa"] is None:
            console.print("apa: none, no token of the action to imagine is read; this model adds it to what it predicts from")
