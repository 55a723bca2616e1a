"""Greedy, sampled and beam search over a `Sound`: tokens with their log-probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stenograf.contract.errors import Cancelled
from stenograf.llm.engines.base import Stop
from stenograf.llm.whisper.rules import LogitRules
from stenograf.llm.whisper.sound import Logits, Sound

_LONGEST_PERIOD = 48  # tokens of a phrase that may repeat
_LOOP_ROUNDS = 5
_LOOP_TOKENS = 20  # shorter repetition is speech: digits of a phone number, "да да да"


@dataclass
class Hypothesis:
    """One reading of a window: tokens without the end token, their natural-log probabilities.

    `end_logprob` is that of the end token, None where decoding ran out of room. `loop` holds the
    tokens that were cut off because they only repeated what stands before them.
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    end_logprob: float | None = None
    loop: list[int] = field(default_factory=list)
    temperature: float = 0.0

    @property
    def avg_logprob(self) -> float:
        """Mean over all tokens, the end token included."""
        logprobs = self.logprobs if self.end_logprob is None else [*self.logprobs, self.end_logprob]
        return sum(logprobs) / max(1, len(logprobs))


@dataclass(frozen=True)
class Task:
    """What to decode: for each of `windows` a row of `prefixes`, all of one length, and in
    `max_tokens` how much may be written behind it."""

    windows: Sequence[int]
    prefixes: Sequence[Sequence[int]]
    end: int
    max_tokens: Sequence[int]


def sample(
    sound: Sound, task: Task, rules: LogitRules, temperature: float, stop: Stop
) -> list[Hypothesis]:
    """One hypothesis per window; temperature 0 takes the likeliest token at each step.

    Sampling is seeded per window, so the same sound gives the same text in any company.
    """
    found = [Hypothesis(temperature=temperature) for _ in task.windows]
    seeds = [np.random.default_rng(round(temperature * 1000)) for _ in task.windows]
    steps = sound.steps(task.windows)
    live = list(range(len(found)))
    logits = steps.feed(_rows(task.prefixes))
    while live:
        if stop():
            raise Cancelled("Nobody waits for this window any more.")
        written = [found[i].tokens for i in live]
        rules.apply(logits, written, [task.windows[i] for i in live])
        chosen = _choose(logits, temperature, [seeds[i] for i in live])
        chances = logits[np.arange(len(live)), chosen] - log_sum_exp(logits)
        going = [
            position
            for position, i in enumerate(live)
            if _extend(
                found[i],
                int(chosen[position]),
                float(chances[position]),
                task.end,
                task.max_tokens[i],
            )
        ]
        if going and len(going) < len(live):
            steps.select(going)
        live = [live[position] for position in going]
        if live:
            logits = steps.feed(chosen[going, None])
    return found


def _choose(
    logits: Logits, temperature: float, seeds: Sequence[np.random.Generator]
) -> NDArray[np.int64]:
    if temperature > 0:  # the largest after Gumbel noise is a draw from the softmax
        draws = np.stack([seed.gumbel(size=logits.shape[1]) for seed in seeds])
        logits = (logits / temperature + draws).astype(np.float32)
    chosen: NDArray[np.int64] = logits.argmax(axis=1)
    return chosen


def log_sum_exp(logits: Logits) -> NDArray[np.float32]:
    """Natural logarithm of the sum of exponentials of each row, (rows,)."""
    largest = logits.max(axis=1, keepdims=True)
    sums: NDArray[np.float32] = np.log(np.exp(logits - largest).sum(axis=1)) + largest[:, 0]
    return sums


def _extend(hypothesis: Hypothesis, token: int, logprob: float, end: int, max_tokens: int) -> bool:
    """Write one token; False if the hypothesis is complete."""
    if token == end:
        hypothesis.end_logprob = logprob
        return False
    hypothesis.tokens.append(token)
    hypothesis.logprobs.append(logprob)
    if (period := loop_period(hypothesis.tokens)) is not None:
        _cut_loop(hypothesis, period)
        return False
    return len(hypothesis.tokens) < max_tokens


def rewritten(
    tokens: Sequence[int], logprob: float, end_logprob: float | None, temperature: float
) -> Hypothesis:
    """The hypothesis of `tokens` that another search wrote, cut where a loop begins.

    `logprob` stands for each token's own, which that search did not tell.
    """
    hypothesis = Hypothesis(temperature=temperature)
    for token in tokens:
        if not _extend(hypothesis, token, logprob, -1, len(tokens) + 1):
            return hypothesis
    hypothesis.end_logprob = end_logprob
    return hypothesis


