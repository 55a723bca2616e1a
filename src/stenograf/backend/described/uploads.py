"""Seam one: recordings in, by tus 1.0."""

from stenograf.contract.errors import (
    BadRequest,
    ChecksumMismatch,
    Conflict,
    Gone,
    Locked,
    MethodNotAllowed,
    NotFound,
    OffsetMismatch,
    OutOfResources,
    TooLarge,
    UnsupportedFormat,
    UnsupportedVersion,
)
from stenograf.openapi.operation import Answer, Example, Operation, Operations, Parameter, Tag

TAG = Tag(
    "Uploads",
    "Recordings of any size come in by [tus 1.0](https://tus.io/protocols/resumable-upload) "
    "(extensions: creation, creation-with-upload, creation-defer-length, expiration, checksum, "
    "termination): any tus client works, and an upload goes on after any interruption. A complete "
    "upload becomes a job with `POST /v1/jobs`.",
)

_VERSION = Parameter(
    "Tus-Resumable", "protocol version", {"type": "string", "enum": ["1.0.0"]}, "header", True
)
_UPLOAD = Parameter("upload_id", "id of the upload", place="path", required=True)
_COUNT = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,17})$"}
_CHECKSUM = Parameter(
    "Upload-Checksum",
    "`sha1`, `sha256` or `md5`, a space, the digest of this chunk in Base64",
    place="header",
)
_CHUNK = {"type": "string", "format": "binary"}
_CHUNK_TYPE = "application/offset+octet-stream"
_OFFSET = {"Upload-Offset": "bytes that are here now", "Upload-Expires": "when it is removed"}
_ERRORS = (BadRequest, MethodNotAllowed, UnsupportedVersion)
_WRITING = (
    *(ChecksumMismatch, TooLarge, UnsupportedFormat, OutOfResources),
    *(OffsetMismatch, Conflict, Locked, Gone, NotFound),
)
_URL = "http://localhost:8009/files"
_CAPABILITIES = Answer(
    "versions, extensions, the largest upload that fits now",
    headers={
        "Tus-Version": "1.0.0",
        "Tus-Extension": "extensions, comma separated",
        "Tus-Checksum-Algorithm": "algorithms, comma separated",
        "Tus-Max-Size": "bytes",
    },
    empty=True,
)

OPERATIONS: Operations = {
    ("POST", "/files"): Operation(
        tag=TAG.name,
        summary="Create an upload",
        about="With `Content-Type: application/offset+octet-stream` the body is the first chunk, "
        "or the whole recording.",
        parameters=(
            _VERSION,
            Parameter("Upload-Length", "bytes of the recording", _COUNT, "header"),
            Parameter(
                "Upload-Defer-Length",
                "instead of Upload-Length: it is said with a later chunk",
                {"type": "string", "enum": ["1"]},
                "header",
            ),
            Parameter(
                "Upload-Metadata",
                "pairs, comma separated: `filename` and `filetype`, a space, the value in Base64",
                place="header",
            ),
            _CHECKSUM,
        ),
        body=_CHUNK,
        body_type=_CHUNK_TYPE,
        answers={
            201: Answer(
                "created", headers={"Location": "address of the upload", **_OFFSET}, empty=True
            )
        },
        errors=(*_ERRORS, ChecksumMismatch, TooLarge, OutOfResources),
        examples=(
            Example(
                "A recording in one request; its address",
                "LOCATION=$(curl -s -o /dev/null -w '%header{location}' "
                f"{_URL} \\\n"
                "  -H 'Tus-Resumable: 1.0.0' \\\n"
                f"  -H 'Content-Type: {_CHUNK_TYPE}' \\\n"
                '  -H "Upload-Length: $(stat -c %s recording.flac)" \\\n'
                '  -H "Upload-Metadata: filename $(printf recording.flac | base64)" \\\n'
                "  --data-binary @recording.flac)\n"
                "echo $LOCATION",
            ),
        ),
    ),
    ("OPTIONS", "/files"): Operation(
        tag=TAG.name, summary="What this tus server can do", answers={204: _CAPABILITIES}
    ),
    ("HEAD", "/files/{upload_id}"): Operation(
        tag=TAG.name,
        summary="How much of an upload is here",
        parameters=(_UPLOAD, _VERSION),
        answers={
            200: Answer(
                "the upload",
                headers={
                    "Upload-Offset": "bytes that are here",
                    "Upload-Length": "bytes of the recording",
                    "Upload-Defer-Length": "`1` while the length is not known",
                    "Upload-Metadata": "as it was given",
                },
                empty=True,
            )
        },
        errors=(*_ERRORS, NotFound, Gone, Locked),
        examples=(
            Example(
                "How much is here",
                "curl -I http://localhost:8009$LOCATION -H 'Tus-Resumable: 1.0.0'",
            ),
        ),
    ),
    ("PATCH", "/files/{upload_id}"): Operation(
        tag=TAG.name,
        summary="Add a chunk at the end of an upload",
        parameters=(
            _UPLOAD,
            _VERSION,
            Parameter("Upload-Offset", "where the chunk begins", _COUNT, "header", True),
            Parameter("Upload-Length", "once, after Upload-Defer-Length", _COUNT, "header"),
            _CHECKSUM,
        ),
        body=_CHUNK,
        body_type=_CHUNK_TYPE,
        answers={204: Answer("added", headers=_OFFSET, empty=True)},
        errors=(*_ERRORS, *_WRITING),
    ),
    ("DELETE", "/files/{upload_id}"): Operation(
        tag=TAG.name,
        summary="Remove an upload that no job has",
        parameters=(_UPLOAD, _VERSION),
        answers={204: Answer("removed", empty=True)},
        errors=(*_ERRORS, NotFound, Gone, Conflict, Locked),
    ),
    ("OPTIONS", "/files/{upload_id}"): Operation(
        tag=TAG.name,
        summary="What this tus server can do",
        parameters=(_UPLOAD,),
        answers={204: _CAPABILITIES},
    ),
}
