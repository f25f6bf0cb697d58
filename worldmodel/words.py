"""How a wrong name or value in a spec or a training's settings is told: in one line, with what was probably meant."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_type_hints

import msgspec


def hint(name: str, known: Iterable[str]) -> str:
    """`did you mean 'lr'?`, or all that there is."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"


def typed[T: msgspec.Struct](values: Mapping[str, Any], kind: type[T], what: str) -> T:
    """Values as a person writes them, such as "1e-5", which YAML reads as text. ValueError in one line, which names the field."""
    try:
        return msgspec.convert(dict(values), kind, strict=False)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at ")
        field = place.strip("`").removeprefix("$").removeprefix(".")
        choices = [one for one in get_args(get_type_hints(kind).get(field)) if isinstance(one, str)]
        if choices:
            problem = f"has no {values[field]!r}; {hint(str(values[field]), choices)}"
        raise ValueError(f"{what}{field and '.'}{field}: {problem}" if field else f"{what}: {problem}") from None
