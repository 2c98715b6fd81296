"""Let a model run, for a while, with a finetune's whole parameters in place of its own.

For finetunes that are not low-rank: one at a time, in the same model, nothing copied. Parameters
are named as in the plain model, also where linears are wrapped by an attachment.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from diffspeak.errors import MismatchError
from diffspeak.lora import DiffLinear


def plain_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """All parameters by the names they have when nothing is attached."""
    wrapped = [name for name, module in model.named_modules() if isinstance(module, DiffLinear)]
    inner = {f"{name}.base.": f"{name}." for name in wrapped}

    def plain(name: str) -> str:
        module, _, part = name.rpartition(".")
        prefix = f"{module}."
        return inner.get(prefix, prefix) + part

    return {plain(name): parameter for name, parameter in model.named_parameters()}


@contextmanager
def whole(model: nn.Module, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Within this context the model's parameters are those of `state`; afterwards its own again.

    Args:
        model: The base, attached or not.
        state: Parameter name to tensor of the parameter's shape; what is left out stays the
            base's. Tensors are used in the base's dtype and on its device.

    Raises:
        MismatchError: A name is unknown, or a shape differs; nothing was changed.
    """
    parameters = plain_parameters(model)
    for name, tensor in state.items():
        if name not in parameters:
            raise MismatchError(f"the finetune has {name}, which the base has not; use its base")
        if tensor.shape != parameters[name].shape:
            raise MismatchError(
                f"{name} is {tuple(tensor.shape)} in the finetune and "
                f"{tuple(parameters[name].shape)} in the base; use the base it was made from"
            )
    own = {name: parameters[name].data for name in state}
    try:
        for name, tensor in state.items():
            parameters[name].data = tensor.to(own[name].device, own[name].dtype)
        yield
    finally:
        for name, tensor in own.items():
            parameters[name].data = tensor
