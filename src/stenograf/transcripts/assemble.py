"""Window results, each in its own time, become one transcript in the time of the file."""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Levels, Segment, Transcript, Warning, Word
from stenograf.transcripts.guard import Spans, guard
from stenograf.transcripts.seams import repair

_PADDING_SLACK = SAMPLE_RATE // 5  # recognizers round times; later than this is the padding


@dataclass(frozen=True)
class WindowResult:
    """What the recognizer said about samples [start, end) of the file.

    `segments` count samples from the window's own start. `seam_start`, `seam_end`: that border
    was forced inside speech.
    """

    start: int
    end: int
    segments: Sequence[Segment]
    seam_start: bool = False
    seam_end: bool = False
    language: str | None = None
    language_probability: float | None = None


def assemble(
    results: Sequence[WindowResult],
    *,
    duration: int,
    options: TranscribeOptions,
    speech: Spans | None = None,
    levels: Levels | None = None,
    model: str = "",
    warnings: Sequence[Warning] = (),
) -> Transcript:
    """Join window results, in any order, to the transcript of a file of `duration` samples.

    Times come out ordered, disjoint and inside the file. What guards remove is listed in the
    transcript's warnings, after the `warnings` given by earlier stages. `speech` is what voice
    detection found, empty if it found nothing, None if it did not run. With language `auto` the
    language is the one most of the recognized sound was heard in.
    """
    ordered = sorted(results, key=lambda result: (result.start, result.end))
    settling = Settling(duration=duration, options=options, speech=speech)
    segments: list[Segment] = []
    for result, following in zip_longest(ordered, ordered[1:]):
        joined = following is not None and following.seam_start and following.start == result.end
        segments += settling.add(replace(result, seam_end=True) if joined else result)
    segments += settling.finish()
    notes = [*warnings, *settling.warnings]
    if not segments:
        notes.append(_why_empty(duration, ordered, speech))
    language, probability = _language(ordered, options)
    return Transcript(
        language=language,
        language_probability=probability,
        duration=duration,
        segments=tuple(segments),
        warnings=tuple(notes),
        levels=levels,
        model=model,
        task=options.decode.task,
    )


class Settling:
    """Gives segments as soon as no later window can change them.

    Windows come in file order; what `add` and `finish` give, joined, is what `assemble` makes of
    the same windows. `warnings` grows with what the guards remove.
    """

    def __init__(
        self,
        *,
        duration: int,
        options: TranscribeOptions,
        speech: Spans | None = None,
        guarded: bool = True,
    ) -> None:
        """See `assemble`; without `guarded` words at cuts are mended and nothing is removed."""
        self._guarded = guarded
        self.warnings: list[Warning] = []
        self._duration = duration
        self._options = options
        self._speech = speech
        self._held: Segment | None = None  # the last one before a cut inside speech
        self._cut: int | None = None
        self._cursor = 0

    def learn(self, *, duration: int, speech: Spans | None) -> None:
        """More of the file is known: at least all of the windows that are added next."""
        self._duration, self._speech = duration, speech

    def add(self, result: WindowResult) -> list[Segment]:
        """Segments that the next window in file order settles, ordered, disjoint."""
        window = _in_file_time(result, self.warnings)
        if self._guarded:
            kept = guard(window, self._options.guard, self._speech)
            window = kept.segments
            self.warnings.extend(kept.warnings)
        if self._held is not None and self._cut == result.start and window:
            self._held, first = repair(self._held, window[0], result.start)
            window[:1] = [] if first is None else [first]
        settled = self.finish()
        if result.seam_end and window:
            self._held, self._cut = window.pop(), result.end
        return settled + [self._placed(segment) for segment in window]

    def finish(self) -> list[Segment]:
        """What was held back for the sake of a next window; there is none."""
        held, self._held = self._held, None
        return [] if held is None else [self._placed(held)]

    def _placed(self, segment: Segment) -> Segment:
        placed = _clamped(segment, self._cursor, self._duration)
        self._cursor = placed.end
        return placed


def _in_file_time(result: WindowResult, notes: list[Warning]) -> list[Segment]:
    """Clean segments, in order; what lies behind the window's sound becomes a note."""
    length = max(0, result.end - result.start)
    inside: list[Segment] = []
    for raw in sorted(result.segments, key=lambda segment: (segment.start, segment.end)):
        segment = _clean(raw)
        if not segment.text:
            continue
        late = segment.start > length + _PADDING_SLACK
        segment = _clamped(segment, 0, length).shifted(result.start)
        if late:
            notes.append(_from_padding(segment))
        else:
            inside.append(segment)
    return inside


def _clamped(segment: Segment, first: int, last: int) -> Segment:
    """The segment moved into [first, last], its words ordered inside it."""
    start = min(max(segment.start, first), last)
    end = min(max(segment.end, start), last)
    words: list[Word] = []
    cursor = start
    for word in segment.words:
        word_start = min(max(word.start, cursor), end)
        cursor = min(max(word.end, word_start), end)
        words.append(word.model_copy(update={"start": word_start, "end": cursor}))
    return segment.model_copy(update={"start": start, "end": end, "words": tuple(words)})


def _clean(segment: Segment) -> Segment:
    words = tuple(
        word.model_copy(update={"text": text})
        for word in segment.words
        if (text := _printable(word.text)).strip()
    )
    return segment.model_copy(update={"text": _printable(segment.text).strip(), "words": words})


def _printable(text: str) -> str:
    """Without control characters and lone surrogates; every white space becomes one space."""
    spaced = "".join(" " if char.isspace() else char for char in text)
    if spaced.isprintable():
        return spaced
    return "".join(char for char in spaced if unicodedata.category(char) not in ("Cc", "Cs"))


def _from_padding(segment: Segment) -> Warning:
    return Warning(
        code="outside_window",
        message="Text was removed that lies behind the end of the sound.",
        start=segment.start,
        end=segment.end,
        text=segment.text,
    )


def _why_empty(duration: int, results: Sequence[WindowResult], speech: Spans | None) -> Warning:
    if duration == 0:
        return Warning(code="no_sound", message="The recording holds no sound.")
    whole = {"start": 0, "end": duration}
    if speech is not None and not speech:
        return Warning(code="no_speech", message="No speech was found in the recording.", **whole)
    if any(segment.text.strip() for result in results for segment in result.segments):
        message = "Everything recognized was removed as not said."
        return Warning(code="no_speech", message=message, **whole)
    return Warning(code="no_speech", message="The recognizer heard no words.", **whole)


def _language(
    results: Sequence[WindowResult], options: TranscribeOptions
) -> tuple[str, float | None]:
    if options.decode.language != "auto":
        return options.decode.language, None
    heard: dict[str, float] = defaultdict(float)
    samples = 0
    for result in results:
        if result.language:
            length = result.end - result.start
            heard[result.language] += length * (result.language_probability or 1.0)
            samples += length
    if not samples:
        return "und", None
    language = max(heard, key=lambda code: heard[code])
    return language, min(1.0, heard[language] / samples)
