"""From samples to windows at one gain, while the spool may still grow."""

import time
from collections.abc import Callable, Iterator

from stenograf.audio.listen import listen
from stenograf.audio.spool import Spool
from stenograf.audio.vad import VoiceDetector
from stenograf.audio.windows import quietest_in
from stenograf.backend.feed import Feed
from stenograf.backend.notebook import Notebook
from stenograf.backend.records import Heard, Plan, PlannedSpan, PlannedWindow
from stenograf.backend.stop import Stop
from stenograf.contract.pcm import Waveform

_KEEP_EVERY_S = 1.0  # a growing plan is stored whole each time


class Hearing:
    """One spool at one gain; `feed` gives the windows that are to be recognized.

    A window is given once a plan that contains it is stored. Results of `earlier` attempts count
    only for the very windows they were made of: where there are some and the plan was not complete,
    nothing is given before all windows are found again.
    """

    def __init__(
        self,
        spool: Spool,
        gain: float,
        notebook: Notebook,
        stop: Stop,
        earlier: dict[int, Heard],
    ) -> None:
        self.spool = spool
        self.gain = gain
        self.notebook = notebook
        self.stop = stop
        self.earlier = earlier
        self.feed = Feed()

    def take(self, plan: Plan) -> None:
        """Give the windows of a complete plan of an earlier attempt."""
        self._give(plan)

    def find(self, detector: VoiceDetector, on_speech: Callable[[PlannedWindow], None]) -> Plan:
        """Find all windows; the feed is closed in the end, with the error if there is one.

        `on_speech` sees the first window before it is given, where others may still follow. Raises
        Stopped, and what the spool and `on_speech` raise.
        """
        try:
            return self._planned(detector, on_speech)
        except BaseException as error:
            self.feed.close(error)
            raise

    def _planned(self, detector: VoiceDetector, on_speech: Callable[[PlannedWindow], None]) -> Plan:
        spans: list[PlannedSpan] = []
        windows: list[PlannedWindow] = []
        given, keep_at = 0, 0.0
        cut = self.notebook.options.cut
        for found in listen(self._blocks(), detector, cut, quietest_in(self.spool), self.gain):
            self.stop.check()
            spans += [PlannedSpan(start=span.start, end=span.end) for span in found.spans]
            windows += [PlannedWindow(start=w.start, end=w.end, seam=w.seam) for w in found.windows]
            if len(windows) > given and not self.earlier and time.monotonic() >= keep_at:
                if not given:
                    on_speech(windows[0])
                plan = Plan(spans=tuple(spans), windows=tuple(windows), complete=False)
                self.notebook.keep_plan(plan)
                self.feed.put(list(enumerate(windows))[given:])
                given, keep_at = len(windows), time.monotonic() + _KEEP_EVERY_S
        plan = Plan(spans=tuple(spans), windows=tuple(windows))
        self._reconcile(plan)
        self.notebook.keep_plan(plan)
        self._give(plan, given)
        return plan

    def _reconcile(self, plan: Plan) -> None:
        """Drop results of earlier attempts that belong to other windows."""
        before = self.notebook.plan
        if self.earlier and (before is None or not plan.begins_with(before.windows)):
            self.notebook.forget_results()
            self.earlier = {}

    def _give(self, plan: Plan, first: int = 0) -> None:
        """The windows from `first` on that are not recognized; these are all."""
        self.feed.put(
            (index, window)
            for index, window in enumerate(plan.windows)
            if index >= first and index not in self.earlier
        )
        self.feed.close()

    def _blocks(self) -> Iterator[Waveform]:
        for block in self.spool.blocks():
            self.stop.check()
            yield block
