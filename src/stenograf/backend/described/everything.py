"""The backend's whole document."""

from fastapi import FastAPI

from stenograf.backend.described import (
    asr,
    jobs,
    keys,
    ops,
    realtime,
    seeds,
    text,
    uploads,
    whispercpp,
)
from stenograf.contract.errors import (
    Forbidden,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from stenograf.openapi import openai_audio
from stenograf.openapi.document import describe
from stenograf.openapi.operation import Operations

ABOUT = (
    "Speech to text: recordings in, transcripts out. One service, many dialects: whatever client "
    "you have, point it here.\n\n"
    "On the loopback it is open; elsewhere, and as soon as a key exists, every request carries "
    "`Authorization: Bearer KEY` or `X-API-Key: KEY` (`stenograf keys create`). Every answer has "
    "`X-Request-Id`, which stands in the log and in every error."
)
PORT = 8009
TAGS = (
    uploads.TAG,
    jobs.TAG,
    openai_audio.TAG,
    realtime.TAG,
    asr.TAG,
    whispercpp.TAG,
    seeds.TAG,
    text.TAG,
    keys.TAG,
    ops.TAG,
)
OPERATIONS: Operations = {
    **uploads.OPERATIONS,
    **jobs.OPERATIONS,
    **openai_audio.operations(
        PORT,
        model_path="/v1/models/{model_id}",
        about_sound="Any container or codec that FFmpeg decodes, also video, up to "
        "`MAX_UPLOAD_BYTES` and `MAX_DURATION_S`.",
    ),
    **asr.OPERATIONS,
    **whispercpp.OPERATIONS,
    **seeds.OPERATIONS,
    **text.OPERATIONS,
    **keys.OPERATIONS,
    **ops.OPERATIONS,
}
EVERY_ERROR = (Unauthorized, Forbidden, TooLarge, RateLimited, Unavailable)


def describe_backend(app: FastAPI) -> None:
    """Let the backend's app give its document."""
    describe(
        app,
        OPERATIONS,
        TAGS,
        about=ABOUT,
        server=f"http://localhost:{PORT}",
        every_error=EVERY_ERROR,
    )
