"""A recorder without a GPU: what CUDA graphs promise and forbid, on any device.

Operations are noted as they run and repeated on the same tensors. Numbers that Python computed on
the way are part of the recording, as they are in a CUDA graph; looking at a value is refused.
"""

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from stenograf.llm.whisper.graphs import Work

_Noted = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]
_LOOKS = ("_local_scalar_dense", "item", "nonzero", "masked_select")


class HostLook(RuntimeError):
    """Recorded work asked for a value, for which the host would have to wait."""


class TapeRecorder:
    """A `Recorder` that notes operations."""

    def __call__(self, work: Work, restore: Work) -> Work:
        """See `Recorder`."""
        tape = _Tape()
        with tape:
            work()
        restore()
        return tape.replay


class _Tape(TorchDispatchMode):  # type: ignore[misc]  # untyped in PyTorch
    def __init__(self) -> None:
        super().__init__()
        self._noted: list[_Noted] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func.overloadpacket.__name__ in _LOOKS:
            raise HostLook(f"{func} makes the host wait for a value")
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self._noted.append((func, args, kwargs, result))
        return result

    def replay(self) -> None:
        made: dict[int, Any] = {}  # by the identity of what was made then, which the notes keep

        def now(value: Any) -> Any:
            return made.get(id(value), value)

        for func, args, kwargs, result in self._noted:
            again = func(*tree_map(now, args), **tree_map(now, kwargs))
            then, fresh = tree_flatten(result)[0], tree_flatten(again)[0]
            made.update(zip(map(id, then), fresh, strict=True))
