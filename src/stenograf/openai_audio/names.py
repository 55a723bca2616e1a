"""Names that both ends of OpenAI's audio API of ours know."""

DEFAULT_MODEL_NAMES = frozenset(
    {
        "whisper-1",
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
        "gpt-4o-transcribe-diarize",
        "gpt-transcribe",
    }
)
"""Model names that OpenAI's clients send unless told otherwise: whichever model a service has."""

RECORDING_HEADER = "X-Recording-Id"
"""Requests that name the same recording share its turns at the model; any text."""
