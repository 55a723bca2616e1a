"""Work of constant shape, recorded once and replayed: on a GPU a step is then one launch.

A step of a decoder is hundreds of small kernels, and Python cannot launch them as fast as a large
GPU computes them. A recording is of addresses: whoever moves a tensor must `forget` the recordings.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import torch

logger = logging.getLogger(__name__)

MOST_GRAPHS = 24  # each holds some megabytes of the driver's memory
Work = Callable[[], None]
"""Reads and writes tensors that stay where they are; never looks at a value."""


class Recorder(Protocol):
    """Makes a replay of some work."""

    def __call__(self, work: Work, restore: Work) -> Work:
        """The replay of `work`, which is run for that at most a few times, each followed by
        `restore`."""
        ...


class Graphs:
    """Runs work, from a recording where there is a recorder.

    When recording fails it says why in the log and runs everything directly from then on.
    """

    def __init__(self, record: Recorder | None = None, most: int = MOST_GRAPHS) -> None:
        self._record = record
        self._most = most
        self._recorded: OrderedDict[Hashable, Work] = OrderedDict()

    @property
    def recording(self) -> bool:
        """Whether work is recorded."""
        return self._record is not None

    def __len__(self) -> int:
        return len(self._recorded)

    def run(self, shape: Hashable, work: Work, state: Sequence[torch.Tensor]) -> None:
        """Do `work` once. Equal `shape` means equal work; `state` is what it changes beside what
        it alone reads."""
        replay = self._recorded.get(shape)
        if replay is None:
            replay = self._recording(shape, work, state)
        else:
            self._recorded.move_to_end(shape)
        replay()

    def forget(self) -> None:
        """Drop every recording."""
        self._recorded.clear()

    def _recording(self, shape: Hashable, work: Work, state: Sequence[torch.Tensor]) -> Work:
        if self._record is None:
            return work
        before = [tensor.clone() for tensor in state]

        def restore() -> None:
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)

        if len(self._recorded) >= self._most:
            self._recorded.popitem(last=False)
        try:
            replay = self._record(work, restore)
        except torch.OutOfMemoryError:
            raise
        except Exception as exc:
            self._record = None
            self.forget()
            restore()
            logger.warning(
                "decoding steps cannot be recorded, so each is launched from Python, which is "
                "slower: %s: %s",
                type(exc).__name__,
                exc,
            )
            return work
        self._recorded[shape] = replay
        return replay


class CudaRecorder:
    """Records CUDA graphs; they need no compiler, and share their memory for what is in between."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)

    def __call__(self, work: Work, restore: Work) -> Work:
        """See `Recorder`."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            for _ in range(2):  # libraries choose kernels and take workspaces on first use
                work()
                restore()
        current.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            work()
        replay: Work = graph.replay
        return replay
