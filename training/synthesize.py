"""Builds the pools: synthetic voices, unit selection, recorded prompts, read sentences."""

from __future__ import annotations

import argparse
import random
import re
import subprocess
from functools import cache
from itertools import pairwise

import numpy as np
import soundfile

from training.espeak import Espeak
from training.festival import say_all
from training.grammar import (
    Grammar,
    evaluation_texts,
    held_out_prompts,
    read_prompts,
    training_grammar,
)
from training.numerals import cardinal, ordinal
from training.paths import FESTVOX, PROMPT_RECORDINGS
from training.pool import PoolWriter, Wave, tighten

HELD_OUT_VARIANT = "Andrea"
VARIANTS = [
    "adam",
    "Alex",
    "Alicia",
    "Andy",
    "Annie",
    "antonio",
    "aunty",
    "belinda",
    "benjamin",
    "boris",
    "caleb",
    "david",
    "Denis",
    "Diogo",
    "ed",
    "edward",
    "Gene",
    "Gene2",
    "gustave",
    "Henrique",
    "Hugo",
    "iven",
    "iven2",
    "iven3",
    "Jacky",
    "john",
    "Lee",
    "linda",
    "marcelo",
    "Marco",
    "Mario",
    "max",
    "michael",
    "Michel",
    "miguel",
    "mike",
    "Nguyen",
    "pablo",
    "paul",
    "pedro",
    "quincy",
    "rob",
    "robert",
    "sandro",
    "shelby",
    "steph",
    "steph2",
    "steph3",
    "travis",
    "victor",
    "Zac",
    "norbert",
    "anika",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "m8",
    "klatt",
    "klatt2",
    "klatt3",
    "klatt4",
]
# Ordinary voices, at an ordinary pace: most of what the model hears while it learns to hear.
PLAIN_VARIANTS = [
    "m1", "m2", "m3", "m4", "m7", "f1", "f2", "f3", "f4", "f5", "adam", "Alex", "Alicia", "Annie",
    "belinda", "boris", "david", "Denis", "edward", "linda", "max", "Marco", "robert", "steph",
]  # fmt: skip
POOLS = ["prompts", "ivr", "read", "espeak", "plain", "festival", "evaluation"]
HELD_OUT_READ = {14, 16, 60, 68, 82, 84, 87, 94} | set(range(7, 620, 16))
_RECORDED_NUMBERS = {
    **{str(n): cardinal(n) for n in [*range(21), 30, 40, 50, 60, 70, 80, 90]},
    **{f"h-{n}": ordinal(n) for n in [*range(1, 21), 30, 40, 50, 60, 70, 80, 90]},
    "1n": "одно",
    "hundred": "сто",
    "thousand": "тысяча",
    "million": "миллион",
    "minus": "минус",
    **{
        f"day-{n}": w
        for n, w in enumerate(
            ["воскресенье", "понедельник", "вторник", "среда", "четверг", "пятница", "суббота"]
        )
    },
    **{
        f"mon-{n}": w
        for n, w in enumerate(
            [
                "января",
                "февраля",
                "марта",
                "апреля",
                "мая",
                "июня",
                "июля",
                "августа",
                "сентября",
                "октября",
                "ноября",
                "декабря",
            ]
        )
    },
    "today": "сегодня",
    "tomorrow": "завтра",
    "yesterday": "вчера",
    "star": "звёздочка",
}
_RECORDED_WORDS = {
    "hours": "часов",
    "minutes": "минут",
    "seconds": "секунд",
    "queue-minute": "минута",
    "vm-message": "сообщение",
    "vm-messagex1": "сообщения",
    "vm-messages": "сообщений",
    "vm-youhave": "у вас",
    "vm-INBOX": "новых",
    "vm-Old": "старых",
    "vm-Work": "рабочих",
    "vm-Family": "семейных",
    "vm-Friends": "дружеских",
    "vm-no": "нет",
    "vm-press": "нажмите",
    "vm-first": "первое",
    "vm-last": "последнее",
    "vm-received": "получено",
    "vm-newn": "новое",
    "vm-oldn": "старое",
    "vm-for": "для",
    "vm-and": "и",
    "vm-isonphone": "занят",
    "vm-isunavail": "недоступен",
    "vm-theperson": "абонент с номером",
    "vm-password": "пароль",
    "queue-reporthold": "время ожидания",
    "queue-thereare": "ваша позиция в очереди",
    "queue-less-than": "менее",
    "vm-extension": "внутренний номер",
    "vm-saved": "сохранено",
    "queue-holdtime": "прогнозируемое время ожидания составляет",
    "vm-from-phonenumber": "сообщение от абонента с номером",
    "conf-thereare": "сейчас в конференции находится",
}


