"""For those who run the service: alive, ready."""

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

import stenograf
from stenograf.backend.service import Service


def router(service: Service) -> APIRouter:
    """Routes over `service`."""
    api = APIRouter()

    @api.get("/health")
    async def health() -> dict[str, str]:
        """The process lives; nothing else is asked."""
        return {"status": "ok", "service": "backend", "version": stenograf.__version__}

    @api.get("/ready")
    def ready() -> Response:
        """200 when everything the service depends on answers, else 503 and what does not."""
        checks = service.readiness()
        good = all(state == "ok" for state in checks.values())
        body = {"status": "ready" if good else "not_ready", "checks": checks}
        return JSONResponse(body, status_code=200 if good else 503)

    return api
