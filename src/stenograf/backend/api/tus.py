"""Headers of tus 1.0 (https://tus.io/protocols/resumable-upload), read and written."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime

from starlette.datastructures import Headers

from stenograf.backend.uploads import Checksum, Upload
from stenograf.contract.errors import BadRequest, UnsupportedFormat, UnsupportedVersion

VERSION = "1.0.0"
CHUNK_TYPE = "application/offset+octet-stream"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination"
CHECKSUMS = ("sha1", "sha256", "md5")
EXPOSED_HEADERS = (
    "Location",
    "Retry-After",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Defer-Length",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
)
"""Response headers that a page of another origin must be allowed to read."""
REQUEST_HEADERS = (
    "Content-Type",
    "Tus-Resumable",
    "Upload-Checksum",
    "Upload-Defer-Length",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-HTTP-Method-Override",
    "X-Requested-With",
)
"""Request headers that a page of another origin must be allowed to send."""
METHODS = ("POST", "HEAD", "PATCH", "DELETE", "OPTIONS")

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]+")
_MAX_METADATA_BYTES = 8 * 1024


def single(headers: Headers, name: str) -> str | None:
    """The value of a header, None if absent. Raises BadRequest if it stands there twice."""
    values = headers.getlist(name)
    if len(values) > 1:
        raise BadRequest(f"{name} is given more than once.", param=name)
    return values[0] if values else None


def check_version(headers: Headers) -> None:
    """Raise UnsupportedVersion unless the client speaks our version."""
    if single(headers, "Tus-Resumable") != VERSION:
        raise UnsupportedVersion(f"Tus-Resumable must be {VERSION}.", param="Tus-Resumable")


def check_chunk_type(headers: Headers) -> None:
    """Raise UnsupportedFormat unless the body is announced as a chunk."""
    if single(headers, "Content-Type") != CHUNK_TYPE:
        raise UnsupportedFormat(f"Content-Type must be {CHUNK_TYPE}.", param="Content-Type")


def number(headers: Headers, name: str) -> int | None:
    """A header's count of bytes, None if absent. Raises BadRequest if it is no such number."""
    value = single(headers, name)
    if value is not None and _NUMBER.fullmatch(value) is None:
        raise BadRequest(f"{name} must be a whole number of bytes.", param=name)
    return None if value is None else int(value)


def announced_length(headers: Headers) -> int | None:
    """The length of a new upload, None if deferred. Raises BadRequest unless one is said."""
    length = number(headers, "Upload-Length")
    deferred = single(headers, "Upload-Defer-Length")
    if deferred not in (None, "1"):
        raise BadRequest("Upload-Defer-Length must be 1.", param="Upload-Defer-Length")
    if (length is None) == (deferred is None):
        raise BadRequest("Give Upload-Length or Upload-Defer-Length: 1.", param="Upload-Length")
    return length


def checksum(headers: Headers) -> Checksum | None:
    """The announced checksum of the chunk, None if absent. Raises BadRequest."""
    value = single(headers, "Upload-Checksum")
    if value is None:
        return None
    algorithm, _, encoded = value.partition(" ")
    if algorithm not in CHECKSUMS:
        raise BadRequest(
            f"The checksum must be one of {', '.join(CHECKSUMS)}.", param="Upload-Checksum"
        )
    digest = _decode(encoded, "Upload-Checksum")
    if len(digest) != hashlib.new(algorithm).digest_size:
        raise BadRequest(f"This is no {algorithm} digest.", param="Upload-Checksum")
    return Checksum(algorithm, digest)


def metadata(headers: Headers) -> dict[str, str]:
    """Upload-Metadata, decoded; bytes that are not UTF-8 are kept as surrogates.

    Raises BadRequest for a malformed pair, a key given twice, or more than 8 KiB.
    """
    value = single(headers, "Upload-Metadata")
    if value is None or not value.strip():
        return {}
    if len(value) > _MAX_METADATA_BYTES:
        raise BadRequest("Upload-Metadata is longer than 8 KiB.", param="Upload-Metadata")
    pairs: dict[str, str] = {}
    for pair in value.split(","):
        key, _, encoded = pair.strip(" ").partition(" ")
        if _KEY.fullmatch(key) is None or key in pairs:
            raise BadRequest(
                "Every key of Upload-Metadata must be ASCII and stand there once.",
                param="Upload-Metadata",
            )
        decoded = _decode(encoded, "Upload-Metadata")
        pairs[key] = decoded.decode("utf-8", "surrogateescape")
    return pairs


def format_metadata(pairs: Mapping[str, str]) -> str:
    """The header that `metadata` read."""
    return ",".join(
        f"{key} {base64.b64encode(value.encode('utf-8', 'surrogateescape')).decode()}".rstrip()
        for key, value in pairs.items()
    )


def expiry(upload: Upload) -> dict[str, str]:
    """`Upload-Expires` of an unfinished upload; a finished one waits for its job."""
    if upload.sealed or upload.expires_at is None:
        return {}
    return {"Upload-Expires": http_date(upload.expires_at)}


def http_date(moment: datetime) -> str:
    """IMF-fixdate of RFC 7231 for an aware UTC datetime."""
    return format_datetime(moment, usegmt=True)


def _decode(encoded: str, name: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{name} holds something that is not Base64.", param=name) from None
