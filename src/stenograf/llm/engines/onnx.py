"""CTC and RNN-T models (GigaAM, Vosk, T-one, NeMo) in ONNX, through onnx-asr.

Such a model knows one language, takes no prompt and is searched without beams.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stenograf.contract.errors import Cancelled, ModelNotFound, OutOfResources
from stenograf.contract.options import DecodeOptions
from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.llm.engines.base import (
    Capabilities,
    EngineOptions,
    EngineUnfit,
    Stop,
    WindowResult,
    never,
    sift,
)
from stenograf.llm.engines.factory import EngineSettings
from stenograf.llm.engines.token_times import Token, segments
from stenograf.llm.fingerprint import fingerprint
from stenograf.llm.models import Report
from stenograf.llm.whisper.hardware import available_cores
from stenograf.llm.whisper.hub import served_name

if TYPE_CHECKING:  # an optional dependency
    from onnx_asr.adapters import TimestampedResultsAsrAdapter
    from onnx_asr.asr import TimestampedResult

Provider = tuple[str, dict[str, str]]
"""One of ONNX Runtime's, and its options."""

_GROUP = 8  # windows that share a forward pass; between groups somebody may give up
_SHORTEST = SAMPLE_RATE // 2  # shorter windows are padded: a feature needs some frames
_QUANTIZATIONS = {"auto": None, "float32": None, "int8": "int8"}
_ENGLISH = ("nemo-parakeet-ctc", "nemo-parakeet-rnnt", "nemo-parakeet-tdt-0.6b-v2")
_LACKS = ("beam_size", "prompt", "temperature", "languages")


class OnnxEngine:
    """An `Engine` over a loaded model of onnx-asr."""

    def __init__(self, model: "TimestampedResultsAsrAdapter", capabilities: Capabilities) -> None:
        self.capabilities = capabilities
        self._model: TimestampedResultsAsrAdapter | None = model

    def transcribe(
        self, windows: Sequence[Waveform], options: EngineOptions, stop: Stop = never
    ) -> list[WindowResult]:
        """See `Engine.transcribe`."""
        results, sounding = sift(self.capabilities, windows, options)
        language = self.capabilities.languages[0]
        for first in range(0, len(sounding), _GROUP):
            if stop():
                raise Cancelled("Nobody waits for this window any more.")
            group = sounding[first : first + _GROUP]
            heard = self._hear([windows[i] for i in group])
            for i, result in zip(group, heard, strict=True):
                results[i] = _result(result, windows[i].shape[0], language, options.decode)
        return results

    def close(self) -> None:
        """Give the model's memory back."""
        self._model = None

    def _hear(self, windows: Sequence[Waveform]) -> list["TimestampedResult"]:
        assert self._model is not None
        long_enough: list[str | Path | Waveform] = [
            np.pad(window, (0, max(0, _SHORTEST - window.shape[0]))) for window in windows
        ]
        try:
            return self._model.recognize(long_enough)
        except Exception as exc:
            if "allocate memory" in str(exc):  # the runtime's errors are plain Exceptions
                raise OutOfResources("Memory ran out while the model worked.") from exc
            raise


def load_onnx(settings: EngineSettings, report: Report) -> OnnxEngine:
    """Find and load the model that the settings name.

    Raises EngineUnfit where onnx-asr is not installed or the machine does not allow it, else
    StenografError in words for whoever set LOCAL_LLM_MODEL.
    """
    if any(find_spec(name) is None for name in ("onnx_asr", "onnxruntime")):
        raise EngineUnfit(
            "ENGINE=onnx needs onnx-asr, which is not installed.",
            hint="Run: pip install -r req_onnx.txt",
        )
    if settings.compute_type not in _QUANTIZATIONS:
        raise EngineUnfit(
            f"ONNX models come as float32 and int8, and COMPUTE_TYPE is {settings.compute_type}.",
            hint="Set COMPUTE_TYPE=auto or int8.",
        )
    from stenograf.llm.engines.onnx_files import find

    quantization = _QUANTIZATIONS[settings.compute_type]
    providers = _providers(settings.device)
    files = find(settings.model, quantization, settings.data_dir, report)
    report(0.9, "Loading the model.")
    return OnnxEngine(
        _load(files.kind, files.folder, quantization, providers, settings.threads),
        Capabilities(
            model=served_name(settings.model),
            languages=("en",) if settings.model.startswith(_ENGLISH) else ("ru",),
            tells_languages=False,
            lacks=_LACKS,
            dtype=quantization or "float32",
            device="cuda" if len(providers) > 1 else "cpu",
            fingerprint=fingerprint(files.folder),
            engine=settings.engine,
            engine_reason=settings.reason,
        ),
    )


def _providers(device: str) -> list[Provider]:
    import onnxruntime

    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    has_cuda = cuda in onnxruntime.get_available_providers()
    if device.startswith("cuda") and not has_cuda:
        raise EngineUnfit(
            f"DEVICE is {device}, and this ONNX Runtime has no CUDA.",
            hint="Set DEVICE=cpu, or install onnxruntime-gpu in place of onnxruntime.",
        )
    if device == "cpu" or not has_cuda:
        return [(cpu, {})]
    number = device.partition(":")[2] or "0"
    return [(cuda, {"device_id": number}), (cpu, {})]


def _load(
    kind: str, folder: Path, quantization: str | None, providers: list[Provider], threads: int
) -> "TimestampedResultsAsrAdapter":
    import onnx_asr
    import onnxruntime

    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = threads or available_cores()
    session.inter_op_num_threads = 1
    session.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        model = onnx_asr.load_model(
            kind, folder, quantization=quantization, sess_options=session, providers=providers
        )
    except Exception as exc:  # those of the runtime, of JSON, of files that are not there
        raise ModelNotFound(
            f"The ONNX model in {folder} cannot be loaded: {type(exc).__name__}: {exc}",
            hint="COMPUTE_TYPE=int8 takes the files whose names end in int8, auto the others.",
        ) from exc
    return model.with_timestamps()


def _result(
    heard: "TimestampedResult", n_samples: int, language: str, options: DecodeOptions
) -> WindowResult:
    pieces = zip(heard.tokens or (), heard.timestamps or (), heard.logprobs or (), strict=True)
    tokens = [
        Token(text, min(n_samples, max(0, round(at_s * SAMPLE_RATE))), logprob)
        for text, at_s, logprob in pieces
        if not (text.startswith("<") and text.endswith(">"))  # <unk>
    ]
    found = segments(
        tokens, n_samples, words=options.word_timestamps, scores=options.token_logprobs
    )
    return WindowResult(language=language, segments=found)
