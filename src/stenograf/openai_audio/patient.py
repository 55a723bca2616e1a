"""An answer of OpenAI's audio API that is not streamed, kept alive however long it takes."""

from collections.abc import Awaitable
from typing import Any

from starlette.responses import Response

from stenograf.contract.errors import StenografError
from stenograf.httpanswers import openai_error
from stenograf.openai_audio.request import AudioRequest
from stenograf.patience import Hold, patient_json, patient_text

_TEXT_TYPES = {
    "text": "text/plain; charset=utf-8",
    "srt": "text/plain; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}
"""SRT has OpenAI's own type: browsers show it, and every SDK reads it as text."""

_VTT_OPENING = b"WEBVTT\n\n"


async def patient_answer(
    body: Awaitable[bytes],
    asked: AudioRequest,
    request_id: str | None,
    *,
    start_s: float,
    hold: Hold | None = None,
) -> Response:
    """The response for `body`, which is in the format that was asked for.

    What may stand before it while it is awaited: spaces before JSON, empty lines before SRT and
    text, empty lines behind the head of WebVTT. Parsers of all of them skip it.
    """

    def late(error: StenografError) -> dict[str, Any]:
        return {"error": openai_error(error, request_id)}

    media_type = _TEXT_TYPES.get(asked.format)
    if media_type is None:
        return await patient_json(body, late, start_s=start_s, hold=hold)
    opening = _VTT_OPENING if asked.format == "vtt" else b""
    return await patient_text(body, media_type, opening=opening, start_s=start_s, hold=hold)
