"""Kernels of the native library against numpy in float64, for every instruction set there is."""

import ctypes.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stenograf.llm.native.build import sources_hash
from stenograf.llm.native.library import Library, NativeUnavailable, _floats

INSTRUCTION_SETS = ("base", "avx2", "avxvnni", "avx512", "amx")

Call = Callable[..., NDArray[np.float32]]


@pytest.fixture(params=INSTRUCTION_SETS)
def isa(request: pytest.FixtureRequest, native_library: Library) -> str:
    try:
        return native_library.isa(request.param)
    except NativeUnavailable:
        pytest.skip(f"this CPU has no {request.param}")


@pytest.fixture
def call(native_library: Library, isa: str) -> Call:
    def run(name: str, shape: tuple[int, ...], *arguments: Any) -> NDArray[np.float32]:
        out = np.full(shape, np.nan, dtype=np.float32)
        given = [_floats(a) if isinstance(a, np.ndarray) else a for a in (*arguments, out)]
        assert getattr(native_library.functions, name)(isa.encode(), *given) == 0
        return out

    return run


def rows(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def quantized_product(x: NDArray[np.float32], w: NDArray[np.float32]) -> NDArray[np.float64]:
    """What integers should give: weights by row in -127 … 127, inputs by row in 0 … 255."""
    step = np.abs(w).max(axis=1, keepdims=True).astype(np.float32) / np.float32(127)
    codes = np.clip(np.rint(w / np.where(step > 0, step, 1)), -127, 127)
    low, high = np.minimum(x.min(axis=1), 0), np.maximum(x.max(axis=1), 0)
    unit = ((high - low) / np.float32(255)).astype(np.float32)
    unit = np.where(unit > 0, unit, np.float32(1))
    zero = np.floor(-low / unit + np.float32(0.5))
    given = np.clip(np.floor(x / unit[:, None] + zero[:, None] + 0.5), 0, 255)
    whole = (given - zero[:, None]).astype(np.float64) @ codes.T.astype(np.float64)
    return whole * unit[:, None] * step.T


@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (1, 1, 1),
        (1, 33, 65),
        (2, 31, 64),
        (5, 64, 63),
        (8, 16, 240),
        (15, 100, 96),
        (16, 32, 128),
        (17, 48, 192),
        (31, 65, 300),
        (32, 32, 64),
        (33, 7, 1000),
        (100, 200, 768),
    ],
)
@pytest.mark.parametrize("precise", [False, True])
def test_linear(call: Call, precise: bool, m: int, n: int, k: int) -> None:
    x, w, bias = rows(1, m, k), rows(2, n, k), rows(3, n)
    x[m // 2] *= 100
    x[-1] = 0
    out = call("st_test_linear", (m, n), x, m, w, n, k, bias, int(precise))
    scale = np.abs(x).max(axis=1, keepdims=True) * np.abs(w).max(axis=1) + 1
    exact = x.astype(np.float64) @ w.T.astype(np.float64) + bias
    assert np.abs(out[-1] - bias).max() == 0
    if precise:
        assert (np.abs(out - exact) / scale).max() < 1e-4 * np.sqrt(k)
        return
    error = np.abs(out - quantized_product(x, w) - bias) / scale
    # rounding of a code at the very edge may fall either way: a few units of one product
    assert error.max() < 3 / 127
    assert np.median(error) < 1e-5 * np.sqrt(k)
    assert (np.abs(out - exact) / scale).max() < 0.02 * np.sqrt(k)


def test_linear_does_not_saturate(call: Call) -> None:
    """The largest codes of one sign: vpmaddubsw would clip sums of two such products."""
    m, n, k = 3, 40, 640
    x = np.ones((m, k), dtype=np.float32)
    w = np.ones((n, k), dtype=np.float32)
    w[1::2] = -1
    out = call("st_test_linear", (m, n), x, m, w, n, k, np.zeros(n, dtype=np.float32), 1)
    assert np.allclose(out, x @ w.T, rtol=1e-5)


@pytest.mark.parametrize(("m", "k"), [(1, 1), (1, 15), (3, 16), (2, 17), (4, 384), (2, 1279)])
def test_norm(call: Call, m: int, k: int) -> None:
    x, gain, bias = 3 * rows(1, m, k) + 5, rows(2, k), rows(3, k)
    out = call("st_test_norm", (m, k), x, m, k, gain, bias)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axis=1, keepdims=True)
    reference = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * gain + bias
    assert np.abs(out - reference).max() < 3e-5


def test_gelu(call: Call) -> None:
    from math import erf

    x = np.linspace(-12, 12, 4801).astype(np.float32)
    out = call("st_test_gelu", x.shape, x, x.size)
    reference = [0.5 * v * (1 + erf(v / 2**0.5)) for v in x.astype(np.float64)]
    assert np.allclose(out, reference, rtol=5e-7, atol=2e-6)
    far = np.array([[-1e30, -1e4, -40, 40, 1e4, 1e30]], dtype=np.float32)
    out = call("st_test_gelu", far.shape, far, far.size)
    assert np.allclose(out, np.maximum(far, 0), rtol=5e-7, atol=2e-6)


@pytest.mark.parametrize(
    ("frames", "heads", "size"),
    [(1, 1, 64), (7, 2, 16), (31, 1, 24), (32, 3, 64), (33, 2, 32), (100, 1, 80), (257, 2, 64)],
)
def test_attention(call: Call, isa: str, frames: int, heads: int, size: int) -> None:
    qkv = 2 * rows(4, frames, 3, heads, size)
    qkv[frames // 2, 0] *= 8  # one query that looks at one frame only
    out = call("st_test_attention", (frames, heads, size), qkv, frames, heads, size)
    q, k, v = qkv.astype(np.float64).transpose(1, 2, 0, 3)
    scores = q @ k.transpose(0, 2, 1) / size**0.5
    chances = np.exp(scores - scores.max(axis=-1, keepdims=True))
    chances /= chances.sum(axis=-1, keepdims=True)
    reference = (chances @ v).transpose(1, 0, 2)
    error = np.abs(out - reference)
    if isa == "amx":  # inputs and chances are bfloat16
        assert error.max() < 0.5
        assert error.mean() < 0.02
    else:
        assert error.max() < 1e-4


def test_an_unknown_instruction_set_is_refused(native_library: Library) -> None:
    with pytest.raises(NativeUnavailable):
        native_library.isa("mmx")


def test_a_library_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NativeUnavailable) as caught:
        Library(tmp_path / "none.so")
    assert "native.build" in (caught.value.hint or "")


def test_a_library_of_other_sources_is_refused(native_library: Library, tmp_path: Path) -> None:
    path = Path(native_library.functions._name)
    other = tmp_path / "other.so"
    other.write_bytes(path.read_bytes().replace(sources_hash().encode(), b"0" * 64))
    with pytest.raises(NativeUnavailable, match="other sources"):
        Library(other)


def test_a_foreign_library_is_refused() -> None:
    with pytest.raises(NativeUnavailable):
        Library(Path(ctypes.util.find_library("m") or "libm.so.6"))
