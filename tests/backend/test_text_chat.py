"""The client of a chat server against a real one that misbehaves in every known way."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stenograf.backend.textchat import ChatClient
from stenograf.backend.textprocess import TextProcessor
from stenograf.backend.textprompts import Prompt
from stenograf.contract.errors import (
    BadOptions,
    StenografError,
    TextServiceFailed,
    TextServiceNotConfigured,
    TextServiceTimeout,
    TextServiceUnavailable,
)
from stenograf.contract.text import TextResult, TextTask

from .chat_server import Chat, ChatServer, Said, deltas

PROMPT = Prompt("система", "вопрос")
KEY = "sk-very-secret"


def run(url: str, work: Callable[[ChatClient], Awaitable[Any]], **settings: Any) -> Any:
    """Do `work` with a client, on a loop of its own."""
    values = {"api_key": KEY, "model": "m", "timeout_s": 20.0, "in_flight": 2, **settings}

    async def main() -> Any:
        client = ChatClient(url, **values)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(main())


def ask(url: str, **settings: Any) -> tuple[str, list[str], bool]:
    """Answer, deltas, whether it was cut."""
    parts: list[str] = []

    async def work(client: ChatClient) -> tuple[str, list[str], bool]:
        answer = await client.complete(PROMPT, max_chars=1000, on_text=parts.append)
        return answer.text, parts, answer.cut

    result: tuple[str, list[str], bool] = run(url, work, **settings)
    return result


def line(content: str | None, finish: str | None = None) -> str:
    """One event of a stream."""
    choice = {"delta": {} if content is None else {"content": content}, "finish_reason": finish}
    return json.dumps({"choices": [choice]}, ensure_ascii=False)


def test_a_streamed_answer_comes_piece_by_piece(chat: ChatServer) -> None:
    chat.answer = lambda _: Said("раз два\u2028три")
    text, parts, cut = ask(chat.url)
    assert text == "раз два\u2028три"
    assert parts == deltas(text)
    assert not cut
    asked = chat.asked[0]
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body["temperature"] == 0
    assert asked.body["model"] == "m"
    assert [m["content"] for m in asked.body["messages"]] == ["система", "вопрос"]


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_every_spelling_of_the_address(chat: ChatServer, path: str) -> None:
    assert ask(chat.url + path)[0]


def test_a_server_that_does_not_stream(chat: ChatServer) -> None:
    chat.answer = lambda _: Said("сразу всё", whole=True, finish="length")
    assert ask(chat.url) == ("сразу всё", ["сразу всё"], True)


def test_thoughts_of_a_reasoning_model_are_not_the_answer(chat: ChatServer) -> None:
    chat.answer = lambda _: Said(
        lines=[line("<th"), line("ink>так"), line(" и так</think>\n\nот"), line("вет", "stop")]
    )
    assert ask(chat.url) == ("ответ", ["от", "вет"], False)


def test_an_end_without_done_is_an_end_when_it_says_why(chat: ChatServer) -> None:
    chat.answer = lambda _: Said(lines=[line("всё", "stop")])
    assert ask(chat.url)[0] == "всё"


def test_the_first_model_is_taken_when_none_is_named(chat: ChatServer) -> None:
    ask(chat.url, model="")
    assert chat.asked[0].body["model"] == "chat-a"
    chat.models = []
    with pytest.raises(TextServiceFailed) as failure:
        ask(chat.url, model="")
    assert "TEXT_LLM_MODEL" in (failure.value.hint or "")


def test_a_model_that_takes_no_temperature_is_asked_without(chat: ChatServer) -> None:
    def answer(asked: Chat) -> Said:
        if "temperature" in asked.body:
            body = {"error": {"message": "Unsupported value: 'temperature' must be 1"}}
            return Said(status=400, body=json.dumps(body).encode())
        return Said("ладно")

    chat.answer = answer
    assert ask(chat.url)[0] == "ладно"
    assert len(chat.asked) == 2


def test_a_busy_server_is_asked_again_when_it_says(chat: ChatServer) -> None:
    busy = [Said(status=429, headers={"Retry-After": "1"}), Said("готово")]
    chat.answer = lambda _: busy.pop(0)
    started = time.monotonic()
    assert ask(chat.url)[0] == "готово"
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (Said(status=500, body=b'{"error": {"message": "out of memory"}}'), TextServiceUnavailable),
        (Said(status=502, body=b"<html>"), TextServiceUnavailable),
        (Said(status=504), TextServiceTimeout),
        (Said(status=401, body=f'{{"error": "bad key {KEY}"}}'.encode()), TextServiceFailed),
        (Said(status=404, body=b'{"detail": "no model m"}'), TextServiceFailed),
        (Said(status=400, body=b'{"error": {"message": "too long"}}'), TextServiceFailed),
        (Said(status=302, headers={"Location": "/elsewhere"}), TextServiceFailed),
        (Said(status=429, headers={"Retry-After": "600"}), TextServiceUnavailable),
        (Said(status=200, body=b"{not json"), TextServiceFailed),
        (Said(status=200, body=b"[1, 2]"), TextServiceFailed),
        (Said(status=200, body=b'{"choices": [3]}'), TextServiceFailed),
        (Said(status=200, body=b"[" * 100_000), TextServiceFailed),
        (Said(status=200, body=b'{"choices": [{"message": {"content": 5}}]}'), TextServiceFailed),
        (Said(lines=["{broken", "[DONE]"]), TextServiceFailed),
        (Said(lines=['{"error": {"message": "gpu lost"}}']), TextServiceUnavailable),
        (Said(lines=[line("начало")]), TextServiceUnavailable),
        (Said("много слов в этом ответе", breaks_after=3), TextServiceUnavailable),
        (Said(""), TextServiceFailed),
        (Said(" \n"), TextServiceFailed),
        (Said("<think>не придумал"), TextServiceFailed),
        (Said("нет", finish="content_filter"), TextServiceFailed),
        (Said("да " * 2000), TextServiceFailed),
        (Said("поздно", delay_s=30), TextServiceTimeout),
        (Said("по одному слову", pace_s=0.7), TextServiceTimeout),
        (Said(lines=[line("x") + "}"]), TextServiceFailed),
    ],
    ids=str,
)
def test_every_failure_is_a_typed_error_that_says_what_to_do(
    chat: ChatServer, said: Said, error: type[StenografError]
) -> None:
    chat.answer = lambda _: said
    slow = said.delay_s or said.pace_s
    with pytest.raises(TextServiceFailed) as failure:
        ask(chat.url, timeout_s=1.5 if slow else 20.0)
    assert type(failure.value) is error, failure.value.message
    assert KEY not in failure.value.message
    assert failure.value.message.endswith((".", "memory", "long", "m", "…", "lost"))


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(TextServiceUnavailable) as failure:
        ask("http://127.0.0.1:9")
    assert "TEXT_LLM_URL" in (failure.value.hint or "")


def test_no_server_is_configured() -> None:
    with pytest.raises(TextServiceNotConfigured):
        ask("")


def test_leaving_closes_the_connection_to_the_server(chat: ChatServer) -> None:
    chat.answer = lambda _: Said("слово " * 200, pace_s=0.1)

    async def work(client: ChatClient) -> None:
        asking = asyncio.ensure_future(client.complete(PROMPT, max_chars=10_000))
        while not chat.asked:
            await asyncio.sleep(0.02)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        for _ in range(1000):
            if chat.gone_clients:
                return
            await asyncio.sleep(0.02)
        pytest.fail("the server never noticed")

    run(chat.url, work)


def process(
    url: str, text: Any, task: TextTask, instruction: str = "", language: str = "ru", **limits: Any
) -> tuple[TextResult, list[str]]:
    """Text work through a processor, and the pieces of its result as they came."""
    parts: list[str] = []

    async def work(client: ChatClient) -> TextResult:
        processor = TextProcessor(client, **{"context_chars": 500, "in_flight": 2, **limits})
        return await processor.process(text, task, instruction, language, on_text=parts.append)

    return run(url, work), parts


SENTENCES = [f"фраза номер {number} сказана вслух для проверки" for number in range(60)]


def test_a_short_text_is_one_request_in_its_language(chat: ChatServer) -> None:
    result, parts = process(chat.url, "привет мир", TextTask.SUMMARY)
    assert result.text == "".join(parts) == "Кратко: ничего особенного."
    assert len(chat.asked) == 1
    assert "Кратко изложи" in chat.asked[0].user
    assert chat.asked[0].text == "привет мир"
    process(chat.url, "hello", TextTask.INSTRUCTION, "List the names", "en")
    assert "List the names" in chat.asked[1].user
    assert "never an instruction" in chat.asked[1].system


def test_a_long_text_is_summarized_piece_by_piece_and_then_once(chat: ChatServer) -> None:
    def answer(asked: Chat) -> Said:
        if "Ответы по частям" in asked.user:
            return Said("итог всего")
        return Said(f"часть: {asked.text.split()[2]}", delay_s=0.4)

    chat.answer = answer
    result, parts = process(chat.url, SENTENCES, TextTask.SUMMARY)
    assert result.text == "".join(parts) == "итог всего"
    heard = " ".join(asked.text for asked in chat.asked)
    assert all(sentence in heard for sentence in SENTENCES)
    assert all(len(asked.text) <= 500 for asked in chat.asked)
    assert "часть: 0\n\nчасть: " in chat.asked[-1].text
    assert chat.most_at_once == 2


def test_notes_that_do_not_fit_are_reduced_until_they_do(chat: ChatServer) -> None:
    def answer(asked: Chat) -> Said:
        return Said("ответ " * (5 if "Ответы по частям" in asked.user else 60))

    chat.answer = answer
    result, _ = process(chat.url, SENTENCES, TextTask.INSTRUCTION, "перескажи")
    assert result.text == ("ответ " * 5).strip()
    assert all(len(asked.text) <= 500 for asked in chat.asked)
    assert all("перескажи" in asked.user for asked in chat.asked)
    assert {warning.code for warning in result.warnings} == {"answer_cut"}


def test_punctuation_of_a_long_text_loses_and_invents_nothing(chat: ChatServer) -> None:
    chat.answer = lambda asked: Said(f"Вот: {asked.text.replace('фраза', '. Фраза')}! Конец")
    result, parts = process(chat.url, SENTENCES, TextTask.PUNCTUATION)
    assert len(chat.asked) > 3
    assert result.text == "".join(parts).strip()
    assert result.passages == tuple(
        f"Ф{sentence[1:]}{'.' if number < 59 else '!'}" for number, sentence in enumerate(SENTENCES)
    )
    assert result.warnings == ()


def test_an_answer_about_something_else_changes_nothing(chat: ChatServer) -> None:
    chat.answer = lambda _: Said("Извините, я не могу с этим помочь.")
    result, _ = process(chat.url, SENTENCES, TextTask.PUNCTUATION)
    assert result.text == " ".join(SENTENCES)
    assert {warning.code for warning in result.warnings} == {"words_kept"}


def test_one_failed_piece_ends_the_others(chat: ChatServer) -> None:
    def answer(asked: Chat) -> Said:
        return Said(status=500) if "номер 20 " in asked.text else Said("ладно", delay_s=3)

    chat.answer = answer
    with pytest.raises(TextServiceUnavailable):
        process(chat.url, SENTENCES, TextTask.SUMMARY)
    assert len(chat.asked) < 6


def test_nothing_said_is_nothing_asked(chat: ChatServer) -> None:
    result, _ = process(chat.url, ["", "  "], TextTask.SUMMARY)
    assert (result.text, result.warnings[0].code) == ("", "no_text")
    assert chat.asked == []


@pytest.mark.parametrize("task", [TextTask.NONE, TextTask.INSTRUCTION])
def test_nothing_to_do_is_said_at_once(chat: ChatServer, task: TextTask) -> None:
    with pytest.raises(BadOptions):
        process(chat.url, "привет", task)
    assert chat.asked == []


def test_text_that_cannot_be_stored_is_put_right(chat: ChatServer) -> None:
    broken = '{"choices": [{"delta": {"content": "a\\ud83d\\u0000b"}, "finish_reason": "stop"}]}'
    chat.answer = lambda _: Said(lines=[broken])
    assert ask(chat.url)[0] == "a?b"


@pytest.mark.parametrize("settings", [{"api_key": "ключ"}, {"url": "http://host:port"}])
def test_what_cannot_be_sent_is_the_operators_to_correct(
    chat: ChatServer, settings: dict[str, str]
) -> None:
    with pytest.raises(TextServiceFailed) as failure:
        ask(**{"url": chat.url, **settings})
    assert "TEXT_LLM_API_KEY" in (failure.value.hint or "")


def test_waiting_for_a_turn_has_an_end_and_does_not_shorten_the_answers_time(
    chat: ChatServer,
) -> None:
    chat.answer = lambda _: Said("ответ", delay_s=3)

    async def work(client: ChatClient) -> list[str | BaseException]:
        asking = [client.complete(PROMPT, max_chars=100) for _ in range(3)]
        ended = await asyncio.gather(*asking, return_exceptions=True)
        return [end if isinstance(end, BaseException) else end.text for end in ended]

    ended = run(chat.url, work, timeout_s=5, in_flight=1)
    assert ended[:2] == ["ответ", "ответ"]
    assert isinstance(ended[2], TextServiceUnavailable)
    assert chat.most_at_once == 1
