"""Where a frame belongs in the recording: time truth in spite of gaps and jumps in its clock."""

MAX_GAP_S = 600.0  # a longer hole in an unreliable clock is a jump, not silence
_TOLERANCE_S = 0.1  # clocks of some containers are this coarse
_ONE_CLOCK = ("matroska", "mov")  # containers whose clock never starts anew


class Timeline:
    """Tells how much silence to put before each frame, so that sample 0 is time 0 of the file.

    Time 0 is the start of the earliest track, as players show it: a sound track that starts later
    than the pictures gets silence in front. A hole in the middle (lost packets, a muted caller)
    becomes silence too; a clock that jumps back, or far ahead where the container's clock is known
    to restart, is a new anchor and moves nothing.
    """

    def __init__(self, container_format: str, origin_s: float | None) -> None:
        self._max_gap_s = float("inf") if container_format.startswith(_ONE_CLOCK) else MAX_GAP_S
        self._expected_s = origin_s
        self.filled_s = 0.0
        self.jumps = 0

    def gap_before(self, time_s: float | None, length_s: float) -> float:
        """Seconds of silence that belong before a frame of `length_s` stamped `time_s`."""
        if self._expected_s is None:
            self._expected_s = time_s
        if self._expected_s is None or time_s is None:
            if self._expected_s is not None:
                self._expected_s += length_s
            return 0.0
        drift_s = time_s - self._expected_s
        gap_s = 0.0
        if abs(drift_s) > _TOLERANCE_S:
            self._expected_s = time_s
            if 0 < drift_s <= self._max_gap_s:
                gap_s = drift_s
                self.filled_s += drift_s
            else:
                self.jumps += 1
        self._expected_s += length_s
        return gap_s
