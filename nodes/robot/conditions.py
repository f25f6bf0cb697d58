"""What `speed>0.2, turn=0` says about an action. Pure."""

import operator
import re
from collections.abc import Callable

from protocol.messages import Action

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq, "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_CONDITION = re.compile(r"\s*([^\s=!<>]+)\s*(==|!=|<=|>=|=|<|>)\s*(\S+)\s*")


def parse(text: str, names: list[str]) -> Callable[[Action], bool]:
    """Whether an action fulfils every condition in `text`, with commas between; ValueError, one line, when it cannot be read.

    `names` are those of the robot's actions.
    """
    tests = [_one(part, names) for part in text.split(",")]
    return lambda action: all(test(action) for test in tests)


def _one(text: str, names: list[str]) -> Callable[[Action], bool]:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ValueError(f"condition {text.strip()!r}: write NAME=VALUE, or with one of {' '.join(_OPERATORS)}, and commas between several")
    name, sign, number = found.groups()
    if name not in names:
        raise ValueError(f"condition {text.strip()!r}: the actions have no {name!r}, they have {', '.join(names)}")
    try:
        value = float(number)
    except ValueError:
        raise ValueError(f"condition {text.strip()!r}: {number!r} is no number") from None
    compare = _OPERATORS[sign]
    return lambda action: name in action and compare(action[name], value)
