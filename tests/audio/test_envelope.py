"""The drawn waveform."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stenograf.audio.envelope import MAX_BUCKETS, EnvelopeMeter


@settings(max_examples=60)
@given(
    n_samples=st.one_of(st.integers(0, 3000), st.integers(100_000, 600_000)),
    cuts=st.lists(st.floats(0, 1), max_size=6),
)
def test_extremes_of_aligned_buckets_whatever_the_blocks(n_samples: int, cuts: list[float]) -> None:
    waveform = np.random.default_rng(n_samples).normal(size=n_samples).astype(np.float32)
    meter = EnvelopeMeter()
    for block in np.split(waveform, sorted(int(cut * n_samples) for cut in cuts)):
        meter.add(block)
    drawn = meter.envelope
    assert len(drawn.minimum) == len(drawn.maximum) <= MAX_BUCKETS
    assert drawn.bucket_samples == 64 or len(drawn.minimum) >= MAX_BUCKETS // 2
    starts = range(0, n_samples, drawn.bucket_samples)
    assert drawn.minimum.tolist() == [
        waveform[start : start + drawn.bucket_samples].min() for start in starts
    ]
    assert drawn.maximum.tolist() == [
        waveform[start : start + drawn.bucket_samples].max() for start in starts
    ]
