"""Factors of experts, as PEFT lays them out today.

Takes an adapter's tensors, gives tensors. Adapters of mixtures of experts that were trained before
transformers 5 have factors for each expert; PEFT turns them into factors of the fused experts, and
what it makes of them is asked for here, so that every tensor is proved to be used. Before 0.19
PEFT itself had factors of fused experts the other way round.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from diffspeak.finetunes.peft_library import (
    convert_peft_adapter_state_dict_for_transformers,
    get_checkpoint_conversion_mapping,
)

TURNED = (0, 19)
"""Since this release PEFT has `lora_A` on the inputs of fused experts, and not on their outputs."""


def converts_experts(model: nn.Module) -> bool:
    """Whether a model has fused experts that PEFT turns factors of single experts into."""
    kind = getattr(getattr(model, "config", None), "model_type", None)
    if kind is None or get_checkpoint_conversion_mapping(kind) is None:
        return False
    return any(parameter.dim() == 3 for parameter in model.parameters())


def converted(peft: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An adapter's tensors as PEFT loads them, by the names that it saves them under.

    Args:
        peft: A model of PEFT's with an adapter that was not loaded yet.
        tensors: As they stand in the file.
    """
    config = peft.peft_config[peft.active_adapter]
    found: dict[str, Tensor] = convert_peft_adapter_state_dict_for_transformers(
        model=peft, peft_config=config, adapter_state_dict=dict(tensors)
    )
    return found


def turned(
    tensors: Mapping[str, Tensor], experts: Mapping[str, int], version: str | None
) -> dict[str, Tensor]:
    """Factors of fused experts as PEFT lays them out since 0.19.

    Before, `A [expert * rank, out]` and `B [in, rank * expert]` made up a change that was
    transposed; since, `A [expert * rank, in]` and `B [out, rank * expert]` make up the same one.

    Args:
        tensors: Of an adapter.
        experts: How many experts the module of each pair has, by the pair's name
            (`model.layers.0.mlp.experts`), where its weights lie `[expert, out, in]`.
        version: Of the PEFT that wrote them, as its config says.
    """
    if not _is_older(version):
        return dict(tensors)
    found = dict(tensors)
    for key, A in tensors.items():
        other = key.replace(".lora_A.", ".lora_B.")
        module = key.partition(".lora_A.")[0].removeprefix("base_model.model.")
        count = experts.get(module.replace(".base_layer", ""))
        if other == key or count is None or other not in tensors:
            continue
        B = tensors[other]
        rank = A.shape[0] // count
        found[key] = B.reshape(B.shape[0], rank, count).permute(2, 1, 0).reshape(-1, B.shape[0])
        back = A.reshape(count, rank, A.shape[1]).permute(2, 1, 0)
        found[other] = back.reshape(A.shape[1], -1)
    return {key: tensor.contiguous() for key, tensor in found.items()}


def _is_older(version: str | None) -> bool:
    if version is None:
        return False
    parts = version.split(".")[:2]
    return all(part.isdigit() for part in parts) and tuple(map(int, parts)) < TURNED