def recording(name: str) -> Wave:
    """Decode one recorded prompt to float32 at 16 kHz."""
    raw = subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-f",
            "g722",
            "-i",
            str(PROMPT_RECORDINGS / f"{name}.g722"),
            "-f",
            "s16le",
            "-ar",
            "16000",
            "-",
        ],
        check=True,
        capture_output=True,
    ).stdout
    return np.frombuffer(raw, np.int16).astype(np.float32) / 32768


@cache
def _engine() -> Espeak:
    return Espeak()


def build_espeak(
    name: str, count: int, seed: int, voices: list[str], texts: list[str], spread: float = 1.0
) -> None:
    """Synthesize `count` clips; texts come from the list, or from the grammar when it is empty.

    `spread` in [0, 1] scales how far pace and pitch stray from 175 words a minute and the middle.
    """
    draw, grammar, engine = random.Random(seed), training_grammar(seed), _engine()
    with PoolWriter(name) as pool:
        for index in range(count):
            text = texts[index] if texts else grammar.sentence()
            variant = voices[index % len(voices)]
            pcm, events = engine.say(
                text,
                f"ru+{variant}",
                175 + round(spread * draw.randint(-50, 50)),
                50 + round(spread * draw.randint(-30, 30)),
                50 + round(spread * draw.randint(-30, 30)),
                draw.choice([0, 0, 0, 1, 3]),
            )
            starts = [m.start() for m in re.finditer(r"\S+", text)]
            found = dict(reversed(events))
            if any(start not in found for start in starts):
                continue
            wave = pcm.astype(np.float32) / 32768
            times = [found[start] for start in starts] + [len(wave) / engine.sample_rate]
            words = [[a, b] for a, b in pairwise(times)]
            words = tighten(wave, engine.sample_rate, words)
            pool.add(wave, engine.sample_rate, text, variant, words)


def build_festival(name: str, texts: list[str]) -> None:
    """Synthesize the texts with the unit-selection voice."""
    with PoolWriter(name) as pool:
        for text, pcm, rate, times in say_all(texts):
            wave = pcm.astype(np.float32) / 32768
            words = tighten(wave, rate, [list(pair) for pair in times])
            pool.add(wave, rate, text, "nsh-units", words)


def build_prompts() -> None:
    """Store the recorded prompts, those of training and the held-out ones apart."""
    held_out = set(held_out_prompts())
    with PoolWriter("prompts") as train, PoolWriter("prompts_held_out") as test:
        for prompt, text in read_prompts().items():
            pool = test if prompt in held_out else train
            pool.add(recording(prompt), 16_000, text, "ivr", [])


def build_ivr(name: str, count: int, seed: int) -> None:
    """Join recorded words into sentences, the way telephone systems speak numbers and dates."""
    draw = random.Random(seed)
    words = {text: recording(f"digits/{key}") for key, text in _RECORDED_NUMBERS.items()}
    words |= {text: recording(key) for key, text in _RECORDED_WORDS.items()}
    with PoolWriter(name) as pool:
        for _ in range(count):
            parts = ivr_sentence(draw)
            wave, times, at = [], [], 0
            for part in parts:
                piece = words[part] * np.float32(draw.uniform(0.8, 1.2))
                times.append((part, at, at + len(piece)))
                gap = np.zeros(int(draw.uniform(0.0, 0.12) * 16_000), np.float32)
                wave += [piece, gap]
                at += len(piece) + len(gap)
            text = " ".join(parts)
            known = all(len(part.split()) == 1 for part in parts)
            joined = np.concatenate(wave)
            spans = [[a / 16_000, b / 16_000] for _, a, b in times] if known else []
            spans = tighten(joined, 16_000, spans) if known else []
            pool.add(joined, 16_000, text[0].upper() + text[1:] + ".", "ivr", spans)


