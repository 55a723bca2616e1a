"""Clients of other hands, installed once into the user's cache, and how well a text was heard."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jiwer
import pytest

from ..servers import SAMPLES

HERE = Path(__file__).parent
RECORDING = SAMPLES / "order_number_ru.flac"
LONG_RECORDING = SAMPLES / "monologue_ru.flac"

_INSTALL_TIMEOUT_S = 170
_NO_NETWORK = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|network is unreachable"
    r"|dns error|failed to lookup address|connection refused|timed out|tcp connect error",
    re.IGNORECASE,
)


def node_clients(least: int = 18) -> Path:
    """A folder with the scripts of this one and the packages of its package-lock.json.

    Skips where there is no npm or no Node of version `least`, or where the packages' registry
    cannot be reached.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    if int(version[1:].split(".")[0]) < least:
        pytest.skip(f"Node {version} is too old for these clients: they need {least}")

    def install(home: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, home)
        quietly = ["--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"]
        _run("npm", ["npm", "ci", *quietly], home)

    home = _installed("node", HERE / "package-lock.json", install)
    for script in HERE.glob("*.mjs"):
        _copy(script, home / script.name)
    return home


def python_clients() -> Path:
    """The Python of an environment with requirements.txt of this folder.

    Skips where the package index cannot be reached.
    """

    def install(home: Path) -> None:
        uv = [sys.executable, "-m", "uv"]
        _run("uv", [*uv, "venv", "--quiet", "--python", sys.executable, "venv"], home)
        requirements = str(HERE / "requirements.txt")
        _run("uv", [*uv, "pip", "install", "--quiet", "--python", "venv", "-r", requirements], home)

    return _installed("python", HERE / "requirements.txt", install) / "venv" / "bin" / "python"


def run(
    command: Sequence[str | Path], cwd: Path, timeout_s: float = 120.0, **environment: str
) -> str:
    """Standard output of a client; fails with its standard error."""
    environment |= {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONWARNINGS": "ignore",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks GitHub for prices first
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def assert_heard(text: str, recording: Path, *, most: float = 0.4) -> None:
    """`text` is what `recording` says, up to a word error rate of `most`."""
    reference = _words(recording.with_suffix(".txt").read_text())
    rate = jiwer.wer(reference, _words(text))
    assert rate <= most, f"word error rate {rate:.2f}: {text!r}"


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower().replace("ё", "е")))


def _installed(name: str, lock: Path, install: Callable[[Path], None]) -> Path:
    """The folder where `install` has been successful for this very lock file."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stenograf-tests"
    cache.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = cache / f"{name}-{digest}"
    with _alone(cache / f"{name}.lock"):
        if not (home / "installed").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            install(home)
            (home / "installed").touch()
    return home


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _copy(source: Path, target: Path) -> None:
    """Atomic, for a run beside this one that executes the target."""
    new = target.with_suffix(f".{os.getpid()}")
    shutil.copy(source, new)
    new.replace(target)


def _run(name: str, command: list[str], cwd: Path) -> None:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S
    )
    if done.returncode != 0 and _NO_NETWORK.search(done.stderr):
        pytest.skip(f"{name}: the package registry cannot be reached")
    assert done.returncode == 0, done.stderr[-3000:]
