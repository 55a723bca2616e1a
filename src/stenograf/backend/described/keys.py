"""Browsers and keys."""

from stenograf.contract.session import SessionState
from stenograf.openapi.operation import Answer, Example, Operation, Operations, Tag

TAG = Tag(
    "Session",
    "Pages cannot set headers everywhere: they show the key once and a cookie stands for it.",
)

OPERATIONS: Operations = {
    ("GET", "/v1/session"): Operation(
        tag=TAG.name,
        summary="Is a key asked for, and has this request a good one?",
        answers={200: Answer("the state", shape=SessionState)},
        public=True,
        examples=(Example("The state", "curl http://localhost:8009/v1/session"),),
    ),
    ("POST", "/v1/session"): Operation(
        tag=TAG.name,
        summary="Take a cookie for the key that this request carries",
        answers={
            204: Answer("done", headers={"Set-Cookie": "the session, not readable by scripts"})
        },
    ),
    ("DELETE", "/v1/session"): Operation(
        tag=TAG.name,
        summary="Forget the session in this browser",
        answers={204: Answer("done", empty=True)},
    ),
}
