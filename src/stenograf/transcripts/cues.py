"""Subtitles a person can read: recognized words re-cut to lines and times.

The limits are the usual ones of broadcasters' style guides: two lines of 42 characters, 17
characters per second, 0.8 to 7 seconds. Lines and the longest time hold always. The reading speed
and the shortest time hold for every cue of a stretch (one speaker, no long pause) if any way to
cut that stretch keeps them; where none does, speech itself is faster, and the cut is the one that
reads best.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf

from stenograf.contract.transcript import Segment, Transcript
from stenograf.transcripts.clock import milliseconds

MAX_LINE_CHARS = 42
MAX_CPS = 17
MIN_CUE_MS = 800
MAX_CUE_MS = 7_000

_PAUSE_MS = 1_500  # a silence that always ends a cue
_SHORT_PAUSE_MS = 300
_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")
_CLAUSE_ENDS = (",", ";", ":", "—", "–", "、", "，")
_LEANING_WORDS = """
а без в во да до за и из или к ко на над не ни но о об от перед по под при про с со то у что чтобы
a an and but for in of on or the to with
"""
_LEANING = frozenset(_LEANING_WORDS.split())  # they belong to the word that follows


@dataclass(frozen=True)
class Cue:
    """One subtitle: at most two lines, shown in [start_ms, end_ms)."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    speaker: str | None = None


@dataclass(frozen=True)
class _Unit:
    """The smallest thing that is never broken; `glued` when no space precedes it."""

    text: str
    start_ms: int
    end_ms: int
    glued: bool = False
    ends_segment: bool = False
    speaker: str | None = None


def cues(transcript: Transcript, *, label_speakers: bool = False) -> list[Cue]:
    """Cut a transcript to cues, in order, inside the recording, each longer than zero.

    With `label_speakers` a change of speaker is written into the text, `[SPEAKER_00] …`.
    """
    last_ms = max(milliseconds(transcript.duration), *_ends(transcript), 1)
    runs = list(_runs(transcript))
    ends_ms = [*(run[0].start_ms for run in runs[1:]), last_ms]
    drafts: list[Cue] = []
    speaker: str | None = None
    for run, end_ms in zip(runs, ends_ms, strict=False):
        if label_speakers and run[0].speaker and run[0].speaker != speaker:
            run = _labelled(run)
        speaker = run[0].speaker
        drafts.extend(_cut(run, end_ms))
    return _timed(drafts, last_ms)


def _ends(transcript: Transcript) -> Iterator[int]:
    yield 0
    yield from (milliseconds(segment.end) for segment in transcript.segments)


def _labelled(run: list[_Unit]) -> list[_Unit]:
    first = run[0]
    label = _Unit(f"[{first.speaker}]", first.start_ms, first.start_ms, speaker=first.speaker)
    return [*_split_long(label), *run]


def _runs(transcript: Transcript) -> Iterator[list[_Unit]]:
    """Stretches of one speaker without a long pause."""
    run: list[_Unit] = []
    for segment in transcript.segments:
        for unit in _units(segment):
            if run and (
                unit.speaker != run[-1].speaker or unit.start_ms - run[-1].end_ms >= _PAUSE_MS
            ):
                yield run
                run = []
            run.append(unit)
    if run:
        yield run


def _units(segment: Segment) -> list[_Unit]:
    text = " ".join(segment.text.split())
    spoken = " ".join("".join(word.text for word in segment.words).split())
    units = _from_words(segment) if spoken == text else _from_text(segment, text)
    pieces = [piece for unit in units for piece in _split_long(unit)]
    if pieces:
        last = pieces[-1]
        pieces[-1] = _Unit(last.text, last.start_ms, last.end_ms, last.glued, True, last.speaker)
    return pieces


def _from_words(segment: Segment) -> list[_Unit]:
    units: list[_Unit] = []
    after_space = True
    for word in segment.words:
        text = " ".join(word.text.split())
        if text:
            units.append(
                _Unit(
                    text,
                    milliseconds(word.start),
                    milliseconds(word.end),
                    glued=not after_space and not word.text[0].isspace(),
                    speaker=word.speaker or segment.speaker,
                )
            )
        after_space = not text or word.text[-1].isspace()
    return units


