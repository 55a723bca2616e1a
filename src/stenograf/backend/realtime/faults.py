"""What can be wrong with a live client's messages, beside what the whole house knows."""

from stenograf.contract.errors import BadRequest


class UnknownEvent(BadRequest):
    """A message of a type that is not spoken here."""

    code = "unknown_event"


class BufferTooSmall(BadRequest):
    """A commit with next to nothing to commit."""

    code = "input_audio_buffer_commit_empty"


class BufferFull(BadRequest):
    """More sound than may be held before a commit."""

    code = "input_audio_buffer_full"
