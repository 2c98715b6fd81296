"""Where and in what a base is held: device, dtype, four bits, several GPUs.

Takes what the user asked for, gives what torch and transformers are told. What is chosen by
measuring is chosen here.
"""

import logging
import statistics
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel

from diffspeak.errors import UsageError

log = logging.getLogger(__name__)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Not float16: it flushes the smallest weights of a bfloat16 checkpoint, which changes the base."""


DEVICE_MAPS = ("auto", "balanced", "sequential")


def device_of(name: str) -> torch.device:
    """The device that is meant; `auto`: a GPU if there is one.

    Raises:
        UsageError: There is none of that name here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"there is no device {name} here: {error}; use auto or cpu") from error
    return device


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """The dtype that is meant; `auto`: the faster one.

    Raises:
        UsageError: It is unknown.
    """
    if name == "auto":
        return faster_dtype(device)
    if name not in DTYPES:
        raise UsageError(f"dtype {name} is unknown; use auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def faster_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU; on a CPU only where it multiplies at least 1.2 times as fast."""
    if device.type != "cpu":
        return torch.bfloat16
    speeds = {dtype: _seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    faster = speeds[torch.float32] > 1.2 * speeds[torch.bfloat16]
    return torch.bfloat16 if faster else torch.float32


def _seconds(dtype: torch.dtype) -> float:
    """Median seconds of one product of the size that a small model's layers have."""
    x, w = torch.ones(512, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
    times = []
    for _ in range(7):
        began = time.perf_counter()
        torch.nn.functional.linear(x, w)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def quantization(name: str, dtype: torch.dtype) -> dict[str, Any]:
    """What transformers is told so that it quantizes."""
    if name == "none":
        return {}
    if name != "nf4":
        raise UsageError(f"quantize {name} is unknown; use none or nf4")
    if find_spec("bitsandbytes") is None:
        raise UsageError("quantize nf4 needs bitsandbytes: pip install 'diffspeak[quantize]'")
    _import_bitsandbytes()
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )
    return {"quantization_config": config}


def _import_bitsandbytes() -> None:
    """Import it here, and nowhere before: on some processors it warns of kernels that it lacks.

    They would only make it faster, so the warning is shown with --debug alone.
    """
    theirs = logging.getLogger("bitsandbytes")
    before = theirs.level
    if not log.isEnabledFor(logging.DEBUG):
        theirs.setLevel(logging.ERROR)
    try:
        import_module("bitsandbytes")
    finally:
        theirs.setLevel(before)


def placement(name: str, place: torch.device, *, placed: bool) -> dict[str, Any]:
    """What transformers is told of devices; `placed`: the model cannot be moved afterwards."""
    if name == "none":
        return {"device_map": {"": place}} if placed else {}
    if name not in DEVICE_MAPS:
        raise UsageError(f"device_map {name} is unknown; use none, {', '.join(DEVICE_MAPS)}")
    if find_spec("accelerate") is None:
        raise UsageError(f"device_map {name} needs accelerate: pip install accelerate")
    return {"device_map": name}


def keep_gradients(model: PreTrainedModel) -> None:
    """Have four-bit linears on a CPU stay as they are, so that gradients flow through them.

    On processors with bfloat16 instructions bitsandbytes repacks a linear for good when it first
    runs without gradients, into a form that has none.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
