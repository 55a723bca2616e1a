"""Keeps invented text out: a recognizer that hears nothing still writes something.

Every rule needs evidence beside the text itself, and everything taken out is returned as a
warning that carries the removed text, so nothing disappears unseen.
"""

import re
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from stenograf.contract.options import GuardOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Segment, Warning, Word, join_text

Spans = Sequence[tuple[int, int]]
"""Detected speech in file time: (first sample, sample after the last), ordered, disjoint."""

FASTEST_SPEECH_CPS = 30  # characters per second nobody exceeds
_LONGEST_PHRASE_WORDS = 40  # a decoder rarely loops over more than a sentence
_MIN_REPEATS = 4  # people do say things three times
_STUTTER = re.compile(r"(.{1,12}?)\1{9,}")  # a loop inside one word has no spaces to be found by

_CREDITS = re.compile(
    r"""
    (?:
      (?:редактор|корректор)[ ](?:и[ ]корректор[ ])?(?:субтитров?[ ])?[\w ]{2,60}
    | (?:добавил|сделал|создал|создавал|подогнал|перев[её]л)[аи]?[ ]субтитры[\w ]{0,40}
    | субтитры[ ](?:и[ ]перевод[ ])?
      (?:добавил|сделал|создал|создавал|подогнал|подготовил|предоставил|делал|выполнил|от|by)
      [\w ]{0,60}
    | (?:спасибо|благодарю|благодарим)[ ](?:вам[ ])?за[ ](?:просмотр|субтитры)[\w ]{0,30}
    | (?:всем[ ])?спасибо[ ]за[ ]внимание
    | (?:не[ ]забудьте[ ])?(?:подпис|став|поставь)\w{1,8}[ ]
      (?:на[ ](?:мой[ ]|наш[ ])?канал|лайки?)[\w ]{0,60}
    | (?:продолжение[ ]следует|конец[ ]фильма|до[ ](?:новых|скорых)[ ]встреч)
    | смотрите[ ]продолжение[ ]в[ ][\w ]{0,40}
    | dimatorzok[\w ]{0,20}
    | (?:subtitles?|captions?|transcri\w+|translat\w+)[ ](?:made[ ]|provided[ ])?by[ ][\w ]{2,60}
    | thanks?(?:[ ]you)?(?:[ ]so[ ]much)?[ ]for[ ]watching[\w ]{0,30}
    | (?:please[ ])?(?:like[ ]and[ ])?subscribe[\w ]{0,40}
    )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Guarded:
    """What was kept, and one warning for each removal."""

    segments: list[Segment] = field(default_factory=list)
    warnings: list[Warning] = field(default_factory=list)


def guard(segments: Sequence[Segment], options: GuardOptions, speech: Spans | None) -> Guarded:
    """Drop or shorten the segments of one window, in file time, that were not said.

    `speech` is what voice detection found in the file, None where it did not run. Removed are:
    text without a letter or digit (`no_words`); text the recognizer itself doubts where it or
    voice detection hears no speech (`no_speech`); subtitle credits that fill a segment without
    enough speech to say them (`credits_removed`); loops (`repetition_removed`), of which the
    first round stays.
    """
    out = Guarded()
    for segment in _unlooped(segments, options, out.warnings):
        reason = _reason(segment, options, speech)
        if reason is None:
            out.segments.append(segment)
        else:
            out.warnings.append(_removal(*reason, segment, segment.text))
    return out


def compression_ratio(text: str) -> float:
    """Bytes of UTF-8 over bytes of zlib, as Whisper measures repetition."""
    body = text.encode("utf-8", "replace")
    return len(body) / len(zlib.compress(body))


def speech_samples(speech: Spans, start: int, end: int) -> int:
    """How many samples of [start, end) lie in detected speech."""
    total = 0
    for index in range(bisect_right(speech, start, key=itemgetter(1)), len(speech)):
        first, last = speech[index]
        if first >= end:
            break
        total += min(end, last) - max(start, first)
    return total


def bare(text: str) -> str:
    """Text for comparison: lower case, no punctuation, single spaces, no letter ё."""
    folded = text.casefold().replace("ё", "е")
    return " ".join(re.sub(r"[^\w]+|_", " ", folded).split())


def _reason(
    segment: Segment, options: GuardOptions, speech: Spans | None
) -> tuple[str, str] | None:
    plain = bare(segment.text)
    if not plain:
        return "no_words", "Text without a single letter or digit was removed."
    model_hears_none = (
        segment.no_speech_prob is not None and segment.no_speech_prob > options.no_speech_threshold
    )
    doubtful = segment.avg_logprob is not None and segment.avg_logprob < options.logprob_threshold
    if doubtful and (model_hears_none or _unheard(segment, speech)):
        return "no_speech", "Unconfident text was removed where no speech is heard."
    if _CREDITS.fullmatch(plain) and (model_hears_none or _unsayable(segment, plain, speech)):
        return "credits_removed", "Invented subtitle credits were removed where no speech is heard."
    return None


def _unheard(segment: Segment, speech: Spans | None) -> bool:
    return speech is not None and speech_samples(speech, segment.start, segment.end) == 0


def _unsayable(segment: Segment, plain: str, speech: Spans | None) -> bool:
    if speech is None:
        return False
    needed = len(plain) * SAMPLE_RATE // FASTEST_SPEECH_CPS
    return speech_samples(speech, segment.start, segment.end) < needed


def _unlooped(
    segments: Sequence[Segment], options: GuardOptions, warnings: list[Warning]
) -> list[Segment]:
    limit = options.compression_ratio_threshold
    whole = join_text(segment.text for segment in segments)
    reported = max((segment.compression_ratio or 0.0 for segment in segments), default=0.0)
    if not whole or max(reported, compression_ratio(whole)) <= limit:
        return list(segments)
    kept = _without_repeated_segments(segments, warnings)
    return [_without_repeated_words(segment, warnings) for segment in kept]


def _without_repeated_segments(
    segments: Sequence[Segment], warnings: list[Warning]
) -> list[Segment]:
    keep = _first_rounds([bare(segment.text) for segment in segments])
    for segment, kept in zip(segments, keep, strict=True):
        if not kept:
            warnings.append(_repetition(segment, segment.text))
    return [segment for segment, kept in zip(segments, keep, strict=True) if kept]


def _without_repeated_words(segment: Segment, warnings: list[Warning]) -> Segment:
    pieces = segment.text.split()
    short = [_STUTTER.sub(r"\1", piece) for piece in pieces]
    keep = _first_rounds([bare(piece) for piece in short])
    if all(keep) and short == pieces:
        return segment
    text = " ".join(piece for piece, kept in zip(short, keep, strict=True) if kept)
    removed = (
        _repeated_part(piece) if kept else piece for piece, kept in zip(pieces, keep, strict=True)
    )
    warnings.append(_repetition(segment, join_text(removed)))
    words: tuple[Word, ...] = ()
    if len(segment.words) == len(pieces):
        words = tuple(
            word.model_copy(update={"text": f" {rest}"})
            for word, rest, kept in zip(segment.words, short, keep, strict=True)
            if kept
        )
    return segment.model_copy(
        update={
            "text": text,
            "words": words,
            "tokens": (),
            "compression_ratio": compression_ratio(text),
        }
    )


def _repeated_part(piece: str) -> str:
    return "".join(loop[0][len(loop[1]) :] for loop in _STUTTER.finditer(piece))


def _first_rounds(items: Sequence[str]) -> list[bool]:
    """True for what stays when every phrase repeated `_MIN_REPEATS` times is said once."""
    keep = [True] * len(items)
    position = 0
    while position < len(items):
        length, repeats = _loop_at(items, position)
        for index in range(position + length, position + length * repeats):
            keep[index] = False
        position += length * repeats
    return keep


def _loop_at(items: Sequence[str], position: int) -> tuple[int, int]:
    """(phrase length, repeats) of the loop that starts at `position`; (1, 1) if there is none."""
    longest = min(_LONGEST_PHRASE_WORDS, (len(items) - position) // _MIN_REPEATS)
    for length in range(1, longest + 1):
        phrase = items[position : position + length]
        repeats = 1
        while items[position + repeats * length : position + (repeats + 1) * length] == phrase:
            repeats += 1
        if repeats >= _MIN_REPEATS:
            return length, repeats
    return 1, 1


def _repetition(segment: Segment, text: str) -> Warning:
    return _removal("repetition_removed", "A repetition loop was removed.", segment, text)


def _removal(code: str, message: str, segment: Segment, text: str) -> Warning:
    return Warning(
        code=code, message=message, start=segment.start, end=segment.end, text=text.strip()
    )
