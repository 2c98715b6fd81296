"""The private parts of torch that we use, all of them here.

torch may change them in any release: pyproject.toml bounds it above, and
tests/test_torch_internals.py says what broke.
"""

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = [
    "FakeTensorMode",
    "TorchDispatchMode",
    "has_hooks",
    "storage_key",
    "times_written",
    "tree_leaves",
]


def storage_key(storage: torch.UntypedStorage) -> int:
    """The same for all views of one memory, and for no two memories that live at the same time.

    `data_ptr` will not do: it is 0 for all tensors without content.
    """
    key: int = storage._cdata
    return key


def has_hooks(module: nn.Module) -> bool:
    """Whether something happens before or after a module's own `forward`."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def times_written(tensor: torch.Tensor) -> int:
    """How often a tensor was written to in place; an inference tensor, which does not count, -1."""
    return -1 if tensor.is_inference() else tensor._version
