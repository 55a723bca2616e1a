"""From the file to its windows, in threads of its own, while the first windows are recognized.

The gain of a recording is known when all of it is decoded. Where it will probably be 1, the windows
are found and recognized on that guess meanwhile, in a draft: right, it is entered, and nobody sees
a difference but the time; wrong, it is dropped, and the work begins again with the gain it is to
have.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from stenograf.audio import loudness
from stenograf.audio.decode import Decoded, DecodeLimits, decode
from stenograf.audio.decode_process import OnProgress
from stenograf.audio.growing import GrowingSpool
from stenograf.audio.spool import SAMPLE_BYTES, Spool
from stenograf.audio.vad import VoiceDetector
from stenograf.backend.hearing import Hearing
from stenograf.backend.notebook import Draft, Notebook
from stenograf.backend.records import Heard, Plan, PlannedWindow
from stenograf.backend.stop import Reason, Stop, Stopped
from stenograf.contract.errors import Cancelled
from stenograf.contract.jobs import Overview, Stage
from stenograf.contract.pcm import SAMPLE_RATE
from stenograf.contract.transcript import Levels


class Listening:
    """Decodes a recording and finds its windows; they come from `hearing`, until it is `revised`.

    Entering decodes first where nothing can be said of the gain, or where earlier attempts left
    windows; then it raises Stopped and the errors of decoding, as `hearing.feed` does otherwise. On
    the way out the threads end, whether or not they are done.
    """

    hearing: Hearing

    def __init__(
        self,
        source: Path,
        spool_path: Path,
        notebook: Notebook,
        stop: Stop,
        detector: VoiceDetector,
        limits: DecodeLimits,
    ) -> None:
        self._source = source
        self._spool_path = spool_path
        self._notebook = notebook
        self._stop = Stop(within=stop)
        self._detector = detector
        self._limits = limits
        self._earlier = notebook.results()
        self._normalize = notebook.options.normalize
        self._spools = ExitStack()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="listening")
        self._sound: Future[Decoded] = Future()
        self._plan: Future[Plan] = Future()

    def __enter__(self) -> Self:
        try:
            self.hearing = self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def revised(self) -> bool:
        """Whether all that came of `hearing` is void, and `hearing` another one now.

        While it rests on a guess this waits until the recording is decoded, and raises Stopped and
        the errors of decoding.
        """
        if not self.hearing.notebook.provisional:
            return False
        sound = self._sound.result()
        if not self.hearing.notebook.provisional:
            return False
        self.hearing = self._hear_spool(sound)
        return True

    def outcome(self) -> tuple[Decoded, Plan, dict[int, Heard]]:
        """Wait for the end: the sound, its plan, the results that earlier attempts left for it.

        Raises what made it fail.
        """
        plan = self._plan.result()
        return self._sound.result(), plan, self.hearing.earlier

    def _begin(self) -> Hearing:
        sound, plan = self._notebook.sound, self._notebook.plan
        if sound is not None and _sealed(self._spool_path, sound):
            self._sound.set_result(sound)
            return self._hear_spool(sound, plan)
        self._doubt(plan)
        gain = loudness.known_gain(self._normalize)
        if gain is not None:
            return self._hear_decoder(gain, known=True)
        guess = loudness.likely_gain(self._normalize)
        if guess is not None and not self._earlier:
            return self._hear_decoder(guess, known=False)
        sound = self._decode()
        self._sound.set_result(sound)
        return self._hear_spool(sound)

    def _end(self) -> None:
        self._stop.set(Reason.CANCELLED)
        self._threads.shutdown()
        self._spools.close()

    def _doubt(self, plan: Plan | None) -> None:
        """A plan whose spool is lost: the next one may come out otherwise."""
        if plan is not None and plan.complete:
            self._notebook.keep_plan(plan.model_copy(update={"complete": False}))

    def _hear_spool(self, sound: Decoded, plan: Plan | None = None) -> Hearing:
        spool = self._spools.enter_context(Spool(self._spool_path))
        gain, _ = loudness.gain(sound.level, self._normalize)
        hearing = Hearing(spool, gain, self._notebook, self._stop, self._earlier)
        if plan is not None and plan.complete:
            self._plan.set_result(plan)
            hearing.take(plan)
        else:
            self._notebook.stage(Stage.LISTENING)
            self._plan = self._threads.submit(hearing.find, self._detector, lambda _: None)
        return hearing

    def _hear_decoder(self, gain: float, *, known: bool) -> Hearing:
        spool = self._spools.enter_context(GrowingSpool())
        draft = Draft(self._notebook, self._stop)
        if known:
            draft.confirm()
        hearing = Hearing(spool, gain, draft, draft.stop, self._earlier)

        def doubt(first: PlannedWindow) -> None:
            speech = spool.read(first.start, first.end)
            if loudness.likely_gain(self._normalize, speech) != gain and draft.drop():
                draft.stop.check()

        self._sound = self._threads.submit(self._decode_into, spool, gain, draft)
        self._plan = self._threads.submit(hearing.find, self._detector, doubt)
        return hearing

    def _decode_into(self, spool: GrowingSpool, assumed_gain: float, draft: Draft) -> Decoded:
        try:
            sound = self._decode(spool.begin, lambda done, _: spool.grown(done))
            self._notebook.stage(Stage.LISTENING)
            gain, _ = loudness.gain(sound.level, self._normalize)
            right = gain == assumed_gain and draft.confirm()
        except BaseException as error:
            draft.drop()
            spool.fail(error)
            raise
        if right:
            spool.end(sound.n_samples)
        else:
            draft.drop()
            spool.fail(Stopped(Reason.OUTDATED))
        return sound

    def _decode(
        self,
        on_begin: Callable[[int], None] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Decoded:
        self._notebook.stage(Stage.DECODING)
        try:
            sound = decode(
                self._source,
                self._spool_path,
                self._limits,
                on_begin=on_begin,
                on_progress=on_progress,
                should_stop=self._stop,
            )
        except Cancelled:
            self._stop.check()
            raise
        gain, levels = loudness.gain(sound.level, self._normalize)
        self._notebook.keep_sound(sound, _overview(sound, gain, levels))
        return sound


def _sealed(spool: Path, sound: Decoded) -> bool:
    try:
        return spool.stat().st_size == sound.n_samples * SAMPLE_BYTES
    except FileNotFoundError:
        return False


def _overview(sound: Decoded, gain: float, levels: Levels) -> Overview:
    drawn = sound.overview
    return Overview(
        bucket_s=drawn.bucket_samples / SAMPLE_RATE,
        minimum=list(drawn.minimum),
        maximum=list(drawn.maximum),
        gain=gain,
        levels=levels.model_dump(mode="json"),
    )
