"""The base that a finetune names, as far as a name written on another machine can be trusted."""

import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from diffspeak.errors import UsageError
from diffspeak.models import Base, load_base
from diffspeak.models.pocket import NAME as POCKET

_IN_FOUR_BITS = re.compile(r"(-unsloth)?-bnb-[48]bit$|-[48]bit$", re.IGNORECASE)
"""How the names of copies end that hold a base in few bits."""


def load_named(named: str, finetune: str, **how: str) -> Base:
    """Load the base that a finetune names.

    Args:
        named: As it stands in the finetune.
        finetune: What names it, for messages.
        **how: What `load_base` is told.

    Raises:
        UsageError: It is not there, or in four bits: the message says to give it with `--base`.
    """
    give = f"give {unquantized(named) or 'it'} with --base"
    if _of_another_machine(named):
        raise UsageError(
            f"{finetune} names its base {named}, a path of the machine it was trained on: {give}"
        )
    try:
        base = load_base(named, **how)
    except UsageError as error:
        raise UsageError(f"{finetune} names its base {named}: {error}; {give}") from error
    if base.fingerprint.linears is None:
        raise UsageError(
            f"{finetune} names its base {named}, which is quantized: {give}, in 16 bits"
        )
    return base


def unquantized(named: str) -> str | None:
    """What a base in few bits is a copy of, by its name; None if the name does not tell."""
    plain = _IN_FOUR_BITS.sub("", named)
    return plain if plain != named else None


def other_base(config: Mapping[str, Any], base: Base) -> list[str]:
    """A note, if an adapter's config names another base than the one in use."""
    named = config.get("base_model_name_or_path")
    if not isinstance(named, str) or not named or _called(named) in _names(base):
        return []
    return [f"its config names the base {named}, and {base.name} is used"]


def _names(base: Base) -> set[str]:
    """What the base in use may be called: by its last part, or by a hub's folder for it."""
    parts = [part.split("--")[-1] for part in Path(base.name).parts]
    return {_called(part) for part in parts}


def _called(name: str) -> str:
    """The last part of a name or path, without what tells how many bits it has."""
    plain = PureWindowsPath(name.rstrip("/\\")).name or name
    return _IN_FOUR_BITS.sub("", plain).lower()


def _of_another_machine(named: str) -> bool:
    """Whether a name is a path, and leads nowhere here."""
    if named == POCKET or Path(named).expanduser().exists():
        return False
    return named.startswith(("/", ".", "~")) or "\\" in named or named.count("/") > 1
