"""Our own dialect: durable jobs."""

from stenograf.backend.described.text import TEXT_ERRORS
from stenograf.contract.errors import (
    BadOptions,
    BadRequest,
    Conflict,
    ModelNotFound,
    NotFinished,
    NotFound,
    UnsupportedFormat,
)
from stenograf.contract.jobs import JobPage, JobView, Overview
from stenograf.openapi.operation import Answer, Example, Operation, Operations, Tag

TAG = Tag(
    "Jobs",
    "A job is durable: it outlives the client, the connection and a restart of any service. "
    "Upload, create, follow, fetch.",
)
_URL = "http://localhost:8009/v1/jobs"
_JOB = "http://localhost:8009$JOB"

OPERATIONS: Operations = {
    ("POST", "/v1/jobs"): Operation(
        tag=TAG.name,
        summary="Queue a job for a complete upload",
        about="The same bytes with the same options are recognized once, however often they come.",
        answers={201: Answer("the job", shape=JobView, headers={"Location": "address of the job"})},
        errors=(BadRequest, BadOptions, NotFound, Conflict, ModelNotFound),
        examples=(
            Example(
                "A job for the upload above; its address",
                f"JOB=$(curl -s -o /dev/null -w '%header{{location}}' {_URL} \\\n"
                "  -H 'Content-Type: application/json' \\\n"
                '  -d "{\\"upload_id\\": \\"${LOCATION##*/}\\", '
                '\\"options\\": {\\"decode\\": {\\"language\\": \\"ru\\"}}}")\n'
                "echo $JOB",
            ),
        ),
    ),
    ("GET", "/v1/jobs"): Operation(
        tag=TAG.name,
        summary="Jobs, newest first",
        meanings={
            "q": "looks in title, file name and text",
            "status": "only these",
            "limit": "jobs on a page",
            "cursor": "`next_cursor` of the page before",
        },
        answers={200: Answer("a page of jobs", shape=JobPage)},
        errors=(BadRequest, BadOptions),
        examples=(Example("What is finished", f"curl '{_URL}?status=completed&limit=10'"),),
    ),
    ("GET", "/v1/jobs/{job_id}"): Operation(
        tag=TAG.name,
        summary="One job",
        answers={200: Answer("the job", shape=JobView)},
        errors=(NotFound,),
        examples=(Example("Status and progress", f"curl {_JOB}"),),
    ),
    ("DELETE", "/v1/jobs/{job_id}"): Operation(
        tag=TAG.name,
        summary="Cancel a job",
        meanings={"purge": "remove it, with its recording and transcript"},
        answers={
            200: Answer("the cancelled job", shape=JobView),
            204: Answer("removed", empty=True),
        },
        errors=(NotFound, BadOptions),
    ),
    ("POST", "/v1/jobs/{job_id}/retry"): Operation(
        tag=TAG.name,
        summary="Queue a failed or cancelled job again",
        answers={200: Answer("the job", shape=JobView)},
        errors=(NotFound, Conflict),
    ),
    ("GET", "/v1/jobs/{job_id}/events"): Operation(
        tag=TAG.name,
        summary="A job as it goes, as server-sent events",
        meanings={
            "last-event-id": "goes on after this window",
            "last_event_id": "the same, for clients that cannot set headers",
        },
        about="`status`, `progress`, `window` (recognized segments, times in samples at 16 kHz), "
        "at the end `done`. A window's `id` is a number that grows for as long as the job lives. "
        "After `reset`, which has one too, all windows before it are void: another model took "
        "over, or they were cut otherwise. So it is where the number asked for was never given.",
        answers={200: Answer("events until the job ends", media_types=("text/event-stream",))},
        errors=(NotFound, BadOptions),
        examples=(Example("Follow the job to its end", f"curl -N {_JOB}/events"),),
    ),
    ("GET", "/v1/jobs/{job_id}/transcript"): Operation(
        tag=TAG.name,
        summary="The transcript as a file",
        meanings={
            "format": "`txt`, `json`, `verbose_json`, `srt`, `vtt`, `tsv`",
            "partial": "what there is so far",
            "punctuated": "as the language model punctuated it",
            "stages": "JSON formats also tell how each stage went, and carry the texts",
            "strict": "failed text work is an error",
            "download": "name the file in `Content-Disposition`",
        },
        about="Times of `json` are samples at 16 kHz, those of the other formats clock time.\n\n"
        "Subtitles have at most two lines of 42 characters, 17 characters a second, and stay 0.8 "
        "to 7 seconds; reading speed and shortest time give way only where speech itself is "
        "faster.",
        answers={
            200: Answer(
                "the transcript",
                shape={"type": "object"},
                media_types=(
                    *("text/plain", "application/x-subrip", "text/vtt"),
                    "text/tab-separated-values",
                ),
            )
        },
        errors=(NotFound, NotFinished, UnsupportedFormat, BadOptions, *TEXT_ERRORS),
        examples=(
            Example("The text", f'curl "{_JOB}/transcript?format=txt"'),
            Example("Subtitles", f'curl "{_JOB}/transcript?format=srt" -o recording.srt'),
            Example("Everything that is known", f"curl {_JOB}/transcript"),
        ),
    ),
    ("GET", "/v1/jobs/{job_id}/overview"): Operation(
        tag=TAG.name,
        summary="The drawn waveform and the levels",
        answers={200: Answer("extremes of each stretch", shape=Overview)},
        errors=(NotFound, NotFinished),
    ),
    ("GET", "/v1/jobs/{job_id}/audio"): Operation(
        tag=TAG.name,
        summary="The recording as it was uploaded",
        about="Byte ranges are honoured.",
        answers={
            200: Answer("the file", media_types=("audio/*", "video/*", "application/octet-stream")),
            206: Answer("a range of it", media_types=("audio/*", "video/*")),
            416: Answer("there is no such range", empty=True),
        },
        errors=(NotFound,),
    ),
    ("HEAD", "/v1/jobs/{job_id}/audio"): Operation(
        tag=TAG.name,
        summary="Size and type of the recording",
        answers={
            200: Answer("the file", empty=True),
            206: Answer("a range of it", empty=True),
            416: Answer("there is no such range", empty=True),
        },
        errors=(NotFound,),
    ),
    ("GET", "/v1/options"): Operation(
        tag=TAG.name,
        summary="Every option of a transcription, as a JSON schema",
        about="Default, range, unit and help text of each; `options` of `POST /v1/jobs`.",
        answers={200: Answer("the schema", shape={"type": "object"})},
        examples=(Example("The options", "curl http://localhost:8009/v1/options"),),
    ),
}
