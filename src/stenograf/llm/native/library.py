"""The C library through ctypes: every argument is checked here, because there it is believed."""

import ctypes
from collections.abc import Iterator, Sequence
from ctypes import POINTER, byref, c_char_p, c_float, c_int32, c_size_t, c_void_p
from dataclasses import astuple, dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stenograf.contract.errors import OutOfResources
from stenograf.llm.engines.base import EngineUnfit
from stenograf.llm.native.build import LIBRARY, sources_hash

_MAX_HEAD_SIZE = 128
_MAX_SIZE, _MAX_VOCABULARY = 10_000, 1 << 20
_MAX_THREADS = 256
_MAX_ROWS = 4096
_NAME_BYTES = 128
_OK, _NO_MEMORY = 0, -1

Floats = NDArray[np.float32]


class NativeUnavailable(EngineUnfit):
    """The compiled library is not there, or this CPU cannot run it."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a Whisper model; `max_frames` are those after the convolutions.

    `precise` takes 16 bits instead of 8, at four times the cost of a product.
    """

    mels: int
    width: int
    heads: int
    encoder_layers: int
    encoder_hidden: int
    decoder_layers: int
    decoder_hidden: int
    vocabulary: int
    max_frames: int
    max_tokens: int
    precise: bool = False

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    def check(self) -> None:
        """Raise ValueError for sizes that the library was not made for."""
        for each in fields(self):
            most = _MAX_VOCABULARY if each.name == "vocabulary" else _MAX_SIZE
            least = 0 if each.name == "precise" else 1
            if not least <= getattr(self, each.name) <= most:
                raise ValueError(f"{each.name} is {getattr(self, each.name)}")
        if self.width % self.heads or self.head_size > _MAX_HEAD_SIZE:
            raise ValueError(f"{self.heads} heads of a width of {self.width}")


class _CShape(ctypes.Structure):
    _fields_ = tuple((each.name, c_int32) for each in fields(Shape))


class Library:
    """The loaded shared library; raises NativeUnavailable with the reason where it cannot be."""

    def __init__(self, path: Path = LIBRARY) -> None:
        try:
            self.functions = ctypes.CDLL(str(path))
            _declare(self.functions)
        except (OSError, AttributeError) as exc:
            raise NativeUnavailable(
                f"The native engine is not built: {exc}",
                hint="Install a C compiler and run `python -m stenograf.llm.native.build`.",
            ) from exc
        if self.functions.st_sources().decode() != sources_hash():
            raise NativeUnavailable(
                f"{path} was built from other sources.",
                hint="Run `python -m stenograf.llm.native.build` again.",
            )

    def isa(self, wanted: str = "") -> str:
        """The instruction set in use: `wanted`, or the best; raises NativeUnavailable."""
        found: bytes | None = self.functions.st_isa(wanted.encode() or None)
        if found is None:
            raise NativeUnavailable(f"This CPU or this build has no {wanted}.")
        return found.decode()


