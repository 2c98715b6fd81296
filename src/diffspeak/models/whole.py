"""Let a model run, for a while, with a finetune's whole parameters in place of its own.

For finetunes that are not low-rank: one at a time, in the same model, nothing copied. Parameters
are named as in the plain model, also where linears are wrapped by an attachment.
"""

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from diffspeak.errors import MismatchError
from diffspeak.lora import DiffLinear, LinearShape
from diffspeak.models.linears import shape_of, target_names


def plain_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """All parameters by the names they have when nothing is attached; tied ones by their first."""
    return _named(model, tied=False)


def plain_tensors(model: nn.Module) -> dict[str, Tensor]:
    """All parameters' data by every name they have when nothing is attached, tied ones too."""
    return {name: parameter.data for name, parameter in _named(model, tied=True).items()}


def _named(model: nn.Module, *, tied: bool) -> dict[str, nn.Parameter]:
    wrapped = [name for name, module in model.named_modules() if isinstance(module, DiffLinear)]
    inner = {f"{name}.base.": f"{name}." for name in wrapped}

    def plain(name: str) -> str:
        module, _, part = name.rpartition(".")
        prefix = f"{module}."
        return inner.get(prefix, prefix) + part

    named = model.named_parameters(remove_duplicate=not tied)
    return {plain(name): parameter for name, parameter in named}


def partial_copy(model: PreTrainedModel, names: Collection[str]) -> PreTrainedModel:
    """A copy of a model with nothing attached, in which only some parameters hold numbers.

    Nothing of it shares memory with the model, so whatever is done to the copy, the model stays as
    it is. The other parameters have shapes alone (torch's `meta` device); what is tied is tied.

    Args:
        model: Any, attached or not.
        names: Of the parameters that hold numbers, as in the plain model.
    """
    kept = {id(parameter) for name, parameter in _named(model, tied=True).items() if name in names}
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        own = parameter.data
        held = own.clone() if id(parameter) in kept else torch.empty_like(own, device="meta")
        memo[id(parameter)] = nn.Parameter(held, requires_grad=False)
    copied = copy.deepcopy(model, memo)
    for name, module in list(copied.named_modules()):
        if isinstance(module, DiffLinear):
            copied.set_submodule(name, module.base)
    return copied


def untie(model: nn.Module) -> None:
    """Give every name a parameter of its own, where several share one."""
    seen: set[int] = set()
    for name, parameter in list(model.named_parameters(remove_duplicate=False)):
        if id(parameter) in seen:
            _replace(model, name, nn.Parameter(parameter.data.clone(), requires_grad=False))
        seen.add(id(parameter))


def plain_modules(model: nn.Module) -> list[str]:
    """All modules by the names they have when nothing is attached."""
    wrapped = {name for name, module in model.named_modules() if isinstance(module, DiffLinear)}
    return [
        name
        for name, _ in model.named_modules()
        if not (name.endswith(".base") and name.removesuffix(".base") in wrapped)
    ]


def plain_shapes(model: PreTrainedModel) -> dict[str, LinearShape]:
    """Sizes of the blocks' linears, by the names they have when nothing is attached."""
    shapes = {}
    for name in target_names(model):
        shape = shape_of(model.get_submodule(name))
        assert shape is not None
        shapes[_unwrapped(model, name)] = shape
    return shapes


def _unwrapped(model: nn.Module, name: str) -> str:
    parent = name.rpartition(".")[0]
    return parent if isinstance(model.get_submodule(parent), DiffLinear) else name


@contextmanager
def whole(model: nn.Module, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Within this context the model's parameters are those of `state`; afterwards its own again.

    Args:
        model: The base, attached or not.
        state: Parameter name to tensor of the parameter's shape; what is left out stays the
            base's. Tensors are used in the base's dtype and on its device. Where the base ties
            parameters, the first name stands for all of them, unless another has its own.

    Raises:
        MismatchError: A name is unknown, or a shape differs; nothing was changed.
    """
    parameters, tied = plain_parameters(model), _named(model, tied=True)
    for name, tensor in state.items():
        if name not in tied:
            raise MismatchError(f"the finetune has {name}, which the base has not; use its base")
        if tensor.shape != tied[name].shape:
            raise MismatchError(
                f"{name} is {tuple(tensor.shape)} in the finetune and "
                f"{tuple(tied[name].shape)} in the base; use the base it was made from"
            )
    own = {name: parameters[name].data for name in state if name in parameters}
    alone = {name: tied[name] for name in state if name not in parameters}
    try:
        for name, parameter in alone.items():
            _replace(model, name, nn.Parameter(_like(state[name], parameter), requires_grad=False))
        for name in own:
            parameters[name].data = _like(state[name], own[name])
        yield
    finally:
        for name, tensor in own.items():
            parameters[name].data = tensor
        for name, parameter in alone.items():
            _replace(model, name, parameter)


def _like(tensor: Tensor, other: Tensor) -> Tensor:
    return tensor.to(other.device, other.dtype)


def _replace(model: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Give one module a parameter of its own; it is not one that an attachment wraps."""
    module, _, part = name.rpartition(".")
    setattr(model.get_submodule(module), part, parameter)
