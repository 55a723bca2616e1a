"""tus 1.0 over the upload store: `/files` and `/files/{id}`."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from stenograf.backend.access import caller_of
from stenograf.backend.api import tus
from stenograf.backend.limits import OpenUploads
from stenograf.backend.uploads import Upload, UploadStore
from stenograf.contract.errors import (
    BadRequest,
    MethodNotAllowed,
    StenografError,
    error_json,
)

__all__ = ["EXPOSED_HEADERS", "METHODS", "REQUEST_HEADERS", "router"]

EXPOSED_HEADERS, METHODS, REQUEST_HEADERS = tus.EXPOSED_HEADERS, tus.METHODS, tus.REQUEST_HEADERS

_ROUTES = (
    ("POST", "/files", "Create an upload (tus creation, creation-with-upload)"),
    ("OPTIONS", "/files", "What this tus server can do"),
    ("HEAD", "/files/{upload_id}", "How much of the upload is here"),
    ("PATCH", "/files/{upload_id}", "Add a chunk at the upload's offset"),
    ("DELETE", "/files/{upload_id}", "Remove the upload (tus termination)"),
    ("OPTIONS", "/files/{upload_id}", "What this tus server can do"),
)
_HIDDEN_ROUTES = (  # the slash is for clients that add one, POST for X-HTTP-Method-Override
    ("POST", "/files/"),
    ("OPTIONS", "/files/"),
    ("POST", "/files/{upload_id}"),
)


def router(store: UploadStore, open_uploads: OpenUploads | None = None) -> APIRouter:
    """The routes of tus 1.0 over `store`; they render errors themselves, with tus headers.

    `open_uploads` bounds how many unfinished ones a caller may have, None does not.
    """
    routes = APIRouter(tags=["uploads"])
    no_bound = OpenUploads(0, lambda _: True)
    endpoint = _Endpoint(store, open_uploads or no_bound).serve
    for method, path, summary in _ROUTES:
        routes.add_api_route(
            path,
            endpoint,
            methods=[method],
            summary=summary,
            name=f"tus {method} {path}",
            response_class=Response,
        )
    for method, path in _HIDDEN_ROUTES:
        routes.add_api_route(path, endpoint, methods=[method], include_in_schema=False)
    return routes


_Handlers = dict[str, Callable[[Request], Awaitable[Response]]]


class _Endpoint:
    def __init__(self, store: UploadStore, open_uploads: OpenUploads) -> None:
        self._store = store
        self._open_uploads = open_uploads
        self._collection: _Handlers = {"POST": self._create, "OPTIONS": self._discover}
        self._member: _Handlers = {
            "HEAD": self._status,
            "PATCH": self._append,
            "DELETE": self._terminate,
            "OPTIONS": self._discover,
        }

    async def serve(self, request: Request) -> Response:
        try:
            response = await self._dispatch(request)
        except ClientDisconnect:
            response = Response(status_code=400)  # nobody is there to read it
        except StenografError as error:
            response = _render(error, request)
            if isinstance(error, MethodNotAllowed):
                response.headers["Allow"] = ", ".join(self._handlers(request))
        response.headers["Tus-Resumable"] = tus.VERSION
        return response

    def _handlers(self, request: Request) -> _Handlers:
        return self._member if "upload_id" in request.path_params else self._collection

    async def _dispatch(self, request: Request) -> Response:
        handlers = self._handlers(request)
        override = tus.single(request.headers, "X-HTTP-Method-Override")
        handler = handlers.get(override or request.method)
        if handler is None:
            raise MethodNotAllowed(f"Allowed here: {', '.join(handlers)}.")
        if handler != self._discover:
            tus.check_version(request.headers)
        return await handler(request)

    async def _discover(self, _request: Request) -> Response:
        capacity = await run_in_threadpool(self._store.capacity)
        headers = {
            "Tus-Version": tus.VERSION,
            "Tus-Extension": tus.EXTENSIONS,
            "Tus-Checksum-Algorithm": ",".join(tus.CHECKSUMS),
            "Tus-Max-Size": str(capacity),
        }
        return Response(status_code=204, headers=headers)

    async def _create(self, request: Request) -> Response:
        if "Upload-Concat" in request.headers:
            raise BadRequest("Concatenation is not spoken here.", param="Upload-Concat")
        length = tus.announced_length(request.headers)
        metadata = tus.metadata(request.headers)
        with_chunk = request.headers.get("Content-Type") == tus.CHUNK_TYPE
        checksum = tus.checksum(request.headers) if with_chunk else None
        caller = caller_of(request)
        await run_in_threadpool(self._open_uploads.check, caller)
        upload = await run_in_threadpool(self._store.create, length, metadata)
        self._open_uploads.add(caller, upload.id)
        headers = {"Location": _location(request, upload)}
        if with_chunk:
            try:
                upload = await self._store.receive(
                    upload.id,
                    0,
                    request.stream(),
                    checksum=checksum,
                    n_bytes=_body_bytes(request),
                )
            except BaseException:
                # the client does not know the address yet, so nobody could go on with it
                await run_in_threadpool(self._store.discard, upload.id)
                raise
            headers["Upload-Offset"] = str(upload.offset)
        return Response(status_code=201, headers=headers | tus.expiry(upload))

    async def _status(self, request: Request) -> Response:
        upload = await run_in_threadpool(self._store.info, request.path_params["upload_id"])
        headers = {"Cache-Control": "no-store", "Upload-Offset": str(upload.offset)}
        if upload.length is None:
            headers["Upload-Defer-Length"] = "1"
        else:
            headers["Upload-Length"] = str(upload.length)
        if upload.metadata:
            headers["Upload-Metadata"] = tus.format_metadata(upload.metadata)
        return Response(status_code=200, headers=headers)

    async def _append(self, request: Request) -> Response:
        tus.check_chunk_type(request.headers)
        offset = tus.number(request.headers, "Upload-Offset")
        if offset is None:
            raise BadRequest("Upload-Offset is missing.", param="Upload-Offset")
        upload = await self._store.receive(
            request.path_params["upload_id"],
            offset,
            request.stream(),
            checksum=tus.checksum(request.headers),
            length=tus.number(request.headers, "Upload-Length"),
            n_bytes=_body_bytes(request),
        )
        headers = {"Upload-Offset": str(upload.offset)}
        return Response(status_code=204, headers=headers | tus.expiry(upload))

    async def _terminate(self, request: Request) -> Response:
        await run_in_threadpool(self._store.delete, request.path_params["upload_id"])
        return Response(status_code=204)


def _body_bytes(request: Request) -> int:
    """What Content-Length announces; 0 if it is not said."""
    return tus.number(request.headers, "Content-Length") or 0


def _location(request: Request, upload: Upload) -> str:
    """The upload's address relative to the asked one: right behind any proxy.

    To `/files` that is a path; to `/files/` the bare id, right under any prefix a proxy hides,
    and the only form that aiotus, which appends instead of resolving, understands.
    """
    root, path = request.scope.get("root_path", ""), request.scope["path"]
    if path.endswith("/"):
        return upload.id
    return quote(f"{path if path.startswith(root) else root + path}/{upload.id}")


def _render(error: StenografError, request: Request) -> Response:
    headers = error.headers()
    if error.status == 412:
        headers["Tus-Version"] = tus.VERSION
    request_id = getattr(request.state, "request_id", None)
    return JSONResponse(error_json(error, request_id), error.status, headers)
