"""What the decoding process is asked to do."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ChildTask:
    """One file to decode: descriptors of whoever holds the task, and bounds."""

    source_fd: int
    spool_fd: int
    timeout_s: float
    max_duration_s: float
    max_spool_bytes: int
    memory_bytes: int
    min_free_bytes: int
    stop_after_s: float | None = None
