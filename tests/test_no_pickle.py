"""No pickle anywhere: our sources import nothing that unpickles, call nothing that may, and evaluate no text as code.

The sources are read as syntax trees, with the names that imports give; what is sent to a node as pickle is tried
in tests/protocol/test_hostile_bus.py.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("protocol", "storage", "worldmodel", "nodes", "launch", "toddle", "emulators", "onboard", "bench")
MODULES = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "copyreg", "jsonpickle", "msgpack_numpy",
    "multiprocessing", "pickle5", "pickletools",
}  # fmt: skip
"""multiprocessing pickles whatever goes through its queues, pipes and managers."""
CALLS = {
    "eval", "exec", "compile", "builtins.eval", "builtins.exec", "builtins.compile", "torch.load", "torch.save", "torch.jit.load",
    "torch.package.PackageImporter", "numpy.load", "numpy.fromregex", "numpy.core.multiarray._reconstruct", "yaml.load", "yaml.load_all",
    "yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load", "yaml.full_load_all", "yaml.Loader", "yaml.UnsafeLoader",
    "yaml.FullLoader", "yaml.CLoader", "yaml.dump", "yaml.dump_all", "pandas.read_pickle", "logging.config.listen",
}  # fmt: skip
ATTRIBUTES = {"recv_pyobj", "send_pyobj", "recv_serialized", "send_serialized", "to_pickle", "read_pickle", "__reduce__", "__reduce_ex__"}


def faults(source: str) -> list[str]:
    """What a source does that has to do with pickle or with text as code, with its line."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    found = [fault for node in ast.walk(tree) for fault in _imports(node, names)]
    return found + [fault for node in ast.walk(tree) for fault in _uses(node, names)]


def _imports(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    """Modules that are not to be imported; what each import calls its things goes into `names`."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            first = alias.name.partition(".")[0]
            names[alias.asname or first] = alias.name if alias.asname else first
            if first in MODULES:
                yield f"{node.lineno}: imports {alias.name}"
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        if node.module.partition(".")[0] in MODULES:
            yield f"{node.lineno}: imports from {node.module}"


def _uses(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Name | ast.Attribute) and _dotted(node, names) in CALLS:
        yield f"{node.lineno}: {_dotted(node, names)}"
    elif isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
        yield f"{node.lineno}: {node.attr}"
    elif isinstance(node, ast.FunctionDef) and node.name in ATTRIBUTES:
        yield f"{node.lineno}: {node.name}"
    elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and not _is_false(node.value):
        yield f"{node.value.lineno}: allow_pickle"
    elif isinstance(node, ast.Call) and _dotted(node.func, names) in ("importlib.import_module", "__import__"):
        yield from (f"{node.lineno}: imports {arg.value}" for arg in node.args if isinstance(arg, ast.Constant) and arg.value in MODULES)


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    """`numpy.load` for `np.load`, as the imports say; a method of a value has no such name."""
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value, names)
        return f"{before}.{node.attr}" if before else ""
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_all_sources_are_looked_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(FOLDERS)
    assert len(SOURCES) > 80


@pytest.mark.parametrize("folder", FOLDERS)
def test_our_sources_neither_pickle_nor_evaluate(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{fault}" for path in SOURCES if path.is_relative_to(ROOT / folder) for fault in faults(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "import pickle as p\np.loads(b'')", "from pickle import loads", "import cloudpickle", "from dill import load",
        "import shelve",
        "import marshal", "import joblib", "import multiprocessing as mp", "from multiprocessing.connection import Client",
        "import multiprocessing.queues", "socket.recv_pyobj()", "self.socket.send_pyobj(1)", "import torch\ntorch.load('x')",
        "import torch as t\nt.save(1, 'x')", "from torch import load\nload('x')", "import numpy as np\nnp.load('x')",
        "from numpy import load as read\nread('x')", "np.load('x', allow_pickle=True)", "f(allow_pickle=flag)",
        "import yaml\nyaml.load('x', L)",
        "import yaml\nyaml.unsafe_load('x')", "from yaml import UnsafeLoader\nf(UnsafeLoader)",
        "eval('1')", "exec('1')", "compile('1', '', 'exec')",
        "import importlib\nimportlib.import_module('pickle')", "__import__('pickle')", "def f():\n    import pickle",
        "class A:\n    def __reduce__(self): ...", "import builtins\nbuiltins.eval('1')",
    ],
)  # fmt: skip
def test_each_way_is_found(source: str) -> None:
    assert list(faults(source))


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.compile('x')", "model.eval()", "import safetensors.torch\nsafetensors.torch.load(b'')",
        "import yaml\nyaml.safe_load('x')",
        "import json\njson.load(f)", "np.frombuffer(b, allow_pickle=False)", "'import pickle'", "# pickle.loads", "checkpoint.load(path)",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_not(source: str) -> None:
    assert not list(faults(source))
