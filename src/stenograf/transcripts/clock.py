"""The one place where samples become clock time."""

from stenograf.contract.pcm import SAMPLE_RATE


def milliseconds(samples: int) -> int:
    """Samples at 16 kHz as integer milliseconds, rounded once, halves up."""
    return (samples * 1000 + SAMPLE_RATE // 2) // SAMPLE_RATE


def clock(time_ms: int, mark: str = ".") -> str:
    """`HH:MM:SS.mmm`; `mark` stands before the milliseconds (SRT wants a comma)."""
    seconds, rest_ms = divmod(time_ms, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}{mark}{rest_ms:03d}"
