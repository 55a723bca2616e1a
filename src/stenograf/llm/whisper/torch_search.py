"""The searches of `search.py` where the model is: the host sees tokens, never logits.

Sampling and greedy search run several steps between two looks of the host, which then writes the
tokens down by the same rules as ever and forgets what came behind an end. Beams are weighed on the
host, from the few likeliest continuations of each row.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stenograf.contract.errors import Cancelled
from stenograf.llm.engines.base import Stop, never
from stenograf.llm.whisper.graphs import Graphs
from stenograf.llm.whisper.rules import LogitRules
from stenograf.llm.whisper.search import Beam, Draws, Hypothesis, Task, extend
from stenograf.llm.whisper.static_decoder import StaticDecoder
from stenograf.llm.whisper.torch_rules import TorchRules
from stenograf.llm.whisper.vocabulary import Vocabulary

Finish = Callable[[torch.Tensor], None]
"""Takes the masked logits of a step."""

_MOST_STEPS = 8  # between two looks of the host
_MOST_CANDIDATES = 11  # ten beams and the end


class TorchSearch:
    """A `Search` over a `StaticDecoder` whose slots hold the sound of the task's windows."""

    def __init__(
        self, decoder: StaticDecoder, vocabulary: Vocabulary, graphs: Graphs, steps: int
    ) -> None:
        """The host looks every `steps` steps, at most 8."""
        self._decoder = decoder
        self._vocabulary = vocabulary
        self._graphs = graphs
        self._steps = min(steps, _MOST_STEPS)
        self._temperature = torch.ones(1, device=decoder.device)
        self._noise = torch.zeros(decoder.vocabulary, device=decoder.device)
        self._turn = torch.zeros(1, dtype=torch.int64, device=decoder.device)
        self._make_rows(0)

    def hear(self, states: torch.Tensor) -> None:
        """Take the encoder's output, (windows, frames, d_model), as windows 0, 1, …"""
        if self._decoder.hear(states):
            self._graphs.forget()

    def reserve(self, windows: int, beams: int = 1) -> None:
        """Have room for so many windows with so many rows each."""
        rows = self._decoder.rows_for(windows, beams)
        if self._decoder.reserve(rows):
            self._graphs.forget()
            self._make_rows(rows)

    def try_out(self, windows: int) -> None:
        """Decode a little of so many windows, so that what is recorded or chosen on first use is
        there."""
        start = [self._vocabulary.start]
        task = Task(range(windows), [start] * windows, -1, [2] * windows)
        self.sample(task, LogitRules(self._vocabulary, [0] * windows, timestamps=False), 0.0, never)

    def _make_rows(self, rows: int) -> None:
        device = self._decoder.device
        self._rules = TorchRules(self._vocabulary, rows, device)
        # of each step between two looks, what each row wrote
        self._chosen = torch.zeros((_MOST_STEPS, rows), dtype=torch.int64, device=device)
        self._chances = torch.zeros((_MOST_STEPS, rows), device=device)
        # how each row could go on
        self._likely = torch.zeros((rows, _MOST_CANDIDATES), dtype=torch.int64, device=device)
        self._likely_chances = torch.zeros((rows, _MOST_CANDIDATES), device=device)

    def sample(
        self, task: Task, rules: LogitRules, temperature: float, stop: Stop
    ) -> list[Hypothesis]:
        """See `search.sample`."""
        found = {window: Hypothesis(temperature=temperature) for window in task.windows}
        rooms = dict(zip(task.windows, task.max_tokens, strict=True))
        draws = Draws(temperature) if temperature > 0 else None
        self._temperature.fill_(temperature if temperature > 0 else 1.0)
        self._noise.zero_()
        rows, logits = self._begin(task, rules, 1)
        live = set(rows)
        self._draw(draws)
        self._choose(logits)
        written = 1
        while True:
            tokens, chances = self._written(written)
            for row, window in enumerate(rows):
                for step in range(written):
                    if window in live and not extend(
                        found[window],
                        int(tokens[step, row]),
                        float(chances[step, row]),
                        task.end,
                        rooms[window],
                    ):
                        live.remove(window)
            if not live:
                return [found[window] for window in task.windows]
            if stop():
                raise Cancelled("Nobody waits for this window any more.")
            rows = self._keep(rows, live)
            written = min(self._steps, self._decoder.room)
            for _ in range(written):
                self._draw(draws)
                self._run("sample", self._choose)

    def beam_search(
        self, task: Task, rules: LogitRules, beams: int, stop: Stop
    ) -> list[Hypothesis]:
        """See `search.beam_search`; all windows side by side."""
        searches = {
            window: Beam(window, task.end, room, beams)
            for window, room in zip(task.windows, task.max_tokens, strict=True)
        }
        order, logits = self._begin(task, rules, beams)
        count = min(beams + 1, _MOST_CANDIDATES, logits.shape[1])
        self._weigh(logits, count)
        width = 1  # rows of a window
        while True:
            tokens = self._likely[: self._decoder.rows, :count].cpu().numpy()
            chances = self._likely_chances[: self._decoder.rows, :count].cpu().numpy()
            parents: dict[int, list[int]] = {}
            for slot, window in enumerate(order):
                search, first = searches[window], slot * width
                if not search.going:
                    continue
                behind = first + len(search.live)
                grown = search.grow(tokens[first:behind], chances[first:behind])
                parents[window] = [first + parent for parent in grown]
            going = [window for window in order if searches[window].going]
            if not going:
                return [searches[window].best() for window in task.windows]
            if stop():
                raise Cancelled("Nobody waits for this window any more.")
            order = self._go_on(going, beams, searches, parents)
            width = beams
            self._run(f"beams {count}", lambda logits: self._weigh(logits, count))

    def _begin(self, task: Task, rules: LogitRules, beams: int) -> tuple[list[int], torch.Tensor]:
        """Feed the prefixes; the windows in the order of their slots, and the first logits."""
        self.reserve(len(task.windows), beams)
        order = self._decoder.sound.seat(task.windows)
        prefixes = dict(zip(task.windows, task.prefixes, strict=True))
        fed = np.array([list(prefixes[window]) for window in order], dtype=np.int64)
        self._rules.begin(rules, order)
        self._turn.zero_()
        logits = self._decoder.begin(torch.from_numpy(fed).to(self._decoder.device))
        return list(order), self._rules.apply(logits)

    def _run(self, way: str, finish: Finish) -> None:
        """One step: feed what was chosen, mask, and `finish` with the logits."""
        decoder = self._decoder
        length = decoder.advance()

        def work() -> None:
            self._rules.observe(decoder.tokens[: decoder.rows])
            finish(self._rules.apply(decoder.step(length)))

        shape = (way, decoder.windows, decoder.beams, length)
        self._graphs.run(shape, work, [*decoder.state, *self._rules.state, self._turn])

    def _choose(self, logits: torch.Tensor) -> None:
        """Take the likeliest token of each row, after noise, and note its log-probability."""
        rows = logits.shape[0]
        chosen = (logits / self._temperature + self._noise).argmax(dim=1)
        chances = logits.gather(1, chosen[:, None]) - torch.logsumexp(logits, 1, keepdim=True)
        self._chosen[:, :rows].index_copy_(0, self._turn, chosen[None])
        self._chances[:, :rows].index_copy_(0, self._turn, chances.T)
        self._decoder.tokens[:rows].copy_(chosen)
        self._turn.add_(1)

    def _weigh(self, logits: torch.Tensor, count: int) -> None:
        """Note each row's likeliest continuations and their log-probabilities."""
        rows = logits.shape[0]
        best, tokens = logits.topk(count, dim=1)
        self._likely[:rows, :count].copy_(tokens)
        chances = best - torch.logsumexp(logits, dim=1, keepdim=True)
        self._likely_chances[:rows, :count].copy_(chances)

    def _draw(self, draws: Draws | None) -> None:
        if draws is not None:
            noise = draws.next(self._noise.shape[0]).astype(np.float32)
            self._noise.copy_(torch.from_numpy(noise), non_blocking=True)

    def _written(self, steps: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """What the rows wrote in the last `steps` steps, (steps, rows): the host waits here."""
        rows = self._decoder.rows
        tokens: NDArray[np.int64] = self._chosen[:steps, :rows].cpu().numpy()
        chances: NDArray[np.float32] = self._chances[:steps, :rows].cpu().numpy()
        self._turn.zero_()
        return tokens, chances

    def _keep(self, rows: list[int], live: set[int]) -> list[int]:
        """Compute fewer rows where that makes a smaller step; the windows of those that stay."""
        decoder = self._decoder
        if decoder.rows_for(len(live), 1) >= decoder.rows:
            return rows
        before = {window: row for row, window in enumerate(rows)}
        order = list(decoder.sound.seat(sorted(live, key=before.__getitem__)))
        parents = [before[window] for window in order]
        decoder.rearrange(len(order), 1, self._moved(parents))
        return order

    def _go_on(
        self,
        going: Sequence[int],
        beams: int,
        searches: dict[int, Beam],
        parents: dict[int, list[int]],
    ) -> list[int]:
        """Put the rows of `going` windows behind one another, each behind its parent."""
        decoder = self._decoder
        order = list(decoder.sound.seat(going))
        came_from: list[int] = []
        tokens: list[int] = []
        for window in order:
            live, rows = searches[window].live, parents[window]
            missing = beams - len(live)
            came_from += rows + rows[:1] * missing
            tokens += [h.tokens[-1] for h in live] + [live[0].tokens[-1]] * missing
        decoder.rearrange(len(order), beams, self._moved(came_from))
        decoder.tokens[: len(tokens)].copy_(torch.tensor(tokens))
        return order

    def _moved(self, parents: list[int]) -> torch.Tensor | None:
        """Let what was written follow; the rows' parents for the cache, None if all stay."""
        if parents == list(range(len(parents))):
            return None
        index = torch.tensor(parents).to(self._decoder.device)
        self._rules.rearrange(index)
        self._decoder.tokens[: len(parents)].copy_(self._decoder.tokens[index])
        return index
