"""Telling exceptions that mean "out of memory" from all others, without importing who raises them."""

from __future__ import annotations

import errno
import traceback

HOST, GPU = "HostOutOfMemory", "GpuOutOfMemory"

_GPU_TYPES = frozenset({"torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError", "cupy.cuda.memory.OutOfMemoryError"})
_GPU_MODULES = ("torch", "cupy", "pycuda", "numba.cuda", "rmm", "cudf")
_GPU_WORDS = (
    "cuda out of memory",
    "cuda error: out of memory",
    "cuda_error_out_of_memory",
    "hip out of memory",
    "mps backend out of memory",
    "xpu out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cudaerrormemoryallocation",
)
_HOST_WORDS = (
    "std::bad_alloc",
    "defaultcpuallocator: can't allocate memory",
    "defaultcpuallocator: not enough memory",
    "insufficient memory",
    "bfcarena::allocaterawinternal",
)
_MAY_SAY_SO = ("RuntimeError", "error", "XlaRuntimeError", "JaxRuntimeError", "ResourceExhaustedError", "Fail")
"""Types whose text is read: an item whose own message speaks of memory is not meant."""


def out_of_memory(error: BaseException) -> str | None:
    """HOST or GPU if that is what the exception says, else None."""
    family = [f"{c.__module__}.{c.__qualname__}" for c in type(error).__mro__]
    if not _GPU_TYPES.isdisjoint(family):
        return GPU
    if isinstance(error, MemoryError):
        return GPU if type(error).__module__.startswith(_GPU_MODULES) else HOST
    if isinstance(error, OSError):
        return HOST if error.errno == errno.ENOMEM else None
    if not any(name.rpartition(".")[2] in _MAY_SAY_SO for name in family):
        return None
    text = _text(error)
    if any(words in text for words in _GPU_WORDS):
        return GPU
    if any(words in text for words in _HOST_WORDS):
        return HOST
    if "resource_exhausted" in text or "resourceexhausted" in family[0].lower():
        return GPU if "gpu" in text or "hbm" in text or "device" in text else HOST
    return None


def let_go(error: BaseException) -> None:
    """Free what the frames of a failed call still hold, so that there is memory to tell of it."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__


def _text(error: BaseException) -> str:
    try:
        return str(error)[:4_000].lower()
    except Exception:  # a __str__ of user code
        return ""
