"""A recording -> its spans of speech and its windows, each as soon as it is certain."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stenograf.audio.spans import Span, SpanFinder
from stenograf.audio.vad import Counted, VoiceDetector
from stenograf.audio.windows import Cutter, Quietest, Window
from stenograf.contract.options import CutOptions
from stenograf.contract.pcm import Waveform


class Found(NamedTuple):
    """What became certain since the last time, both in order; either may be empty."""

    spans: list[Span]
    windows: list[Window]


def listen(
    blocks: Iterable[Waveform],
    detector: VoiceDetector,
    options: CutOptions,
    quietest: Quietest,
    gain: float = 1.0,
) -> Iterator[Found]:
    """Hear a recording given as consecutive blocks, each shape (n_samples,).

    Joined, these are the spans of `VoiceDetector.spans` and the windows of `windows.cut`, whatever
    the blocks. Something comes every few seconds of sound, so that the caller can stop. With `vad`
    off there are no spans, and windows only after the last block.
    """
    cutter = Cutter(options, quietest)
    if not options.vad:
        n_samples = sum(map(len, blocks))
        whole = [Span(0, n_samples)] if n_samples else []
        for window in cutter.add(whole):
            yield Found([], [window])
        yield Found([], cutter.finish())
        return
    counted, finder = Counted(blocks), SpanFinder(options)
    for batch in detector.probabilities(counted, gain):
        spans = finder.add(batch)
        yield Found(spans, list(cutter.add(spans, finder.horizon)))
    spans = finder.finish(counted.n_samples)
    yield Found(spans, [*cutter.add(spans), *cutter.finish()])
