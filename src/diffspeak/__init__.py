"""diffspeak asks a finetuned language model what its finetuning changed, and checks the answer."""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffspeak.adapters import Interpreter, load_adapter
    from diffspeak.audit.auditor import Auditor
    from diffspeak.finetunes import load_finetune
    from diffspeak.models import load_base
    from diffspeak.store import open_store
    from diffspeak.training import train_adapter, train_diffs

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
        "Interpreter": "diffspeak.adapters",
        "load_adapter": "diffspeak.adapters",
        "load_base": "diffspeak.models",
        "load_finetune": "diffspeak.finetunes",
        "open_store": "diffspeak.store",
        "train_adapter": "diffspeak.training",
        "train_diffs": "diffspeak.training",
    }
)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch and transformers take seconds."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
