"""More clients than the system has descriptors for."""

import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import requests

from ..servers import confined, llm_process
from ..waiting import until


def test_a_flood_of_clients_takes_no_descriptors_from_the_work(tmp_path: Path) -> None:
    with confined(llm_process(tmp_path, ENGINE="fake")) as llm, ExitStack() as flood:
        host, port = llm.url.removeprefix("http://").split(":")
        files = Path(f"/proc/{llm.popen.pid}/fd")
        for _ in range(600):
            with suppress(ConnectionError):  # those beyond are not let in
                flood.enter_context(socket.create_connection((host, int(port)), timeout=30))
        until(lambda: len(list(files.iterdir())) > 80)
        assert max(len(list(files.iterdir())) for _ in range(200)) < 200
        flood.close()
        until(lambda: requests.get(f"{llm.url}/v1/models", timeout=60).ok)
        log = llm.log.read_text()
        assert "Traceback" not in log
        assert "Too many open files" not in log
