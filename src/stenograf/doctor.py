"""Which services answer, and what they say of themselves."""

from dataclasses import dataclass
from typing import Any

import requests

_TIMEOUT_S = 5


@dataclass(frozen=True)
class Report:
    """Lines to read; whether the backend answered; whether everything is ready for work."""

    lines: tuple[str, ...]
    reached: bool
    ready: bool


def examine(backend: str, llm: str, *, llm_api_key: str = "") -> Report:
    """Ask the backend and the model service, by the roots of their URLs."""
    reached, backend_ready, backend_line = _service("backend", backend)
    answers, llm_ready, llm_line = _service("model service", llm)
    models = _models(llm, llm_api_key) if answers else []
    return Report(
        lines=(backend_line, llm_line, *models),
        reached=reached,
        ready=backend_ready and llm_ready,
    )


def _service(name: str, root: str) -> tuple[bool, bool, str]:
    head = f"{name:14} {root}"
    try:
        health = requests.get(f"{root}/health", timeout=_TIMEOUT_S)
        ready = requests.get(f"{root}/ready", timeout=_TIMEOUT_S)
    except requests.RequestException:
        return False, False, f"{head}  does not answer"
    version = _object(health).get("version", "unknown version")
    verdict = "ready" if ready.ok else f"not ready: {ready.text.strip()[:300]}"
    return True, ready.ok, f"{head}  {version}  {verdict}"


def _models(root: str, api_key: str) -> list[str]:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        answer = requests.get(f"{root}/v1/models", headers=headers, timeout=_TIMEOUT_S)
        listed = _object(answer).get("data")
    except requests.RequestException:
        return []
    models = listed if isinstance(listed, list) else []
    return [_model(model) for model in models if isinstance(model, dict)]


def _model(model: dict[str, Any]) -> str:
    facts = [str(model.get("id", "unnamed"))]
    facts += [f"{name} {model[name]}" for name in ("dtype", "device") if model.get(name)]
    if model.get("embedded"):
        facts.append("the small demo model, not for real work")
    return f"{'model':14} {', '.join(facts)}"


def _object(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except requests.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
