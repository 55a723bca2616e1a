"""Probabilities of speech -> spans of speech, each as soon as nothing later can change it."""

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stenograf.contract.options import CutOptions
from stenograf.contract.pcm import SAMPLE_RATE

FRAME_SAMPLES = 512  # what one probability tells about
_HYSTERESIS = 0.15  # speech ends this far under the threshold it begins at
_LOWEST_THRESHOLD = 0.01


class Span(NamedTuple):
    """Speech from sample `start` up to sample `end`."""

    start: int
    end: int


class SpanFinder:
    """Hears the probability of each frame in order; what it finds does not depend on the pieces.

    A run of speech begins at `vad_threshold` and ends a little under it; runs with a pause shorter
    than `min_silence_ms` between them are one; then runs shorter than `min_speech_ms` are dropped,
    and the others widened by `speech_pad_ms`, where two of them share a pause too short for both.
    """

    def __init__(self, options: CutOptions) -> None:
        begin = options.vad_threshold
        # Probabilities are float32: compared with anything finer, 0.7 would not reach 0.7.
        self._begin = float(np.float32(begin))
        self._stay = float(np.float32(max(begin - _HYSTERESIS, min(begin, _LOWEST_THRESHOLD))))
        self._min_silence = options.min_silence_ms * SAMPLE_RATE // 1000
        self._min_speech = options.min_speech_ms * SAMPLE_RATE // 1000
        self._pad = options.speech_pad_ms * SAMPLE_RATE // 1000
        self._heard = 0
        self._speaking = False
        self._open: Span | None = None  # the last run, which speech after a short pause prolongs
        self._kept: deque[Span] = deque()  # ended, long enough, not given yet
        self._given_end: int | None = None  # end of the run behind the last span given, unwidened

    @property
    def horizon(self) -> int:
        """No span that is still to come begins before this sample."""
        coming = self._kept[0] if self._kept else self._open
        return max(self._given_end or 0, (coming.start if coming else self._heard) - self._pad)

    def add(self, probabilities: NDArray[np.float32]) -> list[Span]:
        """Hear more frames, shape (n_frames,); the spans that are certain by now."""
        for probability in probabilities.tolist():
            self._hear(probability)
        return self._certain()

    def finish(self, n_samples: int) -> list[Span]:
        """The remaining spans of a recording that ends here; its last frame may be cut short."""
        if self._open is not None:
            self._close(self._open._replace(end=min(self._open.end, n_samples)))
        spans = []
        while self._kept:
            following = self._kept[1].start if len(self._kept) > 1 else None
            spans.append(self._give(following, n_samples))
        return spans

    def _hear(self, probability: float) -> None:
        start = self._heard
        self._heard += FRAME_SAMPLES
        if probability < (self._stay if self._speaking else self._begin):
            self._speaking = False
            if self._open is not None and self._heard - self._open.end >= self._min_silence:
                self._close(self._open)
            return
        self._speaking = True
        self._open = Span(start if self._open is None else self._open.start, self._heard)

    def _close(self, run: Span) -> None:
        self._open = None
        if run.end - run.start >= self._min_speech:
            self._kept.append(run)

    def _certain(self) -> list[Span]:
        spans = []
        whole = self._heard - FRAME_SAMPLES  # the last frame may be filled up with silence
        while self._kept:
            run = self._kept[0]
            following: int | None = None
            if len(self._kept) > 1:
                following = self._kept[1].start
            elif self._open and min(self._open.end, whole) - self._open.start >= self._min_speech:
                following = self._open.start
            else:  # it may still come to nothing, but it cannot come sooner
                soonest = self._open.start if self._open else self._heard
                if soonest - run.end < 2 * self._pad or run.end + self._pad > whole:
                    break
            spans.append(self._give(following, whole))
        return spans

    def _give(self, following: int | None, n_samples: int) -> Span:
        """Widen the first run that is kept; the next one begins at `following`, if there is one."""
        run = self._kept.popleft()
        start = max(0, run.start - self._pad)
        if self._given_end is not None:
            start = max(start, (self._given_end + run.start) // 2)
        end = min(n_samples, run.end + self._pad)
        if following is not None:
            end = min(end, (run.end + following) // 2)
        self._given_end = run.end
        return Span(start, end)


def spans_from(
    probabilities: NDArray[np.float32], options: CutOptions, n_samples: int
) -> list[Span]:
    """Spans of speech from the probability of each frame, shape (n_frames,)."""
    finder = SpanFinder(options)
    return [*finder.add(probabilities), *finder.finish(n_samples)]
