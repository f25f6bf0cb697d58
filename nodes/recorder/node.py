"""The recorder node: everything on the recorded topics into one session."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from nodes.recorder.config import RecorderConfig
from nodes.recorder.core import RecorderCore, open_writer
from nodes.runtime import BadMessage, Node, NodeError
from protocol import messages as m
from protocol.books import Resume
from protocol.disk import PER_MINUTE, ROOM
from protocol.errors import DecodeError
from storage.errors import StorageError
from storage.paths import session_path, sessions_root
from storage.retention import Retained

TICK_S = 0.1
RETAIN_EVERY_S = 10.0


class RecorderNode(Node):
    config: RecorderConfig
    drains = True

    def setup(self) -> None:
        root = sessions_root(self.config.root)
        run_dir = Path(self.wiring.run_dir)
        # written before the session is made, so that a recorder that was killed finds its own again
        ours = run_dir / f"session-{self.name}"
        resume = ours.exists()
        name = ours.read_text() if resume else self.config.session or self._free_name(root)
        try:
            path = session_path(root, name)
            if not resume:
                ours.write_text(name)
            self.core: RecorderCore | None = RecorderCore(open_writer(path, self.config, resume=resume), self.config)
            self.core.writer.timed = self.took
        except StorageError as error:
            if not resume:
                ours.unlink(missing_ok=True)
            raise NodeError(str(error), error.exit_code) from None
        self._noted_gaps = 0
        self._noted_tails: set[m.Tail] = set()
        self._retain_s = 0.0
        self._retaining: Future[dict[str, Retained]] | None = None
        self._deleter = ThreadPoolExecutor(1, "retention")  # deleting gigabytes takes seconds, in which events come
        self._alarms = 0
        self.log.info("recording session %s in %s%s", name, path, ", going on after a restart" if resume else "")

    def resume(self) -> Mapping[str, Resume]:
        """Where the session ends, per topic, so that only what is missing comes again."""
        assert self.core is not None
        return {topic: Resume(run, last_seq + 1) for topic, (run, last_seq) in self.core.writer.ends().items()}

    def numbers(self) -> Mapping[str, float]:
        core = getattr(self, "core", None)
        return {} if core is None else core.numbers()

    def tick(self) -> float:
        assert self.core is not None
        try:
            self._note_losses()
            news = self.core.tick(time.monotonic_ns())
        except StorageError as error:
            raise NodeError(str(error), error.exit_code) from None
        self._tell(news)
        self._tell_estimate()
        self._retain(time.monotonic())
        return TICK_S

    def _note_losses(self) -> None:
        """Write down what never came, and whose end is not known."""
        assert self.core is not None
        for gap in self.bus.gaps(self._noted_gaps):
            self.core.note_gap(gap)
            self._noted_gaps += 1
        for tail in self.bus.tails():  # the bus knows of them before their last messages are handled: then later
            if tail not in self._noted_tails and self.core.note_tail(tail):
                self._noted_tails.add(tail)

    def _take(self, message: m.Message) -> None:
        assert self.core is not None
        try:
            self.core.handle(message)
        except StorageError as error:
            raise NodeError(str(error), error.exit_code) from None

    def on_played(self, message: m.Message) -> None:
        assert self.core is not None
        try:
            self.core.handle_played(message)
        except DecodeError as error:
            raise BadMessage(str(error)) from None
        except StorageError as error:
            raise NodeError(str(error), error.exit_code) from None

    on_robot = on_episode = on_frame = on_action = on_probe = on_command = _take
    on_prediction = on_release = on_weights = on_metrics = on_status = on_log = on_control = on_alarm = _take

    def close(self) -> None:
        core = getattr(self, "core", None)
        if core is None:
            return
        self._deleter.shutdown(wait=True, cancel_futures=True)
        try:
            self._note_losses()
            self._tell(core.finish())
        except StorageError as error:
            raise NodeError(str(error), error.exit_code) from None
        self.log.info("session %s closed, %d events", core.writer.name, core.writer.events)

    def alarm(self, name: str, text: str, active: bool = True) -> None:
        """As every node's, and into the session: a recorder does not hear itself."""
        super().alarm(name, text, active)
        envelope = m.Envelope(
            topic=f"alarm/{self.name}", source=self.name, run=self.bus.run_id, seq=self._alarms,
            t_ns=time.time_ns(), mono_ns=time.monotonic_ns(),
        )  # fmt: skip
        self._alarms += 1
        self._take(m.Message(envelope=envelope, body=m.Alarm(name=name, text=text, active=active)))

    def _tell(self, news: Sequence[m.Committed | m.Alarm]) -> None:
        for body in news:
            if isinstance(body, m.Alarm):
                self.alarm(body.name, body.text, body.active)
            else:
                self.publish("committed", body)

    def _tell_estimate(self) -> None:
        """Once: the launcher shows it and holds it against the time limit."""
        assert self.core is not None
        use = self.core.estimate()
        if use is not None:
            self.log.info("%s", use)
            self.metrics({PER_MINUTE: use.bytes_per_minute, ROOM: use.room_bytes})

    def _retain(self, now_s: float) -> None:
        """Make room, from the start until the end, as the session grows."""
        assert self.core is not None
        if self._retaining is not None and self._retaining.done():
            self._tell(self.core.tell(self._retaining.result()))
            self._retaining = None
        if self._retaining is None and now_s >= self._retain_s and self.core.may_retain:
            self._retain_s = now_s + RETAIN_EVERY_S
            self._retaining = self._deleter.submit(self.core.retain)

    def _free_name(self, root: Path) -> str:
        """The run's name; with the time behind it when a session of that name is there already."""
        name = self.wiring.run
        return name if not (root / name).exists() else f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
