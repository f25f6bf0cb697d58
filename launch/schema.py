"""The shape of a launch file: what `toddle launch` accepts and editors complete."""

from typing import Annotated, Any, Literal

import msgspec

RestartPolicy = Literal["never", "on-failure", "always"]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Seed = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
Patience = Annotated[float, msgspec.Meta(ge=0)]

HANG_S = {"trainer": 300.0, "predictor": 120.0}
"""What compiles or scores a model is long without progress; everybody else has `OTHER_HANG_S`."""
OTHER_HANG_S = 60.0


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base: frozen, named fields only, unknown keys refused."""


class Restart(_Part, frozen=True, kw_only=True):
    """When a node that died starts again: waits double from `backoff_s` to `backoff_max_s`, and at most
    `max` starts again fall inside `window_s`. The window counts the time in which the node ran: one that
    never gets as far uses up its starts, however slowly it dies."""

    policy: RestartPolicy = "never"
    max: Annotated[int, msgspec.Meta(ge=0)] = 3
    window_s: Positive = 60.0
    backoff_s: Positive = 0.5
    backoff_max_s: Positive = 10.0


class NodeSpec(_Part, frozen=True, kw_only=True):
    """One process of the graph.

    `inputs` names nodes; which of their topics are taken, and how, follows from the two kinds. `after`
    names nodes that must be ready before this one starts. A node with `required: false` may be missing.
    `on_full`: a node whose subscribers cannot keep up waits (`block`) or drops and counts (`count`);
    null is what suits it: a real robot counts, everybody else waits. `start_s`: how long it may take to
    be set up. `hang_s`: how long it may be without progress, or unheard, before it is ended and starts
    again by its rule; null is what suits its kind. 0: for ever. `host`: on which of the file's `hosts`.
    """

    kind: str
    host: str = ""
    inputs: list[str] = []
    params: dict[str, Any] = {}
    env: dict[str, str | int | float | bool] = {}
    python: str = ""
    restart: RestartPolicy | Restart = "never"
    required: bool = True
    after: list[str] = []
    condition: bool | str = msgspec.field(default=True, name="if")
    ring_mb: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 256
    on_full: Literal["block", "count"] | None = None
    max_age_s: Positive = 2.0
    start_s: Patience = 300.0
    hang_s: Patience | None = None

    @property
    def restarts(self) -> Restart:
        return self.restart if isinstance(self.restart, Restart) else Restart(policy=self.restart)


class LaunchFile(_Part, frozen=True, kw_only=True):
    """A graph of nodes.

    `args` are the names that `--set NAME=VALUE` may change and `${NAME}` stands for; `required_args` must
    be given. The launcher itself gives `${run}`, the run's name, and `${run_dir}`, its folder. `include`
    takes the args and nodes of other files first. With `transport: tcp` each node takes three ports of
    `host`, an address of this machine, from `base_port` on (0: free ones). `key` names the identity
    (`toddle keys`) that guards them; a host that other machines can reach must have one.

    `hosts` maps names to addresses: then each node names its `host`, the ports count from `base_port` over all
    nodes, and every host starts its own nodes with the same file and `--on NAME`. Each has the key of its name.
    """

    description: str = ""
    include: str | list[str] = []
    args: dict[str, Any] = {}
    required_args: list[str] = []
    nodes: dict[str, NodeSpec]
    time_limit_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    seed: Seed = 0
    transport: Literal["ipc", "tcp"] = "ipc"
    host: str = "127.0.0.1"
    base_port: Annotated[int, msgspec.Meta(ge=0, le=65_000)] = 0
    key: str = ""
    hosts: dict[str, str] = {}
