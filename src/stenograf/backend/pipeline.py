"""A file and its options become a transcript: the only place that knows the order of the steps.

decode and meter -> one gain -> speech -> windows -> model -> one transcript. Each step's result is
kept, and a step whose result is already there is skipped, so a run resumes where the last ended.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stenograf.audio import loudness
from stenograf.audio.decode import Decoded, DecodeLimits, decode
from stenograf.audio.spool import SAMPLE_BYTES, Spool
from stenograf.audio.vad import VoiceDetector
from stenograf.audio.windows import cut as cut_windows
from stenograf.audio.windows import quietest_in
from stenograf.backend.engine import EngineClient
from stenograf.backend.notebook import Notebook
from stenograf.backend.partial import speech_of, window_result
from stenograf.backend.recognize import Recognizer
from stenograf.backend.records import Heard, Plan, PlannedSpan, PlannedWindow
from stenograf.backend.stop import Stop
from stenograf.contract.errors import Cancelled, ModelNotReady
from stenograf.contract.jobs import Overview, Stage
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.contract.transcript import Levels, Transcript
from stenograf.transcripts.assemble import assemble


@dataclass(frozen=True)
class Tools:
    """What every run needs besides its file."""

    engine: EngineClient
    detector: VoiceDetector
    limits: DecodeLimits
    windows_in_flight: int


def run(
    source: Path, spool_path: Path, notebook: Notebook, stop: Stop, tools: Tools, model: str
) -> Transcript:
    """Recognize `source`; its samples are spooled at `spool_path`, which the caller removes.

    `model` is empty while the model service has not said which one answers. Raises Stopped,
    LostLease, and the errors of decoding and of the model service.
    """
    sound = notebook.sound
    if sound is None or not _sealed(spool_path, sound):
        sound = _decode(source, spool_path, notebook, stop, tools)
    gain, levels = loudness.gain(sound.level, notebook.options.normalize)
    with Spool(spool_path) as spool:
        plan = notebook.plan or _plan(spool, gain, notebook, stop, tools)
        results = _recognize(spool, gain, plan, notebook, stop, tools, model)
    notebook.stage(Stage.FINISHING)
    return _assemble(sound, levels, plan, results, notebook.options, model)


def _sealed(spool: Path, sound: Decoded) -> bool:
    try:
        return spool.stat().st_size == sound.n_samples * SAMPLE_BYTES
    except FileNotFoundError:
        return False


def _decode(source: Path, spool: Path, notebook: Notebook, stop: Stop, tools: Tools) -> Decoded:
    notebook.stage(Stage.DECODING)
    try:
        sound = decode(source, spool, tools.limits, should_stop=stop)
    except Cancelled:
        stop.check()
        raise
    gain, levels = loudness.gain(sound.level, notebook.options.normalize)
    notebook.keep_sound(sound, _overview(sound, gain, levels))
    return sound


def _overview(sound: Decoded, gain: float, levels: Levels) -> Overview:
    drawn = sound.overview
    return Overview(
        bucket_s=drawn.bucket_samples / SAMPLE_RATE,
        minimum=list(drawn.minimum),
        maximum=list(drawn.maximum),
        gain=gain,
        levels=levels.model_dump(mode="json"),
    )


def _plan(spool: Spool, gain: float, notebook: Notebook, stop: Stop, tools: Tools) -> Plan:
    cut = notebook.options.cut
    notebook.stage(Stage.LISTENING)
    spans = tools.detector.spans(_watched(spool, stop), cut, gain) if cut.vad else []
    windows = cut_windows(spans, spool.n_samples, cut, quietest_in(spool))
    plan = Plan(
        spans=tuple(PlannedSpan(start=span.start, end=span.end) for span in spans),
        windows=tuple(PlannedWindow(start=w.start, end=w.end, seam=w.seam) for w in windows),
    )
    notebook.keep_plan(plan)
    return plan


def _watched(spool: Spool, stop: Stop) -> Iterator[Waveform]:
    for block in spool.blocks():
        stop.check()
        yield block


def _recognize(
    spool: Spool,
    gain: float,
    plan: Plan,
    notebook: Notebook,
    stop: Stop,
    tools: Tools,
    model: str,
) -> dict[int, Heard]:
    results = notebook.results()
    missing = [item for item in enumerate(plan.windows) if item[0] not in results]
    if missing:
        tools.engine.check()
        if not model:  # it answers by now, but it did not when the work began
            raise ModelNotReady("The model service has only just become ready.")
        notebook.stage(Stage.RECOGNIZING)
        recognizer = Recognizer(
            tools.engine, model, tools.windows_in_flight, spool, gain, notebook, stop
        )
        results.update(recognizer.run(missing))
    stop.check()
    return results


def _assemble(
    sound: Decoded,
    levels: Levels,
    plan: Plan,
    results: dict[int, Heard],
    options: TranscribeOptions,
    model: str,
) -> Transcript:
    return assemble(
        [window_result(plan, index, heard) for index, heard in results.items()],
        duration=sound.n_samples,
        options=options,
        speech=speech_of(plan, options),
        levels=levels,
        model=model,
        warnings=sound.warnings,
    )
