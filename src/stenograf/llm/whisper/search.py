"""Greedy, sampled and beam search over a `Sound`: tokens with their log-probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

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


class Search(Protocol):
    """How text is found for a `Task`; both verbs are those of this module without the sound."""

    def sample(
        self, task: Task, rules: LogitRules, temperature: float, stop: Stop
    ) -> list[Hypothesis]:
        """See `sample`."""
        ...

    def beam_search(
        self, task: Task, rules: LogitRules, beams: int, stop: Stop
    ) -> list[Hypothesis]:
        """See `beam_search`."""
        ...


@dataclass(frozen=True)
class HostSearch:
    """The `Search` that reads every step's logits in numpy."""

    sound: Sound

    def sample(
        self, task: Task, rules: LogitRules, temperature: float, stop: Stop
    ) -> list[Hypothesis]:
        """See `sample`."""
        return sample(self.sound, task, rules, temperature, stop)

    def beam_search(
        self, task: Task, rules: LogitRules, beams: int, stop: Stop
    ) -> list[Hypothesis]:
        """See `beam_search`."""
        return beam_search(self.sound, task, rules, beams, stop)


def sample(
    sound: Sound, task: Task, rules: LogitRules, temperature: float, stop: Stop
) -> list[Hypothesis]:
    """One hypothesis per window; temperature 0 takes the likeliest token at each step.

    Every window meets the same chance, so the same sound gives the same text in any company.
    """
    found = [Hypothesis(temperature=temperature) for _ in task.windows]
    draws = Draws(temperature)
    steps = sound.steps(task.windows)
    live = list(range(len(found)))
    logits = steps.feed(_rows(task.prefixes))
    while live:
        if stop():
            raise Cancelled("Nobody waits for this window any more.")
        written = [found[i].tokens for i in live]
        rules.apply(logits, written, [task.windows[i] for i in live])
        chosen = _choose(logits, temperature, draws)
        chances = logits[np.arange(len(live)), chosen] - log_sum_exp(logits)
        going = [
            position
            for position, i in enumerate(live)
            if extend(
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


class Draws:
    """The chance in sampling at one temperature: the same at the same step of every window."""

    def __init__(self, temperature: float) -> None:
        self._seed = np.random.default_rng(round(temperature * 1000))

    def next(self, size: int) -> NDArray[np.float64]:
        """Gumbel noise of the next step, one for each token: the largest logit with it added is a
        draw from the softmax."""
        return self._seed.gumbel(size=size)


def _choose(logits: Logits, temperature: float, draws: Draws) -> NDArray[np.int64]:
    if temperature > 0:
        logits = (logits / temperature + draws.next(logits.shape[1])).astype(np.float32)
    chosen: NDArray[np.int64] = logits.argmax(axis=1)
    return chosen


def log_sum_exp(logits: Logits) -> NDArray[np.float32]:
    """Natural logarithm of the sum of exponentials of each row, (rows,)."""
    largest = logits.max(axis=1, keepdims=True)
    sums: NDArray[np.float32] = np.log(np.exp(logits - largest).sum(axis=1)) + largest[:, 0]
    return sums


def extend(hypothesis: Hypothesis, token: int, logprob: float, end: int, max_tokens: int) -> bool:
    """Write one token; False if the hypothesis is complete: ended, out of room or in a loop."""
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
        if not extend(hypothesis, token, logprob, -1, len(tokens) + 1):
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
class Beam:
    """The beam search of one window: what is still written and what is complete."""

    window: int
    end: int
    room: int
    beams: int
    live: list[Hypothesis] = field(default_factory=lambda: [Hypothesis()])
    done: list[Hypothesis] = field(default_factory=list)

    @property
    def going(self) -> bool:
        """Whether it may still find something better."""
        return bool(self.live) and len(self.done) < self.beams

    def grow(self, tokens: NDArray[np.int64], logprobs: NDArray[np.float32]) -> list[int]:
        """Write one token to the likeliest; the row each goes on from.

        Both arrays, (rows, candidates), have every live row's best continuations.
        """
        grown: list[Hypothesis] = []
        parents: list[int] = []
        for parent, token, logprob in _ranked(self.live, tokens, logprobs):
            before = self.live[parent]
            hypothesis = Hypothesis(list(before.tokens), list(before.logprobs))
            if extend(hypothesis, token, logprob, self.end, self.room):
                grown.append(hypothesis)
                parents.append(parent)
            else:
                self.done.append(hypothesis)
            if len(grown) == self.beams:
                break
        self.live = grown
        return parents

    def best(self) -> Hypothesis:
        """The likeliest by mean, one without a loop if there is any."""
        return max(self.done or self.live, key=lambda h: (not h.loop, h.avg_logprob))


def _group(sound: Sound, task: Task, rules: LogitRules, beams: int, stop: Stop) -> list[Hypothesis]:
    """Beam search over all windows of `task` side by side."""
    searches = [
        Beam(window, task.end, room, beams)
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
            parents = search.grow(*_candidates(logits[first:behind], beams))
            if search.going:
                rows += [first + parent for parent in parents]
            first = behind
        going = [search for search in going if search.going]
        if going:
            steps.select(rows)
            logits = steps.feed(_rows([[h.tokens[-1]] for search in going for h in search.live]))
    return [search.best() for search in searches]


def _candidates(logits: Logits, beams: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Tokens and log-probabilities of every row's best continuations, in no order."""
    count = min(beams + 1, logits.shape[1])
    best: NDArray[np.int64] = np.argpartition(-logits, count - 1, axis=1)[:, :count]
    chances = np.take_along_axis(logits, best, axis=1) - log_sum_exp(logits)[:, None]
    return best, chances


def _ranked(
    live: Sequence[Hypothesis], tokens: NDArray[np.int64], logprobs: NDArray[np.float32]
) -> list[tuple[int, int, float]]:
    """The continuations as (row, token, log-probability), likeliest sum first."""
    before = [sum(hypothesis.logprobs) for hypothesis in live]
    found = [
        (row, token, logprob)
        for row in range(len(live))
        for token, logprob in zip(tokens[row].tolist(), logprobs[row].tolist(), strict=True)
        if logprob > -math.inf
    ]
    return sorted(found, key=lambda each: before[each[0]] + each[2], reverse=True)


def _rows(tokens: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    return np.array([list(row) for row in tokens], dtype=np.int64)
