"""The rules as tensor operations forbid exactly what the rules in numpy forbid."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.llm.test_whisper_parts import END, SIZE, STAMP, Letters

from stenograf.llm.whisper.rules import LogitRules
from stenograf.llm.whisper.torch_rules import TorchRules
from stenograf.llm.whisper.vocabulary import build_vocabulary

VOCABULARY = build_vocabulary(Letters(), SIZE, {"suppress_tokens": [2, 4]}, {})
CPU = torch.device("cpu")


@given(
    seed=st.integers(0, 10**6),
    last_steps=st.lists(st.integers(0, 1500), min_size=3, max_size=3),
    stamps_at=st.integers(0, 3),
    loud=st.sampled_from([0.0, 5.0, 12.0]),
)
@settings(max_examples=40, deadline=None)
def test_step_by_step(seed: int, last_steps: list[int], stamps_at: int, loud: float) -> None:
    """Three rows write what the rules leave, timestamps more or less likely than text."""
    rng = np.random.default_rng(seed)
    timestamps = stamps_at > 0
    rules = LogitRules(VOCABULARY, last_steps, timestamps=timestamps)
    ours = TorchRules(VOCABULARY, 4, CPU)  # the fourth row is padding
    ours.begin(rules, [0, 1, 2])
    written: list[list[int]] = [[], [], []]
    for _ in range(8):
        logits = rng.normal(0, 3, (4, SIZE)).astype(np.float32)
        logits[:, :END] += loud
        expected = logits[:3].copy()
        rules.apply(expected, written, [0, 1, 2])
        found = ours.apply(torch.from_numpy(logits.copy())).numpy()[:3]
        assert np.array_equal(np.isfinite(found), np.isfinite(expected))
        assert np.array_equal(found[np.isfinite(found)], expected[np.isfinite(expected)])
        chosen = [int(rng.choice(np.flatnonzero(np.isfinite(row)))) for row in expected]
        for row, token in zip(written, chosen, strict=True):
            row.append(token)
        ours.observe(torch.tensor([*chosen, 0]))


@pytest.mark.parametrize("parents", [[1, 1, 0], [2, 0, 1]])
def test_a_row_goes_on_from_its_parent(parents: list[int]) -> None:
    rules = LogitRules(VOCABULARY, [100, 200, 300], timestamps=True)
    ours = TorchRules(VOCABULARY, 3, CPU)
    ours.begin(rules, [0, 1, 2])
    written = [[STAMP + 3, 1], [STAMP + 9, STAMP + 9], [STAMP + 50, 0]]
    for tokens in zip(*written, strict=True):
        ours.observe(torch.tensor(tokens))
    ours.rearrange(torch.tensor(parents))
    logits = np.zeros((3, SIZE), np.float32)
    logits[:, :END] = 20
    expected = logits.copy()
    rules.apply(expected, [written[parent] for parent in parents], parents)
    found = ours.apply(torch.from_numpy(logits)).numpy()
    assert np.array_equal(np.isfinite(found), np.isfinite(expected))
