"""A file and its options become a transcript: the only place that knows the order of the steps.

decode and meter -> one gain -> speech -> windows -> model -> one transcript. Steps overlap where
the one does not need the whole of the other. Each step's result is kept, and a step whose result is
already there is skipped, so a run resumes where the last ended.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from stenograf.audio import loudness
from stenograf.audio.decode import Decoded, DecodeLimits
from stenograf.audio.vad import VoiceDetector
from stenograf.backend.engine import EngineClient
from stenograf.backend.hearing import Hearing
from stenograf.backend.listening import Listening
from stenograf.backend.notebook import Notebook
from stenograf.backend.partial import speech_of, window_result
from stenograf.backend.recognize import Recognizer
from stenograf.backend.records import Heard, Plan
from stenograf.backend.stop import Stop
from stenograf.contract.errors import ModelNotReady, StenografError
from stenograf.contract.jobs import Stage
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.transcript import Transcript
from stenograf.transcripts.assemble import assemble

_STOP_CHECK_S = 0.2


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
    with Listening(source, spool_path, notebook, stop, tools.detector, tools.limits) as listening:
        results = _results(listening, tools, model)
        sound, plan, earlier = listening.outcome()
    stop.check()
    notebook.stage(Stage.FINISHING)
    return _assemble(sound, plan, earlier | results, notebook.options, model)


def _results(listening: Listening, tools: Tools, model: str) -> dict[int, Heard]:
    while True:
        try:
            return _recognize(listening.hearing, tools, model)
        except Exception as error:
            # What went wrong with windows that should not have been asked for is of no account.
            if listening.revised():
                continue
            if isinstance(error, StenografError) and error.retry is not None:
                listening.outcome()  # the next attempt need not decode and listen again
            raise


def _recognize(hearing: Hearing, tools: Tools, model: str) -> dict[int, Heard]:
    """The windows that are not recognized yet, as they are found."""
    feed = hearing.feed
    while not feed.wait(_STOP_CHECK_S):
        hearing.stop.check()
    if feed.ended:
        return {}
    _check_model(hearing, tools.engine)
    if not model:  # it answers by now, but it did not when the work began
        raise ModelNotReady("The model service has only just become ready.")
    hearing.notebook.stage(Stage.RECOGNIZING)
    recognizer = Recognizer(
        tools.engine,
        model,
        tools.windows_in_flight,
        hearing.spool,
        hearing.gain,
        hearing.notebook,
        hearing.stop,
    )
    return dict(recognizer.run(feed))


def _check_model(hearing: Hearing, engine: EngineClient) -> None:
    """Raise ModelNotReady unless the model is; it has as long as the windows are provisional."""
    while hearing.notebook.provisional:
        try:
            engine.check()
            return
        except StenografError:
            time.sleep(_STOP_CHECK_S)
            hearing.stop.check()
    engine.check()


def _assemble(
    sound: Decoded,
    plan: Plan,
    results: dict[int, Heard],
    options: TranscribeOptions,
    model: str,
) -> Transcript:
    _, levels = loudness.gain(sound.level, options.normalize)
    return assemble(
        [window_result(plan, index, heard) for index, heard in results.items()],
        duration=sound.n_samples,
        options=options,
        speech=speech_of(plan, options),
        levels=levels,
        model=model,
        warnings=sound.warnings,
    )
