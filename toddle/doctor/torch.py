"""PyTorch and what it computes on."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toddle.doctor.finding import Finding
from toddle.doctor.machine import usable_cores
from toddle.doctor.probe import ProbeFailed, ask

TIMEOUT_S = 30.0  # the first import after a start of the machine reads half a gigabyte
CODE = """
try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
else:
    from worldmodel.devices import has_bf16, pick_device
    cuda = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    answer = dict(
        version=torch.__version__, built_for=torch.version.cuda or torch.version.hip or "",
        gpus=[f"{one.name}, {one.total_memory / 2**30:.0f} GB" for one in cuda], mps=torch.backends.mps.is_available(),
        bf16=has_bf16(pick_device()), threads=torch.get_num_threads(),
    )
"""


@dataclass(frozen=True, kw_only=True)
class TorchFacts:
    """`version` is empty when torch is not installed; `failed` says why it cannot be imported. `driver`: NVIDIA's is loaded."""

    version: str = ""
    failed: str = ""
    built_for: str = ""
    gpus: Sequence[str] = ()
    mps: bool = False
    bf16: bool = False
    threads: int = 0
    cores: float = 0.0
    driver: bool = False


def gather(timeout_s: float = TIMEOUT_S, env: Mapping[str, str] | None = None, dev: Path = Path("/dev")) -> TorchFacts:
    """Asked in a process of its own: a broken torch takes its process along."""
    try:
        answer = ask(CODE, timeout_s, env)
    except ProbeFailed as failed:
        return TorchFacts(failed=str(failed))
    driver = any(dev.glob("nvidia[0-9]*")) or os.path.exists("/proc/driver/nvidia/version")
    return TorchFacts(**answer, cores=usable_cores(), driver=driver)


def pytorch(facts: TorchFacts) -> Finding:
    if facts.failed:
        fix = "python -m pip install -c constraints.txt --force-reinstall torch, in the virtual environment"
        return Finding("pytorch", "problem", f"cannot be imported: {facts.failed}", fix)
    if not facts.version:
        found = "not installed: robots run and are recorded without it, nothing is learned"
        return Finding("pytorch", "note", found, "to learn: python -m pip install -c constraints.txt -e '.[train]'")
    return Finding("pytorch", "ok", f"{facts.version}{f', built for CUDA or ROCm {facts.built_for}' if facts.built_for else ''}")


def gpu(facts: TorchFacts) -> Finding:
    if not facts.version:
        return _unknown("gpu", facts)
    if facts.gpus:
        return Finding("gpu", "ok", "; ".join(facts.gpus))
    if facts.driver:
        why = "its driver and PyTorch do not fit" if facts.built_for else "PyTorch is a build for the CPU only"
        fix = "nvidia-smi shows the driver's CUDA version; https://pytorch.org/get-started shows the build of PyTorch for it"
        return Finding("gpu", "warning", f"there is an NVIDIA GPU and PyTorch cannot use it: {why}", fix)
    found = "none: the CPU learns the 224x224 demo in about two minutes (docs/benchmarks.md)"
    if facts.mps:
        return Finding("gpu", "note", f"{found}; the GPU of this Mac is used when asked for", "device: mps, in the trainer's params")
    return Finding("gpu", "note", found)


def bf16(facts: TorchFacts) -> Finding:
    if not facts.version:
        return _unknown("bf16", facts)
    if facts.bf16:
        return Finding("bf16", "ok", f"by the {'GPU' if facts.gpus else 'CPU'}: training uses it")
    return Finding("bf16", "note", f"not by the {'GPU' if facts.gpus else 'CPU'}: training uses fp32, which takes longer")


def threads(facts: TorchFacts) -> Finding:
    if not facts.version:
        return _unknown("threads", facts)
    found = f"PyTorch uses {facts.threads} on {facts.cores:g} cores"
    if facts.threads > max(facts.cores, 1):
        return Finding("threads", "warning", f"{found}: they wait for each other", f"export OMP_NUM_THREADS={max(int(facts.cores), 1)}")
    if facts.threads == 1 and facts.cores >= 4:
        return Finding("threads", "note", f"{found}: is OMP_NUM_THREADS set?", "unset OMP_NUM_THREADS")
    return Finding("threads", "ok", found)


def _unknown(name: str, facts: TorchFacts) -> Finding:
    return Finding(name, "note", "unknown: PyTorch cannot be imported" if facts.failed else "unknown: PyTorch is not installed")


CHECKS = (pytorch, gpu, bf16, threads)