def loop_period(tokens: Sequence[int]) -> int | None:
    """Length of the phrase that the end of `tokens` repeats over and over; None without a loop."""
    for period in range(1, min(_LONGEST_PERIOD, len(tokens) // _LOOP_ROUNDS) + 1):
        rounds = max(_LOOP_ROUNDS, math.ceil(_LOOP_TOKENS / period))
        length = rounds * period
        if len(tokens) >= length and all(
            tokens[-i] == tokens[-i - period] for i in range(1, length - period + 1)
        ):
            return period
    return None


def _cut_loop(hypothesis: Hypothesis, period: int) -> None:
    """Keep the first round of the loop at the end."""
    tokens = hypothesis.tokens
    first = len(tokens) - period
    while first > 0 and tokens[first - 1] == tokens[first - 1 + period]:
        first -= 1
    keep = first + period
    hypothesis.loop = tokens[keep:]
    del hypothesis.tokens[keep:], hypothesis.logprobs[keep:]


def beam_search(
    sound: Sound, task: Task, rules: LogitRules, beams: int, stop: Stop
) -> list[Hypothesis]:
    """The likeliest of `beams` readings kept side by side, by mean log-probability; per window."""
    found: list[Hypothesis] = []
    for first in range(0, len(task.windows), sound.beam_group):
        group = slice(first, first + sound.beam_group)
        part = Task(task.windows[group], task.prefixes[group], task.end, task.max_tokens[group])
        found += _group(sound, part, rules, beams, stop)
    return found


@dataclass
class _Beam:
    """The search of one window: what is still written and what is complete."""

    window: int
    end: int
    room: int
    beams: int
    live: list[Hypothesis] = field(default_factory=lambda: [Hypothesis()])
    done: list[Hypothesis] = field(default_factory=list)

    @property
    def going(self) -> bool:
        return bool(self.live) and len(self.done) < self.beams

    def grow(self, logits: Logits) -> list[int]:
        """Write one token to the likeliest; the row each goes on from."""
        grown: list[Hypothesis] = []
        parents: list[int] = []
        for parent, token, logprob in _candidates(self.live, logits, self.beams):
            before = self.live[parent]
            hypothesis = Hypothesis(list(before.tokens), list(before.logprobs))
            if _extend(hypothesis, token, logprob, self.end, self.room):
                grown.append(hypothesis)
                parents.append(parent)
            else:
                self.done.append(hypothesis)
            if len(grown) == self.beams:
                break
        self.live = grown
        return parents

    def best(self) -> Hypothesis:
        return max(self.done or self.live, key=lambda h: (not h.loop, h.avg_logprob))


def _group(sound: Sound, task: Task, rules: LogitRules, beams: int, stop: Stop) -> list[Hypothesis]:
    """Beam search over all windows of `task` side by side."""
    searches = [
        _Beam(window, task.end, room, beams)
        for window, room in zip(task.windows, task.max_tokens, strict=True)
    ]
    steps = sound.steps(task.windows)
    logits = steps.feed(_rows(task.prefixes))
    going = searches
    while going:
        if stop():
            raise Cancelled("Nobody waits for this window any more.")
        written = [h.tokens for search in going for h in search.live]
        rules.apply(logits, written, [search.window for search in going for _ in search.live])
        rows: list[int] = []
        first = 0
        for search in going:
            behind = first + len(search.live)
            parents = search.grow(logits[first:behind])
            if search.going:
                rows += [first + parent for parent in parents]
            first = behind
        going = [search for search in going if search.going]
        if going:
            steps.select(rows)
            logits = steps.feed(_rows([[h.tokens[-1]] for search in going for h in search.live]))
    return [search.best() for search in searches]


def _candidates(
    live: Sequence[Hypothesis], logits: Logits, beams: int
) -> list[tuple[int, int, float]]:
    """Every row's best continuations as (row, token, log-probability), likeliest sum first."""
    count = min(beams + 1, logits.shape[1])
    best = np.argpartition(-logits, count - 1, axis=1)[:, :count]
    chances = np.take_along_axis(logits, best, axis=1) - log_sum_exp(logits)[:, None]
    before = [sum(hypothesis.logprobs) for hypothesis in live]
    found = [
        (row, token, logprob)
        for row in range(len(live))
        for token, logprob in zip(best[row].tolist(), chances[row].tolist(), strict=True)
        if logprob > -math.inf
    ]
    return sorted(found, key=lambda each: before[each[0]] + each[2], reverse=True)


def _rows(tokens: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    return np.array([list(row) for row in tokens], dtype=np.int64)
