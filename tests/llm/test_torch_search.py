"""Decoding in constant shapes writes what decoding in growing ones writes, recorded or not."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.llm.engine_settings import engine_settings
from tests.llm.recordings import windows
from tests.servers import EMBEDDED_MODEL

from stenograf.contract.errors import Cancelled, OutOfResources
from stenograf.contract.options import DecodeOptions
from stenograf.llm.engines.base import EngineOptions, WindowResult, never
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.engines.hf_whisper import Ways, load_hf_whisper
from stenograf.llm.whisper.checkpoint import open_checkpoint
from stenograf.llm.whisper.decoder import listen
from stenograf.llm.whisper.graphs import CudaRecorder, Graphs
from stenograf.llm.whisper.loading import load_vocabulary, log_mel
from stenograf.llm.whisper.reader import room, steps_of
from stenograf.llm.whisper.rules import LogitRules
from stenograf.llm.whisper.search import HostSearch, Hypothesis, Search, Task
from stenograf.llm.whisper.static_decoder import Shapes, StaticDecoder
from stenograf.llm.whisper.tape import HostLook, TapeRecorder
from stenograf.llm.whisper.torch_search import TorchSearch
from stenograf.llm.whisper.torch_weights import load_weights

CONTEXT = 448
FINE = Shapes((), (*range(32, CONTEXT, 32), CONTEXT))
COARSE = Shapes((1, 2, 4, 8), (8, 16, CONTEXT))  # rounding, padding and growth in every text
CPU = torch.device("cpu")
NEED_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@dataclass
class Heard:
    """Some windows of different length behind the encoder of the demo model."""

    host: HostSearch
    model: Any
    states: torch.Tensor
    vocabulary: Any
    last_steps: list[int]
    known: dict[Any, list[Hypothesis]] = field(default_factory=dict)

    def device_search(self, shapes: Shapes, graphs: Graphs, steps: int) -> TorchSearch:
        search = TorchSearch(StaticDecoder(self.model, shapes), self.vocabulary, graphs, steps)
        search.hear(self.states)
        return search

    def task(
        self, subset: list[int], *, timestamps: bool = True, prompt: int = 0
    ) -> tuple[Task, LogitRules]:
        prefix = self.vocabulary.prefix("ru", "transcribe", timestamps=timestamps)
        if prompt:
            prefix = [self.vocabulary.previous, *range(5, 5 + prompt), *prefix]
        rooms = [room(self.last_steps[i], len(prefix), CONTEXT) for i in subset]
        task = Task(subset, [prefix] * len(subset), self.vocabulary.end, rooms)
        return task, LogitRules(self.vocabulary, self.last_steps, timestamps=timestamps)

    def expected(self, way: str, task: Task, rules: LogitRules) -> list[Hypothesis]:
        """What the search in growing shapes writes."""
        key = (way, *task.windows, *task.prefixes[0])
        if key not in self.known:
            self.known[key] = WAYS[way](self.host, task, rules)
        return self.known[key]


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=NEED_GPU)])
def heard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Heard:
    torch.set_num_threads(1)  # PyTorch's threads wait for each other where cores are shared
    device = torch.device(request.param)
    checkpoint = open_checkpoint(EMBEDDED_MODEL, tmp_path_factory.mktemp("converted"))
    model = load_weights(checkpoint, device, torch.float32)
    sounds = windows()[4:28:7]
    with torch.inference_mode():
        features = torch.from_numpy(log_mel(checkpoint)(sounds)).to(device)
        states = model.model.encoder(features).last_hidden_state
        host = HostSearch(listen(model, features))
    vocabulary = load_vocabulary(checkpoint)
    return Heard(host, model, states, vocabulary, [steps_of(len(sound)) for sound in sounds])


Run = Callable[[Search, Task, LogitRules], list[Hypothesis]]
WAYS: dict[str, Run] = {
    "greedy": lambda search, task, rules: search.sample(task, rules, 0.0, never),
    "sampled": lambda search, task, rules: search.sample(task, rules, 0.6, never),
    "beams": lambda search, task, rules: search.beam_search(task, rules, 3, never),
}
LAYOUTS = {
    "fine": lambda: (FINE, Graphs(), 1),
    "coarse": lambda: (COARSE, Graphs(), 8),
    "recorded": lambda: (COARSE, Graphs(TapeRecorder()), 8),
    "few recordings": lambda: (COARSE, Graphs(TapeRecorder(), most=1), 3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_same_text_as_with_growing_shapes(heard: Heard, layout: str) -> None:
    """One search reads one task after the other: all windows, some of them, other prefixes."""
    search = heard.device_search(*LAYOUTS[layout]())
    every = list(range(len(heard.last_steps)))
    for task, rules in (
        heard.task(every),
        heard.task(every[3:0:-2], prompt=9),
        heard.task(every[:1], timestamps=False),
        heard.task(every),
    ):
        for name, run in WAYS.items():
            assert_same(run(search, task, rules), heard.expected(name, task, rules), name)


def assert_same(found: list[Hypothesis], expected: list[Hypothesis], what: str) -> None:
    assert sum(len(each.tokens) for each in expected) > len(expected), what
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.tokens, mine.loop) == (theirs.tokens, theirs.loop), what
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-4), what
        assert (mine.end_logprob is None) == (theirs.end_logprob is None), what
        assert mine.temperature == theirs.temperature


def test_text_ends_where_the_room_ends(heard: Heard) -> None:
    """To the very last position of the decoder's context."""
    prefix = [5] * (CONTEXT - 5)
    task = Task([0, 1], [prefix] * 2, -1, [5, 2])
    rules = LogitRules(heard.vocabulary, heard.last_steps, timestamps=False)
    for steps in (1, 8):
        search = heard.device_search(COARSE, Graphs(TapeRecorder()), steps)
        found = search.sample(task, rules, 0.0, never)
        assert [len(each.tokens) for each in found] == [5, 2]
        assert_same(found, heard.host.sample(task, rules, 0.0, never), "room")


