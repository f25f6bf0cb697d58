"""Launch files that mean nothing, or would grow without end: one line each, in bounded time and memory."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch import run
from launch.errors import LaunchError
from launch.source import MAX_BYTES
from toddle.launch import hooks

ROOT = Path(__file__).parents[2]
Judge = Callable[..., str]
DEEP = 50_000
NODE = "nodes: {viewer: {kind: viewer}}\n"
LAUGHS = "args:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
MERGES = "args:\n  a0: &a0 {x: 1}\n" + "".join(f"  a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}], y{i}: 1}}\n" for i in range(1, 12))
TEXTS = "args:\n  a0: xxxxxxxxxx\n" + "".join(f'  a{i}: "{f"${{a{i - 1}}}" * 10}"\n' for i in range(1, 12))
LISTS = "args:\n  a0: x\n" + "".join(f"  a{i}: [{', '.join([f'"${{a{i - 1}}}"'] * 9)}]\n" for i in range(1, 12))
CHAIN = "args:\n  a0: x\n" + "".join(f'  a{i}: ["${{a{i - 1}}}"]\n' for i in range(1, 3000))
GROWING: dict[str, str] = {
    "aliases of aliases": LAUGHS + NODE,
    "merges of merges": MERGES + NODE,
    "args of args": TEXTS + NODE,
    "lists of lists": LISTS + NODE,
    "a chain of args": CHAIN + NODE,
    "itself": "nodes: &a {viewer: *a}\n",
    "itself in a list": "args: {a: &a [*a]}\n" + NODE,
    "itself merged": "args: {a: &a {<<: *a}}\n" + NODE,
    "deep lists": "args: {a: " + "[" * DEEP + "]" * DEEP + "}\n" + NODE,
    "deep open lists": "args: {a: " + "[" * DEEP,
    "deep maps": "args: " + "{a: " * (DEEP // 2),
    "deep blocks": "".join(" " * i + "a:\n" for i in range(700)),
    "many keys": "args: {" + ", ".join(f"k{i}: 1" for i in range(21_000)) + "}\n" + NODE,
    "many nodes": "nodes: {" + ", ".join(f"n{i}: {{kind: viewer}}" for i in range(2000)) + "}\n",
    "too long": "# " + "x" * MAX_BYTES + "\n" + NODE,
    "nots": f"nodes: {{viewer: {{kind: viewer, if: {'not ' * 50_000} wat}}}}\n",
}
MEANINGLESS: dict[str, str | bytes] = {
    "a long key": NODE + "x" * 1000 + ": 1\n",
    "a long arg": NODE + "args: {a: ${" + "x" * 100_000 + "}}\n",
    "huge int": "seed: " + "9" * 5000 + "\n" + NODE,
    "huge hex": "seed: 0x" + "f" * 5000 + "\n" + NODE,
    "huge float": "time_limit_s: 1.0e+999\n" + NODE,
    "sixties": "seed: " + "59:" * 3000 + "59\n" + NODE,
    "nan": "time_limit_s: .nan\n" + NODE,
    "inf": "time_limit_s: .inf\n" + NODE,
    "int by hand": "seed: !!int x\n" + NODE,
    "bool by hand": "description: !!bool x\n" + NODE,
    "float by hand": "time_limit_s: !!float x\n" + NODE,
    "bytes": "description: !!binary eHh4\n" + NODE,
    "a set": "args: !!set {a, b}\n" + NODE,
    "an ordered map": "args: !!omap [a: 1]\n" + NODE,
    "python object": "args: {a: !!python/object:os.system {}}\n" + NODE,
    "python call": "args: {a: !!python/object/apply:os.system [id]}\n" + NODE,
    "python name": "args: {a: !!python/name:os.system }\n" + NODE,
    "python root": "!!python/object:launch.Graph {nodes: {}}\n",
    "own tag": "args: {a: !wat x}\n" + NODE,
    "a key twice": NODE + "seed: 1\nseed: 2\n",
    "a merge of text": "args: {<<: x}\n" + NODE,
    "list as key": "? [a]\n: 1\n" + NODE,
    "two documents": NODE + "---\n" + NODE,
    "empty": "",
    "a list": "- 1\n",
    "text": "x\n",
    "=": "args: {a: =}\n" + NODE,
    "not utf-8": b"\xff\xfe\x00\xd8",
    "nul": b"\0",
    "bom": b"\xef\xbb\xbf- x\n",
    "include of no file": "include: wat\0wat\n" + NODE,
    "include by escape": 'include: "a\\0b"\n' + NODE,
    "include of a long name": f"include: {'x' * 5000}\n" + NODE,
    "include of a folder": "include: .\n" + NODE,
    "include of itself": "include: g.yaml\n" + NODE,
    "include of a device": "include: /dev/zero\n" + NODE,
    "an unknown arg": 'description: "${wat}"\n' + NODE,
    "name with a line end": 'nodes: {"a\\nb": {kind: viewer}}\n',
    "large ring": "nodes: {viewer: {kind: viewer, ring_mb: 9223372036854775807}}\n",
    "negative seed": "seed: -1\n" + NODE,
    "no host": "transport: tcp\nbase_port: 65000\nhost: 999.999.999.999\n" + NODE,
}
CHILD = """
import resource, sys
from pathlib import Path
from launch import run
from launch.errors import LaunchError
from toddle.launch import hooks
known = hooks()
free = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (256 << 20)
resource.setrlimit(resource.RLIMIT_AS, (free, free))
resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
for file in sorted(Path(sys.argv[1]).glob("*.yaml")):
    try:
        run.dry_run(run.Options(file=file, runs=sys.argv[1], name="r"), known)
        print("graph")
    except LaunchError as error:
        print(str(error)[:100])
