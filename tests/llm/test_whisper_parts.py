"""The parts that need no weights: vocabulary, grammar, loops, phrases, words, the ladder."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.contract.options import GuardOptions
from stenograf.llm.whisper import ladder
from stenograf.llm.whisper.alignment_heads import alignment_heads
from stenograf.llm.whisper.phrases import Phrase, compression_ratio, phrases
from stenograf.llm.whisper.rules import LogitRules
from stenograf.llm.whisper.search import Hypothesis, loop_period
from stenograf.llm.whisper.vocabulary import BadVocabulary, Vocabulary, build_vocabulary
from stenograf.llm.whisper.words import first_frames, smooth, split_words

TEXT = [" раз", " два", ",", " три", " «", "да", "»", "!", " м", "ир", "\ufffd", "\ufffd", " "]
END = 20
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|ru|>", "<|en|>", "<|translate|>",
           "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>",
           "<|notimestamps|>"]  # fmt: skip
STAMP = END + len(SPECIAL)
SIZE = STAMP + 1501


class Letters:
    """A tokenizer of a few words; two halves of a character make an é."""

    def get_vocab(self) -> Mapping[str, int]:
        return {text: i for i, text in enumerate(TEXT)} | {
            name: END + i for i, name in enumerate(SPECIAL)
        }

    def encode(self, text: str) -> list[int]:
        return [TEXT.index(piece) for piece in (text,) if piece in TEXT]

    def decode(self, ids: Sequence[int]) -> str:
        text = "".join(TEXT[i] for i in ids if i < len(TEXT))
        return text.replace("\ufffd\ufffd", "é")


@pytest.fixture
def vocabulary() -> Vocabulary:
    return build_vocabulary(Letters(), SIZE, {}, {})


class TestVocabulary:
    def test_is_complete_without_any_notes(self, vocabulary: Vocabulary) -> None:
        assert vocabulary.languages == {"ru": END + 2, "en": END + 3}
        assert vocabulary.tasks == {"transcribe": END + 5, "translate": END + 4}
        assert vocabulary.timestamp_begin == STAMP
        assert vocabulary.no_speech == END + 8
        assert vocabulary.suppress_first == (12, END)
        assert vocabulary.prefix("ru", "transcribe", timestamps=True) == [END + 1, END + 2, END + 5]
        assert vocabulary.prefix("ru", "transcribe", timestamps=False)[-1] == STAMP - 1

    def test_old_names_and_missing_ones_are_found_by_position(self) -> None:
        class Old(Letters):
            def get_vocab(self) -> Mapping[str, int]:
                hidden = ("<|nospeech|>", "<|notimestamps|>", "<|startofprev|>")
                return {k: v for k, v in super().get_vocab().items() if k not in hidden}

        old = build_vocabulary(Old(), SIZE, {}, {})
        assert (old.timestamp_begin, old.no_speech, old.previous) == (STAMP, STAMP - 2, STAMP - 3)

    def test_what_the_checkpoint_says_about_suppression_counts(self) -> None:
        said = {"suppress_tokens": [1, 2, 99_999], "begin_suppress_tokens": None}
        read = build_vocabulary(Letters(), SIZE, said, {"begin_suppress_tokens": [3]})
        assert (read.suppress, read.suppress_first) == ((1, 2), (3,))
        assert build_vocabulary(Letters(), SIZE, {"suppress_tokens": []}, {}).suppress == ()

    def test_languages_are_those_it_was_trained_for(self) -> None:
        said = {"lang_to_id": {"<|ru|>": END + 2}, "max_initial_timestamp_index": 1500}
        read = build_vocabulary(Letters(), SIZE, said, {})
        assert list(read.languages) == ["ru"]
        assert allowed(read, []) == set(range(STAMP, SIZE))

    def test_a_tokenizer_of_another_kind_is_refused(self) -> None:
        class Other(Letters):
            def get_vocab(self) -> Mapping[str, int]:
                return {"<s>": 0, "</s>": 1}

        with pytest.raises(BadVocabulary):
            build_vocabulary(Other(), SIZE, {}, {})

    def test_the_prompt_keeps_its_end(self, vocabulary: Vocabulary) -> None:
        assert vocabulary.prompt("раз", 5) == [END + 7, 0]
        assert vocabulary.prompt("  ", 5) == []


def test_heads_of_known_and_unknown_shapes() -> None:
    assert alignment_heads(24, 16, 51_865)[0] == (13, 15)
    assert len(alignment_heads(24, 16, 51_864)) == 18
    assert alignment_heads(2, 4, 800) == tuple((1, head) for head in range(4))


def allowed(vocabulary: Vocabulary, written: list[int], last_step: int = 1500) -> set[int]:
    rules = LogitRules(vocabulary, [last_step], timestamps=True)
    logits = np.zeros((1, SIZE), np.float32)
    logits[0, : vocabulary.timestamp_begin] = 20.0  # so that no timestamp wins by numbers
    rules.apply(logits, [written], [0])
    return set(np.flatnonzero(np.isfinite(logits[0])).tolist())


class TestGrammar:
    stamps = frozenset(range(STAMP, SIZE))

    def test_begins_with_a_timestamp_in_the_first_second(self, vocabulary: Vocabulary) -> None:
        assert allowed(vocabulary, []) == set(range(STAMP, STAMP + 51))

    def test_then_text(self, vocabulary: Vocabulary) -> None:
        assert allowed(vocabulary, [STAMP + 3]) == set(range(END + 1))

    def test_after_text_time_goes_on(self, vocabulary: Vocabulary) -> None:
        now = allowed(vocabulary, [STAMP + 3, 1])
        assert now & self.stamps == set(range(STAMP + 4, SIZE))
        assert now - self.stamps == set(range(END + 1))

    def test_a_closed_phrase_is_followed_by_the_next_or_the_end(
        self, vocabulary: Vocabulary
    ) -> None:
        now = allowed(vocabulary, [STAMP + 3, 1, STAMP + 9])
        assert now == {END} | set(range(STAMP + 9, SIZE))

    def test_no_timestamp_lies_behind_the_sound(self, vocabulary: Vocabulary) -> None:
        assert allowed(vocabulary, [], last_step=10) == set(range(STAMP, STAMP + 11))
        assert allowed(vocabulary, [STAMP + 10, 1], last_step=10) == set(range(END + 1))

    def test_timestamps_together_outweigh_text(self, vocabulary: Vocabulary) -> None:
        rules = LogitRules(vocabulary, [1500], timestamps=True)
        logits = np.zeros((1, SIZE), np.float32)
        logits[0, 5] = math.log(1400)
        rules.apply(logits, [[STAMP, 1]], [0])
        assert np.isinf(logits[0, :STAMP]).all()

    def test_without_timestamps_there_are_none(self, vocabulary: Vocabulary) -> None:
        rules = LogitRules(vocabulary, [1500], timestamps=False)
        logits = np.zeros((1, SIZE), np.float32)
        rules.apply(logits, [[1]], [0])
        assert set(np.flatnonzero(np.isfinite(logits[0])).tolist()) == set(range(END + 1))

    @given(st.lists(st.integers(0, 10_000), max_size=30), st.integers(0, 1500))
    @settings(max_examples=60)
    def test_there_is_always_a_way_on(self, picks: list[int], last_step: int) -> None:
        vocabulary = build_vocabulary(Letters(), SIZE, {}, {})
        written: list[int] = []
        for pick in picks:
            now = sorted(allowed(vocabulary, written, last_step))
            assert now
            if (token := now[pick % len(now)]) == END:
                break
            written.append(token)
        stamps = [token for token in written if token >= STAMP]
        assert stamps == sorted(stamps)
        assert all(token <= STAMP + last_step for token in stamps)


class TestLoops:
    @pytest.mark.parametrize("phrase", [[7], [1, 2], [1, 2, 3, 4, 5], list(range(40))])
    def test_are_found(self, phrase: list[int]) -> None:
        assert loop_period([9, 8, *(phrase * 30)]) == len(phrase)

    def test_counting_and_insisting_are_none(self) -> None:
        assert loop_period([*range(30), *range(100, 130)]) is None
        assert loop_period([5, *([3] * 12)]) is None  # a phone number may hold twelve zeros
        assert loop_period([1, 2, 3] * 4) is None


class TestPhrases:
    def read(self, vocabulary: Vocabulary, tokens: list[int], n_samples: int) -> list[Phrase]:
        return phrases(tokens, [-0.5] * len(tokens), vocabulary, n_samples)

    def test_timestamps_open_and_close(self, vocabulary: Vocabulary) -> None:
        tokens = [STAMP + 10, 0, 1, STAMP + 50, STAMP + 60, 3, STAMP + 100]
        first, second = self.read(vocabulary, tokens, 64_000)
        assert (first.start, first.end, first.tokens) == (3200, 16_000, (0, 1))
        assert (second.start, second.end, second.tokens) == (19_200, 32_000, (3,))
        assert first.avg_logprob == -0.5

    def test_text_without_an_end_reaches_the_end(self, vocabulary: Vocabulary) -> None:
        (only,) = self.read(vocabulary, [STAMP + 10, 0], 64_000)
        assert (only.start, only.end) == (3200, 64_000)

    def test_times_stay_inside_the_window(self, vocabulary: Vocabulary) -> None:
        (only,) = self.read(vocabulary, [STAMP, 0, STAMP + 101], 32_100)
        assert only.end == 32_100

    def test_blank_text_is_none(self, vocabulary: Vocabulary) -> None:
        assert self.read(vocabulary, [STAMP, 12, STAMP + 5], 64_000) == []
        assert self.read(vocabulary, [], 64_000) == []


def test_compression_ratio() -> None:
    assert compression_ratio("") == 0
    assert compression_ratio("Продолжение следует. " * 20) > 2.4
    assert compression_ratio("Съешь же ещё этих мягких французских булок, да выпей чаю.") < 1.5


class TestWords:
    def test_spaces_begin_words_and_punctuation_stays(self, vocabulary: Vocabulary) -> None:
        words = split_words([0, 1, 2, 4, 5, 6, 7, 8, 9], vocabulary, "ru")
        assert words == [(" раз", 1), (" два,", 2), (" «да»!", 4), (" мир", 2)]

    def test_half_characters_stay_together(self, vocabulary: Vocabulary) -> None:
        assert split_words([0, 10, 11, 1], vocabulary, "ru") == [(" разé", 3), (" два", 1)]

    def test_a_torn_character_loses_no_token(self, vocabulary: Vocabulary) -> None:
        assert sum(count for _, count in split_words([0, 10], vocabulary, "ru")) == 2

    def test_languages_without_spaces(self, vocabulary: Vocabulary) -> None:
        assert split_words([5, 9, 7], vocabulary, "zh") == [("да", 1), ("ир!", 2)]

    @given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 1000))
    @settings(max_examples=60)
    def test_the_path_is_the_cheapest(self, rows: int, frames: int, seed: int) -> None:
        cost = np.random.default_rng(seed).normal(size=(rows, frames))
        best = min(path_costs(cost))
        entered = first_frames(cost)
        assert entered[0] == 0
        assert (np.diff(entered) >= 0).all()
        assert min(path_costs(cost, entered.tolist())) == pytest.approx(best)


def path_costs(cost: np.ndarray, entered: list[int] | None = None) -> list[float]:
    """Costs of every monotone path from corner to corner, or of those that enter rows so."""
    rows, frames = cost.shape
    found = []
    steps = ((1, 1), (1, 0), (0, 1))
    for length in range(max(rows, frames) - 1, rows + frames - 1):
        for moves in itertools.product(steps, repeat=length):
            path = [(0, 0)]
            for down, right in moves:
                path.append((path[-1][0] + down, path[-1][1] + right))
            if path[-1] != (rows - 1, frames - 1):
                continue
            first = [next(j for i, j in path if i == row) for row in range(rows)]
            if entered is None or first == entered:
                found.append(sum(cost[i, j] for i, j in path))
    return found


class TestLadder:
    good = Hypothesis([0, 1], [-0.1, -0.1], -0.1)
    doubtful = Hypothesis([1], [-2.0], -2.0)
    looping = Hypothesis([0], [-0.1], None, loop=[0] * 30)
    empty = Hypothesis([STAMP], [-0.1], -0.1)

    def climb(
        self,
        vocabulary: Vocabulary,
        script: dict[float | str, Hypothesis],
        *,
        no_speech: float = 0.0,
        old: bool = False,
    ) -> tuple[ladder.Reading, list[float | str]]:
        tried: list[float | str] = []

        def decode(windows: Sequence[int], rung: ladder.Rung) -> list[Hypothesis]:
            step = rung.temperature if rung.timestamps else "plain"
            tried.append(step)
            return [script.get(step, self.doubtful) for _ in windows]

        judge = ladder.Judge(GuardOptions(), vocabulary, empty_is_doubtful=old)
        rungs = ladder.rungs(0.0, plain_first=old)
        (reading,) = ladder.climb(1, rungs, decode, judge, [no_speech])
        return reading, tried

    def test_a_good_reading_is_enough(self, vocabulary: Vocabulary) -> None:
        reading, tried = self.climb(vocabulary, {0.0: self.good})
        assert (reading.hypothesis, reading.failed, tried) == (self.good, False, [0.0])

    def test_it_climbs_until_one_is_good(self, vocabulary: Vocabulary) -> None:
        reading, tried = self.climb(vocabulary, {0.0: self.looping, 0.4: self.good})
        assert (reading.hypothesis, tried) == (self.good, [0.0, 0.2, 0.4])

    def test_doubt_where_no_speech_is_heard_is_silence(self, vocabulary: Vocabulary) -> None:
        _, tried = self.climb(vocabulary, {0.0: self.doubtful}, no_speech=0.9)
        assert tried == [0.0]

    def test_of_bad_readings_the_least_bad_is_kept(self, vocabulary: Vocabulary) -> None:
        bad = {0.0: self.looping, 0.6: Hypothesis([1], [-1.5], -1.5)}
        reading, tried = self.climb(vocabulary, bad)
        assert (reading.hypothesis, reading.failed) == (bad[0.6], True)
        assert tried == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]

    def test_an_old_checkpoint_is_read_without_timestamps_next(
        self, vocabulary: Vocabulary
    ) -> None:
        script: dict[float | str, Hypothesis] = {0.0: self.empty, "plain": self.good}
        reading, tried = self.climb(vocabulary, script, old=True)
        assert (reading.hypothesis, tried) == (self.good, [0.0, "plain"])
        reading, tried = self.climb(vocabulary, script)
        assert (reading.hypothesis, tried) == (self.empty, [0.0])

    def test_only_the_window_that_failed_is_read_again(self, vocabulary: Vocabulary) -> None:
        asked: list[list[int]] = []

        def decode(windows: Sequence[int], rung: ladder.Rung) -> list[Hypothesis]:
            asked.append(list(windows))
            bad = self.doubtful if rung.temperature == 0 else self.good
            return [bad if window == 1 else self.good for window in windows]

        judge = ladder.Judge(GuardOptions(), vocabulary)
        ladder.climb(3, ladder.rungs(0.0, plain_first=False), decode, judge, [0.0] * 3)
        assert asked == [[0, 1, 2], [1]]

    def test_the_first_rung_is_the_one_asked_for(self) -> None:
        assert [rung.temperature for rung in ladder.rungs(0.5, plain_first=False)] == [
            0.5,
            0.7,
            0.9,
        ]
        assert [rung.temperature for rung in ladder.rungs(1.0, plain_first=False)] == [1.0]


@pytest.mark.parametrize("frames", [1, 3, 4, 7, 50])
def test_smoothing_is_a_median(frames: int) -> None:
    scores = np.random.default_rng(frames).normal(size=(2, 37, frames)).astype(np.float32)
    smoothed = smooth(scores)
    if frames <= 3:
        assert np.array_equal(smoothed, scores)
        return
    padded = np.pad(scores, [(0, 0), (0, 0), (3, 3)], mode="reflect")
    around = [np.median(padded[..., i : i + 7], axis=-1) for i in range(frames)]
    assert np.array_equal(smoothed, np.stack(around, axis=-1))
