"""The private parts of torch are there and do what we need; each failure says what broke."""

import pytest
import torch
from torch import nn

from tests.private_parts import private_part

FILE = "src/diffspeak/torch_internals.py"
PARTS = {
    "torch._subclasses.fake_tensor.FakeTensorMode": "`diffspeak plan` (counting without content)",
    "torch.utils._python_dispatch.TorchDispatchMode": "`diffspeak plan` (counting operations)",
    "torch.utils._pytree.tree_leaves": "`diffspeak plan` (finding the tensors that were made)",
}


@pytest.mark.parametrize("path", PARTS)
def test_what_we_import_is_there(path):
    private_part("torch", path, FILE, PARTS[path])


def test_a_storage_has_one_key_with_content_or_without():
    from diffspeak.torch_internals import FakeTensorMode, storage_key

    def keys():
        one, other = torch.zeros(4, 4), torch.zeros(4, 4)
        return [storage_key(x.untyped_storage()) for x in (one, one.t(), one[1:], other)]

    with FakeTensorMode():
        without = keys()
    for found in (keys(), without):
        assert len(set(found)) == 2 and len(set(found[:3])) == 1, "storage._cdata is no key"


def test_hooks_are_seen():
    from diffspeak.torch_internals import has_hooks

    for add in ("register_forward_hook", "register_forward_pre_hook"):
        module = nn.Linear(2, 2)
        assert not has_hooks(module)
        handle = getattr(module, add)(lambda *given: None)
        assert has_hooks(module), f"{add} no longer shows: DiffLinear would leave out the hook"
        handle.remove()
        assert not has_hooks(module)


def test_writing_in_place_is_counted():
    from diffspeak.torch_internals import times_written

    tensor = torch.zeros(3)
    before = times_written(tensor)
    tensor[1:] = 2
    assert times_written(tensor) > before, "DiffLinear would go on with factors that have changed"
    with torch.inference_mode():
        assert times_written(torch.zeros(3)) == -1
