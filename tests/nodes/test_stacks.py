"""A node that is asked where it hangs answers and lives, whatever its other threads are doing."""

import signal
import subprocess
import sys

NODE = """
import threading
from nodes.process import show_stacks

def busy():
    deep = lambda n: n and deep(n - 1)
    while not ended.is_set():
        deep(5), list(map(str, range(30)))

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


def test_asked_a_hundred_times_it_tells_and_goes_on() -> None:
    node = subprocess.Popen([sys.executable, "-c", NODE], stdin=-1, stdout=-1, stderr=-1, text=True)
    assert node.stdin and node.stdout and node.stderr
    assert node.stdout.readline() == "ready\n"
    for _ in range(100):
        node.send_signal(signal.SIGUSR1)
        told = [node.stderr.readline()]  # one answer before the next question
        while "in <module>" not in told[-1]:
            told.append(node.stderr.readline())
            assert told[-1], "it has ended"
        assert any("in where_it_hangs" in line for line in told)
    _, rest = node.communicate("end\n")
    assert node.returncode == 0
    assert "in busy" in rest and "in where_it_hangs" in rest, "all threads are told about in the end"