def _from_text(segment: Segment, text: str) -> list[_Unit]:
    """Without word times the segment's time is shared out by characters."""
    pieces = text.split()
    if not pieces:
        return []
    start, length = milliseconds(segment.start), milliseconds(segment.end)
    length -= start
    marks = [0, *accumulate(len(piece) + 1 for piece in pieces)]
    times = [start + length * mark // marks[-1] for mark in marks]
    return [
        _Unit(piece, times[index], times[index + 1], speaker=segment.speaker)
        for index, piece in enumerate(pieces)
    ]


def _split_long(unit: _Unit) -> Iterator[_Unit]:
    """A single word longer than a line is broken; nothing else could show it."""
    total = len(unit.text)
    length_ms = unit.end_ms - unit.start_ms
    for first in range(0, total, MAX_LINE_CHARS):
        piece = unit.text[first : first + MAX_LINE_CHARS]
        yield _Unit(
            piece,
            unit.start_ms + length_ms * first // total,
            unit.start_ms + length_ms * (first + len(piece)) // total,
            glued=unit.glued or first > 0,
            speaker=unit.speaker,
        )


@dataclass(frozen=True)
class _Stretch:
    """A run, the time until which its last cue may stay, and how wide pieces of it are."""

    units: list[_Unit]
    end_ms: int
    marks: list[int]

    def chars(self, first: int, last: int) -> int:
        return self.marks[last + 1] - self.marks[first] - (not self.units[first].glued)

    def spoken_ms(self, first: int, last: int) -> int:
        return self.units[last].end_ms - self.units[first].start_ms

    def needed_ms(self, first: int, last: int) -> int:
        return _reading_ms(self.chars(first, last))

    def shown_ms(self, first: int, last: int) -> int:
        """What `_timed` will give to a cue of these units."""
        is_last = last + 1 == len(self.units)
        next_ms = self.end_ms if is_last else self.units[last + 1].start_ms
        room_ms = min(next_ms - self.units[first].start_ms, MAX_CUE_MS)
        return max(self.spoken_ms(first, last), min(self.needed_ms(first, last), room_ms))


def _reading_ms(chars: int) -> int:
    return max(MIN_CUE_MS, -(-chars * 1000 // MAX_CPS))


def _cut(run: list[_Unit], end_ms: int) -> Iterator[Cue]:
    """The best cut of a run into cues: inside the limits if there is one, else the cheapest."""
    marks = [0, *accumulate(len(unit.text) + (not unit.glued) for unit in run)]
    stretch = _Stretch(run, end_ms, marks)
    after = _cheapest(stretch, strict=True) or _cheapest(stretch, strict=False)
    first = 0
    while first < len(run):
        units = run[first : after[first]]
        yield Cue(units[0].start_ms, units[-1].end_ms, _lines(units), units[0].speaker)
        first = after[first]


def _cheapest(stretch: _Stretch, *, strict: bool) -> list[int]:
    """Where each cue that could begin at a unit ends, by dynamic programming from the end.

    With `strict` a cue outside the limits is not taken; empty if there is no such cut.
    """
    count = len(stretch.units)
    best = [0.0] * (count + 1)
    after = [0] * count
    for first in reversed(range(count)):
        best[first] = inf
        for last in _possible_ends(stretch, first):
            if strict and stretch.shown_ms(first, last) < stretch.needed_ms(first, last):
                continue
            cost = best[last + 1] + _cost(stretch, first, last)
            if cost < best[first]:
                best[first], after[first] = cost, last + 1
    return after if best[0] < inf else []


def _possible_ends(stretch: _Stretch, first: int) -> Iterator[int]:
    """Last units of cues from `first` that fit into two lines and the longest time."""
    count = len(stretch.units)
    line_end = first
    while line_end + 1 < count and stretch.chars(first, line_end + 1) <= MAX_LINE_CHARS:
        line_end += 1
    for last in range(first, count):
        if last > line_end and stretch.chars(line_end + 1, last) > MAX_LINE_CHARS:
            return
        if last > first and stretch.spoken_ms(first, last) > MAX_CUE_MS:
            return
        yield last


def _cost(stretch: _Stretch, first: int, last: int) -> float:
    run = stretch.units
    shown_ms, needed_ms = stretch.shown_ms(first, last), stretch.needed_ms(first, last)
    too_short = max(0.0, 1 - shown_ms / MIN_CUE_MS)
    too_fast = max(0.0, needed_ms / max(shown_ms, 1) - 1)
    cost = 1.0 + (shown_ms < needed_ms) + 4 * too_short + 2 * min(too_fast, 3.0)
    if last + 1 < len(run):
        cost += _border_cost(run[last], run[last + 1])
    for index in range(first, last):
        if run[index].text.endswith(_SENTENCE_ENDS):
            cost += 0.3
        cost += max(0, run[index + 1].start_ms - run[index].end_ms - _SHORT_PAUSE_MS) / 1000
    return cost


def _border_cost(unit: _Unit, following: _Unit) -> float:
    if following.glued:
        return 3.0
    if unit.text.endswith(_SENTENCE_ENDS):
        return 0.0
    if unit.text.endswith(_CLAUSE_ENDS):
        return 0.3
    if unit.text.lower() in _LEANING:
        return 1.4
    paused = following.start_ms - unit.end_ms >= _SHORT_PAUSE_MS
    return 0.4 if unit.ends_segment or paused else 0.8


def _lines(units: Sequence[_Unit]) -> tuple[str, ...]:
    whole = _text(units)
    if len(whole) <= MAX_LINE_CHARS:
        return (whole,)
    splits = [
        (_text(units[:index]), _text(units[index:]), _border_cost(units[index - 1], units[index]))
        for index in range(1, len(units))
    ]
    fitting = [s for s in splits if max(len(s[0]), len(s[1])) <= MAX_LINE_CHARS]
    top, bottom, _ = min(fitting, key=lambda s: abs(len(s[0]) - len(s[1])) / 20 + s[2])
    return (top, bottom)


def _text(units: Sequence[_Unit]) -> str:
    return "".join(unit.text if unit.glued else f" {unit.text}" for unit in units).strip()


def _timed(drafts: Sequence[Cue], last_ms: int) -> list[Cue]:
    """Show each cue long enough to read where the next one leaves room; keep them apart."""
    timed: list[Cue] = []
    shown_until = 0
    for index, draft in enumerate(drafts):
        start = min(max(draft.start_ms, shown_until), last_ms - 1)
        next_ms = drafts[index + 1].start_ms if index + 1 < len(drafts) else last_ms
        chars = len(" ".join(draft.lines))
        wanted = start + _reading_ms(chars)
        end = max(draft.end_ms, min(wanted, start + MAX_CUE_MS, next_ms))
        shown_until = min(max(min(end, start + MAX_CUE_MS), start + 1), last_ms)
        timed.append(Cue(start, shown_until, draft.lines, draft.speaker))
    return timed
