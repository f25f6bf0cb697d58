"""What a recording is to be: what the launch file is told, and what may not change when it goes on. Pure."""

import json
from typing import Any, Literal

import msgspec

ENDING = ".pos"
AFTER_S = 5.0
"""An episode goes on so long after the last decision of its sequence."""
DRAWN_S = 30.0
"""An episode of random decisions takes so long unless told otherwise."""
RESET_S = 10.0
MAY_CHANGE = ("episodes", "between_s", "port")
"""When a recording goes on: how much is still to come, and where the arm is plugged in."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`options` are those of the driver `so101`, but for the joints. `episode_s` 0: as the decisions ask for. Raises ValueError."""

    options: dict[str, Any] = {}
    joint: str = "shoulder_pan"
    delta: float = 10.0
    secondary: str = ""
    secondary_delta: float = 10.0
    by: Literal["sequence", "random", "person"] = "sequence"
    sequence: list[int] = []
    action_duration_s: float = 0.5
    calibrated: bool = False
    rate_hz: float = 30.0
    episodes: int = 10
    episode_s: float = 0.0
    between_s: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        above = {name: getattr(self, name) for name in ("delta", "secondary_delta", "action_duration_s", "rate_hz", "episodes")}
        if wrong := [f"{name} is {value:g}" for name, value in above.items() if not value > 0]:
            raise ValueError(f"{wrong[0]}: it must be above 0")
        if self.by == "sequence" and not self.sequence:
            raise ValueError("nothing to decide: give --sequence 1,0,2,0, --random or --person")

    @property
    def episode_time_s(self) -> float:
        """0: until a person goes on."""
        if self.episode_s:
            return self.episode_s
        return {"sequence": len(self.sequence) * self.action_duration_s + AFTER_S, "random": DRAWN_S, "person": 0.0}[self.by]

    def driver_options(self) -> dict[str, Any]:
        """Goals of one joint, written at once; the driver holds the others, and moves the second one between episodes."""
        secondary = {"joint": self.secondary, "delta": self.secondary_delta} if self.secondary else None
        return {**self.options, "mode": "continuous", "joint": self.joint, "secondary": secondary}

    def selector_options(self) -> dict[str, Any]:
        sequence = self.sequence if self.by == "sequence" else []
        return {
            "joint": self.joint.removesuffix(ENDING) + ENDING, "delta": self.delta, "action_duration_s": self.action_duration_s,
            "by": self.by, "sequence": sequence, "calibrated": self.calibrated,
        }  # fmt: skip

    def args(self) -> dict[str, Any]:
        """Of launch/record.yaml."""
        return {
            "options": self.driver_options(), "selector_options": self.selector_options(), "rate_hz": self.rate_hz,
            "episodes": self.episodes, "episode_steps": round(self.episode_time_s * self.rate_hz), "between_s": self.between_s,
            "max_action_s": RESET_S, "seed": self.seed,
        }  # fmt: skip

    def verification(self) -> "Plan":
        """A recording of one episode, to look at."""
        change: dict[str, Any] = {"by": "sequence", "sequence": [1, 0, 2, 0], "episodes": 1, "episode_s": 0.0, "secondary": ""}
        return msgspec.structs.replace(self, **change)


def words(args: dict[str, Any]) -> list[str]:
    """`--set` for each; JSON is YAML."""
    return [word for name, value in args.items() for word in ("--set", f"{name}={json.dumps(value)}")]


def gone_on(earlier: Plan, told: dict[str, Any]) -> Plan:
    """The earlier plan, with what may change as it is told now. Raises ValueError that names everything else that differs."""
    now: dict[str, Any] = {name: value for name, value in told.items() if name != "options"}
    given = dict(told.get("options", {}))
    then = msgspec.structs.asdict(earlier)
    pairs = {name: (then[name], value) for name, value in now.items()}
    pairs |= {name: (earlier.options.get(name), value) for name, value in given.items()}
    wrong = [f"{name} was {was!r}, is {value!r} now" for name, (was, value) in pairs.items() if was != value and name not in MAY_CHANGE]
    if wrong:
        raise ValueError(f"this is another recording than the one that was begun: {'; '.join(wrong)}")
    change = {name: value for name, value in now.items() if name in MAY_CHANGE}
    moved = {name: value for name, value in given.items() if name in MAY_CHANGE}
    return msgspec.structs.replace(earlier, options={**earlier.options, **moved}, **change)
