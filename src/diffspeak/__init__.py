"""diffspeak asks a finetuned language model what its finetuning changed, and checks the answer."""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffspeak.adapter import load_adapter, train_adapter
    from diffspeak.audit.auditor import Auditor
    from diffspeak.diffs import train_diffs
    from diffspeak.finetunes import load_finetune
    from diffspeak.interpret import Interpreter
    from diffspeak.models import load_base
    from diffspeak.store import open_store

__all__ = [
    "Auditor",
    "Interpreter",
    "load_adapter",
    "load_base",
    "load_finetune",
    "open_store",
    "train_adapter",
    "train_diffs",
]

__version__ = "0.1.0"

_ROOMS = MappingProxyType(
    {
        "Auditor": "diffspeak.audit.auditor",
        "Interpreter": "diffspeak.interpret",
        "load_adapter": "diffspeak.adapter",
        "load_base": "diffspeak.models",
        "load_finetune": "diffspeak.finetunes",
        "open_store": "diffspeak.store",
        "train_adapter": "diffspeak.adapter",
        "train_diffs": "diffspeak.diffs",
    }
)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch and transformers take seconds."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
