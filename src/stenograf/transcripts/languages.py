"""Language codes and their lower-case English names, as Whisper and OpenAI's API spell them."""

from types import MappingProxyType

_TABLE = """
af=afrikaans am=amharic ar=arabic as=assamese az=azerbaijani ba=bashkir
be=belarusian bg=bulgarian bn=bengali bo=tibetan br=breton bs=bosnian ca=catalan
cs=czech cy=welsh da=danish de=german el=greek en=english es=spanish et=estonian
eu=basque fa=persian fi=finnish fo=faroese fr=french gl=galician gu=gujarati
ha=hausa haw=hawaiian he=hebrew hi=hindi hr=croatian ht=haitian_creole hu=hungarian
hy=armenian id=indonesian is=icelandic it=italian ja=japanese jw=javanese
ka=georgian kk=kazakh km=khmer kn=kannada ko=korean la=latin lb=luxembourgish
ln=lingala lo=lao lt=lithuanian lv=latvian mg=malagasy mi=maori mk=macedonian
ml=malayalam mn=mongolian mr=marathi ms=malay mt=maltese my=myanmar ne=nepali
nl=dutch nn=nynorsk no=norwegian oc=occitan pa=punjabi pl=polish ps=pashto
pt=portuguese ro=romanian ru=russian sa=sanskrit sd=sindhi si=sinhala sk=slovak
sl=slovenian sn=shona so=somali sq=albanian sr=serbian su=sundanese sv=swedish
sw=swahili ta=tamil te=telugu tg=tajik th=thai tk=turkmen tl=tagalog tr=turkish
tt=tatar uk=ukrainian ur=urdu uz=uzbek vi=vietnamese yi=yiddish yo=yoruba
yue=cantonese zh=chinese
"""

NAMES = MappingProxyType(dict(pair.split("=") for pair in _TABLE.split()))
"""Code to name; the one name of two words has an underscore here and a space in `name_of`."""


def name_of(code: str) -> str:
    """The English name of a language code, `ru` -> `russian`; an unknown code is its own name."""
    return NAMES.get(code, code).replace("_", " ")


def code_of(language: str) -> str | None:
    """The code of a language given by code or English name, in any case; None if unknown."""
    wanted = language.strip().lower()
    if wanted in NAMES:
        return wanted
    name = wanted.replace(" ", "_")
    return next((code for code, known in NAMES.items() if known == name), None)
