"""Greedy, sampled and beam search over a `Sound`: tokens with their log-probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from stenograf.contract.errors import Cancelled
from stenograf.llm.engines.base import Stop
from stenograf.llm.whisper.decoder import Sound, Steps
from stenograf.llm.whisper.rules import LogitRules

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
    seeds = [torch.Generator().manual_seed(round(temperature * 1000)) for _ in task.windows]
    steps = sound.steps(task.windows)
    live = list(range(len(found)))
    logits = steps.feed(_rows(task.prefixes, sound.device))
    while live:
        if stop():
            raise Cancelled("Nobody waits for this window any more.")
        written = [found[i].tokens for i in live]
        rules.apply(logits, written, [task.windows[i] for i in live])
        logprobs = torch.log_softmax(logits, dim=-1)
        chosen = _choose(logits, temperature, [seeds[i] for i in live])
        chances = logprobs[torch.arange(len(live)), chosen].tolist()
        going = []
        for position, (i, token) in enumerate(zip(live, chosen.tolist(), strict=True)):
            if _extend(found[i], token, chances[position], task.end, task.max_tokens[i]):
                going.append(position)
        if len(going) < len(live) and going:
            steps.keep(going)
        live = [live[position] for position in going]
        if live:
            logits = steps.feed(chosen[going].unsqueeze(1))
    return found


def _choose(
    logits: torch.Tensor, temperature: float, seeds: Sequence[torch.Generator]
) -> torch.Tensor:
    if temperature == 0:
        return logits.argmax(dim=-1)
    chances = torch.softmax(logits / temperature, dim=-1).cpu()
    drawn = [
        torch.multinomial(row, 1, generator=seed) for row, seed in zip(chances, seeds, strict=True)
    ]
    return torch.cat(drawn).to(logits.device)


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
    return [
        _beams(sound, Task([window], [prefix], task.end, [room]), rules, beams, stop)
        for window, prefix, room in zip(task.windows, task.prefixes, task.max_tokens, strict=True)
    ]


def _beams(sound: Sound, task: Task, rules: LogitRules, beams: int, stop: Stop) -> Hypothesis:
    """Beam search over the one window of `task`."""
    window, prefix, room = task.windows[0], task.prefixes[0], task.max_tokens[0]
    steps: Steps = sound.beams(window, beams)
    live = [Hypothesis()]
    done: list[Hypothesis] = []
    logits = steps.feed(_rows([prefix] * beams, sound.device))[:1]
    while live and len(done) < beams:
        if stop():
            raise Cancelled("Nobody waits for this window any more.")
        rules.apply(logits, [h.tokens for h in live], [window] * len(live))
        grown: list[Hypothesis] = []
        parents: list[int] = []
        for parent, token, logprob in _candidates(live, torch.log_softmax(logits, dim=-1), beams):
            hypothesis = Hypothesis(list(live[parent].tokens), list(live[parent].logprobs))
            if _extend(hypothesis, token, logprob, task.end, room):
                grown.append(hypothesis)
                parents.append(parent)
            else:
                done.append(hypothesis)
            if len(grown) == beams:
                break
        live = grown
        if live and len(done) < beams:
            filler = [0] * (beams - len(live))  # the cache keeps as many rows as there are beams
            rows = [*range(len(live)), *filler]
            steps.reorder([parents[row] for row in rows])
            last = _rows([[live[row].tokens[-1]] for row in rows], sound.device)
            logits = steps.feed(last)[: len(live)]
    return max(done or live, key=lambda h: (not h.loop, h.avg_logprob))


def _candidates(
    live: Sequence[Hypothesis], logprobs: torch.Tensor, beams: int
) -> list[tuple[int, int, float]]:
    """Every row's best continuations as (row, token, log-probability), likeliest sum first."""
    best = logprobs.topk(beams + 1, dim=-1)
    before = [sum(hypothesis.logprobs) for hypothesis in live]
    found = [
        (row, token, logprob)
        for row in range(len(live))
        for token, logprob in zip(
            best.indices[row].tolist(), best.values[row].tolist(), strict=True
        )
        if logprob > -math.inf
    ]
    return sorted(found, key=lambda each: before[each[0]] + each[2], reverse=True)


def _rows(tokens: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    return torch.tensor([list(row) for row in tokens], dtype=torch.long, device=device)
