"""Works on one claimed recognition at a time: pipeline, then what its end means for the job."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from stenograf.backend import pipeline
from stenograf.backend.exhaustion import shortage
from stenograf.backend.identity import fingerprint
from stenograf.backend.lanes import Lane, source_of
from stenograf.backend.ledger import Claim, Ledger, LostLease
from stenograf.backend.notebook import Notebook
from stenograf.backend.spools import Spools
from stenograf.backend.stop import Reason, Stop, Stopped
from stenograf.contract.errors import Gone, ModelNotReady, StenografError, Unavailable

_log = logging.getLogger(__name__)
_DATABASE_AWAY_S = 10.0


class Worker:
    """Claims and processes; any number of threads may call `process_next`.

    `spools` keeps decoded sound, `path_of` gives the file of an upload (NotFound when
    it is gone), `publish` tells watchers that a recognition changed.
    """

    def __init__(
        self,
        ledger: Ledger,
        tools: pipeline.Tools,
        *,
        spools: Spools,
        path_of: Callable[[str], Path],
        publish: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._tools = tools
        self._spools = spools
        self._path_of = path_of
        self._publish = publish
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Claim, Stop]] = {}  # by the owner of the lease
        self._draining = False

    def process_next(self, lane: Lane) -> bool:
        """Work on the next recognition of a lane; False when there is none."""
        if self._draining:
            return False
        claim = lane.claim(lambda: self._draining)
        if claim is None:
            return False
        self._publish(claim.id)
        stop = Stop()
        with self._lock:
            self._running[claim.owner] = (claim, stop)
            if self._draining:
                stop.set(Reason.DRAINED)
        try:
            self._process(claim, stop)
        finally:
            with self._lock:
                del self._running[claim.owner]
            if stop.reason is Reason.CANCELLED:  # also where the lease was found lost first
                self._spools.forget(claim.id)
            self._publish(claim.id)
        return True

    def cancel(self, recognition_id: str) -> None:
        """End the work on a recognition that nobody wants any more, if it is done here."""
        with self._lock:
            running = [stop for claim, stop in self._running.values() if claim.id == recognition_id]
        for stop in running:
            stop.set(Reason.CANCELLED)
        self._spools.forget(recognition_id)

    def drain(self) -> None:
        """Take nothing new; what runs stores its windows and goes back to the queue."""
        with self._lock:
            self._draining = True
            running = list(self._running.values())
        for _, stop in running:
            stop.set(Reason.DRAINED)

    def renew(self) -> None:
        """Renew every lease held here; whoever lost one stops."""
        with self._lock:
            running = list(self._running.values())
        for claim, stop in running:
            if not self._ledger.renew(claim):
                stop.set(Reason.LOST)

    def _process(self, claim: Claim, stop: Stop) -> None:
        try:
            self._attempt(claim, stop)
        except LostLease:
            _log.info("recognition %s was cancelled or went to somebody else", claim.id)

    def _attempt(self, claim: Claim, stop: Stop) -> None:
        """Run, and say what the end means. Raises LostLease."""
        try:
            if self._run(claim, stop):
                self._spools.forget(claim.id)
        except LostLease:
            raise
        except Stopped as stopped:
            # After a cancel it is no longer ours, unless somebody asked for it again just then.
            if stopped.reason in (Reason.DRAINED, Reason.CANCELLED):
                self._ledger.release(claim)
        except Gone:
            # Its job was removed just now; the next claim sees whether another has the recording.
            self._ledger.release(claim)
        except ModelNotReady as error:
            self._ledger.postpone(claim, error, error.retry.delay_s if error.retry else 0.0)
        except StenografError as error:
            self._fail(claim, error)
        except Exception as error:
            _log.exception("recognition %s failed", claim.id)
            short = shortage(error)
            if isinstance(short, Unavailable):  # the database: no fault of the recording
                self._ledger.postpone(claim, short, _DATABASE_AWAY_S)
            else:
                self._fail(claim, short or _internal())

    def _run(self, claim: Claim, stop: Stop) -> bool:
        """Whether decoded sound is of no use any more."""
        model = claim.options.model or self._identify(claim)
        if model is None:
            return True
        notebook = Notebook(self._ledger, claim, self._publish)
        with self._spools.used(claim.id) as folder:
            transcript = pipeline.run(
                source_of(claim.upload_ids, self._path_of),
                folder / "sound.f32",
                notebook,
                stop,
                self._tools,
                model,
            )
            self._ledger.finish(claim, transcript)
        _log.info("recognition %s completed, %.1f s", claim.id, transcript.duration_s)
        return True

    def _identify(self, claim: Claim) -> str | None:
        """The model that will answer; None when its computation is already somebody else's."""
        try:
            model = self._tools.engine.model_id()
        except ModelNotReady:
            # The sound can be decoded and judged meanwhile; the pipeline asks again.
            return claim.model
        weights = fingerprint(self._tools.engine, model)
        # a service that only loads says nothing of its weights, and windows should outlive that
        known = model == claim.model and not weights
        if not known and not self._ledger.identify(claim, model, weights):
            return None
        return model

    def _fail(self, claim: Claim, error: StenografError) -> None:
        _log.warning("recognition %s: %s: %s", claim.id, error.code, error.message)
        if self._ledger.fail(claim, error):
            self._spools.forget(claim.id)


def _internal() -> StenografError:
    return StenografError(
        "Something went wrong inside the service.", hint="The log of the backend says what."
    )
