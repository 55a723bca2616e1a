"""Every error a user can meet, with its HTTP answer and its retry policy.

    StenografError                      500 internal
    ├── BadRequest                      400 invalid_request
    │   ├── BadOptions                  422 invalid_options
    │   ├── UndecodableAudio            422 undecodable_audio
    │   ├── UnsupportedFormat           415 unsupported_format
    │   ├── DecodeLimitExceeded         422 decode_limit_exceeded
    │   ├── MethodNotAllowed            405 method_not_allowed
    │   ├── UnsupportedVersion          412 unsupported_version
    │   ├── ChecksumMismatch            460 checksum_mismatch
    │   └── TextServiceNotConfigured    422 text_service_not_configured
    ├── Unauthorized                    401 unauthorized
    ├── Forbidden                       403 forbidden
    ├── NotFound                        404 not_found
    │   └── ModelNotFound               404 model_not_found
    ├── Gone                            410 gone
    ├── Conflict                        409 conflict
    │   ├── OffsetMismatch              409 offset_mismatch
    │   └── NotFinished                 409 not_finished
    ├── Locked                          423 locked
    ├── TooLarge                        413 too_large
    ├── Cancelled                       409 cancelled
    └── Transient                       503 transient        retried
        ├── NetworkTimeout              504 network_timeout        30 s x 1
        ├── Unavailable                 503 unavailable             5 min x 2
        │   ├── ModelNotReady           503 model_not_ready
        │   └── Overloaded              429 overloaded
        │       └── RateLimited         429 rate_limited
        ├── OutOfResources              507 out_of_resources       30 min x 3
        └── TextServiceFailed           502 text_service_failed
            ├── TextServiceUnavailable  503 text_service_unavailable   5 min x 2
            └── TextServiceTimeout      504 text_service_timeout       30 s x 1

A service has one handler that renders `error.body()`; each outside dialect may render its own
shape from the same fields. Retries belong to the class, wherever it is raised.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class ErrorBody(BaseModel):
    """An error on the wire: `{"error": {...}}`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: str
    message: str
    hint: str | None = None
    param: str | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class RetryPolicy:
    """Wait `delay_s`, at most `count` times, then the error is final."""

    delay_s: float
    count: int


class StenografError(Exception):
    """Base of all: `message` says what went wrong, `hint` what to do."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retry: ClassVar[RetryPolicy | None] = None

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.param = param
        self.retry_after_s = retry_after_s

    def body(self, request_id: str | None = None) -> ErrorBody:
        """The error as data."""
        return ErrorBody(
            code=self.code,
            message=self.message,
            hint=self.hint,
            param=self.param,
            request_id=request_id,
        )

    def headers(self) -> dict[str, str]:
        """Headers that belong to the answer, `Retry-After` in whole seconds."""
        if self.retry_after_s is None:
            return {}
        return {"Retry-After": str(max(1, round(self.retry_after_s)))}


class BadRequest(StenografError):
    """The request itself is wrong; sending it again will not help."""

    code, status = "invalid_request", 400


class BadOptions(BadRequest):
    """An option has a value outside its range."""

    code, status = "invalid_options", 422


class UndecodableAudio(BadRequest):
    """The file holds no sound that can be read."""

    code, status = "undecodable_audio", 422


class UnsupportedFormat(BadRequest):
    """The container or the requested output format is not one we read or write."""

    code, status = "unsupported_format", 415


class DecodeLimitExceeded(BadRequest):
    """Decoding took more time, memory or sound than the limits allow."""

    code, status = "decode_limit_exceeded", 422


class MethodNotAllowed(BadRequest):
    """The address exists, the method on it does not."""

    code, status = "method_not_allowed", 405


class UnsupportedVersion(BadRequest):
    """The request speaks a protocol version that is not spoken here."""

    code, status = "unsupported_version", 412


class ChecksumMismatch(BadRequest):
    """The bytes that arrived are not the bytes that were announced (tus checksum extension)."""

    code, status = "checksum_mismatch", 460


class TextServiceNotConfigured(BadRequest):
    """Work of a language model was asked for, and the operator has not named any."""

    code, status = "text_service_not_configured", 422


class Unauthorized(StenografError):
    """No key, or not a valid one."""

    code, status = "unauthorized", 401


class Forbidden(StenografError):
    """The caller may not do this from where it is, whatever it knows."""

    code, status = "forbidden", 403


class NotFound(StenografError):
    """There is no such thing here."""

    code, status = "not_found", 404


class ModelNotFound(NotFound):
    """No such model here."""

    code = "model_not_found"


class Gone(StenografError):
    """It existed and was removed or has expired."""

    code, status = "gone", 410


class Conflict(StenografError):
    """The thing is in another state than the request assumes."""

    code, status = "conflict", 409


class OffsetMismatch(Conflict):
    """The chunk does not start where the upload ends."""

    code = "offset_mismatch"


class NotFinished(Conflict):
    """The job has no complete transcript yet."""

    code = "not_finished"


class Locked(StenografError):
    """Somebody else is writing to the same upload."""

    code, status = "locked", 423


class TooLarge(StenografError):
    """More bytes than the setting or the disk allows."""

    code, status = "too_large", 413


class Cancelled(StenografError):
    """The work was cancelled by its owner."""

    code, status = "cancelled", 409


class Transient(StenografError):
    """May work later."""

    code, status = "transient", 503


class NetworkTimeout(Transient):
    """A service did not answer in time."""

    code, status = "network_timeout", 504
    retry = RetryPolicy(delay_s=30, count=1)


class Unavailable(Transient):
    """A service cannot be reached or says it is not able to work now."""

    code, status = "unavailable", 503
    retry = RetryPolicy(delay_s=300, count=2)


class ModelNotReady(Unavailable):
    """The model is still loading, or could not be loaded; the message says which and why."""

    code = "model_not_ready"


class Overloaded(Unavailable):
    """The queue is full; `retry_after_s` says when to come back."""

    code, status = "overloaded", 429


class RateLimited(Overloaded):
    """This caller asks for more than its share; `retry_after_s` says when to come back."""

    code = "rate_limited"


class OutOfResources(Transient):
    """Memory or disk ran out."""

    code, status = "out_of_resources", 507
    retry = RetryPolicy(delay_s=1800, count=3)


class TextServiceFailed(Transient):
    """The language model refused, or answered something of no use; the transcript is there."""

    code, status = "text_service_failed", 502


class TextServiceUnavailable(TextServiceFailed):
    """The language model's server cannot be reached, is busy, or broke its answer off."""

    code, status = "text_service_unavailable", 503
    retry = RetryPolicy(delay_s=300, count=2)


class TextServiceTimeout(TextServiceFailed):
    """The language model did not finish in time."""

    code, status = "text_service_timeout", 504
    retry = RetryPolicy(delay_s=30, count=1)


def error_json(error: StenografError, request_id: str | None = None) -> dict[str, Any]:
    """`{"error": {...}}` without empty fields: the house's one error shape."""
    return {"error": error.body(request_id).model_dump(exclude_none=True)}


def all_errors(root: type[StenografError] = StenografError) -> list[type[StenografError]]:
    """The tree as drawn above, depth first; a service's own refinements are not in it."""
    children = (child for child in root.__subclasses__() if child.__module__ == __name__)
    return [root, *(c for child in children for c in all_errors(child))]


def by_code(code: str) -> type[StenografError]:
    """The class that carries `code`; StenografError itself for a code nobody carries."""
    return next((cls for cls in all_errors() if cls.code == code), StenografError)
