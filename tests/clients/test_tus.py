"""Resumable uploads with clients of other hands become transcripts."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiotus
import pytest
import requests
from tusclient.client import TusClient

from ..servers import Process
from .kit import RECORDING, assert_heard, node_clients, run

Upload = Callable[[str, Path], str]
"""Uploads a file to an endpoint and gives the upload's address."""

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # tuspy leaves files open


def by_tuspy(endpoint: str, path: Path) -> str:
    uploader = TusClient(endpoint).uploader(
        str(path), chunk_size=20_000, metadata={"filename": path.name}
    )
    uploader.upload()
    return str(uploader.url)


def by_aiotus(endpoint: str, path: Path) -> str:
    async def upload() -> str:
        name = {"filename": path.name.encode()}
        with path.open("rb") as file:  # it appends the address that it is given to the endpoint
            return str(await aiotus.upload(f"{endpoint}/", file, name, chunksize=20_000))

    return asyncio.run(upload())


def by_tus_js_client(endpoint: str, path: Path) -> str:
    options = '{"chunkSize": 20000, "metadata": {"filename": "заказ.flac"}}'
    return run(["node", "upload.mjs", endpoint, path, options], cwd=node_clients()).strip()


@pytest.mark.parametrize(
    "upload",
    [by_tuspy, by_aiotus, pytest.param(by_tus_js_client, marks=pytest.mark.node)],
    ids=lambda upload: upload.__name__,
)
def test_an_upload_becomes_a_transcript(backend: Process, upload: Upload) -> None:
    upload_id = upload(f"{backend.url}/files", RECORDING).rsplit("/", 1)[-1]
    made = requests.post(f"{backend.url}/v1/jobs", json={"upload_id": upload_id}, timeout=30)
    assert made.status_code == 201, made.text
    job = f"{backend.url}/v1/jobs/{made.json()['id']}"
    requests.get(f"{job}/events", timeout=120).raise_for_status()
    text = requests.get(f"{job}/transcript", params={"format": "txt"}, timeout=30).text
    assert_heard(text, RECORDING)
    assert made.json()["filename"].endswith(".flac")
