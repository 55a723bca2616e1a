"""What one run of the pipeline reads and writes, bound to its claim."""

import threading
from collections.abc import Callable

from stenograf.audio.decode import Decoded
from stenograf.backend.ledger import Claim, Ledger
from stenograf.backend.records import Heard, Plan
from stenograf.contract.jobs import Overview, Stage
from stenograf.contract.options import TranscribeOptions

_ORDER = list(Stage)


class Notebook:
    """The stored state of one recognition; every write tells those who watch it.

    Any thread of the run may write.
    """

    def __init__(self, ledger: Ledger, claim: Claim, publish: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._claim = claim
        self._publish = publish
        self._lock = threading.Lock()
        self._stage = Stage.WAITING

    @property
    def recording(self) -> str:
        """A name for what is recognized here, of the service's own."""
        return self._claim.id

    @property
    def options(self) -> TranscribeOptions:
        """What was asked for."""
        return self._claim.options

    @property
    def sound(self) -> Decoded | None:
        """The decoded file of an earlier attempt."""
        return self._claim.sound

    @property
    def plan(self) -> Plan | None:
        """The windows of an earlier attempt, perhaps not all of them."""
        return self._claim.plan

    def stage(self, stage: Stage) -> None:
        """Say what is being done; of steps that overlap the later one, so it never goes back."""
        with self._lock:
            if _ORDER.index(stage) <= _ORDER.index(self._stage):
                return
            self._stage = stage
            if stage is Stage.RECOGNIZING:
                self._ledger.begin_recognizing(self._claim)
            else:
                self._ledger.stage(self._claim, stage)
        self._publish(self._claim.id)

    def keep_sound(self, sound: Decoded, overview: Overview) -> None:
        """The spool on disk is complete."""
        self._ledger.keep_sound(self._claim, sound, overview)
        self._publish(self._claim.id)

    def keep_plan(self, plan: Plan) -> None:
        """The windows that are decided."""
        self._ledger.keep_plan(self._claim, plan)
        self._publish(self._claim.id)

    def results(self) -> dict[int, Heard]:
        """Windows recognized by earlier attempts, by index."""
        return self._ledger.results(self._claim)

    def forget_results(self) -> None:
        """What earlier attempts recognized belongs to other windows."""
        self._ledger.forget_windows(self._claim)
        self._publish(self._claim.id)

    def store(self, index: int, n_samples: int, heard: Heard) -> None:
        """Keep one window's text. Raises LostLease."""
        self._ledger.store_window(self._claim, index, n_samples, heard)
        self._publish(self._claim.id)
