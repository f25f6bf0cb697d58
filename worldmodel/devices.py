"""Which device and which precision to compute with, decided in one place."""

import ctypes
import sys
from contextlib import AbstractContextManager, nullcontext

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Of glibc's malloc.h."""


def pick_device(name: str = "auto") -> torch.device:
    """ "auto" is the first GPU when there is one, else the CPU; other names are torch's own. ValueError for one that is not here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"there is no device {name!r}: take auto, cpu or cuda") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} is not here: torch sees {torch.cuda.device_count()} GPUs; take auto or cpu")
    return device


def out_of_memory(error: BaseException) -> str | None:
    """One line, when this error of torch's says that there was no room; None for any other."""
    words = str(error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in words:
        return "there is too little memory for this model: take a smaller patch, context or width, or a smaller train.batch_size"
    return None


def has_bf16(device: torch.device) -> bool:
    """Whether this device multiplies bf16 faster than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type == "cpu":
        # Plain AVX-512 can do bf16 too, but only by emulation.
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def pick_precision(precision: str, device: torch.device) -> str:
    """Resolve "auto" to "bf16" or "fp32". Raises ValueError for other names."""
    if precision not in ("auto", "bf16", "fp32"):
        raise ValueError(f'precision {precision!r} does not exist: choose "auto", "bf16" or "fp32"')
    if precision != "auto":
        return precision
    return "bf16" if has_bf16(device) else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """A context in which matrix products run in the resolved precision."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def use_threads(threads: int) -> None:
    """Let torch use so many CPU threads in this process; 0 leaves its own choice."""
    if threads > 0:
        torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Let this process keep what it frees, where the C library is glibc; elsewhere nothing.

    Every step frees and takes the same large tensors again. By default glibc gives them back to the system each time, and their
    pages are mapped and zeroed anew.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)  # other threads' arenas would still give back
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
