"""Sessions of browsers: show the key once, then a cookie stands for it."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from stenograf.backend.access import Gate, caller_of
from stenograf.backend.session import TTL_S
from stenograf.contract.session import SESSION_COOKIE, SessionState


def router(gate: Gate) -> APIRouter:
    """Routes over `gate`."""
    api = APIRouter(tags=["session"])

    @api.get("/v1/session")
    async def state(request: Request) -> SessionState:
        """Does this backend ask for a key, and does this request have one?"""
        return SessionState(
            key_required=gate.asks_for_key, signed_in=caller_of(request) is not None
        )

    @api.post("/v1/session", status_code=204)
    async def begin(request: Request) -> Response:
        """Make a session cookie for the key that this request carries."""
        answer = Response(status_code=204)
        caller = caller_of(request)
        token = gate.session_for(caller) if caller is not None else None
        if token is not None:
            answer.set_cookie(
                SESSION_COOKIE,
                token,
                max_age=TTL_S,
                httponly=True,
                secure=request.url.scheme == "https",
                samesite="strict",
            )
        return answer

    @api.delete("/v1/session", status_code=204)
    async def end() -> Response:
        """Forget the session in this browser."""
        answer = Response(status_code=204)
        answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
        return answer

    return api
