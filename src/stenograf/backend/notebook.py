"""What one run of the pipeline reads and writes, bound to its claim."""

import threading
import time
from collections.abc import Callable

from stenograf.audio.decode import Decoded
from stenograf.backend.ledger import Claim, Ledger
from stenograf.backend.records import Heard, Plan
from stenograf.backend.stop import Reason, Stop
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

    @property
    def provisional(self) -> bool:
        """Whether what is written here may yet turn out to be in vain."""
        return False

    def stage(self, stage: Stage, ago_s: float = 0.0) -> None:
        """Say what is being done, since `ago_s`.

        Of steps that overlap it is the later one, so it never goes back.
        """
        with self._lock:
            if _ORDER.index(stage) <= _ORDER.index(self._stage):
                return
            self._stage = stage
            if stage is Stage.RECOGNIZING:
                self._ledger.begin_recognizing(self._claim, ago_s)
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


class Draft(Notebook):
    """Holds what rests on a guess: stages, the plan, windows. Nobody sees them before `confirm`.

    For a recognition of which earlier attempts left no windows. Work on the guess is to end when
    `stop` says so: with the run's own signal, or once the draft is dropped.
    """

    def __init__(self, notebook: Notebook, stop: Stop) -> None:
        super().__init__(notebook._ledger, notebook._claim, notebook._publish)
        self.stop = Stop(within=stop)
        self._notebook = notebook
        self._entering = threading.Lock()
        self._confirmed = False
        self._dropped = False
        self._stages: list[tuple[Stage, float]] = []
        self._plan: Plan | None = None
        self._windows: list[tuple[int, int, Heard]] = []

    @property
    def provisional(self) -> bool:
        """Until it is confirmed."""
        return not self._confirmed

    def confirm(self) -> bool:
        """Enter everything; from here on entries are made at once. False if it was dropped."""
        with self._entering:
            if self._dropped:
                return False
            if self._plan is not None:
                self._notebook.keep_plan(self._plan)
            for stage, began in self._stages:
                self._notebook.stage(stage, time.monotonic() - began)
            for window in self._windows:
                self._notebook.store(*window)
            self._confirmed = True
            return True

    def drop(self) -> bool:
        """Give the guess up and end the work on it. False if it was confirmed."""
        with self._entering:
            if self._confirmed:
                return False
            self._dropped = True
            self.stop.set(Reason.OUTDATED)
            return True

    def stage(self, stage: Stage, ago_s: float = 0.0) -> None:
        """See Notebook."""
        with self._entering:
            if self.provisional:
                self._stages.append((stage, time.monotonic() - ago_s))
                return
        self._notebook.stage(stage, ago_s)

    def keep_plan(self, plan: Plan) -> None:
        """See Notebook."""
        with self._entering:
            if self.provisional:
                self._plan = plan
                return
        self._notebook.keep_plan(plan)

    def store(self, index: int, n_samples: int, heard: Heard) -> None:
        """See Notebook."""
        with self._entering:
            if self.provisional:
                self._windows.append((index, n_samples, heard))
                return
        self._notebook.store(index, n_samples, heard)
