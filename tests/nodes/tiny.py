"""A node for tests of the runtime: `python tiny.py WIRING`; it does what its params and commands say."""

import sys
import time

import msgspec

from nodes.runtime import Node, NodeError, main
from protocol import messages as m


class TinyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    setup_s: float = 0.0
    fail: str = ""
    ticks: int = 0
    holds: list[str] = []
    """Where it stays, having written a file of this name, until there is one with `.done` behind it."""

    def __post_init__(self) -> None:
        if self.ticks < 0:
            raise ValueError("ticks must be 0 or more")


class Tiny(Node):
    config: TinyConfig
    drains = True

    def setup(self) -> None:
        until_s = time.monotonic() + self.config.setup_s
        while time.monotonic() < until_s:
            sum(range(1000))  # busy, like an import: holds the interpreter
        if self.config.fail == "setup":
            raise NodeError("the camera is not there; plug it in", exit_code=4)
        self.ticks = 0

    def go(self) -> None:
        self.log.info("goes, %d %%", 100)
        self.metrics({"one": 1.0, "nan": float("nan")}, step=3)

    def tick(self) -> float:
        self.ticks += 1
        if self.config.ticks and self.ticks == self.config.ticks:
            self.finish("ended", "ticked enough")
        return 0.01

    def on_action(self, message: m.Message) -> None:
        self._hold("handling")

    def on_frame(self, message: m.Message) -> None:
        raise RuntimeError("this handler is broken")

    def do_fail(self, args: dict[str, str]) -> None:
        if args["how"] == "badly":
            raise ZeroDivisionError("as asked")
        if args["how"] == "wrong log":
            self.log.info("%d", "no number")
            return
        raise ValueError(f"cannot fail {args['how']}")

    def do_odd(self, args: dict[str, str]) -> dict[str, object]:
        return {"cannot": object()}

    def do_echo(self, args: dict[str, object]) -> dict[str, object]:
        return dict(args)

    def _hold(self, where: str) -> None:
        if where in self.config.holds:
            (self.run_dir / where).touch()
            until_s = time.monotonic() + 60
            while not (self.run_dir / f"{where}.done").exists() and time.monotonic() < until_s:
                time.sleep(0.01)

    def close(self) -> None:
        self._hold("closing")
        sys.stderr.write("closed\n")


if __name__ == "__main__":
    main(Tiny, TinyConfig)
