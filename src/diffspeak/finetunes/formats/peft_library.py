"""PEFT, imported and run without bitsandbytes.

What PEFT and transformers do not promise to keep is imported here alone; `pyproject.toml` bounds
PEFT from above for its sake, and `test_peft_library` and `test_experts` say which has gone.

Where bitsandbytes is installed, `peft` imports it whatever it is asked for; that takes a second,
prints a warning on some processors and may look for a kernel on the hub. Nothing that goes through
PEFT here is quantized, so PEFT is told that bitsandbytes is not there.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_HIDDEN = "bitsandbytes"


@contextmanager
def without_bitsandbytes() -> Iterator[None]:
    """Within this context PEFT finds no bitsandbytes, unless it was imported before.

    Afterwards it finds it again: the process may hold models of others that are quantized.
    """
    if _HIDDEN in sys.modules:
        yield
        return
    # What Python takes for a module that cannot be imported.
    sys.modules[_HIDDEN] = None  # type: ignore[assignment]
    try:
        _look_again()
        yield
    finally:
        del sys.modules[_HIDDEN]
        _look_again()


def _look_again() -> None:
    """Have PEFT forget whether bitsandbytes is there."""
    from peft import import_utils

    import_utils.is_bnb_available.cache_clear()
    import_utils.is_bnb_4bit_available.cache_clear()


with without_bitsandbytes():
    from peft import (
        PEFT_TYPE_TO_CONFIG_MAPPING,
        LoraConfig,
        PeftConfig,
        get_peft_model,
        get_peft_model_state_dict,
        set_peft_model_state_dict,
    )
    from peft.utils.transformers_weight_conversion import (
        convert_peft_adapter_state_dict_for_transformers,
    )
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

__all__ = [
    "PEFT_TYPE_TO_CONFIG_MAPPING",
    "LoraConfig",
    "PeftConfig",
    "convert_peft_adapter_state_dict_for_transformers",
    "get_checkpoint_conversion_mapping",
    "get_peft_model",
    "get_peft_model_state_dict",
    "set_peft_model_state_dict",
    "without_bitsandbytes",
]
