"""The use cases that every dialect calls; nothing here knows HTTP or SQL."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from stenograf.backend.engine import EngineClient
from stenograf.backend.filelock import FileLock
from stenograf.backend.hub import Hub
from stenograf.backend.identity import fingerprint
from stenograf.backend.jobs import Content, JobStore
from stenograf.backend.partial import partial_transcript
from stenograf.backend.queue import ThreadQueue
from stenograf.backend.seats import Seats
from stenograf.backend.shared import SharedWork
from stenograf.backend.snapshot import Snapshot
from stenograf.backend.textwork import TextWork
from stenograf.backend.uploads import UploadStore
from stenograf.backend.worker import Worker
from stenograf.contract.errors import (
    Cancelled,
    Conflict,
    ErrorBody,
    ModelNotFound,
    NotFound,
    OutOfResources,
    StenografError,
    Transient,
    Unavailable,
    by_code,
)
from stenograf.contract.jobs import JobRequest, JobStatus, JobView, Stage
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.text import StageState
from stenograf.contract.transcript import Transcript
from stenograf.openai_audio.names import DEFAULT_MODEL_NAMES
from stenograf.patience import START_S

_ASK_AGAIN_S = 10.0
_PURGED_AT_ONCE = 20


@dataclass(frozen=True)
class Service:
    """What a person can ask of the backend. Methods block; the async ones wait without a thread."""

    jobs: JobStore
    uploads: UploadStore
    engine: EngineClient
    worker: Worker
    queue: ThreadQueue
    hub: Hub
    text: TextWork
    watching: SharedWork
    seats: Seats
    ownership: FileLock
    """Held while it changes whether a job refers to an upload."""
    answer_start_s: float = START_S

    def submit(self, request: JobRequest) -> JobView:
        """Queue a job for a complete upload.

        Raises NotFound (no such upload), Conflict (not complete), ModelNotFound, Overloaded, and
        TextServiceNotConfigured for strict text work.
        """
        self.text.require(request.text)
        upload = self.uploads.info(request.upload_id)
        if not upload.sealed or upload.sha256 is None:
            raise Conflict(
                "The upload is not complete.", hint="Send the rest of it first.", param="upload_id"
            )
        options, model = self.model_for(request.options)
        content = Content(
            upload_id=upload.id,
            sha256=upload.sha256,
            size_bytes=upload.offset,
            filename=upload.filename,
            media_type=upload.media_type,
        )
        # Claimed first: an upload must not expire between its check and its job.
        with self.ownership:
            self.uploads.claim(upload.id)
            try:
                view = self.jobs.submit(
                    content,
                    options,
                    request.title,
                    model,
                    request.text,
                    fingerprint=fingerprint(self.engine, model),
                )
            except StenografError:
                if upload.id not in self.jobs.uploads_in_use():
                    self.uploads.release(upload.id)
                raise
        self.queue.poke()
        self.text.poke()
        return view

    def model_for(self, options: TranscribeOptions) -> tuple[TranscribeOptions, str]:
        """Options with a default model's names taken out, and the model that will answer.

        Raises ModelNotFound.
        """
        if options.model in DEFAULT_MODEL_NAMES:
            options = options.model_copy(update={"model": ""})
        try:
            served = [str(row["id"]) for row in self.engine.models()]
            default = self.engine.model_id()
        except StenografError:
            return options, options.model
        if options.model == default:
            options = options.model_copy(update={"model": ""})
        if options.model and options.model not in served:
            raise ModelNotFound(
                f"There is no model called {options.model!r} here.",
                hint=f"Leave it out, or name {default!r}.",
                param="model",
            )
        return options, options.model or default

    def cancel(self, job_id: str) -> JobView:
        """Withdraw a job; the work stops unless another job wants the same. Raises NotFound."""
        view, unwanted = self.jobs.cancel(job_id)
        if unwanted is not None:
            self.worker.cancel(unwanted)
        self.text.withdrawn(job_id)
        return view

    def purge(self, job_id: str) -> None:
        """Remove a job with its recording and transcript. Raises NotFound."""
        with self.ownership:
            removal = self.jobs.purge(job_id)
            if removal.recognition_id is not None:
                self.worker.cancel(removal.recognition_id)
            if removal.upload_id is not None:
                self.uploads.discard(removal.upload_id)
        self.text.withdrawn(job_id)

    def purge_older(self, created_before: float) -> None:
        """Remove some of the jobs that are over and were created before then, oldest first."""
        for job_id in self.jobs.ended_before(created_before, _PURGED_AT_ONCE):
            with suppress(NotFound):  # somebody was quicker
                self.purge(job_id)

    def drop_unused(self, upload_id: str) -> None:
        """Remove an upload that came to nothing; one that a job refers to stays."""
        with self.ownership:
            if upload_id not in self.jobs.uploads_in_use():
                self.uploads.discard(upload_id)

    def release_orphans(self) -> None:
        """Give back uploads that were claimed for a job which a crash kept from being stored."""
        with self.ownership:
            for upload_id in self.uploads.claimed() - self.jobs.uploads_in_use():
                self.uploads.release(upload_id)

    def retry(self, job_id: str) -> JobView:
        """Queue a failed or cancelled job again. Raises NotFound, Conflict, Overloaded."""
        view = self.jobs.retry(job_id)
        self.queue.poke()
        self.text.poke()
        self.hub.publish_all()
        return view

    def audio(self, job_id: str) -> tuple[Path, Content]:
        """The original file of a job. Raises NotFound."""
        content = self.jobs.upload_of(job_id)
        return self.uploads.path(content.upload_id), content

    def transcript(self, job_id: str, *, partial: bool = False) -> Transcript:
        """The transcript; with `partial`, what there is so far. Raises NotFound, NotFinished."""
        snapshot = self.jobs.snapshot(job_id, after_seq=0) if partial else None
        if snapshot is None or snapshot.view.stages["asr"].state is StageState.OK:
            return self.jobs.transcript(job_id)
        return partial_transcript(snapshot)

    async def topic(self, job_id: str) -> str:
        """What notices of a job are about. Raises NotFound."""
        return await self.watching.once(("topic", job_id), partial(self.jobs.topic, job_id))

    async def snapshots(self, job_id: str, after_seq: int) -> AsyncGenerator[Snapshot]:
        """The job now and whenever it may have changed, each with the windows new since the last.

        Ends after a final state, and when the service shuts down. Raises NotFound.
        """
        topic = await self.topic(job_id)
        async with AsyncExitStack() as waiting:
            notices = await waiting.enter_async_context(self.hub.subscribe(topic))
            while True:
                snapshot = await self.watching.once(
                    ("snapshot", job_id, after_seq, notices.moment),
                    partial(self.jobs.snapshot, job_id, after_seq),
                )
                after_seq = snapshot.last_seq
                yield snapshot
                if snapshot.view.status.final or self.hub.closed:
                    return
                if snapshot.recognition_id == topic:
                    await notices.changed()
                else:  # another computation has become the job's
                    topic = snapshot.recognition_id
                    notices = await waiting.enter_async_context(self.hub.subscribe(topic))

    async def result(self, job_id: str) -> Transcript:
        """Wait for a job's end and give its transcript; the wait may be cancelled, the job lives.

        Raises what made the job fail, Cancelled, and at once what a queued job waits for when
        that is not its turn (ModelNotReady and its kin): who is told so asks again, so the job
        is removed. A shutdown raises Unavailable and the job goes on.
        """
        async for snapshot in self.snapshots(job_id, after_seq=0):
            transcript = await self.outcome(snapshot.view)
            if transcript is not None:
                return transcript
        raise shutting_down()

    async def outcome(self, view: JobView) -> Transcript | None:
        """The transcript of a job in this state, None while it is coming.

        Raises for a job that will not give one to who waits now; see `result`.
        """
        if view.status is JobStatus.COMPLETED:
            return await run_in_threadpool(self.jobs.transcript, view.id)
        if view.status is JobStatus.CANCELLED:
            raise Cancelled("The job was cancelled.")
        if view.error is not None:
            if not view.status.final:
                await run_in_threadpool(self.purge, view.id)
            raise _error_of(view.error)
        return None

    async def past_decoding(self, job_id: str) -> None:
        """Wait while a job's recording is being decoded, which is when most that fail do."""
        async for snapshot in self.snapshots(job_id, after_seq=0):
            stage = snapshot.view.progress.stage
            decoding = stage in (Stage.WAITING, Stage.DECODING) or snapshot.view.duration_s is None
            if snapshot.view.status is not JobStatus.RUNNING or not decoding:
                return

    async def run_now(self, request: JobRequest) -> Transcript:
        """Submit and wait. Raises what `submit` and `result` raise."""
        view = await run_in_threadpool(self.submit, request)
        return await self.result(view.id)

    def readiness(self) -> dict[str, str]:
        """`ok` or a sentence for each thing the service depends on."""
        return {
            "database": _state(self.jobs.check),
            "disk": _state(self._check_disk),
            "llm": _state(self.engine.check),
        }

    def _check_disk(self) -> None:
        if self.uploads.capacity() <= 0:
            raise OutOfResources("There is no disk space left for uploads.")


def shutting_down() -> Unavailable:
    """Told to those who wait for a job while the service ends."""
    return Unavailable("The service shuts down; the job goes on when it is back.")


def _error_of(body: ErrorBody) -> StenografError:
    kind = by_code(body.code)
    retry_after_s = _ASK_AGAIN_S if issubclass(kind, Transient) else None
    return kind(body.message, hint=body.hint, param=body.param, retry_after_s=retry_after_s)


def _state(check: Callable[[], None]) -> str:
    try:
        check()
    except StenografError as error:
        return error.message
    return "ok"
