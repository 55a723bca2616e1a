"""Who may come in, from which page, and where a service may listen at all."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import BaseRoute, Route
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from stenograf import keys_cli
from stenograf.backend.apikeys import ApiKeyStore, KeyRing
from stenograf.backend.origins import OpenToEveryPage, Origins
from stenograf.backend.session import TTL_S, Sessions, secret_in
from stenograf.cli import OK, SOME_FAILED, USAGE, run
from stenograf.contract.session import SESSION_COOKIE
from stenograf.redact import masked

from ..servers import backend_process, free_port, kept_environment
from .conftest import Clock, Tables
from .desk import Desk, until
from .model_server import ModelServer
from .sounds import tone, wav

ASKED = "/v1/options"
STATIC = "the-key-of-the-environment"


@pytest.fixture
def store(desk: Desk) -> ApiKeyStore:
    return ApiKeyStore(desk.house.database)


@pytest.fixture
def key(desk: Desk, store: ApiKeyStore) -> str:
    text, _ = store.create("Анна")
    desk.house.keys.sync()
    return text


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_without_keys_this_machine_may_do_everything(desk: Desk) -> None:
    assert desk.http.get(ASKED).status_code == 200
    assert desk.http.get(ASKED, headers=bearer("sk-whatever-an-sdk-sends")).status_code == 200
    state = desk.http.get("/v1/session").json()
    assert state == {"key_required": False, "signed_in": True}


def test_a_key_made_while_the_service_runs_closes_it(desk: Desk, store: ApiKeyStore) -> None:
    text, made = store.create("Анна")
    until(lambda: desk.http.get(ASKED).status_code == 401)
    assert desk.http.get(ASKED, headers=bearer(text)).status_code == 200
    store.revoke(made.id)
    until(lambda: desk.http.get(ASKED, headers=bearer(text)).status_code == 401)
    assert desk.http.get(ASKED).status_code == 401  # the last key's end opens nothing


def test_a_key_comes_as_bearer_or_as_header_of_its_own(desk: Desk, key: str) -> None:
    for good in (bearer(key), {"X-API-Key": key}, {"authorization": f"bearer  {key} "}):
        assert desk.http.get(ASKED, headers=good).status_code == 200
    secret = key.split("_", 2)[2]
    for bad in (
        {},
        bearer(""),
        bearer(key[:-1]),
        bearer(key + "a"),
        bearer(secret),
        bearer(key.upper()),
        bearer(key[:12] + "A" * 43),
        {"Authorization": f"Basic {key}"},
        {"Authorization": key},
        {"X-API-Key": ""},
        {**bearer("wrong"), "X-API-Key": key},
    ):
        assert desk.http.get(ASKED, headers=bad).status_code == 401, bad
    assert desk.http.get(f"{ASKED}?api_key={key}").status_code == 401


def test_the_refusal_says_what_to_do_in_every_dialect(desk: Desk, key: str) -> None:
    ours = desk.http.get(ASKED)
    assert ours.headers["www-authenticate"].startswith("Bearer")
    error = ours.json()["error"]
    assert error["code"] == "unauthorized"
    assert "X-API-Key" in error["hint"]
    assert error["request_id"] == ours.headers["x-request-id"]
    openai = desk.http.get("/v1/models", headers=bearer("sk-wrong"))
    assert openai.status_code == 401
    assert openai.headers["x-should-retry"] == "false"
    assert openai.json()["error"]["type"] == "invalid_request_error"
    assert "sk-wrong" not in openai.text


def test_probes_and_documents_need_no_key(desk: Desk, key: str) -> None:
    for path in ("/health", "/ready", "/openapi.json"):
        assert desk.http.get(path).status_code != 401
    for path in ("/", "/nothing", "/files", "/v1/jobs", "/health/", "//health", "/ready/../files"):
        assert desk.http.get(path, follow_redirects=False).status_code == 401, path


def test_every_other_route_asks_for_the_key(desk: Desk, key: str) -> None:
    public = {"/health", "/ready", "/openapi.json", "/docs"}
    asked = 0
    for route in _routes(desk.app.routes):
        for method in route.methods or ():
            if route.path in public or (route.path == "/v1/session" and method != "POST"):
                continue
            path = route.path.replace("{", "").replace("}", "")
            assert desk.http.request(method, path).status_code == 401, (method, path)
            asked += 1
    assert asked > 20


def _routes(routes: Sequence[BaseRoute]) -> Iterator[Route]:
    for route in routes:
        if isinstance(route, Route):
            yield route
        included = getattr(route, "original_router", route)  # as FastAPI keeps included routers
        if included is not route:
            yield from _routes(included.routes)


def test_only_a_hash_is_kept(desk: Desk, key: str, tmp_path: Path) -> None:
    secret = key.split("_", 2)[2].encode()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert key.split("_")[1].encode() in kept
    assert secret not in kept


def test_uses_are_remembered_once_a_minute(tables: Tables, clock: Clock) -> None:
    store = ApiKeyStore(tables.database, clock)
    text, made = store.create("бот")
    ring = KeyRing(store, clock=clock)
    ring.sync()

    def last_used() -> float | None:
        return store.list()[0].last_used_at

    assert last_used() is None
    first = clock.now
    for _ in range(50):
        assert ring.find(text.encode()) == made.id
        ring.sync()
        clock.advance(1)
    assert last_used() == first
    clock.advance(60)
    ring.find(text.encode())
    ring.sync()
    assert last_used() == clock.now


def test_keys_of_the_environment(tmp_path: Path, model: ModelServer) -> None:
    given = "first-key-of-the-house, ключ-второй-длиннееР"
    with Desk(tmp_path, model.url, backend_api_keys=given) as desk:
        assert desk.http.get(ASKED).status_code == 401
        assert desk.http.get(ASKED, headers=bearer("first-key-of-the-house")).status_code == 200
        second = "ключ-второй-длиннееР".encode()  # its last byte is a Latin space
        assert desk.http.get(ASKED, headers={"X-API-Key": second}).status_code == 200


def test_a_browser_shows_the_key_once(desk: Desk, key: str) -> None:
    assert desk.http.get("/v1/session").json() == {"key_required": True, "signed_in": False}
    assert desk.http.post("/v1/session").status_code == 401
    answer = desk.http.post("/v1/session", headers=bearer(key))
    assert answer.status_code == 204
    flags = answer.headers["set-cookie"].lower()
    assert "httponly" in flags
    assert "samesite=strict" in flags
    assert key not in flags
    assert desk.http.get(ASKED).status_code == 200  # the client keeps the cookie
    assert desk.http.get("/v1/session").json() == {"key_required": True, "signed_in": True}
    desk.http.delete("/v1/session")
    assert desk.http.get(ASKED).status_code == 401


def test_the_cookie_works_for_our_own_page_only(desk: Desk, key: str) -> None:
    desk.http.post("/v1/session", headers=bearer(key))
    ours, foreign = {"Origin": "http://testserver:8010"}, {"Origin": "http://evil.example:8010"}
    assert desk.http.post("/v1/jobs", json={}, headers=ours).status_code == 422
    refused = desk.http.post("/v1/jobs", json={}, headers=foreign)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "forbidden"
    with_key = desk.http.post("/v1/jobs", json={}, headers=foreign | bearer(key))
    assert with_key.status_code == 422


def test_a_revoked_key_ends_its_sessions(desk: Desk, store: ApiKeyStore) -> None:
    text, made = store.create("гость")
    desk.house.keys.sync()
    desk.http.post("/v1/session", headers=bearer(text))
    assert desk.http.get(ASKED).status_code == 200
    store.revoke(made.id)
    desk.house.keys.sync()
    assert desk.http.get(ASKED).status_code == 401


def test_session_tokens_are_signed_and_end(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "secret"
    sessions = Sessions(secret_in(path), clock)
    token = sessions.issue("0badcafe")
    assert sessions.key_id(token) == "0badcafe"
    assert Sessions(secret_in(path), clock).key_id(token) == "0badcafe"
    assert Sessions(secret_in(tmp_path / "other"), clock).key_id(token) is None
    assert path.stat().st_mode & 0o777 == 0o600
    key_id, expires, signature = token.split(".")
    for forged in (
        f"0badcaff.{expires}.{signature}",
        f"{key_id}.{int(expires) + 1}.{signature}",
        f"{key_id}.{expires}.{signature[:-1]}",
        f"{key_id}.{expires}.",
        f"{token}\n",
        "",
        "..",
    ):
        assert sessions.key_id(forged) is None, forged
    clock.advance(TTL_S + 1)
    assert sessions.key_id(token) is None


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://box:8010", "box:8009", True),
        ("http://192.168.1.5:8010", "192.168.1.5:8009", True),
        ("http://[fd00::1]:8010", "[fd00::1]:8009", True),
        ("https://stt.example.org", "stt.example.org", True),
        ("http://localhost:8010", "192.168.1.5:8009", True),
        ("https://listed.example.org", "box:8009", True),
        ("http://box:8011", "box:8009", False),
        ("http://box", "box:8009", False),
        ("http://evil.example:8010", "box:8009", False),
        ("http://box.evil.example:8010", "box:8009", False),
        ("http://listed.example.org", "box:8009", False),
        ("null", "box:8009", False),
        ("file://", "box:8009", False),
        ("http://[:8010", "box:8009", False),
        ("http://box:port", "box:8009", False),
        ("http://:8010", ":8009", False),
    ],
)
def test_pages_that_may_come_in(origin: str, host: str, allowed: bool) -> None:
    origins = Origins(["https://listed.example.org/"], 8010)
    assert origins.allows(origin, host) is allowed


def test_a_star_is_refused() -> None:
    with pytest.raises(OpenToEveryPage):
        Origins(["http://a.example", "*"], 8010)


def test_the_page_may_send_keys_and_cookies(desk: Desk, key: str) -> None:
    asks = {
        "Origin": "http://testserver:8010",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,tus-resumable,upload-length",
    }
    answer = desk.http.options("/files", headers=asks)  # a preflight never carries a key
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == asks["Origin"]
    assert answer.headers["access-control-allow-credentials"] == "true"
    refused = desk.http.get(ASKED, headers={"Origin": asks["Origin"]})
    assert refused.headers["access-control-allow-origin"] == asks["Origin"]  # so it can say why
    foreign = desk.http.get(ASKED, headers={"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers


def test_a_foreign_page_cannot_act_on_an_open_service(desk: Desk) -> None:
    foreign = {"Origin": "http://evil.example"}
    files = {"file": ("a.wav", b"RIFF")}
    answer = desk.http.post("/v1/audio/transcriptions", files=files, headers=foreign)
    assert answer.status_code == 403
    assert "CORS_ORIGINS" in answer.json()["error"]["hint"]


def test_an_open_service_answers_to_its_own_names_only(desk: Desk) -> None:
    for name in ("localhost:8009", "127.0.0.1:8009", "[::1]:8009", "backend:8009", "box.local"):
        assert desk.http.get(ASKED, headers={"Host": name}).status_code == 200, name
    for name in ("rebound.evil.example:8009", "127.0.0.1.evil.example", "localhost.evil.example"):
        assert desk.http.get(ASKED, headers={"Host": name}).status_code == 403, name


def test_a_listed_page_may_give_the_service_a_name(tmp_path: Path, model: ModelServer) -> None:
    with Desk(tmp_path, model.url, cors_origins="https://stt.example.org") as desk:
        assert desk.http.get(ASKED, headers={"Host": "stt.example.org"}).status_code == 200


def test_browsers_are_told_to_run_nothing(desk: Desk) -> None:
    for answer in (desk.http.get(ASKED), desk.http.get("/nothing"), desk.http.get("/health")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "default-src 'none'" in desk.http.get("/docs").headers["content-security-policy"]


def test_a_websocket_needs_the_key_too(desk: Desk, key: str) -> None:
    path = "/v1/realtime?intent=transcription"
    with pytest.raises(WebSocketDisconnect), desk.http.websocket_connect(path):
        pass
    with desk.http.websocket_connect(path, headers=bearer(key)) as socket_:
        assert socket_.receive_json()["type"]
    protocols = ["realtime", f"openai-insecure-api-key.{key}"]
    with desk.http.websocket_connect(path, subprotocols=protocols) as socket_:
        assert socket_.receive_json()["type"]


def test_a_foreign_page_opens_no_websocket(desk: Desk) -> None:
    foreign = {"Origin": "http://evil.example"}
    path = "/v1/realtime?intent=transcription"
    with pytest.raises(WebSocketDisconnect), desk.http.websocket_connect(path, headers=foreign):
        pass


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    model = ModelServer()
    folder = tmp_path_factory.mktemp("locked")
    with Desk(folder, model.url, backend_api_keys="the-only-key-there-is") as desk:
        yield desk.http
    model.close()


_VALUES = st.binary(max_size=60).map(lambda value: value.translate(None, b"\r\n\0"))
_PREFIXES = st.sampled_from([b"", b"Bearer ", b"bearer\t", b"sg_00000000_", b"Bearer sg_"])
_HUGE = st.sampled_from([b"Bearer " + b"a" * 60_000, b"sg_" + b"_" * 60_000, b"\xff" * 2000])


@settings(max_examples=150)
@given(
    name=st.sampled_from([b"authorization", b"x-api-key", b"cookie", b"host", b"origin"]),
    value=st.builds(lambda a, b: a + b, _PREFIXES, _VALUES) | _HUGE,
    in_cookie=st.booleans(),
)
def test_strange_headers_are_refused_and_nothing_breaks(
    locked: TestClient, name: bytes, value: bytes, in_cookie: bool
) -> None:
    if name == b"cookie" and in_cookie:
        value = SESSION_COOKIE.encode() + b"=" + value
    answer = locked.post("/v1/jobs", content=b"{}", headers=[(name, value)])
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"


def _start(module: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module],
        env=kept_environment() | {"DATA_DIR": str(folder)} | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
    )


def _knock(url: str, headers: dict[str, str], protocols: list[str] | None) -> None:
    given = [Subprotocol(name) for name in protocols] if protocols else None
    address = url.replace("http:", "ws:")
    with suppress(InvalidStatus), connect(address, additional_headers=headers, subprotocols=given):
        pass


def _status(url: str, headers: dict[str, str] | None = None) -> int:
    return requests.get(url, headers=headers, timeout=60).status_code


@pytest.mark.parametrize(
    "module, prefix", [("stenograf.backend", "BACKEND"), ("stenograf.llm", "LLM")]
)
def test_no_service_is_open_to_other_machines_by_accident(
    module: str, prefix: str, tmp_path: Path
) -> None:
    port = str(free_port())
    for where in ({f"{prefix}_HOST": "0.0.0.0"}, {"PUBLISHED_ON": "0.0.0.0"}):
        ended = _start(module, tmp_path, **{f"{prefix}_PORT": port}, **where)
        assert ended.returncode == 1
        said = ended.stderr.strip()
        assert "without a key" in said
        assert "ALLOW_NO_KEY" in said
        assert "Traceback" not in said
        assert said.count("\n") == 0


def test_a_short_key_of_the_environment_is_refused_and_not_repeated(tmp_path: Path) -> None:
    ended = _start("stenograf.backend", tmp_path, BACKEND_API_KEYS="hunter2-short")
    assert ended.returncode == 1
    assert "BACKEND_API_KEYS" in ended.stderr
    assert "hunter2" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("environment", "status"),
    [
        ({"BACKEND_HOST": "0.0.0.0", "PUBLISHED_ON": "127.0.0.1"}, 200),
        ({"BACKEND_HOST": "0.0.0.0", "ALLOW_NO_KEY": "true"}, 200),
        ({"BACKEND_HOST": "0.0.0.0", "BACKEND_API_KEYS": "the-only-key-there-is"}, 401),
    ],
)
def test_who_says_so_may_listen_everywhere(
    environment: dict[str, str], status: int, tmp_path: Path, model: ModelServer
) -> None:
    with backend_process(tmp_path, model.url, **environment) as backend:
        assert _status(f"{backend.url}{ASKED}") == status


def test_keys_are_made_listed_and_revoked_by_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run(["keys", "create", "Анна\x1b[31m"]) == OK
    text = capsys.readouterr().out.strip()
    assert run(["keys", "list"]) == OK
    listed = capsys.readouterr().out
    assert "Анна" in listed
    assert "never used" in listed
    assert "\x1b" not in listed
    assert text not in listed
    assert run(["keys", "revoke", text]) == OK
    capsys.readouterr()
    assert run(["keys", "list"]) == OK
    assert "revoked" in capsys.readouterr().out
    assert run(["keys", "revoke", "00000000"]) == SOME_FAILED
    assert run(["keys", "create", "  "]) == SOME_FAILED
    with pytest.raises(SystemExit) as ended:
        keys_cli.main(["create", "бот"])
    assert ended.value.code == 0


def test_the_command_line_sends_the_key(
    tmp_path: Path,
    model: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key = "the-key-of-the-command-line"
    recording = tmp_path / "тон.wav"
    recording.write_bytes(wav(tone(3)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("STENOGRAF_API_KEY", raising=False)
    with backend_process(tmp_path, model.url, BACKEND_API_KEYS=key) as backend:
        words = ["transcribe", str(recording), "--backend", backend.url, "--quiet"]
        assert run(words) == SOME_FAILED
        assert "key is needed" in capsys.readouterr().err
        assert run([*words, "--api-key", "не ключ"]) == USAGE
        assert run([*words, "--api-key", key]) == OK
        monkeypatch.setenv("STENOGRAF_API_KEY", key)
        assert run(words) == OK


def test_no_log_line_holds_a_key(
    tmp_path: Path,
    model: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    run(["keys", "create", "журнал"])
    key = capsys.readouterr().out.strip()
    secret = key.split("_", 2)[2]
    environment = {"LOG_LEVEL": "debug", "BACKEND_API_KEYS": STATIC}
    with backend_process(tmp_path, model.url, **environment) as backend:
        for place in (
            f"?api_key={key}",
            f"?x=1&token={secret}",
            f"/{key}",
            f"?q=Bearer%20{key}",
            f"?anything={key}",
        ):
            _status(f"{backend.url}{ASKED}{place}")
        for headers in (bearer(key), {"X-API-Key": key}, bearer(key + "wrong"), {"Cookie": key}):
            _status(f"{backend.url}{ASKED}", headers)
            _status(f"{backend.url}/v1/jobs/none/audio", headers)
        for headers, protocols in (
            ({"X-API-Key": STATIC}, None),
            (bearer(STATIC), None),
            ({}, ["realtime", f"openai-insecure-api-key.{STATIC}"]),
            ({"X-API-Key": STATIC + "wrong"}, None),
        ):
            _knock(f"{backend.url}/v1/realtime?intent=transcription", headers, protocols)
    log = backend.log.read_text()
    assert log.count("GET /v1/options") >= 8
    assert log.count("/v1/realtime") >= 4
    assert secret not in log
    assert STATIC not in log


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/a?api_key=abc&b=1", "/a?api_key=***&b=1"),
        ("/a?b=1&key=abc", "/a?b=1&key=***"),
        ("/a?monkey=abc", "/a?monkey=abc"),
        ("Authorization: Bearer abc", "Authorization: ***"),
        ("sent Bearer abc", "sent Bearer ***"),
        ("< X-API-Key: a b", "< X-API-Key: ***"),
        ("cookie: a=1; stenograf_session=abc", "cookie: ***"),
        ("realtime, openai-insecure-api-key.abc, x", "realtime, openai-insecure-api-key.***, x"),
        ("/x/sg_0badcafe_abcdefghijk/y", "/x/sg_***/y"),
    ],
)
def test_what_looks_like_a_key_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
