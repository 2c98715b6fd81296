"""Whether a stranger's tensor is a plain array of finite numbers, of which all is in its file."""

import torch
from torch import Tensor

PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def fault_of(tensor: Tensor, *, whole_numbers: bool = False) -> str | None:
    """What is wrong with a tensor, in words that follow on its name; None if nothing is.

    Args:
        tensor: As it came out of a file.
        whole_numbers: Whether it may hold integers, as indices do.
    """
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.is_quantized or tensor.is_nested:
        return "is no plain array of numbers"
    if tensor.dtype not in PLAIN:
        if whole_numbers and not (tensor.is_floating_point() or tensor.is_complex()):
            return None
        return f"holds {str(tensor.dtype).removeprefix('torch.')}, not float16, bfloat16 or float32"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "is larger than what its file holds of it"
    if not tensor.isfinite().all():
        return "holds numbers that are not finite; its training diverged or it was damaged"
    return None