"""


@pytest.mark.parametrize("name", MEANINGLESS)
def test_what_means_nothing_is_one_line(judge: Judge, name: str) -> None:
    assert judge(MEANINGLESS[name]) != "graph"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit of a process's memory is Linux's")
def test_what_would_grow_is_one_line_in_256_mb_and_two_minutes(tmp_path: Path) -> None:
    for number, text in enumerate([*GROWING.values(), NODE]):
        (tmp_path / f"{number:04}.yaml").write_text(text)
    done = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path)], capture_output=True, cwd=ROOT, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(GROWING) + 1
    assert [number for number, line in enumerate(lines) if line == "graph"] == [len(GROWING)]


def test_includes_that_double_with_every_level_end(tmp_path: Path, judge: Judge) -> None:
    for level in range(30):
        (tmp_path / f"i{level}.yaml").write_text(f"include: [i{level + 1}.yaml, i{level + 1}.yaml]\n")
    (tmp_path / "i30.yaml").write_text(NODE)
    assert "more than 32 files" in judge("include: i0.yaml\n")


def test_a_file_that_may_not_be_read_is_one_line(judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.yaml").write_text(NODE)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(LaunchError, match=r"other\.yaml: cannot be read: Permission denied$"):
        run.plan(run.Options(file=tmp_path / "other.yaml"), hooks())


def test_dates_stay_text_and_merges_keep_their_order(judge: Judge, tmp_path: Path) -> None:
    text = """
        args: {session: 2024-01-31}
        nodes:
          viewer: {kind: viewer, params: {<<: [{title: a, context: 3}, {title: b, png_every_s: 2}], context: 4}}
        description: "${session}"
    """
    assert judge(textwrap.dedent(text)) == "graph"
    plan = run.plan(run.Options(file=tmp_path / "g.yaml", sets=["session=2024-02-01"]), hooks())
    assert plan.graph.description == "2024-02-01"
    config: Any = plan.graph.configs["viewer"]
    assert (config.title, config.context, config.png_every_s) == ("a", 4, 2)
