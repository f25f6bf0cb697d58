"""Learn first, act then: in a real graph, across the death of the trainer."""

import signal

import pytest

from storage.reader import SessionReader

from .conftest import SMALL, Bench, wait_for


@pytest.mark.slow
def test_the_robot_acts_only_on_frames_that_were_let_through_even_when_the_trainer_dies(bench: Bench) -> None:
    run = bench.launch("online.yaml", "gated", gate=0.0001, gate_steps=2, viewer=False, stop_when_learned=False, **SMALL)
    run.running()

    def received() -> int:
        return int(run.status("recorder").get("counts", {}).get("frame/robot", {}).get("received", 0))

    wait_for(lambda: received() > 50, "frames are answered")
    trainer = run.node("trainer")
    assert trainer is not None
    trainer.send_signal(signal.SIGKILL)
    wait_for(lambda: (new := run.node("trainer")) is not None and new.pid != trainer.pid, "the trainer is back")
    seen = received()
    wait_for(lambda: received() > seen + 40, "it goes on")
    run.interrupt()
    code, output, summary = run.end()
    assert code in (0, 3), output
    assert summary["nodes"]["trainer"]["exit_codes"][0] == -signal.SIGKILL
    with SessionReader(bench.folder / "sessions" / "gated") as reader:
        released = {(one.envelope.episode, one.envelope.step) for one in reader.topic_messages("release")}
        steps = [one.body.steps for one in reader.topic_messages("release")]
        acted = [(one.envelope.episode, one.envelope.step) for one in reader.topic_messages("action")]
    assert len(acted) > 80
    assert len(set(acted) - released) <= 1, "one may have been let through and not recorded when the trainer died"
    assert 2 in steps, "where there was something to learn it was learned as long as asked for"
