"""A Hugging Face Whisper checkpoint to CTranslate2's layout, tensor by tensor, without a framework.

The converted folder is complete: weights, vocabulary, tokenizer and the notes that decoding needs,
so it can be carried to another machine and named in LOCAL_LLM_MODEL.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stenograf.llm.whisper.alignment_heads import Heads
from stenograf.llm.whisper.checkpoint import Checkpoint
from stenograf.llm.whisper.vocabulary import Vocabulary
from stenograf.llm.whisper.weights import Weights

logger = logging.getLogger(__name__)

Storage = Literal["int8", "float16", "float32"]
"""How the matrices are kept on disk; the rest is float32, or float16 with float16."""

_CARRIED = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json",
    "special_tokens_map.json", "normalizer.json", "generation_config.json",
)  # fmt: skip
_STEP_S = 0.02


def converted(
    checkpoint: Checkpoint, vocabulary: Vocabulary, heads: Heads, storage: Storage, parent: Path
) -> Path:
    """The folder under `parent` with the converted `checkpoint`, made now unless it is there.

    Another process that converts the same is waited for. A checkpoint whose files changed is
    converted again, and its older conversion removed. Raises ModelNotFound for damaged weights.
    """
    source = str(checkpoint.folder.resolve())
    family = f"{checkpoint.folder.name}-ct2-{storage}-{_digest(source)}"
    target = parent / f"{family}-{_digest(_stamps(checkpoint.folder))}"
    if target.is_dir():
        return target
    parent.mkdir(parents=True, exist_ok=True)
    with _only_one(parent / f".{family}.lock"):
        if not target.is_dir():
            logger.info("converting %s for CTranslate2 (%s), once", source, storage)
            publish(checkpoint, vocabulary, heads, storage, target)
            for old in parent.glob(f"{family}-*"):
                if old != target:
                    shutil.rmtree(old, ignore_errors=True)
    return target


def publish(
    checkpoint: Checkpoint, vocabulary: Vocabulary, heads: Heads, storage: Storage, target: Path
) -> None:
    """Write the converted `checkpoint` as folder `target`, which appears complete or not at all."""
    work = Path(tempfile.mkdtemp(prefix=".converting-", dir=target.parent))
    try:
        _write(checkpoint, vocabulary, heads, storage, work)
        for name in _CARRIED:
            if (checkpoint.folder / name).is_file():
                shutil.copyfile(checkpoint.folder / name, work / name)
        for path in work.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        work.chmod(0o755)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _stamps(folder: Path) -> str:
    """Changes when a file that matters changes."""
    listed = [*folder.glob("*.safetensors"), *folder.glob("*.json"), *folder.glob("*.txt")]
    stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in listed]
    return repr(sorted(stamps))


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold a lock that ends with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(
    checkpoint: Checkpoint, vocabulary: Vocabulary, heads: Heads, storage: Storage, target: Path
) -> None:
    from ctranslate2.specs.whisper_spec import WhisperSpec  # loads torch where that is installed

    config = checkpoint.config
    spec = WhisperSpec(
        int(config["encoder_layers"]),
        int(config["encoder_attention_heads"]),
        int(config["decoder_layers"]),
        int(config["decoder_attention_heads"]),
    )
    _Writer(Weights(checkpoint.folder), storage).fill(spec)
    spec.decoder.scale_embeddings = (
        float(config["d_model"]) ** 0.5 if config.get("scale_embedding") else 1.0
    )
    spec.config.suppress_ids = list(vocabulary.suppress)
    spec.config.suppress_ids_begin = list(vocabulary.suppress_first)
    spec.config.lang_ids = sorted(vocabulary.languages.values())
    spec.config.alignment_heads = [list(head) for head in heads]
    spec.config.add_attribute("knows_timestamps", checkpoint.knows_timestamps)
    for length in ("max_source_positions", "max_target_positions"):
        spec.config.add_attribute(length, int(config[length]))
    spec.register_vocabulary(_tokens(vocabulary))
    spec.validate()
    spec.optimize()  # only lets equal tensors share their place: the numbers are stored already
    spec.save(str(target))
    notes = {"feature_size": int(config["num_mel_bins"]), "sampling_rate": 16_000}
    (target / "preprocessor_config.json").write_text(json.dumps(notes))


def _tokens(vocabulary: Vocabulary) -> list[str]:
    """Every token by its id, under the names by which CTranslate2 knows the special ones."""
    tokens = [f"<|unused{i}|>" for i in range(vocabulary.size)]
    for token, i in vocabulary.tokenizer.get_vocab().items():
        if i < vocabulary.size:
            tokens[i] = token
    for i in range(vocabulary.timestamp_begin, vocabulary.size):
        tokens[i] = f"<|{(i - vocabulary.timestamp_begin) * _STEP_S:.2f}|>"
    tokens[vocabulary.no_timestamps] = "<|notimestamps|>"
    tokens[vocabulary.no_speech] = "<|nospeech|>"
    tokens[vocabulary.previous] = "<|startofprev|>"
    return tokens


class _Writer:
    """Fills a CTranslate2 specification from weights under Hugging Face's names."""

    def __init__(self, weights: Weights, storage: Storage) -> None:
        self._weights = weights
        self._storage = storage
        self._root = "model." if "model.encoder.conv1.weight" in weights else ""

    def fill(self, spec: Any) -> None:
        """Every tensor of encoder and decoder."""
        for number in (1, 2):
            convolution = getattr(spec.encoder, f"conv{number}")
            convolution.weight = self._plain(f"encoder.conv{number}.weight")
            convolution.bias = self._plain(f"encoder.conv{number}.bias")
        self._matrix(spec.decoder.embeddings, [self._get("decoder.embed_tokens.weight")])
        self._tie(spec.decoder)
        for side, name in ((spec.encoder, "encoder"), (spec.decoder, "decoder")):
            side.position_encodings.encodings = self._plain(f"{name}.embed_positions.weight")
            self._norm(side.layer_norm, f"{name}.layer_norm")
            for index, layer in enumerate(side.layer):
                self._layer(layer, f"{name}.layers.{index}")

    def _tie(self, decoder: Any) -> None:
        """The output layer is the embedding, whatever a checkpoint says twice."""
        decoder.projection.weight = decoder.embeddings.weight
        decoder.projection.weight_scale = decoder.embeddings.weight_scale

    def _layer(self, spec: Any, name: str) -> None:
        fused = [f"{name}.self_attn.{part}_proj" for part in "qkv"]
        self._linear(spec.self_attention.linear[0], *fused)
        self._linear(spec.self_attention.linear[1], f"{name}.self_attn.out_proj")
        self._norm(spec.self_attention.layer_norm, f"{name}.self_attn_layer_norm")
        if hasattr(spec, "attention"):
            cross = f"{name}.encoder_attn"
            self._linear(spec.attention.linear[0], f"{cross}.q_proj")
            self._linear(spec.attention.linear[1], f"{cross}.k_proj", f"{cross}.v_proj")
            self._linear(spec.attention.linear[2], f"{cross}.out_proj")
            self._norm(spec.attention.layer_norm, f"{cross}_layer_norm")
        self._linear(spec.ffn.linear_0, f"{name}.fc1")
        self._linear(spec.ffn.linear_1, f"{name}.fc2")
        self._norm(spec.ffn.layer_norm, f"{name}.final_layer_norm")

    def _linear(self, spec: Any, *names: str) -> None:
        """One matrix from those of `names`, stacked; a bias that is not there is zero."""
        parts = [self._get(f"{name}.weight") for name in names]
        biases = [
            self._get(f"{name}.bias")
            if f"{self._root}{name}.bias" in self._weights
            else np.zeros(part.shape[0], dtype=np.float32)
            for name, part in zip(names, parts, strict=True)
        ]
        self._matrix(spec, parts)
        spec.bias = self._stored(np.concatenate(biases))

    def _matrix(self, spec: Any, parts: list[NDArray[np.float32]]) -> None:
        weight = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self._storage != "int8":
            spec.weight = self._stored(weight)
            return
        largest = np.abs(weight).max(axis=1)
        scale = np.float32(127) / np.where(largest == 0, np.float32(127), largest)
        spec.weight = np.rint(weight * scale[:, None]).astype(np.int8)
        spec.weight_scale = scale

    def _norm(self, spec: Any, name: str) -> None:
        spec.gamma, spec.beta = self._plain(f"{name}.weight"), self._plain(f"{name}.bias")

    def _plain(self, name: str) -> NDArray[Any]:
        return self._stored(self._get(name))

    def _get(self, name: str) -> NDArray[np.float32]:
        return self._weights[self._root + name]

    def _stored(self, values: NDArray[np.float32]) -> NDArray[Any]:
        return values.astype(np.float16) if self._storage == "float16" else values
