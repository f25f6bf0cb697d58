"""Whether MuJoCo can draw: the simulated arm needs its pictures, and no window."""

from collections.abc import Mapping
from dataclasses import dataclass

from nodes.robot.headless import INSTALL
from toddle.doctor.finding import Finding
from toddle.doctor.probe import ProbeFailed, ask

TIMEOUT_S = 9.0
CODE = """
from importlib.util import find_spec
if find_spec("mujoco") is not None:
    from nodes.robot.interface import RobotError
    from nodes.robot.mujoco_arm.physics import Physics
    try:
        arm = Physics(("front",), 16)
        arm.look()
        arm.close()
    except RobotError as error:
        answer["problem"] = str(error)
    from importlib.metadata import version
    answer["version"], answer["by"] = version("mujoco"), os.environ.get("MUJOCO_GL", "")
"""


@dataclass(frozen=True)
class SimulationFacts:
    """`by` is what draws, egl or osmesa, empty where MuJoCo chooses itself; `problem` why nothing does."""

    version: str = ""
    by: str = ""
    problem: str = ""


def gather(env: Mapping[str, str] | None = None) -> SimulationFacts:
    try:
        return SimulationFacts(**ask(CODE, TIMEOUT_S, env))
    except ProbeFailed as failed:
        return SimulationFacts(problem=f"{failed}; {INSTALL}")


def mujoco(facts: SimulationFacts) -> Finding:
    if facts.problem:
        found, _, fix = facts.problem.partition("; ")
        return Finding("mujoco", "warning", f"{found}: no simulated arm", fix)
    if not facts.version:
        fix = "to have it: python -m pip install -c constraints.txt -e '.[sim]'"
        return Finding("mujoco", "note", "not installed: no simulated arm", fix)
    return Finding("mujoco", "ok", f"{facts.version} draws{f' by {facts.by}' if facts.by else ''}")


CHECKS = (mujoco,)