def _recorded_number(draw: random.Random) -> list[str]:
    value = draw.choice([draw.randint(0, 20), draw.randint(0, 99), draw.randint(100, 199)])
    return cardinal(value).split()


def ivr_sentence(draw: random.Random) -> list[str]:
    """Draw recorded parts that make a sentence of a telephone system."""
    number, again = _recorded_number(draw), _recorded_number(draw)
    digits = [cardinal(draw.randint(0, 9)) for _ in range(draw.randint(2, 7))]
    month = _RECORDED_NUMBERS[f"mon-{draw.randint(0, 11)}"]
    weekday = _RECORDED_NUMBERS[f"day-{draw.randint(0, 6)}"]
    any_words = draw.sample(sorted({*_RECORDED_NUMBERS.values(), *_RECORDED_WORDS.values()}), 4)
    return draw.choice(
        [
            digits,
            number,
            [*number, *again],
            ["минус", *number],
            any_words,
            [weekday, ordinal(draw.randint(1, 20)), month],
            [weekday, *number, month],
            [draw.choice(["сегодня", "завтра", "вчера"]), weekday],
            [*number, "часов", *again, "минут"],
            [*number, "минут", *again, "секунд"],
            [
                "у вас",
                *number,
                draw.choice(["новых", "старых", "рабочих", "семейных"]),
                "сообщений",
            ],
            ["у вас", "нет", "новых", "сообщений"],
            ["нажмите", cardinal(draw.randint(0, 9))],
            ["абонент с номером", *digits, draw.choice(["занят", "недоступен"])],
            ["сообщение от абонента с номером", *digits],
            ["ваша позиция в очереди", *number],
            ["время ожидания", "менее", *number, "минут"],
            ["внутренний номер", *digits],
            ["прогнозируемое время ожидания составляет", *number, "минут"],
            [draw.choice(["первое", "последнее", "новое", "старое"]), "сообщение"],
            ["тысяча", *number],
            ["получено", "сегодня", *number, "часов", *again, "минут"],
        ]
    )


def build_read() -> None:
    """Store the festvox speaker's read sentences (open vocabulary), held-out ones apart."""
    lines = (FESTVOX / "etc" / "txt.done.data").read_text(encoding="utf-8").splitlines()
    with PoolWriter("read") as train, PoolWriter("read_held_out") as test:
        for line in lines:
            name, raw = re.findall(r'\( (\S+) "(.*)" \)', line)[0]
            text = re.sub(r"\s+", " ", raw.replace("+", "").replace(" - ", " ")).strip()
            wave, rate = soundfile.read(FESTVOX / "wav" / f"{name}.wav", dtype="float32")
            number = int(name.split("_")[1])
            (test if number in HELD_OUT_READ else train).add(wave, rate, text, "nsh", [])


def main() -> None:
    """Build the pools named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("pools", nargs="*")
    parser.add_argument("--espeak-clips", type=int, default=12_000)
    parser.add_argument("--plain-clips", type=int, default=10_000)
    parser.add_argument("--festival-clips", type=int, default=3_000)
    arguments = parser.parse_args()
    wanted = arguments.pools or POOLS
    texts = evaluation_texts()
    if "prompts" in wanted:
        build_prompts()
    if "ivr" in wanted:
        build_ivr("ivr", 1500, seed=11)
        build_ivr("eval_ivr", 100, seed=12)
    if "read" in wanted:
        build_read()
    if "espeak" in wanted:
        build_espeak("espeak", arguments.espeak_clips, 21, VARIANTS, [])
    if "plain" in wanted:
        build_espeak("plain", arguments.plain_clips, 24, PLAIN_VARIANTS, [], spread=0.6)
    if "festival" in wanted:
        grammar: Grammar = training_grammar(31)
        build_festival("festival", [grammar.sentence() for _ in range(arguments.festival_clips)])
    if "evaluation" in wanted:
        build_espeak("eval_seen", 150, 22, VARIANTS[::5], texts[:150])
        build_festival("eval_units", texts[150:250])
        build_espeak("eval_voice", len(texts[250:400]), 23, [HELD_OUT_VARIANT], texts[250:400])


if __name__ == "__main__":
    main()
