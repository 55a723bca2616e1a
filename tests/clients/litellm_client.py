"""LiteLLM: `python litellm_client.py SERVER FILE` prints the answers as one JSON object."""

import json
import sys
from pathlib import Path
from typing import Any

import litellm

server, path = sys.argv[1:]


def transcribe(**options: Any) -> Any:
    with Path(path).open("rb") as file:
        return litellm.transcription(
            model="openai/whisper-1", file=file, api_base=f"{server}/v1", api_key="none", **options
        )


verbose = transcribe(response_format="verbose_json", timestamp_granularities=["word"])
answers = {
    "json": transcribe().text,
    "language": transcribe(language="ru", temperature=0).text,
    "verbose_json": {"text": verbose.text, "duration": verbose.duration, "words": verbose.words},
}
print(json.dumps(answers, default=dict))
