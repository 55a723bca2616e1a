"""What a request shows to be let in.

Keys are sent as `Authorization: Bearer KEY` or `X-API-Key: KEY`. Browsers that cannot set headers
send a session cookie (`POST /v1/session`) or, opening a websocket, the subprotocol
`openai-insecure-api-key.KEY` of OpenAI's SDK. A key in an address is not taken: addresses end up
in logs, histories and referrers.
"""

from starlette.datastructures import Headers

from stenograf.contract.session import SESSION_COOKIE

_SUBPROTOCOL = "openai-insecure-api-key."
_MAX_COOKIE_BYTES = 8 * 1024


def presented_key(headers: Headers) -> bytes | None:
    """The key as the client sent it, None if it sent none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return _bytes(key)
    if "x-api-key" in headers:
        return _bytes(headers["x-api-key"])
    for name in headers.get("sec-websocket-protocol", "").split(","):
        if name.strip().startswith(_SUBPROTOCOL):
            return _bytes(name.strip().removeprefix(_SUBPROTOCOL))
    return None


def session_token(headers: Headers) -> str | None:
    """The session cookie's value, None if there is none."""
    given = headers.get("cookie", "")
    if SESSION_COOKIE not in given or len(given) > _MAX_COOKIE_BYTES:
        return None
    for pair in given.split(";"):
        name, _, value = pair.strip().partition("=")
        if name == SESSION_COOKIE:
            return value
    return None


def _bytes(value: str) -> bytes:
    # not str.strip: to it some bytes of UTF-8 are white space
    return value.encode("latin-1").strip(b" \t")
