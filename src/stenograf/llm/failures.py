"""What an engine may raise, in the house's own tree of errors."""

import logging

from stenograf.contract.errors import OutOfResources, StenografError

logger = logging.getLogger(__name__)

# what PyTorch's errors say when the CPU, the CUDA driver or cuBLAS has no memory left
_NO_MEMORY = ("allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def memory_ran_out(exc: Exception) -> bool:
    """Whether less to do at once might work."""
    said = str(exc) if isinstance(exc, RuntimeError) else ""
    by_name = type(exc).__name__ == "OutOfMemoryError"
    return isinstance(exc, MemoryError) or by_name or any(mark in said for mark in _NO_MEMORY)


def as_ours(exc: Exception) -> StenografError:
    """The same failure as a caller is told of it; what nobody foresaw is logged in full."""
    if isinstance(exc, StenografError):
        return exc
    if memory_ran_out(exc):
        return OutOfResources("Memory ran out while the model worked on this window.")
    logger.error("the engine failed on a window", exc_info=exc)
    return StenografError("The model failed on this window; the service's log has the details.")
