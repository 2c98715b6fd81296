"""Which linears a Hugging Face model has, and which of them stand in its transformer blocks.

Takes a model, gives names and sizes. It does not wrap anything; `lora.attach` does.
"""

from collections.abc import Sequence
from typing import Literal

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from diffspeak.errors import UsageError
from diffspeak.lora import Attachment, LinearShape, attach, linear_shape, select

Targets = Literal["blocks"] | Sequence[str]
"""Every linear of the transformer blocks, or suffixes of module names (`q_proj`)."""


def shape_of(module: nn.Module) -> LinearShape | None:
    """Tell a linear's sizes: torch's own, or GPT-2's Conv1D, whose weight lies `[in, out]`."""
    if isinstance(module, Conv1D):
        inputs, outputs = module.weight.shape
        return LinearShape(inputs, outputs, transposed=True)
    return linear_shape(module)


def blocks_of(model: PreTrainedModel) -> str:
    """Name the module list that holds the text model's transformer blocks (`model.layers`).

    Raises:
        UsageError: The model has none of the length that its config names.
    """
    decoder = model.get_decoder()
    count = model.config.get_text_config(decoder=True).num_hidden_layers
    for child in decoder.modules():
        if isinstance(child, nn.ModuleList) and len(child) == count:
            names: dict[nn.Module, str] = {m: name for name, m in model.named_modules()}
            return names[child]
    raise UsageError(
        f"found no list of {count} transformer blocks in {type(model).__name__}; "
        'name the targets by suffix, for example ["q_proj", "v_proj"]'
    )


def target_names(model: PreTrainedModel, targets: Targets = "blocks") -> list[str]:
    """Full names of the linears that a diff or an adapter changes, in the model's order.

    Raises:
        UsageError: A suffix that no linear of the blocks has.
    """
    suffixes = None if targets == "blocks" else targets
    return select(model, within=blocks_of(model), suffixes=suffixes, shape_of=shape_of)


def check_rank(model: PreTrainedModel, targets: Targets, rank: int, setting: str) -> None:
    """Refuse a rank that none of the targets can have, before memory is taken for it.

    Args:
        model: Nothing attached.
        targets: What is to be changed.
        rank: Of the change of each.
        setting: What the rank is called in configs.

    Raises:
        UsageError: No target is so large.
    """
    shapes = [shape_of(model.get_submodule(name)) for name in target_names(model, targets)]
    largest = max((min(shape.inputs, shape.outputs) for shape in shapes if shape), default=rank)
    if rank > largest:
        raise UsageError(
            f"{setting} = {rank} is more than the change of any target can have: give at most "
            f"{largest}"
        )


def left_alone(model: PreTrainedModel) -> list[str]:
    """Matrices of the blocks that belong to no linear, so that nothing is attached to them.

    In mixtures of experts these are the experts, held in one tensor, and their router.
    """
    within = f"{blocks_of(model)}."
    owners = {id(module) for module in model.modules() if shape_of(module) is not None}
    return [
        f"{name}.{part}"
        for name, module in model.named_modules()
        if name.startswith(within) and id(module) not in owners
        for part, parameter in module.named_parameters(recurse=False)
        if parameter.dim() > 1
    ]


def attach_to(model: PreTrainedModel, targets: Targets = "blocks") -> Attachment:
    """Wrap the targets of a model; `lora.attach` says what that means."""
    return attach(model, target_names(model, targets), shape_of, model.get_decoder())
