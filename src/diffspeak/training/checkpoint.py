"""An adapter training's state in one file, so that an interrupted run goes on bit for bit.

What it was trained with travels in it: a checkpoint of another config is refused. No pickle.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from diffspeak.errors import CorruptFileError, MismatchError
from diffspeak.io.files import atomic_path, failed_write, parse_json
from diffspeak.io.runs import differences
from diffspeak.store import TensorFile

MOMENTS = ("exp_avg", "exp_avg_sq", "step")
# Our temporary files, and those that safetensors makes while it writes.
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp|\.tmp[0-9A-Za-z]{6}")


def sweep(folder: Path) -> None:
    """Remove what a run left half-written that was killed; the folder's lock must be held."""
    for path in sorted(folder.iterdir()):
        if _TEMPORARY.fullmatch(path.name):
            try:
                path.unlink()
            except OSError as error:
                raise failed_write(path, error) from error


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
        step, made_with, tensors = _read(path)
    except (ValueError, OSError) as error:
        raise _unreadable(path, error) from error
    named = differences(made_with, json.loads(settings))
    if named:
        raise MismatchError(
            f"the checkpoint {path} was made with other settings "
            f"({', '.join(named[:3])}); "
            "go on with the same ones, or choose another folder"
        )
    if {name: tensor.shape for name, tensor in tensors.items()} != _shapes(parameters):
        raise _unreadable(path, "its tensors are not those of its settings")
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


def _read(path: Path) -> tuple[int, dict[str, Any], dict[str, Tensor]]:
    """Steps done, settings and tensors; a ValueError says what is missing."""
    file = TensorFile(path)
    step, settings = file.metadata.get("step", ""), parse_json(file.metadata.get("settings", ""))
    if not step.isdecimal() or not isinstance(settings, dict):
        raise ValueError("it does not say its step and settings")
    return int(step), settings, {name: file.read(name) for name in file.names}


def _shapes(parameters: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    shapes = {}
    for name, parameter in parameters.items():
        shapes[name] = parameter.shape
        for moment in MOMENTS:
            shapes[f"{name}/{moment}"] = torch.Size() if moment == "step" else parameter.shape
    return shapes


def _unreadable(path: Path, why: object) -> CorruptFileError:
    return CorruptFileError(
        f"the checkpoint {path} cannot be read ({why}); delete it to start anew"
    )
