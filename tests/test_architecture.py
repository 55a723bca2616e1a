"""The direction of imports, and what a service must never load."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stenograf.settings import env_example

ROOT = Path(__file__).resolve().parents[1]


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    run = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("module", ["stenograf.backend.app", "stenograf.cli"])
def test_no_weights_library_is_loaded_by(module: str) -> None:
    code = (
        f"import sys, {module};"
        "print(*[m for m in ('torch', 'transformers', 'ctranslate2', 'faster_whisper')"
        " if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_settings_are_read_from_the_environment_in_one_module() -> None:
    names = set(re.findall(r"^(?:# )?([A-Z_]+)=", env_example(), re.MULTILINE))
    read = re.compile(r"""(?:environ(?:\.get\(|\[)|getenv\()\s*["'](\w+)""")
    offenders = {
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / "src").rglob("*.py")
        if path.name != "settings.py"
        for name in names & set(read.findall(path.read_text()))
    }
    assert offenders == set()
