"""`POST /detect-language`, as whisper-asr-webservice answers it."""

import json

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from stenograf.backend.api.asr import PARTS
from stenograf.backend.api.dialect import late, route_class, with_detail
from stenograf.backend.api.raw import received_sound
from stenograf.backend.detection import LanguageDetector
from stenograf.backend.service import Service
from stenograf.patience import patient_json
from stenograf.transcripts.languages import name_of

_START_S = 10.0  # it takes seconds, and clients read an error by its status alone


def router(service: Service, detector: LanguageDetector) -> APIRouter:
    """The route over `detector`; the recording is kept no longer than the answer takes."""
    api = APIRouter(route_class=route_class(with_detail))

    @api.post("/detect-language")
    async def detect_language(request: Request) -> Response:
        """Which language is spoken: its English name, its code, how sure that is (0 to 1)."""
        async with received_sound(service, request, PARTS) as recording:
            upload = recording.upload

        async def work() -> bytes:
            try:
                path = await run_in_threadpool(service.uploads.path, upload.id)
                heard = await detector.detect(path)
            finally:
                await run_in_threadpool(service.drop_unused, upload.id)
            shape = {
                "detected_language": name_of(heard.language),
                "language_code": heard.language,
                "confidence": heard.probability,
            }
            return json.dumps(shape).encode()

        return await patient_json(work(), late(with_detail, request), start_s=_START_S)

    return api
