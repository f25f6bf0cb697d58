"""How a servo moves: a trapezoid of speed towards its goal. Pure: what time it is, it is told.

Positions in counts (4096 a turn), speeds in counts/s, accelerations in counts/s^2, loads in thousandths of the torque it has.
The curves are ours: real ones depend on voltage, load and wear.
"""

from dataclasses import dataclass, replace
from math import exp, sqrt

STICK_COUNTS = 2.0  # friction: a servo at rest does not begin to move for less
ARRIVED_COUNTS = 1e-6
LOAD_S = 0.05  # how fast the load follows what is asked for
FRICTION_LOAD = 40.0  # below this torque limit it cannot move itself
MOVING_LOAD = 200.0  # at full speed, above friction
STIFFNESS = 4.0  # load for each count that something holds it back
FULL_LOAD = 1000.0


@dataclass(frozen=True)
class State:
    """Where a servo is, how fast, and how hard it works (signed)."""

    position: float
    speed: float = 0.0
    load: float = 0.0


@dataclass(frozen=True)
class Drive:
    """What a servo is asked to do: `powered` without torque is False; `stuck` when something holds it.

    `stops`: the mechanical ends of the joint; a goal may lie beyond them, the servo not.
    """

    goal: float
    powered: bool = True
    stuck: bool = False
    max_speed: float = 3400.0
    acceleration: float = 25400.0
    torque_limit: float = FULL_LOAD
    stops: tuple[float, float] = (-1e9, 1e9)


def advance(state: State, drive: Drive, dt_s: float) -> State:
    """The state `dt_s` later; two steps lead where one of the same length does."""
    low, high = drive.stops
    if not drive.powered:  # gears stop at once, and hold
        return State(state.position, 0.0, _follow(state.load, 0.0, dt_s))
    if drive.stuck or drive.torque_limit < FRICTION_LOAD:
        return replace(_held(state, drive, dt_s), speed=0.0)
    if state.speed == 0.0 and abs(drive.goal - state.position) <= STICK_COUNTS:
        return _held(state, drive, dt_s)
    position, speed = _travel(state.position, state.speed, drive, dt_s)
    if not low <= position <= high:
        return _held(State(min(max(position, low), high), 0.0, state.load), drive, dt_s)
    if not speed:
        return State(position, 0.0, _follow(state.load, 0.0, dt_s))
    wanted = (1 if speed > 0 else -1) * (FRICTION_LOAD + MOVING_LOAD * abs(speed) / drive.max_speed)
    return State(position, speed, _follow(state.load, wanted, dt_s))


def _held(state: State, drive: Drive, dt_s: float) -> State:
    """It stays where it is, and pushes the harder the further its goal is."""
    error = drive.goal - state.position
    push = 0.0 if abs(error) <= STICK_COUNTS else STIFFNESS * error
    wanted = min(max(push, -drive.torque_limit), drive.torque_limit)
    return State(state.position, 0.0, _follow(state.load, wanted, dt_s))


def _follow(load: float, wanted: float, dt_s: float) -> float:
    return wanted + (load - wanted) * exp(-dt_s / LOAD_S)


def _travel(position: float, speed: float, drive: Drive, dt_s: float) -> tuple[float, float]:
    """Position and speed after `dt_s` on the fastest way to rest at the goal."""
    for duration_s, acceleration in plan(drive.goal - position, speed, drive.max_speed, drive.acceleration):
        passed_s = min(duration_s, dt_s)
        position += speed * passed_s + acceleration * passed_s**2 / 2
        speed += acceleration * passed_s
        dt_s -= passed_s
        if dt_s <= 0 and passed_s < duration_s:
            return position, speed
    return drive.goal, 0.0


def plan(distance: float, speed: float, max_speed: float, acceleration: float) -> list[tuple[float, float]]:
    """(duration, acceleration) of each part of the way to rest `distance` away."""
    if abs(distance) < ARRIVED_COUNTS and speed == 0.0:
        return []
    way = 1 if distance >= 0 else -1
    braking = speed**2 / (2 * acceleration)
    if speed * way < 0 or braking > abs(distance) + ARRIVED_COUNTS:  # the wrong way, or too fast to stop in time: to rest, then from there
        sign = 1 if speed > 0 else -1
        stop = (abs(speed) / acceleration, -sign * acceleration)
        return [stop, *plan(distance - sign * braking, 0.0, max_speed, acceleration)]
    fast, far, parts = speed * way, abs(distance), []
    if fast > max_speed:  # the limit was lowered on the way
        parts.append(((fast - max_speed) / acceleration, -way * acceleration))
        far -= (fast**2 - max_speed**2) / (2 * acceleration)
        fast = max_speed
    peak = min(max_speed, max(fast, sqrt(acceleration * far + fast**2 / 2)))
    cruise = max(0.0, far - (2 * peak**2 - fast**2) / (2 * acceleration))
    return [
        *parts,
        ((peak - fast) / acceleration, way * acceleration),
        (cruise / peak, 0.0),
        (peak / acceleration, -way * acceleration),
    ]
