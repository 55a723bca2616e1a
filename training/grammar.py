"""Sentences of the closed domain: telephone prompts, numbers, dates, money, commands, service.

`Grammar(seed).sentence()` draws one sentence with capitals and punctuation; numbers are words.
Sentences listed as held out (see `held_out_prompts`) are never drawn.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from training.numerals import cardinal, counted, ordinal

HERE = Path(__file__).parent
MONTHS = [
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
WEEKDAYS = ["понедельник", "вторник", "среда", "четверг", "пятница", "суббота", "воскресенье"]
ON_WEEKDAY = [
    "в понедельник",
    "во вторник",
    "в среду",
    "в четверг",
    "в пятницу",
    "в субботу",
    "в воскресенье",
]
CITIES = [
    "Москва",
    "Казань",
    "Самара",
    "Омск",
    "Пермь",
    "Уфа",
    "Воронеж",
    "Саратов",
    "Тверь",
    "Рязань",
    "Томск",
    "Иркутск",
]
IN_CITY = [
    "в Москве",
    "в Казани",
    "в Самаре",
    "в Омске",
    "в Перми",
    "в Уфе",
    "в Воронеже",
    "в Саратове",
    "в Твери",
    "в Рязани",
    "в Томске",
    "в Иркутске",
]
NAMES = [
    "Анна",
    "Мария",
    "Елена",
    "Ольга",
    "Ирина",
    "Наталья",
    "Татьяна",
    "Иван",
    "Пётр",
    "Сергей",
    "Алексей",
    "Дмитрий",
    "Михаил",
    "Николай",
]
SURNAMES = [
    "Иванов",
    "Петров",
    "Сидоров",
    "Смирнов",
    "Кузнецов",
    "Попов",
    "Волков",
    "Соколов",
    "Морозов",
    "Новиков",
]
STREETS = [
    "Ленина",
    "Пушкина",
    "Гагарина",
    "Садовая",
    "Лесная",
    "Мира",
    "Победы",
    "Зелёная",
    "Школьная",
    "Новая",
]
GOODS = [
    "хлеб",
    "молоко",
    "сыр",
    "масло",
    "чай",
    "кофе",
    "сахар",
    "соль",
    "рыба",
    "мясо",
    "яйца",
    "вода",
    "сок",
    "яблоки",
    "телефон",
    "чайник",
    "лампа",
    "стол",
    "стул",
    "книга",
    "сумка",
]
THINGS = [
    "свет",
    "музыку",
    "телевизор",
    "радио",
    "кондиционер",
    "отопление",
    "чайник",
    "пылесос",
    "компьютер",
    "микрофон",
    "таймер",
    "будильник",
    "запись",
]
PLACES = [
    "на кухне",
    "в комнате",
    "в спальне",
    "в коридоре",
    "в ванной",
    "дома",
    "в офисе",
    "на даче",
]
TASKS = [
    "позвонить маме",
    "купить хлеб",
    "оплатить счёт",
    "забрать посылку",
    "отправить письмо",
    "выпить лекарство",
    "полить цветы",
    "записаться к врачу",
    "заказать такси",
    "встретить гостей",
    "сделать отчёт",
    "оплатить интернет",
]
SERVICES = [
    "доставки",
    "поддержки",
    "продаж",
    "оплаты",
    "безопасности",
    "качества",
    "кадров",
    "бронирования",
]
WEATHER = [
    "дождь",
    "снег",
    "туман",
    "ветер",
    "солнечно",
    "холодно",
    "тепло",
    "жарко",
    "облачно",
    "гроза",
]
PART_OF_DAY = ["утра", "дня", "вечера", "ночи"]


def read_prompts() -> dict[str, str]:
    """Return recording name -> its transcript for the recorded telephone prompts."""
    lines = (HERE / "prompts_ru.tsv").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines)


def held_out_prompts() -> list[str]:
    """Names of the recordings that no training step may hear, in file order."""
    return (HERE / "held_out_prompts.txt").read_text(encoding="utf-8").split()


def split_sentences(text: str) -> list[str]:
    """Cut a text after each full stop, question or exclamation mark."""
    return re.findall(r"[^.!?]+[.!?]", text.replace("\n", " "))


def percent(number: int) -> str:
    """Spell a number of percent."""
    return counted(number, "процент", "процента", "процентов")


def degrees(number: int) -> str:
    """Spell a number of degrees."""
    return counted(number, "градус", "градуса", "градусов")


class Grammar:
    """Draws sentences; equal seeds draw equal sequences.

    `fixed` adds the listed phrases and prompts to what the rules compose.
    """

    def __init__(
        self, seed: int, exclude: frozenset[str] = frozenset(), fixed: bool = True
    ) -> None:
        self.random = random.Random(seed)
        self._exclude = exclude
        phrases = (HERE / "phrases_ru.txt").read_text(encoding="utf-8").splitlines()
        held_out = set(held_out_prompts())
        forbidden = {
            s.strip()
            for n, t in read_prompts().items()
            if n in held_out
            for s in split_sentences(t)
        }
        prompts = {
            s.strip()
            for name, text in read_prompts().items()
            if name not in held_out
            for s in split_sentences(text)
        }
        self._phrases = phrases
        self._prompts = sorted(p for p in prompts - forbidden if len(p) < 110)
        self._forbidden = forbidden
        words = {w for p in [*phrases, *self._prompts] for w in re.findall(r"[а-яё]+", p.lower())}
        words |= {cardinal(n) for n in range(21)} | {ordinal(n) for n in range(1, 32)}
        words |= {*MONTHS, *WEEKDAYS, *GOODS, *WEATHER}
        words |= {w for t in [*TASKS, *PLACES, *THINGS, *SERVICES] for w in t.split()}
        for text in read_prompts().values():
            words |= set(re.findall(r"[а-яё]+", text.lower()))
        self._words = sorted(words)
        self._rules: list[tuple[float, Callable[[], str]]] = [
            (12, self.press),
            (8, self.number),
            (8, self.digits),
            (9, self.date),
            (9, self.clock),
            (9, self.money),
            (6, self.phone),
            (8, self.command),
            (10, self.service),
            (6, self.mailbox),
            (12, self.word_list),
        ]
        if fixed:
            self._rules.append((14, lambda: self.pick(self._phrases)))
            self._rules.append((12, lambda: self.pick(self._prompts)))

    def pick(self, items: list[str]) -> str:
        return self.random.choice(items)

    def sentence(self) -> str:
        """Draw a sentence that is not held out."""
        while True:
            weights = [weight for weight, _ in self._rules]
            text = self.random.choices(self._rules, weights)[0][1]()
            text = text[0].upper() + text[1:]
            if text[-1] not in ".!?":
                text += "."
            if text not in self._forbidden and text not in self._exclude:
                return text

    def small(self) -> int:
        r = self.random
        return r.choice([r.randint(0, 20), r.randint(0, 99), r.randint(0, 999)])

    def number(self) -> str:
        r = self.random
        value = r.choice(
            [
                r.randint(0, 20),
                r.randint(20, 199),
                r.randint(100, 999),
                r.randint(1000, 99_999),
                r.randint(1000, 2100),
            ]
        )
        text = cardinal(value)
        return r.choice(
            [
                text,
                text,
                f"Номер {text}",
                f"Минус {cardinal(self.small())}",
                f"Ваш код {text}",
                f"Заказ номер {text}",
                f"Договор номер {text}",
                f"Кабинет {cardinal(r.randint(1, 199))}",
                f"{cardinal(self.small())} плюс {cardinal(self.small())}",
                f"{percent(r.randint(1, 100))}",
                f"{cardinal(r.randint(1, 99))} и {cardinal(r.randint(1, 99))}",
                f"Квартира {cardinal(r.randint(1, 199))}, этаж {ordinal(r.randint(1, 20))}",
            ]
        )

    def digits(self) -> str:
        r = self.random
        words = [cardinal(r.randint(0, 9)) for _ in range(r.randint(3, 8))]
        joint = r.choice([" ", ", "])
        text = joint.join(words)
        return r.choice(
            [
                text,
                text,
                f"Код {text}",
                f"Номер карты {text}",
                f"Пароль {text}",
                f"Абонент с номером {text} {r.choice(['занят', 'недоступен'])}",
                f"Сообщение от абонента с номером {text}",
            ]
        )

    def date(self) -> str:
        r = self.random
        day, month = r.randint(1, 31), self.pick(MONTHS)
        nominative, genitive = ordinal(day, "n"), ordinal(day, "gen")
        year = f"две тысячи {ordinal(r.randint(1, 30), 'gen')} года"
        return r.choice(
            [
                f"{r.choice(['Сегодня', 'Завтра', 'Вчера было'])} {nominative} {month}",
                f"{self.pick(WEEKDAYS)}, {nominative} {month}",
                f"{self.pick(WEEKDAYS)}, {nominative} {month}, {self.hours()}",
                f"{nominative} {month} {year}",
                f"Встреча {genitive} {month}",
                f"Приём {genitive} {month} {year}",
                f"Запишите меня на {nominative} {month}",
                f"Доставка {self.pick(ON_WEEKDAY)}, {genitive} {month}",
                f"{ordinal(day)} {month}",
                f"{self.pick(WEEKDAYS)}, {ordinal(day)}, {month}",
                f"Поезд отправляется {genitive} {month} {self.at()}",
                f"Сегодня {self.pick(WEEKDAYS)}",
                f"{r.choice(['Вчера', 'Сегодня', 'Завтра'])} {self.pick(WEEKDAYS)}, "
                f"{cardinal(day)} {month}",
            ]
        )

    def hours(self) -> str:
        r = self.random
        hour = counted(r.randint(0, 23), "час", "часа", "часов")
        minute = r.choice([r.randint(1, 59), 15, 30, 45, 10, 20])
        return r.choice([hour, f"{hour} {counted(minute, 'минута', 'минуты', 'минут', 'f')}"])

    def at(self) -> str:
        r = self.random
        hour = counted(r.randint(2, 23), "час", "часа", "часов")
        part = counted(r.randint(2, 12), "час", "часа", "часов")
        return r.choice(
            [
                f"в {hour}",
                f"в {part} {self.pick(PART_OF_DAY)}",
                f"в {cardinal(r.randint(7, 23))} {r.choice(['ноль ноль', 'тридцать'])}",
            ]
        )

    def clock(self) -> str:
        r = self.random
        place = self.pick(IN_CITY)
        minutes = counted(r.randint(1, 59), "минута", "минуты", "минут", "f")
        return r.choice(
            [
                self.hours(),
                f"Сейчас {self.hours()}",
                f"Точное время {self.hours()}",
                f"Московское время {self.hours()}",
                f"{place[0].upper()}{place[1:]} {self.hours()}",
                f"Время ожидания {minutes}",
                f"Прогнозируемое время ожидания составляет {minutes}",
                f"Разбуди меня {self.at()}",
                f"Поставь будильник на {self.hours()}",
                f"Поставь таймер на {minutes}",
                f"Встреча {self.at()}",
                f"Приезжайте {self.at()}",
                f"Магазин открыт, сейчас {self.hours()}",
                f"Через {minutes}",
                f"Совещание {self.pick(ON_WEEKDAY)} {self.at()}",
                f"{counted(r.randint(1, 59), 'секунда', 'секунды', 'секунд', 'f')}",
            ]
        )

    def roubles(self) -> str:
        r = self.random
        value = r.choice(
            [
                r.randint(1, 99),
                r.randint(1, 60) * 10,
                r.randint(1, 99) * 100,
                r.randint(100, 999),
                r.randint(1000, 99_999),
            ]
        )
        return counted(value, "рубль", "рубля", "рублей")

    def money(self) -> str:
        r = self.random
        kopecks = counted(r.randint(1, 99), "копейка", "копейки", "копеек", "f")
        dollars = counted(self.small(), "доллар", "доллара", "долларов")
        good = self.pick(GOODS)
        return r.choice(
            [
                self.roubles(),
                f"{self.roubles()} {kopecks}",
                f"Ваш баланс {self.roubles()}",
                f"Ваш баланс {self.roubles()} {kopecks}",
                f"К оплате {self.roubles()}",
                f"Стоимость заказа {self.roubles()}",
                f"Доставка стоит {self.roubles()}",
                f"{good} стоит {self.roubles()}",
                f"Переведи {self.roubles()}",
                dollars,
                f"Сумма {self.roubles()} {kopecks}",
                f"С вас {self.roubles()}",
                f"На счёте {self.roubles()}",
                f"Скидка {percent(r.randint(1, 50))}",
            ]
        )

    def phone(self) -> str:
        r = self.random
        pair = [cardinal(r.randint(10, 99)) for _ in range(2)]
        code = cardinal(r.choice([495, 499, 800, 812, 903, 905, 910, 916, 925, 926, 985, 999]))
        body = f"{cardinal(r.randint(100, 999))}, {pair[0]}, {pair[1]}"
        full = f"{r.choice(['восемь', 'плюс семь'])}, {code}, {body}"
        return r.choice(
            [
                full,
                f"Мой телефон {full}",
                f"Номер телефона {full}",
                f"Позвоните по номеру {full}",
                f"Позвони по номеру {body}",
                body,
                f"Запишите номер, {full}",
            ]
        )

    def command(self) -> str:
        r = self.random
        thing, place, task = self.pick(THINGS), self.pick(PLACES), self.pick(TASKS)
        two = r.sample(GOODS, 2)
        return r.choice(
            [
                f"{r.choice(['Включи', 'Выключи'])} {thing}",
                f"{r.choice(['Включи', 'Выключи'])} {thing} {place}",
                f"Напомни {task}",
                f"Напомни {self.pick(ON_WEEKDAY)} {task}",
                f"Напомни завтра {self.at()} {task}",
                f"Нужно {task}",
                f"Не забудь {task}",
                f"Добавь в список {two[0]} и {two[1]}",
                f"Мне нужны {two[0]}, {two[1]} и {self.pick(GOODS)}",
                f"Громкость {percent(r.randint(1, 100))}",
                f"{r.choice(['Завтра', 'Сегодня', 'Вчера'])} {self.pick(IN_CITY)} "
                f"{self.pick(WEATHER)}",
                f"Температура {r.choice(['плюс', 'минус'])} {degrees(r.randint(1, 35))}",
                f"Температура {place} {degrees(r.randint(15, 30))}",
                f"Позвони {r.choice(['маме', 'папе', 'врачу', 'в банк', 'домой', 'на работу'])}",
                f"Какая погода {self.pick(IN_CITY)}?",
                f"Перейти на страницу {cardinal(r.randint(1, 199))}",
                f"Открой файл номер {cardinal(r.randint(1, 30))}",
            ]
        )

    def service(self) -> str:
        r = self.random
        name, surname = self.pick(NAMES), self.pick(SURNAMES)
        order = cardinal(r.randint(100, 9999))
        house = f"дом {cardinal(r.randint(1, 150))}, квартира {cardinal(r.randint(1, 150))}"
        return r.choice(
            [
                f"Меня зовут {name}",
                f"Здравствуйте, меня зовут {name}",
                f"Меня зовут {name}, чем могу помочь?",
                f"Моя фамилия {surname}",
                f"Фамилия {surname}, имя {name}",
                f"Это служба {self.pick(SERVICES)}",
                f"Соедините меня со службой {self.pick(SERVICES)}",
                f"Ваш заказ номер {order} готов",
                f"Заказ {order} будет доставлен {self.pick(ON_WEEKDAY)} {self.at()}",
                f"Номер моего заказа {order}",
                f"Мой адрес, улица {self.pick(STREETS)}, {house}",
                f"Улица {self.pick(STREETS)}, {house}",
                f"Город {self.pick(CITIES)}, улица {self.pick(STREETS)}",
                f"Я хочу вернуть {self.pick(GOODS)}",
                f"Я заказывал {self.pick(GOODS)}",
                f"Я хочу заказать {self.pick(GOODS)} и {self.pick(GOODS)}",
                f"У вас {counted(self.small(), 'заказ', 'заказа', 'заказов')}",
                f"Курьер приедет {self.pick(ON_WEEKDAY)} {self.at()}",
                f"Приезжайте {self.pick(ON_WEEKDAY)} {self.at()}",
                f"Билет {self.pick(CITIES)} {self.pick(CITIES)} на "
                f"{ordinal(r.randint(1, 31), 'n')} {self.pick(MONTHS)}",
                f"Врач принимает {self.pick(ON_WEEKDAY)} {self.at()}",
                f"{name} {surname}",
            ]
        )

    def press(self) -> str:
        r = self.random
        digit = cardinal(r.randint(0, 9))
        purpose = r.choice(
            [
                "прослушивания сообщений",
                "записи сообщения",
                "удаления сообщения",
                "ввода номера",
                "связи с оператором",
                "смены пароля",
                "выхода из меню",
                "возврата в главное меню",
                "отправки сообщения",
                "повтора сообщения",
                "ввода пароля",
                "отмены записи",
                "сохранения сообщения",
                "настроек голосовой почты",
                "следующего сообщения",
                "предыдущего сообщения",
                "получения помощи",
                "выхода из конференции",
                "включения микрофона",
                "отключения микрофона",
                "восстановления записи",
                "перезаписи приветствия",
                "пересылки сообщения",
                "отправки ответа",
            ]
        )
        goal = r.choice(
            [
                "прослушать сообщение",
                "записать сообщение",
                "удалить сообщение",
                "вернуться в меню",
                "ввести номер",
                "принять звонок",
                "позвонить абоненту",
                "сохранить запись",
                "отправить сообщение",
                "оставить сообщение",
                "выйти из конференции",
                "продолжить",
                "включить микрофон",
                "выключить микрофон",
                "переслать сообщение",
                "ввести пароль",
                "пометить сообщение",
                "добавить получателя",
                "изменить приветствие",
            ]
        )
        key = r.choice([digit, digit, digit, "решётку", "звёздочку"])
        noun = r.choice(
            [
                "номер",
                "пароль",
                "код",
                "номер абонента",
                "номер карты",
                "номер оператора",
                "новый пароль",
                "номер телефона",
                "номер канала",
            ]
        )
        return r.choice(
            [
                f"Нажмите {key} для {purpose}",
                f"Нажмите {key} для {purpose}",
                f"Нажмите {key}, чтобы {goal}",
                f"Для {purpose} нажмите {key}",
                f"Чтобы {goal}, нажмите {key}",
                f"Введите {noun} и нажмите решётку",
                f"Введите {noun}",
                f"{noun} неверен, попробуйте ещё раз",
                f"Или {key} для {purpose}",
                f"Наберите {noun} и нажмите {key}",
                f"После сигнала нажмите {key} или повесьте трубку",
                f"После сигнала назовите {noun}",
                f"Проверьте {noun} и повторите попытку",
            ]
        )

    def mailbox(self) -> str:
        r = self.random
        count = self.small()
        kind = r.choice(["новых", "старых", "важных", "рабочих", "семейных", "дружеских"])
        return r.choice(
            [
                f"У вас {cardinal(count)} {kind} сообщений",
                f"У вас нет {kind} сообщений",
                f"У вас {counted(count, 'сообщение', 'сообщения', 'сообщений', 'n')}",
                f"Ваша позиция в очереди {cardinal(count)}",
                f"Сейчас в конференции находится {cardinal(count)} участников",
                f"Первое сообщение, получено {self.pick(WEEKDAYS)}, {self.hours()}",
                f"{r.choice(['Первое', 'Последнее', 'Новое', 'Старое'])} сообщение",
                f"Сообщение получено {r.choice(['сегодня', 'вчера'])} в {self.hours()}",
                f"Сообщение сохранено в директории {cardinal(r.randint(1, 9))}",
            ]
        )

    def word_list(self) -> str:
        """Draw unrelated words of the domain, so that the decoder has to listen, not to guess."""
        count = self.random.randint(1, 6)
        joint = self.random.choice([" ", " ", ", "])
        return joint.join(self.pick(self._words) for _ in range(count))


def evaluation_texts(count: int = 400) -> list[str]:
    """Return sentences composed by rule that no training text may equal."""
    grammar = Grammar(seed=99_001, fixed=False)
    return list(dict.fromkeys(grammar.sentence() for _ in range(count)))


def training_grammar(seed: int) -> Grammar:
    """Return a grammar that never draws an evaluation text."""
    return Grammar(seed, exclude=frozenset(evaluation_texts()))
