"""Weights into a model: exactly those it has, or, when asked, those of a shallower or of another model.

    loaded = fit(spec, tensors, "grow")
    print(loaded.table())

Blocks that are new add nothing at first (their last projections are zero), so that a model grown in depth answers as before.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from worldmodel.models import make_model
from worldmodel.spec import ModelSpec

Way = Literal["strict", "grow", "partial"]
Fate = Literal["loaded", "new", "left out", "other shape"]
BLOCK = re.compile(r"^((?:encoder|decoder)\.\d+)\.")
LAST = re.compile(r"^((?:encoder|decoder)\.\d+)\.(?:out|down|attn\.proj|mlp\.fc2)\.")
"""The projections through which a block adds to its tokens: of our blocks, and of timm's."""


class LoadError(ValueError):
    """Weights that are not those of the model."""


@dataclass(frozen=True)
class Row:
    """What became of one tensor. `other shape`: the model's own random one was kept."""

    name: str
    fate: Fate
    shape: tuple[int, ...]  # in the model, or of what was left out
    found: tuple[int, ...] = ()  # in the weights, where it differs


@dataclass(frozen=True)
class Loaded:
    """`state`: float32 by name, all that the model has. `rows`: the model's tensors in order, then those left out."""

    state: dict[str, Tensor]
    rows: tuple[Row, ...]

    def table(self) -> str:
        """Markdown: one line of counts, then a row for each block or module and fate but "loaded"."""
        counts = Counter(row.fate for row in self.rows)
        lines = [", ".join(f"{counts[fate]} {fate}" for fate in ("loaded", "new", "left out", "other shape")) + " (tensors)"]
        parts: dict[tuple[str, Fate], list[Row]] = {}
        for row in self.rows:
            block = BLOCK.match(row.name)
            parts.setdefault((block[1] if block else row.name.split(".")[0], row.fate), []).append(row)
        lines += ["", "| part | fate | tensors | of |", "|---|---|---:|---|"]
        for (part, fate), rows in parts.items():
            shapes = "; ".join(f"{list(row.found)} where the model has {list(row.shape)}" for row in rows if row.found)
            lines.append(f"| {part} | {fate} | {len(rows)} | {shapes} |")
        return "\n".join(lines)


def misfits(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """Names that are missing, unknown or of another shape."""
    return sorted(n for n in own.keys() | tensors.keys() if n not in own or n not in tensors or own[n].shape != tensors[n].shape)


def fit(spec: ModelSpec, tensors: Mapping[str, Tensor], way: Way = "strict", seed: int = 0) -> Loaded:
    """The weights of a model of this spec, from `tensors` (name -> weight, as `Learner.ema_state`).

    "strict": every tensor must fit and none may be left. "grow": the same, but the model may have more blocks at the end of
    its encoder or decoder. "partial": whatever fits by name and shape; the rest is random by `seed`. Blocks of which nothing
    was loaded add nothing at first. Raises LoadError, which names what does not fit, or when nothing does.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        own = {name: weight.detach() for name, weight in make_model(spec).named_parameters()}
    wrong = misfits(own, tensors)
    known = {match[1] for name in tensors if (match := BLOCK.match(name))}
    added = [name for name in wrong if name in own and (match := BLOCK.match(name)) and match[1] not in known]
    refused = wrong if way == "strict" else sorted(set(wrong) - set(added))
    if refused and way != "partial":
        raise LoadError(
            f"the weights do not fit the model spec {spec.hash[:12]}: {len(refused)} tensors are missing, "
            f"unknown or of another shape, first {refused[:3]}; give the model the spec they were made with"
            + ("" if way == "grow" else ", or ask for growth or for a partial load")
        )
    state, rows = {}, []
    for name, weight in own.items():
        found = tensors.get(name)
        fits = found is not None and found.shape == weight.shape
        state[name] = found.to(weight.dtype) if fits and found is not None else weight
        last = LAST.match(name)
        if name in added and last and f"{last[1]}.modulate.weight" not in own:  # such a block's gates are zero as they are
            state[name] = torch.zeros_like(weight)
        fate: Fate = "loaded" if fits else "new" if found is None else "other shape"
        rows.append(Row(name, fate, tuple(weight.shape), () if fits or found is None else tuple(found.shape)))
    if not any(row.fate == "loaded" for row in rows):
        raise LoadError(f"nothing of these {len(tensors)} tensors fits the model spec {spec.hash[:12]}: they belong to another model")
    rows += [Row(name, "left out", tuple(tensor.shape)) for name, tensor in tensors.items() if name not in own]
    return Loaded(state, tuple(rows))
