"""The special tokens of a Whisper vocabulary, found by name, position or the model's own notes.

Checkpoints of 2022 come without a generation config or with an old one, so nothing here relies on
it: a token is looked up by its name in the tokenizer first.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from stenograf.contract.errors import StenografError
from stenograf.llm.whisper.alignment_heads import ENGLISH_VOCABULARY

_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
LATEST_FIRST_STEP = 50  # 1 s: speech of a window begins within it, as OpenAI's decoder has it
_TIMESTAMPS = 1501  # 0.00 s to 30.00 s in steps of 0.02 s
# Marks of captions rather than speech: a recognizer that writes them describes the sound.
_CAPTION_MARKS = '"#()*+/:;<=>@[\\]^_`{|}~「」『』♩♪♫♬♭♮♯'
_CAPTION_RUNS = ("<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "((", "))", "((", "[[", "]]",
                 "{{", "}}", "♪♪", "♪♪♪", "('", '("')  # fmt: skip


def _byte_alphabet() -> dict[str, int]:
    """Byte-level BPE writes printable bytes as themselves, the others as letters from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + i): byte for i, byte in enumerate(others)
    }


_BYTES = _byte_alphabet()


class Tokenizer(Protocol):
    """What is used of a tokenizer."""

    def get_vocab(self) -> Mapping[str, int]:
        """Every token and its id, special ones included."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of plain text, without special tokens around it."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Plain text of ids; bytes that are no UTF-8 become U+FFFD."""
        ...


class BadVocabulary(StenografError):
    """The tokenizer does not belong to a Whisper model."""

    code, status = "internal", 500


@dataclass(frozen=True)
class Vocabulary:
    """Token ids of one checkpoint. Text tokens are all ids below `end`."""

    tokenizer: Tokenizer
    size: int
    end: int
    start: int
    no_timestamps: int
    timestamp_begin: int
    no_speech: int
    previous: int
    tasks: Mapping[str, int]
    languages: Mapping[str, int]
    suppress: tuple[int, ...] = ()
    suppress_first: tuple[int, ...] = ()
    latest_first_step: int = LATEST_FIRST_STEP

    @property
    def multilingual(self) -> bool:
        """Whether the prefix names language and task."""
        return bool(self.languages)

    def prefix(self, language: str, task: str, *, timestamps: bool) -> list[int]:
        """The tokens after which the model writes text."""
        tokens = [self.start]
        if self.multilingual:
            tokens += [self.languages[language], self.tasks[task]]
        return tokens if timestamps else [*tokens, self.no_timestamps]

    def prompt(self, text: str, max_tokens: int) -> list[int]:
        """Tokens of earlier text to go before the prefix, at most the last `max_tokens`."""
        if not text.strip():
            return []
        ids = self.tokenizer.encode(" " + text.strip())
        return [self.previous, *[i for i in ids if i < self.end][-max_tokens:]]

    def text(self, tokens: Sequence[int]) -> str:
        """Text of tokens, special ones and timestamps left out."""
        return self.tokenizer.decode([token for token in tokens if token < self.end])

    def utf8(self, token: int) -> bytes:
        """The bytes that a text token stands for; they need not be whole letters."""
        return bytes(_BYTES[char] for char in self._spellings.get(token, "") if char in _BYTES)

    @cached_property
    def _spellings(self) -> Mapping[int, str]:
        return {token: text for text, token in self.tokenizer.get_vocab().items()}


def build_vocabulary(
    tokenizer: Tokenizer, size: int, generation: Mapping[str, Any], config: Mapping[str, Any]
) -> Vocabulary:
    """Complete a checkpoint's special tokens.

    `size` is the number of logits; `generation` and `config` are the contents of
    generation_config.json and config.json, either may be empty. Raises BadVocabulary when the
    tokenizer is not one of Whisper's.
    """
    vocab = tokenizer.get_vocab()

    def named(*names: str) -> int | None:
        return next((vocab[name] for name in names if vocab.get(name, size) < size), None)

    start = named("<|startoftranscript|>")
    end = named("<|endoftext|>")
    if start is None or end is None:
        raise BadVocabulary(
            "The tokenizer has no <|startoftranscript|> or <|endoftext|>: not a Whisper model.",
            hint="Choose a Whisper checkpoint with its own tokenizer files.",
        )
    no_timestamps = named("<|notimestamps|>") or generation.get("no_timestamps_token_id")
    if no_timestamps is None:
        no_timestamps = size - _TIMESTAMPS - 1
    tasks = {
        task: token
        for task in ("transcribe", "translate")
        if (token := named(f"<|{task}|>")) is not None
    }
    languages = _languages(vocab, start, size, generation)
    previous = named("<|startofprev|>")
    no_speech = named("<|nospeech|>", "<|nocaptions|>")
    suppress = _listed("suppress_tokens", generation, config, size)
    suppress_first = _listed("begin_suppress_tokens", generation, config, size)
    return Vocabulary(
        tokenizer=tokenizer,
        size=size,
        end=end,
        start=start,
        no_timestamps=int(no_timestamps),
        timestamp_begin=int(no_timestamps) + 1,
        no_speech=no_timestamps - 1 if no_speech is None else no_speech,
        previous=no_timestamps - 2 if previous is None else previous,
        tasks=tasks if languages else {"transcribe": start},
        languages=languages,
        suppress=_caption_marks(tokenizer, end) if suppress is None else suppress,
        suppress_first=(
            (*tokenizer.encode(" ")[:1], end) if suppress_first is None else suppress_first
        ),
        latest_first_step=int(generation.get("max_initial_timestamp_index") or LATEST_FIRST_STEP),
    )


def _languages(
    vocab: Mapping[str, int], start: int, size: int, generation: Mapping[str, Any]
) -> dict[str, int]:
    """Codes and ids; empty for an English-only model, though its tokenizer lists them too.

    A checkpoint that names its languages knows no others, whatever tokens it has.
    """
    if size == ENGLISH_VOCABULARY:
        return {}
    found = {
        match.group(1): token
        for name, token in vocab.items()
        if (match := _LANGUAGE.fullmatch(name))
        and start < token < size
        and name in (generation.get("lang_to_id") or vocab)
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _listed(
    name: str, generation: Mapping[str, Any], config: Mapping[str, Any], size: int
) -> tuple[int, ...] | None:
    """What the checkpoint says, an empty list included; None if it says nothing."""
    for source in (generation, config):
        if (listed := source.get(name)) is not None:
            return tuple(token for token in listed if 0 <= token < size)
    return None


def _caption_marks(tokenizer: Tokenizer, end: int) -> tuple[int, ...]:
    """Tokens that are one caption mark, with or without a space before it."""
    marks = [*_CAPTION_MARKS, *_CAPTION_RUNS]
    found: set[int] = set()
    for mark in marks:
        for spelled in (mark, " " + mark):
            ids = tokenizer.encode(spelled)
            if len(ids) == 1 and ids[0] < end:
                found.add(ids[0])
    return tuple(sorted(found))
