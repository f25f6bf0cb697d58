"""Where the original system's converter joined episodes in one folder.

It put one action of standing still between two episodes, as if that had led from the last frame of one to
the first of the next. Nothing marks it: so it is found only where it cannot be mistaken, and never guessed.
"""

from collections.abc import Sequence

from protocol.messages import Action
from storage.errors import ImportProblem
from storage.exchange.actionlog import STAY, ActionLog
from storage.exchange.original import Folder, Move, moves


def find_joins(folder: Folder, logs: Sequence[ActionLog], episodes_at: Sequence[int]) -> set[int]:
    """The observations of the folder, counted from 0, after which another episode begins. Raises ImportProblem."""
    if folder.episodes < 2 and not episodes_at:
        return set()
    actions = [None if move.taken is None else move.taken.action for move in moves(folder) if isinstance(move, Move)]
    if episodes_at:
        wrong = [at for at in episodes_at if not 0 < at < len(actions)]
        if wrong:
            raise ImportProblem(f"{folder.path} has observations 0 to {len(actions) - 1}: no episode can begin at {wrong[0]}")
        return {at - 1 for at in episodes_at}
    if logs:
        return _by_logs(folder, logs, actions)
    stays = [place for place, action in enumerate(actions) if action is not None and is_join(action)]
    if len(stays) == folder.episodes - 1:
        return set(stays)
    raise ImportProblem(
        f"{folder.path} joins {folder.episodes} episodes, and which of its {len(stays)} stays are joins cannot be told: "
        "give --action-logs with the logs of the recording, or --episodes-at"
    )


def is_join(action: Action) -> bool:
    """Whether this can be the action between two episodes."""
    return action.get("action") == STAY and not action.get("duration")


def _by_logs(folder: Folder, logs: Sequence[ActionLog], actions: list[Action | None]) -> set[int]:
    """The joins by the logs, whose decisions must be the folder's, one by one."""
    wanted: list[int] = []
    joins: set[int] = set()
    told = folder.meta.get("combined_episodes")
    chosen = [logs[index] for index in told if isinstance(index, int) and 0 <= index < len(logs)] if isinstance(told, list) else list(logs)
    for log in chosen:
        decided = [one.choice for one in log.trimmed]
        if not decided:
            continue
        if wanted:
            joins.add(len(wanted))
            wanted.append(STAY)
        wanted += decided
    found = [None if action is None else action.get("action") for action in actions]
    found = found[:-1] if found and found[-1] is None else found
    if found != wanted:
        at = next((place for place, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), min(len(found), len(wanted)))
        raise ImportProblem(
            f"{folder.path} is not made of these logs: from action {at} on they differ ({len(found)} actions, {len(wanted)} by the logs)"
        )
    return joins
