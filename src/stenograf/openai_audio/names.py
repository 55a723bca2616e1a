"""Model names that mean whichever model a service has."""

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
"""What OpenAI's clients send unless told otherwise."""
