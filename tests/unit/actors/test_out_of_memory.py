"""Which exceptions mean that memory ran out, host's or accelerator's."""

import errno

import pytest

from dfbatch.actors.failure import describe
from dfbatch.actors.out_of_memory import GPU, HOST, let_go, out_of_memory
from dfbatch.core.error_class import ErrorClass
from dfbatch.errors import GpuOutOfMemory, HostOutOfMemory, MediaUnreadable


def made(module, name, base=RuntimeError):
    return type(name, (base,), {"__module__": module})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), HOST),
        (made("numpy._core._exceptions", "_ArrayMemoryError", MemoryError)("Unable to allocate 8 GiB"), HOST),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), HOST),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), HOST),
        (made("cv2", "error", Exception)("OpenCV: (-4:Insufficient memory) Failed to allocate 4 bytes"), HOST),
        (made("torch", "OutOfMemoryError")("CUDA out of memory. Tried to allocate 2.00 GiB"), GPU),
        (made("torch.cuda", "OutOfMemoryError")(""), GPU),
        (made("cupy.cuda.memory", "OutOfMemoryError", MemoryError)(""), GPU),
        (RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"), GPU),
        (made("jaxlib", "XlaRuntimeError")("RESOURCE_EXHAUSTED: Out of memory while trying on device ordinal 0"), GPU),
        (ValueError("CUDA out of memory"), None),  # somebody's text about something
        (RuntimeError("the item says: out of memory"), None),
        (OSError(errno.ENOENT, "no such file"), None),
        (MediaUnreadable("insufficient memory of the event"), None),
    ],
)
def test_what_means_out_of_memory(error, kind):
    assert out_of_memory(error) == kind
    assert (describe(error).error_class is ErrorClass.OUT_OF_MEMORY) == (kind is not None)
    if kind is not None:
        assert describe(error).error_type == kind
        assert type(error).__name__ in describe(error).message


@pytest.mark.parametrize("kind", [HostOutOfMemory, GpuOutOfMemory])
def test_our_own_errors_are_of_the_class_too(kind):
    assert describe(kind("no room")).error_class is ErrorClass.OUT_OF_MEMORY
    assert describe(kind("no room")).error_type == kind.__name__


def test_a_text_that_cannot_be_made_is_no_text():
    class Mute(RuntimeError):
        def __str__(self):
            raise ValueError("no")

    assert out_of_memory(Mute()) is None


def test_what_a_failed_call_held_is_let_go():
    class Kept:
        def __init__(self, gone):
            self._gone = gone

        def __del__(self):
            self._gone.append(True)

    gone = []

    def fails():
        kept = Kept(gone)  # noqa: F841
        raise MemoryError

    try:
        fails()
    except MemoryError as error:
        assert gone == []
        let_go(error)
        assert gone == [True]
        assert "fails" in describe(error).traceback_text
