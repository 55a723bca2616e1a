"""`/asr?output=json`: one answer that readers of three services' JSON understand.

openai-whisper and faster-whisper have `text` and confidence figures per segment, WhisperX has
`word_segments`, scores and speakers; here all of it stands in one object.
"""

from typing import Any

from stenograf.contract.transcript import Segment, Transcript, Word
from stenograf.transcripts.clock import milliseconds
from stenograf.transcripts.writers import verbose

_NO_SPEAKERS = {"code": "no_speakers", "message": "Speakers were not told apart."}


def whisperx(
    transcript: Transcript, *, words: bool = True, speakers_wanted: bool = False
) -> dict[str, Any]:
    """The transcript as data, times in seconds; without `words` no word has a time of its own.

    `language` is what was spoken, also of a translation. A warning says so when speakers were
    wanted and none was told apart.
    """
    shape = verbose(transcript, ["segment"])
    rows = zip(shape["segments"], transcript.segments, strict=True)
    listed = [_words(segment) if words else [] for segment in transcript.segments]
    return {
        "text": transcript.text,
        "language": transcript.language,
        "language_probability": transcript.language_probability,
        "duration": shape["duration"],
        "model": transcript.model,
        "segments": [
            {**row, "words": own if words else None}
            for (row, _), own in zip(rows, listed, strict=True)
        ],
        "word_segments": [word for own in listed for word in own],
        "warnings": [{"code": note.code, "message": note.message} for note in transcript.warnings]
        + ([_NO_SPEAKERS] if speakers_wanted and not _speakers(transcript) else []),
    }


def _speakers(transcript: Transcript) -> bool:
    return any(segment.speaker for segment in transcript.segments)


def _words(segment: Segment) -> list[dict[str, Any]]:
    return [_word(word, word.speaker or segment.speaker) for word in segment.words]


def _word(word: Word, speaker: str | None) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "word": word.text.strip(),
        "start": milliseconds(word.start) / 1000,
        "end": milliseconds(word.end) / 1000,
    }
    if word.probability is not None:
        shape |= {"score": word.probability, "probability": word.probability}
    return shape if speaker is None else {**shape, "speaker": speaker}
