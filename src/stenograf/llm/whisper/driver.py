"""From windows to results, the same for every engine that runs a Whisper model."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from stenograf.contract.pcm import Waveform
from stenograf.contract.transcript import Segment, TokenScore, Warning, Word
from stenograf.llm.engines.base import (
    Capabilities,
    EngineOptions,
    Stop,
    WindowResult,
    never,
    sift,
)
from stenograf.llm.whisper import ladder
from stenograf.llm.whisper.phrases import Phrase, compression_ratio, phrases
from stenograf.llm.whisper.reader import Alignment, Hearing
from stenograf.llm.whisper.vocabulary import Vocabulary
from stenograf.llm.whisper.words import time_words


class WhisperEngine(ABC):
    """An `Engine` but for the model itself: a subclass hears, the rest is here.

    Silent windows never reach the model, failed readings are repeated on the ladder, doubtful
    text where no speech is heard is dropped with a warning, words get their times.
    """

    def __init__(
        self, vocabulary: Vocabulary, capabilities: Capabilities, *, knows_timestamps: bool
    ) -> None:
        self.capabilities = capabilities
        self._vocabulary = vocabulary
        self._knows_timestamps = knows_timestamps

    @abstractmethod
    def hear(self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop) -> Hearing:
        """Run the encoder over windows that hold sound, each float32 (n_samples,) at 16 kHz."""

    @abstractmethod
    def close(self) -> None:
        """See `Engine.close`."""

    def transcribe(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
    ) -> list[WindowResult]:
        """See `Engine.transcribe`."""
        results, sounding = sift(self.capabilities, windows, options)
        if sounding:
            found = self._recognize([windows[i] for i in sounding], options, stop)
            for i, result in zip(sounding, found, strict=True):
                results[i] = result
        return results

    def _recognize(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop
    ) -> list[WindowResult]:
        hearing = self.hear(windows, options, stop)
        fresh = not self._knows_timestamps
        readings = ladder.climb(
            len(windows),
            ladder.rungs(options.decode.temperature, plain_first=fresh),
            hearing.read,
            ladder.Judge(options.guard, self._vocabulary, empty_is_doubtful=fresh),
            hearing.no_speech,
        )
        spoken = [
            phrases(r.hypothesis.tokens, r.hypothesis.logprobs, self._vocabulary, w.shape[0])
            for r, w in zip(readings, windows, strict=True)
        ]
        invented = [
            bool(found)
            and reading.hypothesis.avg_logprob < options.guard.logprob_threshold
            and no_speech > options.guard.no_speech_threshold
            for found, reading, no_speech in zip(spoken, readings, hearing.no_speech, strict=True)
        ]
        kept = [[] if drop else found for found, drop in zip(spoken, invented, strict=True)]
        untold = options.decode.token_logprobs and not hearing.tells_logprobs
        aligned = _align(hearing, kept) if options.decode.word_timestamps or untold else {}
        return [
            WindowResult(
                language=hearing.languages[i],
                language_probability=hearing.language_probabilities[i],
                no_speech_prob=hearing.no_speech[i],
                segments=self._segments(
                    window, readings[i], kept[i], aligned.get(i), hearing, i, options
                ),
                warnings=self._warnings(readings[i], window.shape[0], invented=invented[i]),
            )
            for i, window in enumerate(windows)
        ]

    def _segments(
        self,
        window: Waveform,
        reading: ladder.Reading,
        spoken: Sequence[Phrase],
        alignment: Alignment | None,
        hearing: Hearing,
        index: int,
        options: EngineOptions,
    ) -> tuple[Segment, ...]:
        timed: list[tuple[Word, ...]] = [()] * len(spoken)
        if alignment is not None:
            if alignment.logprobs is not None:
                spoken = _with_logprobs(spoken, alignment.logprobs)
            if options.decode.word_timestamps:
                language = hearing.languages[index]
                timed = time_words(alignment.borders, window, spoken, self._vocabulary, language)
        segments = []
        for phrase, words in zip(spoken, timed, strict=True):
            plain = not reading.rung.timestamps and words
            text = self._vocabulary.text(phrase.tokens)
            segments.append(
                Segment(
                    start=words[0].start if plain else phrase.start,
                    end=words[-1].end if plain else phrase.end,
                    text=text,
                    words=words,
                    tokens=phrase.tokens,
                    scores=self._scores(phrase) if options.decode.token_logprobs else (),
                    avg_logprob=phrase.avg_logprob,
                    no_speech_prob=hearing.no_speech[index],
                    compression_ratio=compression_ratio(text),
                    temperature=reading.hypothesis.temperature,
                )
            )
        return tuple(segments)

    def _scores(self, phrase: Phrase) -> tuple[TokenScore, ...]:
        return tuple(
            TokenScore(utf8=tuple(self._vocabulary.utf8(token)), logprob=logprob)
            for token, logprob in zip(phrase.tokens, phrase.logprobs, strict=True)
        )

    def _warnings(
        self, reading: ladder.Reading, n_samples: int, *, invented: bool
    ) -> tuple[Warning, ...]:
        hypothesis, warnings = reading.hypothesis, []
        if text := self._vocabulary.text(hypothesis.loop).strip():
            message = "A repetition loop was cut off."
            warnings.append(_warning("repetition_removed", message, n_samples, text))
        if invented:
            text = self._vocabulary.text(hypothesis.tokens).strip()
            warnings.append(_warning("no_speech", "No speech was heard.", n_samples, text))
        return tuple(warnings)


def _align(hearing: Hearing, spoken: Sequence[Sequence[Phrase]]) -> dict[int, Alignment]:
    """The alignments of the windows that hold text."""
    texts = {
        i: [token for phrase in found for token in phrase.tokens]
        for i, found in enumerate(spoken)
        if found
    }
    found = hearing.align(list(texts), list(texts.values())) if texts else []
    return dict(zip(texts, found, strict=True))


def _with_logprobs(spoken: Sequence[Phrase], logprobs: Sequence[float]) -> list[Phrase]:
    """The same phrases with the probabilities of their tokens, which stand in one row."""
    phrases, first = [], 0
    for phrase in spoken:
        behind = first + len(phrase.tokens)
        phrases.append(replace(phrase, logprobs=tuple(logprobs[first:behind])))
        first = behind
    return phrases


def _warning(code: str, message: str, n_samples: int, text: str) -> Warning:
    return Warning(code=code, message=message, start=0, end=n_samples, text=text)
