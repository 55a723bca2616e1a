"""Native models with random weights of any shape; run as a program it exercises all of the library.

`python -m tests.llm.native_models LIBRARY` is what runs under the sanitizers: numpy, no PyTorch.
"""

import sys
from pathlib import Path

import numpy as np

from stenograf.llm.native.library import Floats, Library, Model, NativeUnavailable, Shape

ODD = Shape(
    mels=7,
    width=60,
    heads=3,
    encoder_layers=2,
    encoder_hidden=100,
    decoder_layers=2,
    decoder_hidden=90,
    vocabulary=301,
    max_frames=77,
    max_tokens=70,
)


def random_model(
    library: Library, shape: Shape, isa: str = "", threads: int = 1, seed: int = 0
) -> Model:
    model = Model(library, shape, threads, isa)
    rng = np.random.default_rng(seed)
    for name, rows in model.wanted():
        columns = columns_of(name, shape)
        tensor = rng.normal(0, columns**-0.5, (rows, columns)).astype(np.float32)
        if name.endswith("norm.weight"):
            tensor += 1
        model.set(name, tensor)
    model.seal()
    return model


def columns_of(name: str, shape: Shape) -> int:
    half = "encoder" if name.startswith("encoder.") else "decoder"
    hidden = getattr(shape, f"{half}_hidden")
    if name.endswith("conv1.weight"):
        return 3 * shape.mels
    if name.endswith("conv2.weight"):
        return 3 * shape.width
    if name.endswith(("fc2.weight", "fc1.bias")):
        return int(hidden)
    return shape.width


def features(shape: Shape, frames: int, seed: int = 1) -> Floats:
    sound = np.random.default_rng(seed).normal(0, 0.5, (shape.mels, 2 * frames))
    return sound.astype(np.float32)


def exercise(library: Library, isa: str, shape: Shape, threads: int) -> None:
    """Everything once, with sizes that leave remainders everywhere."""
    model = random_model(library, shape, isa, threads)
    windows = [model.hear(features(shape, frames, frames)) for frames in (77, 1, 32, 33, 64)]
    assert np.isfinite(model.encode(features(shape, 50))).all()
    rows = model.decode(windows)
    assert np.isfinite(rows.feed(np.arange(15).reshape(5, 3))).all()
    rows.select([4, 4, 0, 1, 2, 3, 3] * 10)
    assert np.isfinite(rows.feed(np.arange(70)[:, None])).all()
    rows.select([5, 0])
    for token in range(66):
        assert np.isfinite(rows.feed(np.array([[token], [300]]))).all()
    rows = model.decode(windows[:2])
    looked = rows.look(np.arange(140).reshape(2, 70), [(0, 0), (1, 2), (0, 0)])
    assert looked.shape == (3, 2, 70, 77)
    assert np.isfinite(looked).all()
    model.close()


def main() -> None:
    library = Library(Path(sys.argv[1]))
    for isa in ("base", "avx2", "avxvnni", "avx512", "amx"):
        try:
            library.isa(isa)
        except NativeUnavailable:
            continue
        for precise in (False, True):
            exercise(library, isa, Shape(**{**vars(ODD), "precise": precise}), 3)
        print(isa, "done")


if __name__ == "__main__":
    main()
