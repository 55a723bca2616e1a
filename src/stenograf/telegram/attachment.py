"""Which file of a message holds the speech."""

from dataclasses import dataclass
from pathlib import PurePath

from aiogram.types import Message

_SUFFIXES = frozenset(
    (
        *(".3gp", ".aac", ".aif", ".aiff", ".amr", ".avi", ".caf", ".flac", ".m4a", ".m4v"),
        *(".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".oga", ".ogg"),
        *(".ogv", ".opus", ".wav", ".weba", ".webm", ".wma", ".wmv"),
    )
)
_MAX_NAME_CHARS = 120


@dataclass(frozen=True)
class Attachment:
    """A recording in a message; `size_bytes` is 0 where Telegram does not say."""

    file_id: str
    name: str
    size_bytes: int


def attachment_of(message: Message) -> Attachment | None:
    """The recording of a message, None if it has none."""
    if message.animation is not None:  # a video without sound, which is a document as well
        return None
    stem = f"telegram_{message.message_id}"
    if message.voice is not None:
        return Attachment(message.voice.file_id, f"{stem}.ogg", message.voice.file_size or 0)
    if message.video_note is not None:
        note = message.video_note
        return Attachment(note.file_id, f"{stem}.mp4", note.file_size or 0)
    if message.audio is not None:
        name = _safe(message.audio.file_name, f"{stem}.mp3")
        return Attachment(message.audio.file_id, name, message.audio.file_size or 0)
    if message.video is not None:
        name = _safe(message.video.file_name, f"{stem}.mp4")
        return Attachment(message.video.file_id, name, message.video.file_size or 0)
    document = message.document
    if document is not None:
        name = _safe(document.file_name, stem)
        kind = (document.mime_type or "").partition("/")[0]
        if kind in ("audio", "video") or PurePath(name).suffix.lower() in _SUFFIXES:
            return Attachment(document.file_id, name, document.file_size or 0)
    return None


def _safe(name: str | None, otherwise: str) -> str:
    """A file name without folders and control characters, of bearable length."""
    kept = "".join(char for char in (name or "") if char.isprintable() and char not in "/\\:")
    path = PurePath(kept.strip(". "))
    suffix = path.suffix[:12]
    return f"{path.stem[:_MAX_NAME_CHARS]}{suffix}" if path.stem else otherwise