class Model:
    """A Whisper model with int8 weights. Called from one thread at a time.

    Fill it with `set`, then `seal` it. Raises OutOfResources where memory runs out, ValueError for
    arguments of the wrong shape.
    """

    def __init__(self, library: Library, shape: Shape, threads: int, isa: str = "") -> None:
        shape.check()
        if not 1 <= threads <= _MAX_THREADS:
            raise ValueError(f"{threads} threads")
        self.isa = library.isa(isa)
        self.shape = shape
        self._sealed = False
        self._library = library.functions
        self._handle = c_void_p(
            self._library.st_model_new(byref(_CShape(*astuple(shape))), threads, self.isa.encode())
        )
        if not self._handle:
            raise OutOfResources("There is no memory for the model's weights.")

    def wanted(self) -> Iterator[tuple[str, int]]:
        """Names and rows of the tensors it needs, as transformers calls them without `model.`."""
        self._open(sealed=False)
        rows = c_int32()
        for number in count():
            name: bytes | None = self._library.st_model_wants(self._handle, number, byref(rows))
            if name is None:
                return
            yield name.decode(), rows.value

    def set(self, name: str, tensor: Floats, first: int = 0) -> None:
        """Hand over rows of the tensor `name`, (rows, columns), from row `first` on, in order."""
        self._open(sealed=False)
        if tensor.ndim != 2:
            raise ValueError(f"{name} has {tensor.ndim} dimensions")
        rows = np.ascontiguousarray(tensor, dtype=np.float32)
        if not np.isfinite(rows).all():
            raise ValueError(f"{name} holds numbers that are not finite")
        given, columns = rows.shape
        code = self._library.st_model_set(
            self._handle, name.encode(), first, given, columns, _floats(rows)
        )
        if code != _OK:
            raise ValueError(f"{name} of {rows.shape} from row {first} does not fit")

    def seal(self) -> None:
        """All is there: raises ValueError with the name of a tensor that is not."""
        self._open(sealed=False)
        missing = ctypes.create_string_buffer(_NAME_BYTES)
        if self._library.st_model_seal(self._handle, missing, _NAME_BYTES) != _OK:
            raise ValueError(f"{missing.value.decode()} is missing or incomplete")
        self._sealed = True

    @property
    def size_bytes(self) -> int:
        """Memory of the weights."""
        self._open(sealed=self._sealed)
        return int(self._library.st_model_bytes(self._handle))

    def hear(self, features: Floats) -> "Window":
        """Encode one window's log-mel features, (mels, 2 * frames)."""
        body, frames = self._features(features)
        handle = self._library.st_hear(self._handle, _floats(body), frames)
        if not handle:
            raise OutOfResources("There is no memory for one more window.")
        return Window(self, handle, frames)

    def encode(self, features: Floats) -> Floats:
        """Encoder states, (frames, width), of one window's features, (mels, 2 * frames)."""
        body, frames = self._features(features)
        states = np.empty((frames, self.shape.width), dtype=np.float32)
        _check(self._library.st_encode(self._handle, _floats(body), frames, _floats(states)))
        return states

    def decode(self, windows: Sequence["Window"]) -> "Rows":
        """Begin to decode, row i over windows[i]."""
        self._open(sealed=True)
        if not 1 <= len(windows) <= _MAX_ROWS or any(each.model is not self for each in windows):
            raise ValueError("no windows, too many, or windows of another model")
        return Rows(self, windows)

    def close(self) -> None:
        """Free the weights and end the threads. Idempotent; windows must not be used after it."""
        handle, self._handle = self._handle, c_void_p()
        if handle:
            self._library.st_model_free(handle)

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self.close()

    def _open(self, *, sealed: bool) -> None:
        if not self._handle:
            raise ValueError("the model is closed")
        if self._sealed is not sealed:
            raise ValueError("the model is sealed" if self._sealed else "the model is not sealed")

    def _features(self, features: Floats) -> tuple[Floats, int]:
        self._open(sealed=True)
        frames = features.shape[-1] // 2
        if features.shape != (self.shape.mels, 2 * frames):
            raise ValueError(f"features of {features.shape} for {self.shape.mels} bands")
        if not 1 <= frames <= self.shape.max_frames:
            raise ValueError(f"{frames} frames of at most {self.shape.max_frames}")
        return np.ascontiguousarray(features, dtype=np.float32), frames


class Window:
    """What the decoder attends to in one window; freed with the last reference."""

    def __init__(self, model: Model, handle: int, frames: int) -> None:
        self.model = model
        self.frames = frames
        self.handle = c_void_p(handle)

    @property
    def size_bytes(self) -> int:
        """Memory it takes."""
        return int(self.model._library.st_sound_bytes(self.handle))

    def __del__(self) -> None:
        self.model._library.st_sound_free(self.model._handle, self.handle)


