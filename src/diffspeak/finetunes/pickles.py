"""Pickles of tensors, opened without running anything in them.

Takes a path, gives what it holds. Torch's restricted loader makes tensors and plain containers
alone; whatever else a pickle asks for is refused by its name.
"""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from diffspeak.errors import CorruptFileError


def load_pickle(path: Path) -> Any:
    """Open a `.pt` file without running anything in it.

    Raises:
        CorruptFileError: It holds code or is broken.
    """
    try:
        with warnings.catch_warnings():
            # It warns of pickles that others than torch wrote; what matters raises.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = " ".join(str(error).split())
        raise CorruptFileError(
            f"{path} holds more than tensors ({_named(reason)}): such a file can run code and is "
            "not opened; ask for safetensors"
        ) from error
    except Exception as error:
        # A broken pickle makes its reader fail in any way.
        raise CorruptFileError(f"{path} cannot be read ({error}); fetch it again") from error


def _named(reason: str) -> str:
    """What torch refused to make, from its long explanation."""
    _, _, rest = reason.partition("GLOBAL ")
    return rest.split(" ")[0] if rest else "an object that is no tensor"
