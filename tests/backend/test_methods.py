"""HEAD wherever there is GET, and what an address says to a method or a body it does not take."""

import http.client
from urllib.parse import urlsplit

import pytest

from .desk import Desk
from .serving import serving
from .sounds import noise, wav


def test_head_is_get_without_its_body(desk: Desk) -> None:
    job_id = desk.wait(desk.submit(wav(noise(1)))["id"])["id"]
    with serving(desk.app) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        for path in (
            *("/", "/health", "/ready", "/docs", "/openapi.json", "/v1/jobs", "/v1/models"),
            f"/v1/jobs/{job_id}/transcript?format=srt",
            f"/v1/jobs/{job_id}/audio",
            "/v1/jobs/nosuch",
        ):
            told = []
            for method in ("HEAD", "GET"):  # a body after HEAD would be read as the next answer
                connection.request(method, path)
                answer = connection.getresponse()
                body = answer.read()
                assert bool(body) is (method == "GET"), path
                told.append((answer.status, answer.headers["content-type"]))
            assert told[0] == told[1], path
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, HEAD, POST"),
        ("POST", "/v1/jobs/nosuch", "GET, HEAD, DELETE"),
        ("DELETE", "/health", "GET, HEAD"),
        ("HEAD", "/v1/jobs/nosuch/events", "GET"),
        ("GET", "/v1/jobs/nosuch/retry", "POST"),
        ("DELETE", "/v1/audio/transcriptions", "POST"),
        ("POST", "/files/nosuch", "HEAD, PATCH, DELETE, OPTIONS"),
    ],
)
def test_wrong_method_is_told_the_right_ones(
    desk: Desk, method: str, path: str, allowed: str
) -> None:
    answer = desk.http.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_nothing_at_an_address_is_a_sentence(desk: Desk) -> None:
    error = desk.http.get("/v1/nothing").json()["error"]
    assert (error["code"], error["message"]) == ("not_found", "There is nothing at this address.")


@pytest.mark.parametrize(
    ("body", "media_type", "message"),
    [
        ("{", "application/json", "The body is not JSON."),
        ("", "application/json", "body: Field required"),
        ("[]", "application/json", "The body is not a JSON object."),
        ("upload_id=x", "application/x-www-form-urlencoded", "The body is not a JSON object."),
        ('{"upload_id": 5}', "application/json", "upload_id: Input should be a valid string"),
    ],
)
def test_body_of_another_shape_is_a_sentence(
    desk: Desk, body: str, media_type: str, message: str
) -> None:
    answer = desk.http.post("/v1/jobs", content=body, headers={"content-type": media_type})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "invalid_options")
    assert error["message"] == message
    assert not error.get("param", "").isdigit()
