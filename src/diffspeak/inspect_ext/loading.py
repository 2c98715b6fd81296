"""Base, finetune and adapter by their names, loaded once.

Takes a model's name behind `diffspeak/` and its args, gives what answers. Knows nothing of
inspect-ai.
"""

from typing import NamedTuple

from diffspeak.adapters import Adapter, is_adapter, load_adapter
from diffspeak.errors import UsageError
from diffspeak.finetunes import NOTHING, Finetune, Source, open_source
from diffspeak.inspect_ext.arguments import ModelArgs
from diffspeak.models import Base, check_base, load_base

ITSELF = "base"
"""The name of a model that is no finetune; a finetune in a folder of that name is `./base`."""

_NO_QUESTION = "?"
"""In the place of a question, which an adapter of others does not tell."""


class Loaded(NamedTuple):
    """What answers.

    Attributes:
        base: Nothing attached.
        finetune: `NOTHING` for the base itself.
        adapter: None without one.
        question: What the adapter is asked; None where nobody says.
    """

    base: Base
    finetune: Finetune
    adapter: Adapter | None
    question: str | None


def load(name: str, args: ModelArgs) -> Loaded:
    """Load a model.

    Args:
        name: A finetune, as `diffspeak describe` takes it, or `base`.
        args: Which base and adapter, and how.

    Raises:
        UsageError: Something cannot be opened, or nobody says which base it is.
        MismatchError: Finetune or adapter belong to another base.
        CorruptFileError: A file was changed or cut off, or is not safe.
    """
    source = None if name == ITSELF else _one(name, args.low_rank)
    ours = None
    if args.adapter is not None and is_adapter(args.adapter):
        ours = load_adapter(args.adapter)
    base = load_base(_base_name(args, ours, source), device=args.device, dtype=args.dtype)
    finetune = NOTHING if source is None else read(source, source.keys[0], base)
    if ours is not None:
        ours.check(base)
        return Loaded(base, finetune, ours, ours.questions[0])
    others = load_adapter(args.adapter, base, [_NO_QUESTION]) if args.adapter else None
    return Loaded(base, finetune, others, None)


def read(source: Source, key: str, base: Base) -> Finetune:
    """Read one finetune, of this base.

    Raises:
        MismatchError: It was made from another base.
        CorruptFileError: It was changed or cut off, or is not safe.
    """
    finetune = source.read(key, base)
    if finetune.base is not None:
        check_base(base.fingerprint, finetune.base, f"the finetune {finetune.name}")
    return finetune


def _one(name: str, low_rank: int | None) -> Source:
    source = open_source(name, low_rank=low_rank)
    if len(source.keys) != 1:
        raise UsageError(
            f"{name} holds {len(source.keys)} finetunes; name one, such as "
            f"{name}#{source.keys[0]}, or ask all of them with -T store={name}"
        )
    return source


def _base_name(args: ModelArgs, adapter: Adapter | None, source: Source | None) -> str:
    """The base, as `load_base` takes it."""
    named = args.base or (adapter and adapter.base_name) or (source and source.base_name())
    if not named:
        raise UsageError(
            "nothing says which base this is: name it with -M base=NAME, a hub id, a folder or "
            "pocket"
        )
    return named
