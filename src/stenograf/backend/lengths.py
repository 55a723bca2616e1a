"""How long recordings are, found out by decoding them up to a bound; remembered for many."""

import math
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from stenograf.audio.decode import DecodeLimits, decode
from stenograf.contract.errors import (
    BadRequest,
    Cancelled,
    DecodeLimitExceeded,
    Gone,
    NotFound,
    StenografError,
)
from stenograf.contract.pcm import SAMPLE_RATE

_REMEMBERED = 4096
_LOOK_S = 60.0  # a file that takes longer to decode is as good as a long one
_PATIENCE_S = 5.0  # for another thread's look; who does not wait at all may overtake an equal


class Lengths:
    """Looks at recordings; any number of threads may ask. What is decoded lies in `folder`."""

    def __init__(self, limits: DecodeLimits, folder: Path, *, bound_s: float) -> None:
        timeout_s = min(limits.timeout_s, _LOOK_S)
        # a recording of just `bound_s` is told from one that goes on
        self._limits = replace(limits, timeout_s=timeout_s, stop_after_s=bound_s + 1.0)
        self._bound_s = bound_s
        self._folder = folder
        self._looked = threading.Condition()
        self._known: OrderedDict[str, float] = OrderedDict()
        self._looked_at: set[str] = set()

    def clean(self) -> None:
        """Remove what a killed process left behind."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def of(
        self, sha256: str, source: Callable[[], Path], should_stop: Callable[[], bool]
    ) -> float | None:
        """Seconds of the recording with this content; infinite beyond the bound.

        None where that cannot be told now: another thread looks and takes its time, there is no
        file (`source` may raise NotFound), or `should_stop` said so.
        """
        with self._looked:
            self._looked.wait_for(lambda: sha256 not in self._looked_at, _PATIENCE_S)
            if sha256 in self._known:
                self._known.move_to_end(sha256)
                return self._known[sha256]
            if sha256 in self._looked_at:
                return None
            self._looked_at.add(sha256)
        try:
            length_s = self._look(source(), should_stop)
            self._remember(sha256, length_s)
            return length_s
        except (Cancelled, Gone, NotFound):
            return None
        finally:
            with self._looked:
                self._looked_at.discard(sha256)
                self._looked.notify_all()

    def _look(self, source: Path, should_stop: Callable[[], bool]) -> float:
        try:
            return self._decoded_s(source, should_stop)
        except (Cancelled, Gone):
            raise
        except DecodeLimitExceeded:
            return math.inf
        except BadRequest:
            return 0.0  # no recording at all; whoever works on it finds that out as soon
        except (StenografError, OSError):
            return math.inf  # for want of disk or memory, which is told to who works on it

    def _decoded_s(self, source: Path, should_stop: Callable[[], bool]) -> float:
        claims_more = False

        def on_progress(_: int, total: int | None) -> None:
            nonlocal claims_more
            claims_more = total is not None and total > self._bound_s * SAMPLE_RATE

        self._folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as folder:
            try:
                sound = decode(
                    source,
                    Path(folder) / "sound.f32",
                    self._limits,
                    on_progress=on_progress,
                    should_stop=lambda: claims_more or should_stop(),
                )
            except Cancelled:
                if claims_more:
                    return math.inf
                raise
        length_s = sound.n_samples / SAMPLE_RATE
        return length_s if length_s <= self._bound_s else math.inf

    def _remember(self, sha256: str, length_s: float) -> None:
        with self._looked:
            self._known[sha256] = length_s
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
