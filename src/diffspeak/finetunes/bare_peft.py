"""PEFT, imported and run without bitsandbytes.

Where bitsandbytes is installed, `peft` imports it whatever it is asked for; that takes a second,
prints a warning on some processors and may look for a kernel on the hub. Nothing that goes through
PEFT here is quantized, so PEFT is told that bitsandbytes is not there. This room imports this file
before all others, so that PEFT is imported here.
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
    import peft  # noqa: F401
