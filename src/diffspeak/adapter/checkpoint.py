"""An adapter training's state in one file, so that an interrupted run goes on bit for bit.

Takes parameters and their optimizer, gives one safetensors file; no pickle. What it was trained
with travels in it: a checkpoint of another config is refused.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffspeak.errors import CorruptFileError, MismatchError
from diffspeak.files import atomic_path
from diffspeak.runs import differences

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def save_checkpoint(
    path: Path,
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    step: int,
    settings: str,
) -> None:
    """Write the state after `step` steps; the old file stays until the new one is whole."""
    tensors = {name: parameter.detach().cpu() for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        for moment in MOMENTS:
            tensors[f"{name}/{moment}"] = optimizer.state[parameter][moment].cpu()
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"step": str(step), "settings": settings})


def load_checkpoint(
    path: Path,
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    settings: str,
) -> int:
    """Fill parameters and optimizer from a checkpoint.

    Returns:
        The number of steps done; 0 if there is no checkpoint.

    Raises:
        MismatchError: It belongs to another config, base or set of stores.
        CorruptFileError: It cannot be read.
    """
    if not path.exists():
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        step = int(metadata["step"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise CorruptFileError(
            f"the checkpoint {path} cannot be read ({error}); delete it to start anew"
        ) from error
    named = differences(json.loads(metadata.get("settings", "{}")), json.loads(settings))
    if named:
        raise MismatchError(
            f"the checkpoint {path} was made with other settings "
            f"({', '.join(named[:3])}); "
            "go on with the same ones, or choose another folder"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])
            optimizer.state[parameter] = {
                moment: tensors[f"{name}/{moment}"].to(
                    "cpu"
                    if moment == "step" and parameter.device.type == "cpu"
                    else parameter.device
                )
                for moment in MOMENTS
            }
    return step
