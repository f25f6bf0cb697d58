"""Numbers about attention: joined over heads and patches, filtered, and how it is spread. numpy only.

The metrics of the last layer follow the original: means over heads and over all patches to predict of
    apa      mass on the action to imagine (where it is a bar of several patches: their sum)
    alf      mass on the frame directly before that action
    ttar     mass on all actions / mass on all frames that are seen
    entropy  - sum p ln p, in nats
each beside what evenly spread attention would give. A model that adds the action to its queries, or to its norms, has no
token of it to read: there apa is None. The original's uniform baseline 1 / (row + 1) and its RI@16 hold for causal attention
over one row of tokens; here every query reads all keys, so the baseline is 1 / keys, and `own` tells how much the frame to
come reads of itself.
"""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from worldmodel.attention.selection import rows_of

if TYPE_CHECKING:
    from worldmodel.attention.capture import Attention, FloatArray
    from worldmodel.attention.tokens import Token

How = Literal["mean", "max", "sum"]
TINY = 1e-8


def _join(values: "FloatArray", how: How, axis: int) -> "FloatArray":
    if how == "max":
        return np.asarray(values.max(axis=axis), np.float32)
    return np.asarray(values.sum(axis=axis) if how == "sum" else values.mean(axis=axis), np.float32)


def join_heads(attention: "Attention", patches: list[int], how: How = "mean") -> "FloatArray":
    """What each of the patches reads: float32 [layers, patches, keys]."""
    return _join(attention.weights[:, :, rows_of(attention, patches)], how, 1)


def join_patches(read: "FloatArray", how: How = "mean") -> "FloatArray":
    """What all of them read together: [layers, patches, keys] -> [layers, keys]."""
    return _join(read, how, 1)


def strongest(read: "FloatArray", quantile: float) -> tuple[np.ndarray[Any, Any], float]:
    """Which of the weights [layers, patches, keys] are at or above their quantile (in percent, over all of them), and that value."""
    least = float(np.quantile(read, quantile / 100.0))
    return read >= least, least


def entropy(weights: "FloatArray") -> "FloatArray":
    """Of rows [..., keys], in nats: [...]."""
    clamped = np.maximum(weights, TINY)
    result: FloatArray = -(clamped * np.log(clamped)).sum(axis=-1)
    return result


def groups_of(keys: "list[Token]", context: int) -> dict[str, np.ndarray[Any, Any]]:
    """Keys by what they are: `frame 0` the oldest, `own` the frame to come, `actions` (tokens or bars), `class`."""
    names = [_group(key, context) for key in keys]
    return {name: np.array([one == name for one in names]) for name in sorted(set(names), key=_order)}


def _group(key: "Token", context: int) -> str:
    if key.kind == "patch":
        return "own" if key.frame == context else f"frame {key.frame}"
    return "class" if key.kind == "class" else "actions"


def _order(name: str) -> tuple[int, str]:
    return ("frame", "actions", "own", "class").index(name.split()[0]), name


def statistics(attention: "Attention", patches: list[int]) -> dict[str, Any]:
    """How the chosen patches' attention is spread, layer by layer and head by head. Shares of each group of keys sum to 1."""
    read = attention.weights[:, :, rows_of(attention, patches)]  # [layers, heads, patches, keys]
    groups = groups_of(attention.keys, attention.spec.context)
    layers = []
    for number, layer in zip(attention.layers, read, strict=True):
        heads = [{"head": head, **_spread(one, groups)} for head, one in zip(attention.heads, layer, strict=True)]
        layers.append({"layer": number, **_spread(layer.reshape(-1, layer.shape[-1]), groups), "heads": heads})
    return {"patches": patches, "count": len(patches), "of": attention.weights.shape[2], "keys": len(attention.keys), "layers": layers}


def _spread(rows: "FloatArray", groups: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Of rows [n, keys]."""
    shares = {name: float(rows[:, mask].sum(axis=-1).mean()) for name, mask in groups.items()}
    return {"shares": shares, "entropy": float(entropy(rows).mean()), "mean": float(rows.mean()), "max": float(rows.max())}


def metrics(attention: "Attention") -> dict[str, dict[str, float | None]]:
    """The metrics of the last captured layer, and what even attention would give. Raises ValueError of an encoder's attention."""
    if attention.stage != "decoder":
        raise ValueError("these metrics are of what is predicted: capture the decoder")
    spec, rows = attention.spec, attention.weights[-1].reshape(-1, len(attention.keys))
    even = np.full((1, len(attention.keys)), 1.0 / len(attention.keys), np.float32)
    keys, newest = attention.keys, spec.context - 1
    actions = np.array([key.kind in ("action", "bar") for key in keys])
    asked = np.array([key.kind in ("action", "bar") and key.frame == newest for key in keys])
    before = np.array([key.kind == "patch" and key.frame == newest for key in keys])
    frames = np.array([key.kind == "patch" and key.frame < spec.context for key in keys])
    own = np.array([key.kind == "patch" and key.frame == spec.context for key in keys])

    def of(weights: "FloatArray") -> dict[str, float | None]:
        def mass(mask: np.ndarray[Any, Any]) -> float:
            return float(weights[:, mask].sum(axis=-1).mean())

        return {
            "apa": mass(asked) if asked.any() else None,
            "alf": mass(before),
            "ttar": mass(actions) / (mass(frames) + TINY) if actions.any() else None,
            "own": mass(own),
            "entropy": float(entropy(weights).mean()),
        }

    return {"model": of(rows), "even": of(even)}
