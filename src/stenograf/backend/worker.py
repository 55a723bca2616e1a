"""Works on one claimed recognition at a time: pipeline, then what its end means for the job."""

import logging
import shutil
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from stenograf.backend import pipeline
from stenograf.backend.exhaustion import shortage
from stenograf.backend.identity import fingerprint
from stenograf.backend.lanes import Lane, source_of
from stenograf.backend.ledger import Claim, Ledger, LostLease
from stenograf.backend.notebook import Notebook
from stenograf.backend.stop import Reason, Stop, Stopped
from stenograf.contract.errors import Gone, ModelNotReady, StenografError, Unavailable

_log = logging.getLogger(__name__)
_DATABASE_AWAY_S = 10.0


class Worker:
    """Claims and processes; any number of threads may call `process_next`.

    `spools` is the folder for decoded sound, `path_of` gives the file of an upload (NotFound when
    it is gone), `publish` tells watchers that a recognition changed.
    """

    def __init__(
        self,
        ledger: Ledger,
        tools: pipeline.Tools,
        *,
        spools: Path,
        path_of: Callable[[str], Path],
        publish: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._tools = tools
        self._spools = spools
        self._path_of = path_of
        self._publish = publish
        self._changed = threading.Condition()
        self._running: dict[str, tuple[Claim, Stop]] = {}
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
        with self._changed:
            # A cancelled run may still be winding up; its files are the ones we need.
            self._changed.wait_for(lambda: claim.id not in self._running)
            self._running[claim.id] = (claim, stop)
            if self._draining:
                stop.set(Reason.DRAINED)
        try:
            self._process(claim, stop)
        finally:
            with self._changed:
                del self._running[claim.id]
                if stop.reason is Reason.CANCELLED:  # also where the lease was found lost first
                    self.forget(claim.id)
                self._changed.notify_all()
            self._publish(claim.id)
        return True

    def cancel(self, recognition_id: str) -> None:
        """End the work on a recognition that nobody wants any more, if it is done here."""
        with self._changed:
            found = self._running.get(recognition_id)
        if found is not None:
            found[1].set(Reason.CANCELLED)
        else:
            self._forget_idle(recognition_id)

    def drain(self) -> None:
        """Take nothing new; what runs stores its windows and goes back to the queue."""
        with self._changed:
            self._draining = True
            running = list(self._running.values())
        for _, stop in running:
            stop.set(Reason.DRAINED)

    def renew(self) -> None:
        """Renew every lease held here; whoever lost one stops."""
        with self._changed:
            running = list(self._running.values())
        for claim, stop in running:
            if not self._ledger.renew(claim):
                stop.set(Reason.LOST)

    def forget(self, recognition_id: str) -> None:
        """Remove the decoded sound of a recognition."""
        shutil.rmtree(self._spools / recognition_id, ignore_errors=True)

    def clean(self, unfinished: Collection[str]) -> None:
        """Remove decoded sound of every recognition but the `unfinished`."""
        if not self._spools.is_dir():
            return
        found = {folder.name for folder in self._spools.iterdir()}
        for recognition_id in found.difference(unfinished):
            self._forget_idle(recognition_id)

    def _forget_idle(self, recognition_id: str) -> None:
        with self._changed:
            if recognition_id not in self._running:
                self.forget(recognition_id)

    def _process(self, claim: Claim, stop: Stop) -> None:
        try:
            self._attempt(claim, stop)
        except LostLease:
            _log.info("recognition %s went to somebody else", claim.id)

    def _attempt(self, claim: Claim, stop: Stop) -> None:
        """Run, and say what the end means. Raises LostLease."""
        try:
            self._run(claim, stop)
        except LostLease:
            raise
        except Stopped as stopped:
            if stopped.reason is Reason.DRAINED:
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

    def _run(self, claim: Claim, stop: Stop) -> None:
        model = claim.options.model or self._identify(claim)
        if model is None:
            return
        folder = self._spools / claim.id
        folder.mkdir(parents=True, exist_ok=True)
        notebook = Notebook(self._ledger, claim, self._publish)
        transcript = pipeline.run(
            source_of(claim.upload_ids, self._path_of),
            folder / "sound.f32",
            notebook,
            stop,
            self._tools,
            model,
        )
        self._ledger.finish(claim, transcript)
        self.forget(claim.id)
        _log.info("recognition %s completed, %.1f s", claim.id, transcript.duration_s)

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
            self.forget(claim.id)
            return None
        return model

    def _fail(self, claim: Claim, error: StenografError) -> None:
        _log.warning("recognition %s: %s: %s", claim.id, error.code, error.message)
        if self._ledger.fail(claim, error):
            self.forget(claim.id)


def _internal() -> StenografError:
    return StenografError(
        "Something went wrong inside the service.", hint="The log of the backend says what."
    )
