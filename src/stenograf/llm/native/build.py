"""Compiles the C sources into one shared library: `python -m stenograf.llm.native.build`.

No dependency but a C compiler; the instruction sets that it does not know are left out.
"""

import argparse
import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SOURCES = Path(__file__).parent / "csrc"
LIBRARY = Path(__file__).parent / "_stenograf.so"

_FLAGS = ["-std=gnu11", "-O3", "-fPIC", "-fvisibility=hidden", "-pthread", "-Wall", "-Wextra"]
_FLAGS += ["-Wno-psabi", "-fno-math-errno", "-fno-trapping-math"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1"]

_AVX2 = ["-mavx2", "-mfma", "-mf16c"]
_AVX512 = [*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni"]
_AVX512 += ["-mprefer-vector-width=512"]
_VARIANTS = {
    # instruction set: its flags, its sources; base is what every x86-64 has
    "base": ([], ["ops.c", "attention.c", "dot_base.c"]),
    "avx2": (_AVX2, ["ops.c", "attention.c", "dot_256.c"]),
    "avxvnni": ([*_AVX2, "-mavxvnni"], ["dot_256.c"]),
    "avx512": (_AVX512, ["ops.c", "attention.c", "dot_avx512.c"]),
    "amx": (
        [*_AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-int8", "-mamx-bf16"],
        ["attention_amx.c", "dot_amx.c"],
    ),
}
_NEEDS = {"avxvnni": "avx2", "amx": "avx512"}
_COMMON = ["cpu.c", "pool.c", "linear.c", "model.c", "sound.c", "encoder.c", "decoder.c"]
_COMMON += ["decoder_attention.c", "testing.c"]


def sources_hash() -> str:
    """What the sources are now; a library tells what they were when it was built."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def build(target: Path = LIBRARY, compiler: str = "", extra: Sequence[str] = ()) -> Path:
    """Compile into `target` with `compiler` (default: $CC, else cc) and `extra` flags.

    Raises OSError without a compiler, subprocess.CalledProcessError where it fails.
    """
    cc = shlex.split(compiler or os.environ.get("CC", "") or "cc")
    known = [isa for isa, (flags, _) in _VARIANTS.items() if _accepts(cc, flags)]
    known = [isa for isa in known if _NEEDS.get(isa, "base") in known]
    with tempfile.TemporaryDirectory(prefix="stenograf-native-") as folder:
        objects: list[Path] = []
        for isa in known:
            flags, sources = _VARIANTS[isa]
            for source in sources:
                objects.append(Path(folder) / f"{isa}-{source}.o")
                _compile(cc, source, objects[-1], [*flags, f"-DISA={isa}", *extra])
        with_all = [f"-DWITH_{isa}" for isa in known]
        with_all.append(f'-DST_SOURCES="{sources_hash()}"')
        for source in _COMMON:
            objects.append(Path(folder) / f"{source}.o")
            _compile(cc, source, objects[-1], [*with_all, *extra])
        built = Path(folder) / target.name
        link = [*cc, "-shared", "-pthread", *extra, "-o", str(built), *map(str, objects), "-lm"]
        subprocess.run(link, check=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.with_suffix(f".{os.getpid()}.new")
        staged.write_bytes(built.read_bytes())
        staged.replace(target)  # a process that has the old one open keeps it
    return target


def _accepts(cc: Sequence[str], flags: Sequence[str]) -> bool:
    check = [*cc, *flags, "-fsyntax-only", "-x", "c", os.devnull]
    return subprocess.run(check, capture_output=True).returncode == 0


def _compile(cc: Sequence[str], source: str, target: Path, flags: Sequence[str]) -> None:
    subprocess.run([*cc, *_FLAGS, *flags, "-c", SOURCES / source, "-o", target], check=True)


def main() -> None:
    """Build in place, or where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=LIBRARY)
    parser.add_argument("--sanitize", action="store_true", help="address and undefined behaviour")
    arguments = parser.parse_args()
    built = build(arguments.output, extra=SANITIZERS if arguments.sanitize else ())
    sys.stdout.write(f"{built}\n")


if __name__ == "__main__":
    main()
