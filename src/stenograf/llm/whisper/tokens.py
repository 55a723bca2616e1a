"""A checkpoint's tokenizer: tokenizer.json, or the vocab.json and merges.txt of older ones."""

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from stenograf.contract.errors import ModelNotFound


class BytePairTokenizer:
    """A byte-level BPE tokenizer as a `whisper.vocabulary.Tokenizer`."""

    def __init__(self, folder: Path) -> None:
        """Raises ModelNotFound for files that cannot be read."""
        try:
            whole = folder / "tokenizer.json"
            self._backend = Tokenizer.from_file(str(whole)) if whole.is_file() else _pieced(folder)
            _add(self._backend, _added(folder))
        except Exception as exc:  # the library raises bare Exception for damaged files
            raise ModelNotFound(
                f"The tokenizer in {folder} cannot be read: {exc}",
                hint="Copy the tokenizer files of the model it was fine-tuned from into it.",
            ) from exc
        self._vocab: dict[str, int] = self._backend.get_vocab(with_added_tokens=True)

    def get_vocab(self) -> dict[str, int]:
        """See `Tokenizer.get_vocab`."""
        return self._vocab

    def encode(self, text: str) -> list[int]:
        """See `Tokenizer.encode`."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """See `Tokenizer.decode`."""
        return str(self._backend.decode(list(ids), skip_special_tokens=False))


def _pieced(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer(
        models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _added(folder: Path) -> dict[int, str]:
    """Special tokens that stand beside the vocabulary, by id."""
    found: dict[int, str] = {}
    listed, configured = folder / "added_tokens.json", folder / "tokenizer_config.json"
    if configured.is_file():
        body = json.loads(configured.read_text(encoding="utf-8"))
        for token, entry in (body.get("added_tokens_decoder") or {}).items():
            found[int(token)] = str(entry["content"])
    if listed.is_file():
        body = json.loads(listed.read_text(encoding="utf-8"))
        found |= {int(token): str(text) for text, token in body.items()}
    return found


def _add(tokenizer: Tokenizer, tokens: dict[int, str]) -> None:
    for token, text in sorted(tokens.items()):
        tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False)])
        if tokenizer.token_to_id(text) != token:
            raise ValueError(f"{text} is token {tokenizer.token_to_id(text)}, not {token}")
