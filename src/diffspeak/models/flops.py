"""What a computation would cost: operations and memory, counted without computing anything.

Takes any piece of code that works on tensors; within the contexts given here its tensors have
shapes but no content, so the very code that trains a model can be counted for models that no
machine at hand could hold. Memory is that of the tensors alive at the same time: what an allocator
loses besides is not in it.
"""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from diffspeak.torch_internals import FakeTensorMode, TorchDispatchMode, storage_key, tree_leaves


@dataclass(frozen=True)
class Cost:
    """What was counted.

    Attributes:
        flops: Floating-point operations of matrix products and attention.
        peak: Most bytes of tensors alive at once, of those made within the count.
    """

    flops: float
    peak: float

    def __add__(self, other: "Cost") -> "Cost":
        """One after the other."""
        return Cost(self.flops + other.flops, max(self.peak, other.peak))


class Counter(TorchDispatchMode):
    """Counts while it is on; see `Cost`.

    Args:
        known: Tensors that were there before: views of them are not counted.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.flops, self.alive, self.peak = 0.0, 0, 0
        self._known = [tensor.untyped_storage() for tensor in known]
        self._sizes = {storage_key(storage): 0 for storage in self._known}

    @property
    def cost(self) -> Cost:
        """What was counted so far."""
        return Cost(self.flops, self.peak)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Let an operation happen, and count it."""
        result = function(*args, **(kwargs or {}))
        count = flop_registry.get(function.overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=result)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._note(leaf.untyped_storage())
        self.peak = max(self.peak, self.alive)
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage_key(storage)
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.alive += storage.nbytes()
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.alive -= self._sizes.pop(key, 0)


@contextmanager
def without_content() -> Iterator[None]:
    """Within this context tensors that are made have shapes alone, and take no memory."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield
