"""For those who run the service: alive, ready."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

import stenograf
from stenograf.backend.modelwatch import ModelWatch
from stenograf.backend.service import Service


def router(service: Service) -> APIRouter:
    """Routes over `service`."""
    api = APIRouter()
    watch = ModelWatch(service.engine)

    @api.get("/")
    async def root() -> dict[str, Any]:
        """What runs here, with the names that clients of other speech services look for."""
        model = await watch.look()
        return {
            "service": "stenograf",
            "version": stenograf.__version__,
            "model": model.name,
            "device": model.device,
            "compute_type": model.compute_type,
            "status": "ready" if model.loaded else "loading",
            "docs": "/docs",
        }

    @api.get("/health")
    async def health() -> dict[str, Any]:
        """Always 200: the process lives. `status` is `healthy` or, without a model, `loading`.

        What it says of the model is some seconds old: nothing is waited for.
        """
        model = await watch.look()
        return {
            "status": "healthy" if model.loaded else "loading",
            "service": "backend",
            "version": stenograf.__version__,
            "device": model.device,
            "model_loaded": model.loaded,
            "models_loaded": model.loaded,
            "loaded_models": [model.name] if model.loaded else [],
            **({"detail": model.detail} if model.detail else {}),
        }

    @api.get("/ready")
    def ready() -> Response:
        """200 when everything the service depends on answers, else 503 and what does not."""
        checks = service.readiness()
        good = all(state == "ok" for state in checks.values())
        body = {"status": "ready" if good else "not_ready", "checks": checks}
        return JSONResponse(body, status_code=200 if good else 503)

    return api
