"""The transcript of a job as the body of an answer, however long it takes."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from stenograf.backend.api.ability import check_able
from stenograf.backend.service import Service
from stenograf.contract.jobs import JobRequest, JobStatus, JobView, Stage
from stenograf.contract.transcript import Transcript
from stenograf.patience import ErrorShape, Hold, patient_json, patient_text

Make = Callable[[Transcript], Awaitable[bytes]]
"""Turns a transcript into a body."""

_OPENINGS = {"vtt": b"WEBVTT\n\n", "tsv": b"start\tend\ttext\n"}
_BEFORE_THE_MODEL = frozenset({Stage.WAITING, Stage.DECODING, Stage.LISTENING})


async def submitted(service: Service, job: JobRequest) -> JobView:
    """Queue a job that somebody waits for. Raises what `check_able` and `submit` raise."""

    def submit() -> JobView:
        check_able(service, job.options)
        return service.submit(job)

    return await run_in_threadpool(submit)


async def json_outcome(
    service: Service, job_id: str, make: Make, render_error: ErrorShape
) -> Response:
    """JSON; an error that comes late is in the body, see `patient_json`."""
    return await patient_json(
        _made(service, job_id, make),
        render_error,
        start_s=service.answer_start_s,
        hold=_until_recognized(service, job_id),
    )


async def text_outcome(
    service: Service, job_id: str, make: Make, *, format: str, media_type: str
) -> Response:
    """A file in one of the written formats; a late error breaks it off, see `patient_text`."""
    return await patient_text(
        _made(service, job_id, make),
        media_type,
        opening=_OPENINGS.get(format, b""),
        start_s=service.answer_start_s,
        hold=_until_recognized(service, job_id),
    )


async def _made(service: Service, job_id: str, make: Make) -> bytes:
    return await make(await service.result(job_id))


def _until_recognized(service: Service, job_id: str) -> Hold:
    """Waits until the recording could be decoded and the model works on it, or the job ends.

    The clients of these dialects have time, and read an error best by its status.
    """

    async def hold() -> None:
        async with aclosing(service.snapshots(job_id, after_seq=0)) as snapshots:
            async for snapshot in snapshots:
                view = snapshot.view
                begun = view.progress.stage not in _BEFORE_THE_MODEL and view.duration_s is not None
                if view.status.final or (view.status is JobStatus.RUNNING and begun):
                    return

    return hold