class Rows:
    """Rows that are decoded side by side; keeps its model and windows alive."""

    def __init__(self, model: Model, windows: Sequence[Window]) -> None:
        self._model = model
        self._windows = list(windows)
        self._position = 0
        self._library = model._library
        handles = (c_void_p * len(windows))(*(window.handle.value for window in windows))
        self._handle = c_void_p(
            self._library.st_decode_new(model._handle, handles, len(self._windows))
        )
        if not self._handle:
            raise OutOfResources("There is no memory to decode so many rows.")

    def feed(self, tokens: NDArray[np.integer[Any]]) -> Floats:
        """Feed tokens, (rows, n), behind all before; logits after the last, (rows, vocabulary)."""
        body = self._tokens(tokens)
        logits = np.empty((len(self._windows), self._model.shape.vocabulary), dtype=np.float32)
        self._feed(body, logits)
        return logits

    def look(self, tokens: NDArray[np.integer[Any]], heads: Sequence[tuple[int, int]]) -> Floats:
        """Feed tokens, (rows, n); scores of cross-attention before its softmax.

        `heads` are (layer, head) pairs; (heads, rows, n, frames of the longest window).
        """
        body = self._tokens(tokens)
        shape = self._model.shape
        if any(not (0 <= x < shape.decoder_layers and 0 <= y < shape.heads) for x, y in heads):
            raise ValueError(f"heads {heads}")
        frames = max(window.frames for window in self._windows)
        looked = np.zeros((len(heads), *body.shape, frames), dtype=np.float32)
        self._feed(body, None, np.array(heads, dtype=np.int32).reshape(-1, 2), looked)
        return looked

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows in this order; one may come twice."""
        self._open()
        if not rows or any(not 0 <= row < len(self._windows) for row in rows):
            raise ValueError(f"rows {list(rows)} of {len(self._windows)}")
        if len(rows) > _MAX_ROWS:
            raise ValueError(f"{len(rows)} rows")
        parents = (c_int32 * len(rows))(*rows)
        _check(self._library.st_decode_select(self._handle, parents, len(rows)))
        self._windows = [self._windows[row] for row in rows]

    def _open(self) -> None:
        if not self._model._handle:
            raise ValueError("the model is closed")

    def _tokens(self, tokens: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        self._open()
        if tokens.ndim != 2 or tokens.shape[0] != len(self._windows) or tokens.shape[1] < 1:
            raise ValueError(f"tokens of {tokens.shape} for {len(self._windows)} rows")
        if tokens.min() < 0 or tokens.max() >= self._model.shape.vocabulary:
            raise ValueError("a token that is not in the vocabulary")
        if self._position + tokens.shape[1] > self._model.shape.max_tokens:
            raise ValueError(f"more than {self._model.shape.max_tokens} tokens")
        return np.ascontiguousarray(tokens, dtype=np.int32)

    def _feed(
        self,
        tokens: NDArray[np.int32],
        logits: Floats | None,
        heads: NDArray[np.int32] | None = None,
        looked: Floats | None = None,
    ) -> None:
        layers, numbers = (None, None) if heads is None else np.ascontiguousarray(heads.T)
        _check(
            self._library.st_decode_feed(
                self._handle,
                _ints(tokens),
                tokens.shape[1],
                _floats(logits),
                _ints(layers),
                _ints(numbers),
                0 if heads is None else len(heads),
                _floats(looked),
            )
        )
        self._position += tokens.shape[1]

    def __del__(self) -> None:
        # what was allocated is counted with the model's threads, so it must still be there
        if self._model._handle and getattr(self, "_handle", None):
            self._library.st_decode_free(self._handle)


def _check(code: int) -> None:
    if code == _NO_MEMORY:
        raise OutOfResources("There is no memory to go on decoding.")
    if code != _OK:
        raise ValueError(f"the library refused its arguments ({code})")


def _floats(array: Floats | None) -> Any:
    return None if array is None else array.ctypes.data_as(POINTER(c_float))


def _ints(array: NDArray[np.int32] | None) -> Any:
    return None if array is None else array.ctypes.data_as(POINTER(c_int32))


def _declare(library: ctypes.CDLL) -> None:
    floats, ints = POINTER(c_float), POINTER(c_int32)
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "st_sources": (c_char_p, []),
        "st_isa": (c_char_p, [c_char_p]),
        "st_model_new": (c_void_p, [POINTER(_CShape), c_int32, c_char_p]),
        "st_model_free": (None, [c_void_p]),
        "st_model_wants": (c_char_p, [c_void_p, c_int32, ints]),
        "st_model_set": (c_int32, [c_void_p, c_char_p, c_int32, c_int32, c_int32, floats]),
        "st_model_seal": (c_int32, [c_void_p, c_char_p, c_size_t]),
        "st_model_bytes": (c_size_t, [c_void_p]),
        "st_hear": (c_void_p, [c_void_p, floats, c_int32]),
        "st_encode": (c_int32, [c_void_p, floats, c_int32, floats]),
        "st_sound_free": (None, [c_void_p, c_void_p]),
        "st_sound_bytes": (c_size_t, [c_void_p]),
        "st_decode_new": (c_void_p, [c_void_p, POINTER(c_void_p), c_int32]),
        "st_decode_free": (None, [c_void_p]),
        "st_decode_feed": (
            c_int32,
            [c_void_p, ints, c_int32, floats, ints, ints, c_int32, floats],
        ),
        "st_decode_select": (c_int32, [c_void_p, ints, c_int32]),
        "st_test_linear": (
            c_int32,
            [c_char_p, floats, c_int32, floats, c_int32, c_int32, floats, c_int32, floats],
        ),
        "st_test_norm": (c_int32, [c_char_p, floats, c_int32, c_int32, floats, floats, floats]),
        "st_test_attention": (c_int32, [c_char_p, floats, c_int32, c_int32, c_int32, floats]),
        "st_test_gelu": (c_int32, [c_char_p, floats, c_int32, floats]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
