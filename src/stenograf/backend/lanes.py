"""Who may begin which job: some work on anything, others on short recordings only.

A queue in which everybody takes whatever is oldest makes a voice note wait until one of some long
meetings is over, though the model would let it pass between two of their windows. So beside those
who take anything there are lanes for what is short: each takes the oldest recording that is no
longer than its bound, once all the others have their hands full.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from stenograf.backend.ledger import Claim, Due, Ledger
from stenograf.backend.lengths import Lengths
from stenograf.contract.errors import NotFound
from stenograf.contract.pcm import SAMPLE_RATE

_LOOKED_AT = 2000  # places of the queue; fewer than `Lengths` remembers

ShouldStop = Callable[[], bool]


class Lane(Protocol):
    """One thread's way to its next job."""

    def claim(self, should_stop: ShouldStop, /) -> Claim | None:
        """Take the next recognition that is due here; None when there is none."""


class OpenLane:
    """Takes anything, oldest first."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.free = True

    def claim(self, _: ShouldStop, /) -> Claim | None:
        """As `Lane`; it does not take long enough to be stopped."""
        claim = self._ledger.claim_next()
        self.free = claim is None
        return claim


class ShortLane:
    """Takes recordings of at most `longest_s`, oldest first, while `others` are all at work."""

    def __init__(
        self,
        ledger: Ledger,
        lengths: Lengths,
        path_of: Callable[[str], Path],
        *,
        longest_s: float,
        others: Sequence[OpenLane],
    ) -> None:
        self._ledger = ledger
        self._lengths = lengths
        self._path_of = path_of
        self._longest_s = longest_s
        self._others = others

    def claim(self, should_stop: ShouldStop, /) -> Claim | None:
        """As `Lane`; to know how long a recording is it may have to be looked at first."""
        if self._left_to_others():
            return None
        for due in self._ledger.due(_LOOKED_AT):
            if should_stop() or self._left_to_others():
                return None
            length_s = self._length_s(due, should_stop)
            if length_s is not None and length_s <= self._longest_s:
                claim = self._ledger.claim(due.id)
                if claim is not None:
                    return claim
        return None

    def _left_to_others(self) -> bool:
        return any(lane.free for lane in self._others)

    def _length_s(self, due: Due, should_stop: ShouldStop) -> float | None:
        if due.n_samples is not None:
            return due.n_samples / SAMPLE_RATE
        return self._lengths.of(
            due.content_sha256,
            lambda: source_of(self._ledger.upload_ids(due.id), self._path_of),
            should_stop,
        )


def source_of(upload_ids: Sequence[str], path_of: Callable[[str], Path]) -> Path:
    """The first of these uploads that is still there. Raises NotFound."""
    for upload_id in upload_ids:
        try:
            return path_of(upload_id)
        except NotFound:
            continue
    raise NotFound("The recording of this job is no longer there.")
