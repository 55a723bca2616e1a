"""One utterance -> its text, through the model service, given up the moment nobody waits."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

from stenograf.audio.vad import VoiceDetector
from stenograf.audio.windows import Window, cut, quietest_point
from stenograf.backend.connection import Aborted
from stenograf.backend.engine import EngineClient
from stenograf.backend.realtime.ear import Utterance
from stenograf.backend.records import Heard
from stenograf.contract.errors import StenografError
from stenograf.contract.options import TranscribeOptions
from stenograf.contract.pcm import Waveform
from stenograf.transcripts.assemble import WindowResult, assemble

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Scribe:
    """Writes utterances down. Blocking work runs in `threads`."""

    engine: EngineClient
    detector: VoiceDetector
    threads: Executor

    async def write(
        self, utterance: Utterance, options: TranscribeOptions, model: str
    ) -> AsyncIterator[str]:
        """The text so far, whenever more of it is final; the last is the whole text.

        Each is a beginning of the next. Raises what the model service answers.
        """
        sound = utterance.sound
        # Speech that the client cut itself has not been looked for yet.
        cutting = options.cut.model_copy(update={"vad": not utterance.voiced})
        spans = None
        if not utterance.voiced:
            spans = await self._run(self.detector.spans, [sound], cutting)
        windows = cut(
            spans or [],
            len(sound),
            cutting,
            lambda start, end: start + quietest_point(sound[start:end]),
        )
        results: list[WindowResult] = []
        yielded = ""
        for window in windows:
            heard = await self._recognize(sound, window, options, model)
            results.append(_result(window, heard))
            if window.seam:  # the next window may change the words at the border
                continue
            text = assemble(results, duration=len(sound), options=options, speech=spans).text
            if text != yielded:
                yielded = text
                yield text

    async def _recognize(
        self, sound: Waveform, window: Window, options: TranscribeOptions, model: str
    ) -> Heard:
        stop = threading.Event()
        with self.engine.session() as connection:
            work = asyncio.ensure_future(
                self._run(
                    self.engine.transcribe,
                    connection,
                    sound[window.start : window.end],
                    options,
                    model,
                    stop.is_set,
                )
            )
            try:
                return await asyncio.shield(work)
            finally:
                if not work.done():
                    stop.set()
                    connection.abort()
                    with suppress(Aborted, StenografError):
                        await work

    async def _run(self, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *arguments)


def _result(window: Window, heard: Heard) -> WindowResult:
    return WindowResult(
        start=window.start,
        end=window.end,
        segments=heard.segments,
        seam_end=window.seam,
        language=heard.language or None,
        language_probability=heard.language_probability,
    )
