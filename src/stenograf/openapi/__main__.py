"""`python -m stenograf.openapi > docs/api.md`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stenograf.backend.app import create_app as create_backend
from stenograf.llm.app import create_app as create_llm
from stenograf.openapi.markdown import markdown
from stenograf.settings import BackendSettings, LlmSettings


def documents() -> list[dict[str, Any]]:
    """What both services say of themselves; neither is started."""
    with TemporaryDirectory() as folder:
        data_dir = Path(folder)
        backend = create_backend(BackendSettings(data_dir=data_dir, _env_file=None))
        llm = create_llm(LlmSettings(data_dir=data_dir, _env_file=None))
        try:
            return [backend.openapi(), llm.openapi()]
        finally:
            backend.state.house.close()


if __name__ == "__main__":
    sys.stdout.write(markdown(documents()))
