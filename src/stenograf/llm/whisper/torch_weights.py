"""A checked checkpoint becomes a model of transformers."""

import torch
from transformers import WhisperForConditionalGeneration

from stenograf.contract.errors import ModelNotFound
from stenograf.llm.whisper.checkpoint import Checkpoint


def load_weights(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> WhisperForConditionalGeneration:
    """The model in eval mode on `device`; raises ModelNotFound for damaged or missing tensors."""
    try:
        model, notes = WhisperForConditionalGeneration.from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as exc:
        raise ModelNotFound(
            f"The weights in {checkpoint.folder} cannot be loaded: {type(exc).__name__}: {exc}",
            hint="The files are damaged or incomplete; fetch the model again.",
        ) from exc
    missing = sorted(set(notes["missing_keys"]) - {"proj_out.weight"})
    if missing:
        raise ModelNotFound(
            f"The weights in {checkpoint.folder} lack {len(missing)} tensors, {missing[0]} first.",
            hint="The files are incomplete; fetch the model again.",
        )
    ready: WhisperForConditionalGeneration = model.to(device).eval().requires_grad_(False)
    return ready
