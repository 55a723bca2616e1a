"""Windows that wait for the model, and whose turn it is.

The turn is that of start-time fair queueing: every recording pays with the length of its windows,
so a short clip is soon served beside a long file, whose many windows wait for one another, and no
window waits for ever, because whoever comes later pays from where the others stand.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future

from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.llm.engines.base import EngineOptions, WindowResult

_LEAST_SAMPLES = SAMPLE_RATE  # what the shortest window pays
# Company may be so many times as long, and so much longer. Clips of users who all wait gain more by
# few full batches than the shortest of them lose; a file that waits for itself costs a clip only.
_CLIPS_TIMES, _CLIPS_SAMPLES = 6, 6 * SAMPLE_RATE
_FILES_TIMES, _FILES_SAMPLES = 3, 3 * SAMPLE_RATE


class Pending(Future[WindowResult]):
    """A window on its way; `cancel()` also reaches one that is being computed."""

    def __init__(self, window: Waveform, options: EngineOptions, recording: str = "") -> None:
        super().__init__()
        self.window = window
        self.options = options
        self.recording = recording
        self.turn = 0
        self.abandoned = False

    def cancel(self) -> bool:
        """Say that nobody waits any more; False if the computation had begun already."""
        self.abandoned = True
        return super().cancel()


class Line:
    """The windows that wait. Not safe for threads: the batcher locks."""

    def __init__(self) -> None:
        self._waiting: list[Pending] = []
        self._now = 0  # the turn that was taken last
        self._paid: dict[str, int] = {}  # per recording that is ahead of it

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, pending: Pending) -> None:
        """Put a window in; those without a recording's name are on their own."""
        begin = max(self._now, self._paid.get(pending.recording, 0))
        pending.turn = begin + max(_LEAST_SAMPLES, pending.window.shape[0])
        if pending.recording:
            self._paid[pending.recording] = pending.turn
        self._waiting.append(pending)

    def ready(self) -> int:
        """How many would share the next batch if it were large enough."""
        if not self._waiting:
            return 0
        return 1 + len(self._company(self._first()))

    def take(self, windows: int, samples: int | None = None) -> list[Pending]:
        """Take the window whose turn it is, and company, that of its length first: a batch takes
        as long as its longest window.

        At most so many `windows` with so many `samples` together. In order of arrival; empty if
        nobody waits.
        """
        if not self._waiting:
            return []
        first = self._first()
        length = first.window.shape[0]
        company = sorted(self._company(first), key=lambda p: abs(p.window.shape[0] - length))
        chosen, together = {id(first)}, length
        for pending in company[: windows - 1]:
            together += pending.window.shape[0]
            if samples is not None and together > samples:
                break
            chosen.add(id(pending))
        taken = [p for p in self._waiting if id(p) in chosen]
        self._waiting = [p for p in self._waiting if id(p) not in chosen]
        self._now = max(self._now, first.turn)
        self._paid = {name: paid for name, paid in self._paid.items() if paid > self._now}
        return taken

    def drop_abandoned(self) -> None:
        """Forget the windows that nobody waits for any more."""
        if any(pending.abandoned for pending in self._waiting):
            self._waiting = [p for p in self._waiting if not p.abandoned]

    def clear(self) -> Sequence[Pending]:
        """Take everybody."""
        everybody, self._waiting = self._waiting, []
        return everybody

    def _company(self, first: Pending) -> list[Pending]:
        """Who may share the batch of `first`: not whoever would make it wait much longer."""
        length = first.window.shape[0]
        of_clips = _CLIPS_TIMES * length + _CLIPS_SAMPLES
        of_files = _FILES_TIMES * length + _FILES_SAMPLES
        together = Counter(p.recording for p in self._waiting if p.recording)
        return [
            p
            for p in self._waiting
            if p is not first
            and p.options == first.options
            and p.window.shape[0] <= (of_files if together[p.recording] > 1 else of_clips)
        ]

    def _first(self) -> Pending:
        return min(self._waiting, key=lambda pending: pending.turn)
