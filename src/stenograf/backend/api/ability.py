"""What the model service can do, asked before a client is kept waiting for it."""

from contextlib import suppress
from typing import Any

from stenograf.backend.service import Service
from stenograf.contract.errors import BadOptions, ModelNotFound, NetworkTimeout
from stenograf.contract.options import TranscribeOptions
from stenograf.openai_audio.names import DEFAULT_MODEL_NAMES


def check_able(service: Service, options: TranscribeOptions) -> None:
    """Raise ModelNotReady, ModelNotFound or BadOptions unless the model can do this now."""
    with suppress(NetworkTimeout):  # a model service too busy to say so is there
        service.engine.check()
    row = served_row(service, options.model)
    decode = options.decode
    if row.get("tasks") and decode.task not in row["tasks"]:
        raise BadOptions(
            f"The model {row['id']} cannot {decode.task}.",
            hint=f"It can: {', '.join(map(str, row['tasks']))}.",
            param="task",
        )
    if decode.token_logprobs and not row.get("logprobs"):
        raise BadOptions(
            "The model service does not tell the probabilities of tokens.",
            hint="Leave include[] out.",
            param="include[]",
        )


def served_row(service: Service, model: str) -> dict[str, Any]:
    """What the model service says of a model. Raises ModelNotFound."""
    default = service.engine.model_id()
    wanted = default if not model or model in DEFAULT_MODEL_NAMES else model
    rows = service.engine.models()
    found = next((row for row in rows if row["id"] == wanted), None)
    if found is None and wanted == default:  # a configured name that the server does not list
        return {"id": default}
    if found is None:
        raise ModelNotFound(
            f"There is no model called {model[:200]!r} here.",
            hint=f"Leave it out, or name {default!r}.",
            param="model",
        )
    return found