def test_nobody_waits_any_more(heard: Heard) -> None:
    search = heard.device_search(COARSE, Graphs(), 1)
    task, rules = heard.task([0, 1])
    for run in (
        lambda: search.sample(task, rules, 0.0, lambda: True),
        lambda: search.beam_search(task, rules, 3, lambda: True),
    ):
        with pytest.raises(Cancelled):
            run()
    assert_same(
        search.sample(task, rules, 0.0, never), heard.host.sample(task, rules, 0.0, never), "after"
    )


def test_another_batch_with_more_windows(heard: Heard) -> None:
    """Memory moves when a larger batch comes, and what was recorded is not replayed."""
    graphs = Graphs(TapeRecorder())
    search = TorchSearch(StaticDecoder(heard.model, COARSE), heard.vocabulary, graphs, 4)
    for count in (1, 3):
        search.hear(heard.states[:count])
        task, rules = heard.task(list(range(count)))
        for name, run in WAYS.items():
            assert_same(run(search, task, rules), heard.expected(name, task, rules), f"{count}")
        assert 0 < len(graphs) <= 24


@NEED_GPU
def test_recorded_as_cuda_graphs(heard: Heard) -> None:
    device = heard.model.device
    if device.type != "cuda":
        pytest.skip("the model is on the CPU")
    graphs = Graphs(CudaRecorder(device))
    search = heard.device_search(COARSE, graphs, 8)
    task, rules = heard.task(list(range(len(heard.last_steps))))
    for name, run in WAYS.items():
        assert_same(run(search, task, rules), heard.expected(name, task, rules), name)
    assert graphs.recording
    assert len(graphs) > 0


def void(_: object) -> None:
    """Let a lambda return nothing."""


class TestGraphs:
    def test_replays_what_was_recorded(self) -> None:
        runs: list[int] = []
        total = torch.zeros(1)

        def work() -> None:
            runs.append(1)
            total.add_(2)

        graphs = Graphs(TapeRecorder())
        for _ in range(3):
            graphs.run("a", work, [total])
        assert (len(runs), float(total)) == (1, 6.0)

    def test_keeps_only_so_many(self) -> None:
        graphs = Graphs(TapeRecorder(), most=2)
        total = torch.zeros(1)
        for shape in (1, 2, 3, 1, 2):
            graphs.run(shape, lambda: void(total.add_(1)), [total])
        assert (len(graphs), float(total)) == (2, 5.0)

    def test_says_why_it_cannot_record_and_goes_on(self, caplog: pytest.LogCaptureFixture) -> None:
        total = torch.zeros(1)

        def looks() -> None:
            total.add_(1)
            if math.isnan(total.item()):
                raise AssertionError

        graphs = Graphs(TapeRecorder())
        for _ in range(2):
            graphs.run("a", looks, [total])
        assert float(total) == 2.0
        assert not graphs.recording
        (entry,) = caplog.records
        assert HostLook.__name__ in entry.message

    def test_without_memory_it_does_not_go_on(self) -> None:
        def record(work: Any, restore: Any) -> Any:
            raise torch.OutOfMemoryError

        graphs = Graphs(record)
        with pytest.raises(torch.OutOfMemoryError):
            graphs.run("a", lambda: None, [])
        assert graphs.recording


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    return engine_settings("transformers", EMBEDDED_MODEL, tmp_path)


def texts(results: list[WindowResult]) -> list[object]:
    return [
        (r.language, [(s.text, [(w.text, w.start, w.end) for w in s.words]) for s in r.segments])
        for r in results
    ]


def probabilities(results: list[WindowResult]) -> list[float | None]:
    return [w.probability for r in results for s in r.segments for w in s.words]


@pytest.mark.parametrize("ways", [Ways(True, True, False), Ways(False, True, True)])
def test_no_way_changes_the_transcript(ways: Ways, settings: EngineSettings) -> None:
    batch = [*windows()[4:20:7], np.zeros(16_000, np.float32)]
    ours, other = (load_hf_whisper(settings, lambda *_: None, each) for each in (None, ways))
    for decode in (DecodeOptions(language="auto"), DecodeOptions(language="ru", beam_size=2)):
        options = EngineOptions(decode)
        expected, found = (engine.transcribe(batch, options) for engine in (ours, other))
        assert texts(found) == texts(expected)
        assert len(probabilities(expected)) > 3
        assert probabilities(found) == pytest.approx(probabilities(expected), abs=1e-4)


def test_after_memory_ran_out_it_goes_on(settings: EngineSettings) -> None:
    def full() -> bool:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    engine = load_hf_whisper(settings, lambda *_: None, Ways(False, True, False))
    batch, options = list(windows()[4:12:4]), EngineOptions(DecodeOptions(language="ru"))
    before = texts(engine.transcribe(batch, options))
    with pytest.raises(OutOfResources) as raised:
        engine.transcribe(batch, options, full)
    assert raised.value.__context__ is None  # which would keep the tensors of the batch
    assert texts(engine.transcribe(batch, options)) == before
