"""How many windows share a forward pass, and that the services' defaults fit one another."""

import pytest

from stenograf.contract.pcm import MAX_WINDOW_SAMPLES
from stenograf.llm.batchsize import batch_size
from stenograf.llm.engines.base import Capabilities
from stenograf.settings import BackendSettings, LlmSettings

ENGINES = ("native", "ctranslate2", "transformers", "onnx")


def known(engine: str, device: str = "cpu") -> Capabilities:
    return Capabilities(model="m", languages=("ru",), engine=engine, device=device)


@pytest.mark.parametrize("engine", ENGINES)
def test_unless_told_the_engine_and_its_device_decide(engine: str) -> None:
    on_cpu, on_gpu = (batch_size(0, known(engine, device)) for device in ("cpu (avx2)", "cuda:0"))
    assert 1 < on_cpu.windows < on_gpu.windows
    assert on_gpu.samples == on_gpu.windows * MAX_WINDOW_SAMPLES
    assert on_cpu.windows <= batch_size(0, known("native")).windows


@pytest.mark.parametrize("asked", [1, 3, 64])
@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_who_names_a_number_gets_it_for_windows_of_any_length(asked: int, device: str) -> None:
    size = batch_size(asked, known("native", device))
    assert (size.windows, size.samples) == (asked, asked * MAX_WINDOW_SAMPLES)


def test_by_default_one_backend_fills_a_batch_and_never_the_queue() -> None:
    llm, backend = LlmSettings(_env_file=None), BackendSettings(_env_file=None)
    for engine in ENGINES:
        size = batch_size(llm.llm_max_batch, known(engine))
        long_windows = min(size.windows, size.samples // MAX_WINDOW_SAMPLES)
        assert backend.windows_in_flight >= size.windows
        assert backend.windows_in_flight >= 2 * long_windows  # one batch computed, one waiting
    jobs = backend.workers + len(backend.short_workers)
    assert jobs * backend.windows_in_flight <= llm.llm_queue_size
