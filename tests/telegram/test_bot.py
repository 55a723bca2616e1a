"""The bot before a Telegram stand-in, over real HTTP on both sides."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jiwer
import pytest
import requests

from stenograf.contract.errors import Unauthorized, UndecodableAudio
from stenograf.contract.jobs import JobStatus
from stenograf.telegram.app import CannotStart
from stenograf.telegram.phrases import Phrases
from stenograf.telegram.progress import Rhythm

from ..scripted_backend import Script, scripted_backend
from ..servers import SAMPLES, House, Process, free_port
from .bot_api import PERSON, TOKEN, BotApi, Failure
from .conftest import NO_PROGRESS, RunningBot, bot_process, sample, until

MakeBot = Callable[..., RunningBot]
RU, EN = Phrases("ru"), Phrases("en")


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def backend(script: Script) -> Iterator[str]:
    with scripted_backend(script) as url:
        yield url


def plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalpha() or char.isspace())


def buttons(call: Any) -> list[dict[str, str]]:
    rows = json.loads(call.fields["reply_markup"])["inline_keyboard"]
    return [button for row in rows for button in row]


# --- with the real backend and the embedded model


def test_a_voice_message_is_answered_with_its_text_and_subtitles(
    house: House, telegram: BotApi, make_bot: MakeBot
) -> None:
    make_bot(house.url)
    sent = telegram.send(telegram.recording("voice", sample("balance_ru")))
    answer = telegram.wait("sendMessage")
    reference = (SAMPLES / "balance_ru.txt").read_text(encoding="utf-8")
    assert jiwer.wer(plain(reference), plain(answer.fields["text"])) < 0.6
    replied = json.loads(answer.fields["reply_parameters"])
    assert replied["message_id"] == sent["message"]["message_id"]
    assert telegram.of("sendChatAction")[0].fields["action"] == "typing"
    [button] = buttons(answer)
    telegram.press(telegram.shown(answer), button["callback_data"])
    document = telegram.wait("sendDocument")
    assert document.filename.endswith(".srt")
    assert re.match(rb"1\r?\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\r?\n", document.file)
    [job] = requests.get(f"{house.url}/v1/jobs", timeout=60).json()["data"]
    assert job["options"]["decode"]["language"] == "ru"


def test_the_backend_may_want_a_key(
    make_backend: Callable[..., Process], telegram: BotApi, make_bot: MakeBot
) -> None:
    key = "a-key-of-sufficient-length-0123456789"
    backend = make_backend(BACKEND_API_KEYS=key)
    make_bot(backend.url, stenograf_api_key=key)
    telegram.send(telegram.recording("audio", sample("extension_ru"), name="номер.flac"))
    answer = telegram.wait("sendMessage").fields["text"]
    reference = (SAMPLES / "extension_ru.txt").read_text(encoding="utf-8")
    assert jiwer.wer(plain(reference), plain(answer)) < 0.6


# --- with a backend that does as it is told


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("voice", {}),
        ("audio", {"name": "../../лекция.mp3"}),
        ("video", {"name": "фильм.mp4"}),
        ("video_note", {}),
        ("document", {"name": "a.wav", "mime_type": "application/octet-stream"}),
        ("document", {"name": "без имени", "mime_type": "audio/ogg"}),
    ],
)
def test_every_kind_of_recording_is_heard(
    backend: str,
    script: Script,
    telegram: BotApi,
    make_bot: MakeBot,
    kind: str,
    about: dict[str, str],
) -> None:
    make_bot(backend)
    telegram.send(telegram.recording(kind, b"sound", **about))
    assert telegram.wait("sendMessage").fields["text"] == "Привет, мир."
    assert bytes(script.uploads["u0"]) == b"sound"


def test_what_is_no_recording_is_said_to_be_none(
    backend: str, telegram: BotApi, make_bot: MakeBot
) -> None:
    make_bot(backend)
    telegram.send(telegram.recording("document", b"%PDF", name="a.pdf", mime_type="a/pdf"))
    telegram.send(telegram.message(text="привет"))
    picture = telegram.recording("document", b"GIF", name="a.mp4", mime_type="video/mp4")
    picture["message"]["animation"] = picture["message"]["document"] | {"width": 9, "height": 9}
    telegram.send(picture)
    telegram.wait("sendMessage", 3)
    assert telegram.of("getFile") == []
    assert set(telegram.said()) == {RU("not_a_recording"), RU("send_recording")}


def test_a_long_text_comes_as_a_file(
    backend: str, script: Script, telegram: BotApi, make_bot: MakeBot
) -> None:
    script.text = "Раз, два, 🎧 три. " * 300
    make_bot(backend)
    telegram.send(telegram.recording("document", b"sound", name="лекция.wav"))
    document = telegram.wait("sendDocument")
    assert document.filename.endswith(".txt")
    assert document.file.decode().strip() == script.text.strip()
    caption = document.fields["caption"]
    assert caption.startswith(RU("file_caption", beginning="Раз, два"))
    assert len(caption.encode("utf-16-le")) // 2 <= 1024
    assert buttons(document)[0]["callback_data"] == "srt:job1"
    assert telegram.said() == []


def test_the_longest_text_that_fits_is_a_message(
    backend: str, script: Script, telegram: BotApi, make_bot: MakeBot
) -> None:
    script.text = "🎧" * 2048
    make_bot(backend)
    telegram.send(telegram.recording("voice", b"sound"))
    assert telegram.wait("sendMessage").fields["text"] == script.text


def test_silence_is_said_to_be_silence(
    backend: str, script: Script, telegram: BotApi, make_bot: MakeBot
) -> None:
    script.text = ""
    make_bot(backend)
    telegram.send(telegram.recording("voice", b"sound"))
    assert telegram.wait("sendMessage").fields["text"] == RU("no_speech")


def test_long_work_is_told_and_can_be_cancelled(
    backend: str, script: Script, telegram: BotApi, make_bot: MakeBot
) -> None:
    script.ending = None
    make_bot(backend, Rhythm(first_s=0.3, every_s=0.2))
    telegram.send(telegram.recording("voice", b"sound"))
    shown = telegram.wait("sendMessage")
    until(
        lambda: (
            [c for c in telegram.of("editMessageText") if "0:03" in c.fields["text"]]
            or "0:03" in shown.fields["text"]
        )
    )
    [button] = buttons(shown)
    assert button["text"] == RU("cancel")
    telegram.press(telegram.shown(shown), button["callback_data"], user_id=PERSON)
    assert telegram.wait("sendMessage", 2).fields["text"] == RU("cancelled")
    telegram.wait("deleteMessage")
    until(lambda: script.count("DELETE", "/v1/jobs/job1"))


def test_everything_of_a_chat_can_be_cancelled(
    backend: str, script: Script, telegram: BotApi, make_bot: MakeBot
) -> None:
    script.ending = None
    make_bot(backend, telegram_jobs_at_once=1)
    for _ in range(3):
        telegram.send(telegram.recording("voice", b"sound"))
    until(lambda: script.polled)
    telegram.command("/cancel")
    until(lambda: telegram.said().count(RU("cancelled")) == 3)
    assert len(script.uploads) == 1, "two of them had not begun"
    telegram.command("/cancel")
    until(lambda: RU("nothing_to_cancel") in telegram.said())


def test_no_more_recordings_are_worked_on_than_allowed(
    backend: str, script: Script, telegram: BotApi, make_bot: MakeBot
) -> None:
    script.ending = None
    make_bot(backend, telegram_jobs_at_once=2)
    for _ in range(5):
        telegram.send(telegram.recording("voice", b"sound"))
    until(lambda: script.count("POST", "/v1/jobs") == 2)
    telegram.command("/help")
    until(lambda: any("/language" in text for text in telegram.said()))
    assert script.count("POST", "/v1/jobs") == 2
    script.ending = JobStatus.COMPLETED
    until(lambda: telegram.said().count("Привет, мир.") == 5)


def test_a_failed_recording_is_explained(
    backend: str, script: Script, telegram: BotApi, make_bot: MakeBot
) -> None:
    script.ending, script.error = JobStatus.FAILED, UndecodableAudio("no sound")
    make_bot(backend)
    telegram.send(telegram.recording("voice", b"sound"))
    assert telegram.wait("sendMessage").fields["text"] == RU("error_undecodable_audio")


def test_a_refusal_is_explained(
    backend: str, script: Script, telegram: BotApi, make_bot: MakeBot
) -> None:
    script.refuse.append(Unauthorized("no key"))
    make_bot(backend)
    telegram.send(telegram.recording("voice", b"sound"))
    assert telegram.wait("sendMessage").fields["text"] == RU("error_unauthorized")


def test_a_file_that_telegram_withholds_is_explained(
    backend: str, telegram: BotApi, make_bot: MakeBot
) -> None:
    make_bot(backend)
    telegram.send(telegram.recording("video", b"x", file_size=21 * 1024**2))
    told = telegram.wait("sendMessage").fields["text"]
    assert told == RU("too_big", limit_mb=20)
    telegram.failures["getFile"].append(Failure(400, "Bad Request: file is too big"))
    telegram.send(telegram.recording("video", b"x"))
    assert telegram.wait("sendMessage", 2).fields["text"] == told
    assert telegram.of("getFile") == []


def test_a_bot_api_server_of_ones_own_hands_out_large_files(
    backend: str, script: Script, telegram: BotApi, make_bot: MakeBot, tmp_path: Path
) -> None:
    make_bot(backend, telegram_api_local=True)
    update = telegram.recording("video", b"", file_size=900 * 1024**2)
    stored = tmp_path / "from telegram.mp4"
    stored.write_bytes(b"sound")
    telegram.paths[update["message"]["video"]["file_id"]] = str(stored)
    telegram.send(update)
    assert telegram.wait("sendMessage").fields["text"] == "Привет, мир."
    assert bytes(script.uploads["u0"]) == b"sound"


def test_a_file_server_that_falters_is_asked_again(
    backend: str, telegram: BotApi, make_bot: MakeBot
) -> None:
    telegram.failures["file"].extend([Failure(502, "Bad Gateway"), Failure(0, "", hang_up=True)])
    make_bot(backend)
    telegram.send(telegram.recording("voice", b"sound"))
    assert telegram.wait("sendMessage").fields["text"] == "Привет, мир."


def test_telegram_may_ask_for_patience_and_fail(
    backend: str, telegram: BotApi, make_bot: MakeBot
) -> None:
    telegram.failures["sendMessage"].extend(
        [
            Failure(429, "Too Many Requests: retry after 1", retry_after_s=1),
            Failure(502, "Bad Gateway"),
            Failure(0, "", hang_up=True),
        ]
    )
    telegram.failures["getUpdates"].append(Failure(500, "Internal Server Error"))
    telegram.failures["sendChatAction"].append(Failure(400, "Bad Request: no"))
    make_bot(backend)
    telegram.send(telegram.recording("voice", b"sound"))
    assert telegram.wait("sendMessage").fields["text"] == "Привет, мир."


def test_who_blocks_the_bot_holds_up_nobody(
    backend: str, telegram: BotApi, make_bot: MakeBot
) -> None:
    telegram.failures["sendMessage"].append(Failure(403, "Forbidden: bot was blocked by the user"))
    make_bot(backend)
    first = telegram.send(telegram.recording("voice", b"sound"))
    until(lambda: telegram.confirmed >= first["update_id"] and not telegram.failures["sendMessage"])
    telegram.send(telegram.recording("voice", b"sound"))
    assert telegram.wait("sendMessage").fields["text"] == "Привет, мир."


# --- who may, and in which language


def test_strangers_are_told_their_number_and_nothing_is_done(
    backend: str, script: Script, telegram: BotApi, make_bot: MakeBot
) -> None:
    make_bot(backend)
    stranger = telegram.recording("voice", b"sound")
    stranger["message"]["from"]["id"] = stranger["message"]["chat"]["id"] = 7
    telegram.send(stranger)
    assert "7" in telegram.wait("sendMessage").fields["text"]
    in_a_group = telegram.recording("voice", b"sound")
    in_a_group["message"]["from"]["id"] = 7
    in_a_group["message"]["chat"] = {"id": -5, "type": "group", "title": "Семья"}
    last = telegram.send(in_a_group)
    until(lambda: telegram.confirmed >= last["update_id"])
    telegram.command("/start")
    telegram.wait("sendMessage", 2)
    assert telegram.said(-5) == []
    assert script.uploads == {}


@pytest.mark.parametrize("listed", ["*", "1, @User42", "42"])
def test_guests_are_listed_by_number_or_name(
    backend: str, telegram: BotApi, make_bot: MakeBot, listed: str
) -> None:
    make_bot(backend, telegram_allowed_users=listed)
    telegram.command("/start")
    assert telegram.wait("sendMessage").fields["text"] == RU("start")


def test_a_group_is_answered_where_a_guest_speaks(
    backend: str, telegram: BotApi, make_bot: MakeBot
) -> None:
    make_bot(backend)
    update = telegram.recording("voice", b"sound")
    update["message"]["chat"] = {"id": -5, "type": "group", "title": "Семья"}
    telegram.send(update)
    telegram.wait("sendMessage")
    assert telegram.said(-5) == ["Привет, мир."]


def test_the_language_is_chosen_per_chat_and_outlives_the_bot(
    backend: str, script: Script, telegram: BotApi, make_bot: MakeBot
) -> None:
    bot = make_bot(backend)
    telegram.command("/language")
    asked = telegram.wait("sendMessage")
    assert [button["callback_data"] for button in buttons(asked)] == [
        "language:ru",
        "language:en",
        "language:auto",
    ]
    telegram.press(telegram.shown(asked), "language:en")
    changed = telegram.wait("editMessageText").fields["text"]
    assert changed == EN("language_chosen", language="English")
    telegram.command("/language ПЛОХО")
    assert telegram.wait("sendMessage", 2).fields["text"] == EN("language_unknown")
    bot.stop()
    make_bot(backend)
    telegram.send(telegram.recording("voice", b"sound"))
    until(lambda: "Привет, мир." in telegram.said())
    assert {row["decode"]["language"] for row in script.options} == {"en"}
    telegram.command("/language de")
    until(lambda: RU("language_chosen", language="de") in telegram.said())


def test_replies_follow_the_language_of_the_persons_telegram(
    backend: str, telegram: BotApi, make_bot: MakeBot
) -> None:
    telegram.language_code = "de"
    make_bot(backend)
    telegram.command("/start")
    assert telegram.wait("sendMessage").fields["text"] == EN("start")


def test_buttons_reach_only_what_their_chat_was_given(
    backend: str, script: Script, telegram: BotApi, make_bot: MakeBot
) -> None:
    make_bot(backend)
    telegram.send(telegram.recording("voice", b"sound"))
    answer = telegram.wait("sendMessage")
    elsewhere = telegram.shown(answer) | {"chat": {"id": -5, "type": "group"}}
    telegram.press(elsewhere, buttons(answer)[0]["callback_data"])
    assert telegram.wait("answerCallbackQuery").fields["text"] == RU("forgotten")
    for data in ("srt:../jobs", "srt:", "cancel:x", "cancel:999999", "language:xx", "?"):
        telegram.press(telegram.shown(answer), data)
    telegram.wait("answerCallbackQuery", 7)
    assert telegram.of("sendDocument") == []


# --- nothing is lost


def test_a_killed_bot_answers_when_it_is_back(
    backend: str, script: Script, telegram: BotApi, tmp_path: Path
) -> None:
    script.ending = None
    addresses = {"TELEGRAM_API_URL": telegram.url, "BACKEND_ENDPOINT": backend}
    bot = bot_process(tmp_path, **addresses)
    try:
        sent = telegram.send(telegram.recording("voice", b"sound"))
        until(lambda: script.polled and telegram.confirmed >= sent["update_id"], 120)
    finally:
        bot.kill()
    script.ending = JobStatus.COMPLETED
    bot = bot_process(tmp_path, **addresses)
    try:
        until(lambda: "Привет, мир." in telegram.said(), 120)
    except BaseException:
        bot.kill()
        raise
    assert script.count("POST", "/v1/jobs") == 1, "the job goes on, it is not begun again"
    assert bot.stop() == 0
    assert telegram.said().count("Привет, мир.") == 1
    log = bot.log.read_text(encoding="utf-8")
    assert "Traceback" not in log
    assert TOKEN not in log


def test_a_message_that_telegram_sends_twice_is_answered_once(
    backend: str, telegram: BotApi, make_bot: MakeBot
) -> None:
    make_bot(backend)
    update = telegram.recording("voice", b"sound")
    telegram.send(update)
    telegram.wait("sendMessage")
    telegram.send(update)
    telegram.command("/start")
    until(lambda: RU("start") in telegram.said())
    assert telegram.said().count("Привет, мир.") == 1


def test_a_webhook_takes_messages_with_the_secret_only(
    backend: str, telegram: BotApi, make_bot: MakeBot
) -> None:
    port, secret = free_port(), "a-secret-of-some-length"
    make_bot(
        backend,
        telegram_webhook_url="https://example.org/telegram",
        telegram_webhook_secret=secret,
        telegram_webhook_port=port,
    )
    telegram.wait("setWebhook")
    assert telegram.webhook["url"] == "https://example.org/telegram"
    assert telegram.webhook["secret_token"] == secret
    update = telegram.recording("voice", b"sound")

    def post(body: Any, **headers: str) -> int:
        url = f"http://127.0.0.1:{port}/telegram"
        return requests.post(url, data=body, headers=headers, timeout=60).status_code

    good = {"X-Telegram-Bot-Api-Secret-Token": secret}
    assert post(json.dumps(update)) == 401
    assert post(json.dumps(update), **{"X-Telegram-Bot-Api-Secret-Token": "wrong"}) == 401
    assert post(b"{", **good) == 400
    assert post(b'{"update_id": "x"}', **good) == 400
    assert post(b"\xff" * 2_000_000, **good) == 413
    assert telegram.of("getFile") == []
    assert post(json.dumps(update), **good) == 200
    assert post(json.dumps(update), **good) == 200
    assert telegram.wait("sendMessage").fields["text"] == "Привет, мир."
    assert telegram.of("getUpdates") == []
    assert len(telegram.of("getFile")) == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"telegram_token": ""}, "@BotFather"),
        ({"telegram_token": "nonsense"}, "does not look like"),
        ({"telegram_token": "1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, "does not know"),
        ({"telegram_webhook_url": "https://example.org/"}, "TELEGRAM_WEBHOOK_SECRET"),
    ],
)
def test_a_bot_that_cannot_start_says_why(
    telegram: BotApi, tmp_path: Path, settings: dict[str, str], told: str
) -> None:
    given = {"telegram_api_url": telegram.url, "data_dir": tmp_path, **settings}
    bot = RunningBot(NO_PROGRESS, **given)
    until(lambda: bot.error)
    bot.stop()
    assert isinstance(bot.error, CannotStart)
    assert told in str(bot.error)


def test_the_process_of_such_a_bot_ends_with_one_line(tmp_path: Path) -> None:
    bot = bot_process(tmp_path, TELEGRAM_TOKEN="")
    assert bot.popen.wait(90) == 1
    [line] = [row for row in bot.log.read_text().splitlines() if "WARNING" not in row]
    assert line.startswith("The bot does not start. TELEGRAM_TOKEN is empty")


def test_the_bot_needs_nothing_of_the_other_services() -> None:
    code = (
        "import sys, stenograf.telegram.app;"
        "print(*[m for m in ('torch', 'av', 'fastapi', 'stenograf.backend', 'stenograf.llm')"
        " if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
