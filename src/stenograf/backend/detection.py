"""Which language is spoken in a recording, heard from the first speech in it."""

import asyncio
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from stenograf.audio import loudness
from stenograf.audio.decode import decode
from stenograf.audio.spool import Spool
from stenograf.audio.windows import cut as cut_windows
from stenograf.audio.windows import quietest_in
from stenograf.backend.connection import Aborted, Connection
from stenograf.backend.pipeline import Tools
from stenograf.backend.records import Heard
from stenograf.contract.errors import Cancelled, Overloaded, Unavailable
from stenograf.contract.options import DecodeOptions, GuardOptions, TranscribeOptions
from stenograf.contract.pcm import SAMPLE_RATE, Waveform

_LISTEN_S = (120.0, 3600.0)  # a first look, and a longer one where it met no speech
_MAX_WINDOWS = 3
_SURE = 0.5  # Whisper's own threshold for asking another window
_AT_ONCE = 2
_ASK_AGAIN_S = 10.0
_OPTIONS = TranscribeOptions(
    decode=DecodeOptions(language="auto", word_timestamps=False),
    # Only the language matters: no text is so bad that it would be decoded again.
    guard=GuardOptions(
        no_speech_threshold=1.0, logprob_threshold=-1e6, compression_ratio_threshold=1e6
    ),
)


@dataclass(frozen=True)
class Detected:
    """A language's code and its probability, None where the model service does not say.

    Without any speech it is the default language with probability 0.
    """

    language: str
    probability: float | None


class LanguageDetector:
    """Listens to a few recordings at a time; `max_waiting` may be there in all.

    What it decodes lies in `folder` meanwhile.
    """

    def __init__(self, tools: Tools, folder: Path, *, max_waiting: int = 32) -> None:
        self.max_waiting = max_waiting
        self._tools = tools
        self._folder = folder
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="language")
        self._draining = False
        self._running: set[_Listening] = set()

    def clean(self) -> None:
        """Remove what a killed process left behind."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def drain(self) -> None:
        """End what is running; from here on nothing is begun."""
        self._draining = True
        for listening in tuple(self._running):
            listening.stop()

    def close(self) -> None:
        """Drain, and end the threads."""
        self.drain()
        self._pool.shutdown(cancel_futures=True)

    async def detect(self, source: Path) -> Detected:
        """Hear the language of a file; cancelling this ends the work.

        Raises Overloaded, Unavailable, and what decoding and the model service raise.
        """
        if self._draining:
            raise _going_away()
        if len(self._running) >= self.max_waiting:
            raise Overloaded("Too many recordings wait for this.", retry_after_s=_ASK_AGAIN_S)
        listening = _Listening(self._tools, self._folder, source)
        self._running.add(listening)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, listening.run)
        finally:
            listening.stop()
            self._running.discard(listening)


class _Listening:
    """One recording; `run` in a thread, `stop` from any other."""

    def __init__(self, tools: Tools, folder: Path, source: Path) -> None:
        self._tools = tools
        self._folder = folder
        self._source = source
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._session: Connection | None = None

    def stop(self) -> None:
        """End the work soon, also while it waits for the model."""
        self._stopped.set()
        with self._lock:  # a session that went back to the pool is somebody else's
            if self._session is not None:
                self._session.abort()

    def run(self) -> Detected:
        """The whole work. Raises what `LanguageDetector.detect` raises."""
        try:
            self._tools.engine.check()
            heard: list[Heard] = []
            for listen_s in _LISTEN_S:
                heard, whole = self._listen(listen_s)
                if heard or whole:
                    break
            return _verdict(heard)
        except (Aborted, Cancelled):
            raise _going_away() from None

    def _listen(self, listen_s: float) -> tuple[list[Heard], bool]:
        """What the model hears in the first windows with speech, up to the first sure one.

        Also whether `listen_s` was the whole recording.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self._folder) as folder:
            spool_path = Path(folder) / "spool"
            limits = replace(self._tools.limits, stop_after_s=listen_s)
            sound = decode(self._source, spool_path, limits, should_stop=self._stopped.is_set)
            gain, _ = loudness.gain(sound.level, _OPTIONS.normalize)
            heard: list[Heard] = []
            with Spool(spool_path) as spool, self._model() as ask:
                blocks = map(self._unless_stopped, spool.blocks())
                spans = self._tools.detector.spans(blocks, _OPTIONS.cut, gain)
                windows = cut_windows(spans, spool.n_samples, _OPTIONS.cut, quietest_in(spool))
                for window in islice(windows, _MAX_WINDOWS):
                    heard.append(ask(spool.read(window.start, window.end) * gain))
                    share = _verdict(heard).probability
                    if share is None or share >= _SURE:
                        break
        return heard, sound.n_samples < listen_s * SAMPLE_RATE

    def _unless_stopped(self, block: Waveform) -> Waveform:
        if self._stopped.is_set():
            raise Aborted
        return block

    @contextmanager
    def _model(self) -> Iterator[Callable[[Waveform], Heard]]:
        engine = self._tools.engine
        with engine.session() as session:
            with self._lock:
                self._session = session
            try:
                if self._stopped.is_set():
                    raise Aborted
                model = engine.model_id()
                yield lambda waveform: engine.transcribe(
                    session, waveform, _OPTIONS, model, self._stopped.is_set
                )
            finally:
                with self._lock:
                    self._session = None


def _going_away() -> Unavailable:
    return Unavailable("The service shuts down.", retry_after_s=_ASK_AGAIN_S)


def _verdict(heard: list[Heard]) -> Detected:
    """The language with the most probability over all windows, and its mean probability."""
    named = [window for window in heard if window.language]
    if not named:
        return Detected(DecodeOptions().language, 0.0)
    if any(window.language_probability is None for window in named):
        return Detected(named[0].language, None)
    shares: dict[str, float] = defaultdict(float)
    for window in named:
        shares[window.language] += window.language_probability or 0.0
    best = max(shares, key=lambda language: shares[language])
    return Detected(best, round(shares[best] / len(named), 4))
