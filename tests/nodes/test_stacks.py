"""A node that is asked where it hangs answers and lives, whatever its other threads are doing."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NODE = """
import threading
from nodes.process import show_stacks

def busy():
    deep = lambda n: n and deep(n - 1)
    while not ended.is_set():
        deep(5)
        list(map(str, range(30)))

def where_it_hangs():
    while input() != "end":
        pass

ended = threading.Event()
threads = [threading.Thread(target=busy) for _ in range(3)]
show_stacks()
for thread in threads: thread.start()
print("ready", flush=True)
where_it_hangs()
ended.set()
"""


def test_asked_a_hundred_times_it_tells_and_goes_on(tmp_path: Path, wait: Callable[..., Any]) -> None:
    said = tmp_path / "stderr"
    with said.open("wb") as stderr, subprocess.Popen([sys.executable, "-c", NODE], stdin=-1, stdout=-1, stderr=stderr) as node:
        assert node.stdin and node.stdout
        try:
            assert node.stdout.readline() == b"ready\n"
            for _ in range(100):
                before = said.stat().st_size
                node.send_signal(signal.SIGUSR1)
                wait(lambda before=before: said.stat().st_size > before, "an answer")
            node.stdin.write(b"end\n")
            node.stdin.flush()
            assert node.wait(60) == 0
        finally:
            node.kill()
    text = said.read_text()
    assert "in where_it_hangs" in text and "in busy" in text, "of the main thread, and of the others"
