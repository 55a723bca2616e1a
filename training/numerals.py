"""Russian numerals as words: cardinals, ordinals, and the noun form that follows a number."""

from __future__ import annotations

_UNITS = ["ноль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять"]
_UNITS_FEMININE = {1: "одна", 2: "две"}
_UNITS_NEUTER = {1: "одно"}
_TEENS = [
    "десять",
    "одиннадцать",
    "двенадцать",
    "тринадцать",
    "четырнадцать",
    "пятнадцать",
    "шестнадцать",
    "семнадцать",
    "восемнадцать",
    "девятнадцать",
]
_TENS = [
    "двадцать",
    "тридцать",
    "сорок",
    "пятьдесят",
    "шестьдесят",
    "семьдесят",
    "восемьдесят",
    "девяносто",
]
_HUNDREDS = [
    "сто",
    "двести",
    "триста",
    "четыреста",
    "пятьсот",
    "шестьсот",
    "семьсот",
    "восемьсот",
    "девятьсот",
]
_ORDINAL_STEMS = {
    0: "нулев",
    1: "перв",
    2: "втор",
    4: "четвёрт",
    5: "пят",
    6: "шест",
    7: "седьм",
    8: "восьм",
    9: "девят",
    10: "десят",
    11: "одиннадцат",
    12: "двенадцат",
    13: "тринадцат",
    14: "четырнадцат",
    15: "пятнадцат",
    16: "шестнадцат",
    17: "семнадцат",
    18: "восемнадцат",
    19: "девятнадцат",
    20: "двадцат",
    30: "тридцат",
    40: "сороков",
    50: "пятидесят",
    60: "шестидесят",
    70: "семидесят",
    80: "восьмидесят",
    90: "девяност",
    100: "сот",
}
_STRESSED_MASCULINE = {0, 2, 6, 7, 8, 40}
_ENDINGS = {"m": "ый", "n": "ое", "f": "ая", "gen": "ого", "gen_f": "ой"}
_THIRD = {"m": "третий", "n": "третье", "f": "третья", "gen": "третьего", "gen_f": "третьей"}


def plural(number: int, one: str, few: str, many: str) -> str:
    """Return the noun form that agrees with `number` (1 рубль, 2 рубля, 5 рублей)."""
    last_two, last = number % 100, number % 10
    if 11 <= last_two <= 14:
        return many
    if last == 1:
        return one
    return few if 2 <= last <= 4 else many


def cardinal(number: int, gender: str = "m") -> str:
    """Spell 0 <= number < 1 000 000 in the nominative; gender is "m", "f" or "n"."""
    if not 0 <= number < 1_000_000:
        raise ValueError(f"cannot spell {number}")
    if number >= 1000:
        thousands, rest = divmod(number, 1000)
        noun = plural(thousands, "тысяча", "тысячи", "тысяч")
        head = noun if thousands == 1 else f"{cardinal(thousands, 'f')} {noun}"
        return f"{head} {cardinal(rest, gender)}" if rest else head
    words: list[str] = []
    if number >= 100:
        words.append(_HUNDREDS[number // 100 - 1])
        number %= 100
        if number == 0:
            return words[0]
    if number >= 20:
        words.append(_TENS[number // 10 - 2])
        number %= 10
        if number == 0:
            return " ".join(words)
    if number >= 10:
        words.append(_TEENS[number - 10])
    else:
        forms = {"f": _UNITS_FEMININE, "n": _UNITS_NEUTER}.get(gender, {})
        words.append(forms.get(number, _UNITS[number]))
    return " ".join(words)


def ordinal(number: int, form: str = "m") -> str:
    """Spell an ordinal up to 199; form is "m", "n", "f", "gen" (…ого) or "gen_f" (…ой)."""
    if not 0 <= number < 200:
        raise ValueError(f"cannot spell ordinal {number}")
    if number > 100:
        return f"сто {ordinal(number - 100, form)}"
    if number > 20 and number % 10 and number < 100:
        return f"{_TENS[number // 10 - 2]} {ordinal(number % 10, form)}"
    if number == 3:
        return _THIRD[form]
    ending = "ой" if form == "m" and number in _STRESSED_MASCULINE else _ENDINGS[form]
    return _ORDINAL_STEMS[number] + ending


def counted(number: int, one: str, few: str, many: str, gender: str = "m") -> str:
    """Spell a number with its noun: counted(2, "рубль", "рубля", "рублей") -> "два рубля"."""
    return f"{cardinal(number, gender)} {plural(number, one, few, many)}"
