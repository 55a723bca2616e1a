"""From the file to its windows, in threads of its own, while the first windows are recognized."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from stenograf.audio import loudness
from stenograf.audio.decode import Decoded, DecodeLimits, decode
from stenograf.audio.growing import GrowingSpool
from stenograf.audio.listen import listen
from stenograf.audio.spool import SAMPLE_BYTES, Spool
from stenograf.audio.vad import VoiceDetector
from stenograf.audio.windows import quietest_in
from stenograf.backend.feed import Feed
from stenograf.backend.notebook import Notebook
from stenograf.backend.records import Heard, Plan, PlannedSpan, PlannedWindow
from stenograf.backend.stop import Stop
from stenograf.contract.errors import Cancelled
from stenograf.contract.jobs import Overview, Stage
from stenograf.contract.pcm import SAMPLE_RATE, Waveform
from stenograf.contract.transcript import Levels

_KEEP_EVERY_S = 1.0  # a growing plan is stored whole each time


class Listening:
    """Decodes a recording and finds its windows; `feed` gives those that are to be recognized.

    Where the gain is known beforehand the spool is heard while it is decoded; otherwise entering
    decodes first, and raises Stopped and the errors of decoding, as the feed does later. On the way
    out the threads end, whether or not they are done.

    A window is given once a plan that contains it is stored. Results of earlier attempts count only
    for the very windows they were made of: where there are some and the plan was not complete,
    nothing is given before all windows are found again.
    """

    def __init__(
        self,
        source: Path,
        spool_path: Path,
        notebook: Notebook,
        stop: Stop,
        detector: VoiceDetector,
        limits: DecodeLimits,
    ) -> None:
        self.feed = Feed()
        self.spool: Spool = GrowingSpool()
        self.gain = 1.0
        self._source = source
        self._spool_path = spool_path
        self._notebook = notebook
        self._stop = stop
        self._detector = detector
        self._limits = limits
        self._over = threading.Event()
        self._earlier = notebook.results()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="listening")
        self._sound: Future[Decoded] = Future()
        self._plan: Future[Plan] = Future()

    def __enter__(self) -> Self:
        try:
            self._begin()
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

    def outcome(self) -> tuple[Decoded, Plan, dict[int, Heard]]:
        """Wait for the end: the sound, its plan, the results that earlier attempts left for it.

        Raises what made it fail.
        """
        plan = self._plan.result()
        return self._sound.result(), plan, self._earlier

    def _begin(self) -> None:
        normalize = self._notebook.options.normalize
        sound, plan = self._notebook.sound, self._notebook.plan
        if sound is None or not _sealed(self._spool_path, sound):
            plan = self._doubted(plan)
            known_gain = loudness.known_gain(normalize)
            if known_gain is not None:
                self._listen_while_decoding(known_gain)
                return
            sound = self._decode()
        self._sound.set_result(sound)
        self.gain, _ = loudness.gain(sound.level, normalize)
        self.spool = Spool(self._spool_path)
        if plan is not None and plan.complete:
            self._plan.set_result(plan)
            self._give(plan)
        else:
            self._notebook.stage(Stage.LISTENING)
            self._plan = self._threads.submit(self._listen, self.spool)

    def _end(self) -> None:
        self._over.set()
        self._threads.shutdown()
        self.spool.close()

    def _doubted(self, plan: Plan | None) -> Plan | None:
        """A plan whose spool is lost: the next one may come out otherwise."""
        if plan is not None and plan.complete:
            plan = plan.model_copy(update={"complete": False})
            self._notebook.keep_plan(plan)
        return plan

    def _listen_while_decoding(self, gain: float) -> None:
        growing = GrowingSpool()
        self.spool, self.gain = growing, gain
        self._sound = self._threads.submit(self._decode_into, growing)
        self._plan = self._threads.submit(self._listen, growing)

    def _decode_into(self, spool: GrowingSpool) -> Decoded:
        try:
            sound = self._decode(spool.begin, lambda done, _: spool.grown(done))
            self._notebook.stage(Stage.LISTENING)
        except BaseException as error:
            spool.fail(error)
            raise
        spool.end(sound.n_samples)
        return sound

    def _decode(
        self,
        on_begin: Callable[[int], None] | None = None,
        on_progress: Callable[[int, int | None], None] | None = None,
    ) -> Decoded:
        self._notebook.stage(Stage.DECODING)
        try:
            sound = decode(
                self._source,
                self._spool_path,
                self._limits,
                on_begin=on_begin,
                on_progress=on_progress,
                should_stop=lambda: self._stop() or self._over.is_set(),
            )
        except Cancelled:
            self._stop.check()
            raise
        gain, levels = loudness.gain(sound.level, self._notebook.options.normalize)
        self._notebook.keep_sound(sound, _overview(sound, gain, levels))
        return sound

    def _listen(self, spool: Spool) -> Plan:
        try:
            return self._planned(spool)
        except BaseException as error:
            self.feed.close(error)
            raise

    def _planned(self, spool: Spool) -> Plan:
        spans: list[PlannedSpan] = []
        windows: list[PlannedWindow] = []
        given, keep_at = 0, 0.0
        cut = self._notebook.options.cut
        for found in listen(
            self._watched(spool), self._detector, cut, quietest_in(spool), self.gain
        ):
            self._check()
            spans += [PlannedSpan(start=span.start, end=span.end) for span in found.spans]
            windows += [PlannedWindow(start=w.start, end=w.end, seam=w.seam) for w in found.windows]
            if len(windows) > given and not self._earlier and time.monotonic() >= keep_at:
                plan = Plan(spans=tuple(spans), windows=tuple(windows), complete=False)
                self._notebook.keep_plan(plan)
                self.feed.put(list(enumerate(windows))[given:])
                given, keep_at = len(windows), time.monotonic() + _KEEP_EVERY_S
        plan = Plan(spans=tuple(spans), windows=tuple(windows))
        self._reconcile(plan)
        self._notebook.keep_plan(plan)
        self._give(plan, given)
        return plan

    def _reconcile(self, plan: Plan) -> None:
        """Drop results of earlier attempts that belong to other windows."""
        before = self._notebook.plan
        if self._earlier and (before is None or not plan.begins_with(before.windows)):
            self._notebook.forget_results()
            self._earlier = {}

    def _give(self, plan: Plan, first: int = 0) -> None:
        """The windows from `first` on that are not recognized; these are all."""
        self.feed.put(
            (index, window)
            for index, window in enumerate(plan.windows)
            if index >= first and index not in self._earlier
        )
        self.feed.close()

    def _watched(self, spool: Spool) -> Iterator[Waveform]:
        for block in spool.blocks():
            self._check()
            yield block

    def _check(self) -> None:
        self._stop.check()
        if self._over.is_set():
            raise Cancelled("The recognition has ended.")


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
