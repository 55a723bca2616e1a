"""Requests that the documents allow, and some that they do not: every answer is a described one."""

import io
import wave
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS, load_all_checks, not_a_server_error
from schemathesis.generation import GenerationMode

from .backend.chat_server import ChatServer
from .servers import Process, backend_process, llm_process

CHUNK = "application/offset+octet-stream"
HELD_TO = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
pytestmark = pytest.mark.filterwarnings("ignore")  # its generators warn about themselves


@schemathesis.serializer(CHUNK)
def _chunk(_: Any, value: Any) -> Any:
    return value.encode("utf-8", "replace") if isinstance(value, str) else value


@dataclass
class Served:
    """A service, and things that are really there to ask it about."""

    url: str
    known: Mapping[str, str] = field(default_factory=dict)

    def make_real(self, case: Any) -> None:
        """Ask about something that is there, send something that can be heard."""
        purge = case.method == "DELETE" and (case.query or {}).get("purge")
        if not purge:
            case.path_parameters = {**(case.path_parameters or {}), **self._known_in(case)}
        if isinstance(case.body, dict):
            for name in ("file", "audio_file"):
                if name in case.body:
                    case.body = {**case.body, name: RECORDING}
                    case.body.pop("model", None)
            if "upload_id" in case.body:
                case.body = {**case.body, "upload_id": self.known["upload_id"]}

    def _known_in(self, case: Any) -> dict[str, str]:
        return {name: self.known[name] for name in case.path_parameters or {} if name in self.known}


def _recording() -> bytes:
    samples = (8000 * np.sin(np.arange(8000) / 8)).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(samples.tobytes())
    return file.getvalue()


RECORDING = _recording()


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with llm_process(tmp_path_factory.mktemp("llm"), ENGINE="fake") as process:
        yield process


@pytest.fixture(scope="module")
def model_service(llm: Process) -> Served:
    return Served(llm.url, {"model": "fake"})


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory, llm: Process) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("backend")
    with ChatServer() as chat:
        settings = {"TEXT_LLM_URL": f"{chat.url}/v1", "DECODE_TIMEOUT_S": "10"}
        with backend_process(folder, llm.url, **settings) as process:
            yield Served(process.url, _something_there(process.url))


def _something_there(url: str) -> dict[str, str]:
    """An upload, a finished job of it, and a summary of that."""
    headers = {"Tus-Resumable": "1.0.0", "Content-Type": CHUNK}
    headers["Upload-Length"] = str(len(RECORDING))
    made = requests.post(f"{url}/files", RECORDING, headers=headers, timeout=30)
    upload_id = made.headers["Location"].rsplit("/", 1)[-1]
    body = {"upload_id": upload_id, "options": {"cut": {"vad": False}}}
    job_id = requests.post(f"{url}/v1/jobs", json=body, timeout=30).json()["id"]
    requests.get(f"{url}/v1/jobs/{job_id}/events", timeout=60).raise_for_status()
    asked = {"task": "summary"}
    summary = requests.post(f"{url}/v1/jobs/{job_id}/text", json=asked, timeout=60).json()
    known = {"upload_id": upload_id, "job_id": job_id, "text_id": summary["id"]}
    return {**known, "model_id": "fake"}


@pytest.mark.parametrize("service", ["backend", "model_service"])
def test_a_few_requests_to_every_route(
    service: str, request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    _try(request.getfixturevalue(service), subtests, examples=3)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("service", ["backend", "model_service"])
def test_many_requests_to_every_route(
    service: str, request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    _try(request.getfixturevalue(service), subtests, examples=60)


def _try(served: Served, subtests: pytest.Subtests, *, examples: int) -> None:
    load_all_checks()
    checks = [
        not_a_server_error,
        *(check for check in CHECKS.get_all() if check.__name__ in HELD_TO),
    ]
    assert len(checks) == len(HELD_TO) + 1
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    answered: Counter[int] = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            with subtests.test(f"{operation.label} {mode.value}"):
                answered += _try_operation(served, operation, mode, checks, examples)
    print(dict(sorted(answered.items())))
    assert answered[200] > examples


def _try_operation(
    served: Served, operation: Any, mode: GenerationMode, checks: list[Any], examples: int
) -> Counter[int]:
    answered: Counter[int] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
    def run(case: Any, real: bool) -> None:
        if real:
            served.make_real(case)
        response = case.call(base_url=served.url, timeout=60)
        answered[response.status_code] += 1
        case.validate_response(response, checks=checks)

    nothing_can_be_wrong = suppress(Unsatisfiable)
    with nullcontext() if mode is GenerationMode.POSITIVE else nothing_can_be_wrong:
        run()
    return answered
