"""What the pipeline keeps between its steps, as rows store it (JSON)."""

from pydantic import BaseModel, ConfigDict

from stenograf.contract.transcript import Segment


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PlannedSpan(_Record):
    """Detected speech, in samples of the file."""

    start: int
    end: int


class PlannedWindow(_Record):
    """A stretch of the file for one forward pass, in samples; `seam`: it ends inside speech."""

    start: int
    end: int
    seam: bool = False


class Plan(_Record):
    """Where speech is, and the windows that cover it.

    While the recording is still heard, the plan holds what is certain and is not `complete`.
    """

    spans: tuple[PlannedSpan, ...]
    windows: tuple[PlannedWindow, ...]
    complete: bool = True

    @property
    def n_samples(self) -> int:
        """Samples to recognize, all windows together."""
        return sum(window.end - window.start for window in self.windows)

    def begins_with(self, windows: tuple[PlannedWindow, ...]) -> bool:
        """Whether these are the plan's first windows."""
        return self.windows[: len(windows)] == windows


class Heard(_Record):
    """What the engine made of one window; times count from the window's first sample."""

    segments: tuple[Segment, ...]
    language: str
    language_probability: float | None = None
