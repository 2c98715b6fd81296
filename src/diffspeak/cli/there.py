"""Whether what was typed is there, looked up before anything is imported that takes seconds.

What something is, and what the hub has, whoever opens it says.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from diffspeak.errors import UsageError
from diffspeak.hub import hub_id

POCKET = "pocket"
"""The base that ships; what ships beside it begins with `pocket:`."""

_REPOSITORY = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
"""A base on the hub; the oldest ones have no owner."""


def check_finetune(typed: str) -> None:
    """Refuse, as a `UsageError`, what names no finetune, and no collection of them."""
    if not _is_at(typed) and not _may_be_on_hub(typed):
        raise UsageError(
            f"{typed} does not exist; give a finetune's folder or file, STORE#task-id, or a hub id"
        )


def check_adapter(typed: str | None) -> None:
    """Refuse, as a `UsageError`, what names no adapter; no name at all is fine."""
    if typed is not None and not is_there(typed) and not _may_be_on_hub(typed):
        raise UsageError(
            f"{typed} is no adapter: there is no such folder; give the one that "
            "`diffspeak adapter` wrote, or a hub id"
        )


def check_base(typed: str | None) -> None:
    """Refuse, as a `UsageError`, what names no base; no name at all is fine."""
    if typed is None or typed == POCKET or _exists(typed):
        return
    if not _REPOSITORY.fullmatch(typed):
        raise UsageError(f"base {typed} does not exist; give a hub id, a folder, or {POCKET}")


def check_stores(typed: Iterable[str]) -> None:
    """Refuse, as a `UsageError`, what names no store."""
    for one in typed:
        if not _is_at(one):
            raise UsageError(f"{one} does not exist; give the folder or URL of a store")


def check_folder(typed: Path | str | None, made_by: str) -> None:
    """Refuse, as a `UsageError`, a folder that is not there; no name at all is fine.

    Args:
        typed: A path.
        made_by: The verb that makes such folders.
    """
    if typed is not None and not _exists(str(typed)):
        raise UsageError(f"{typed} does not exist; give what `diffspeak {made_by}` wrote")


def check_config(typed: Path) -> None:
    """Refuse, as a `UsageError`, a config that is not there."""
    if not _exists(str(typed)):
        raise UsageError(
            f"cannot read the config {typed} (it does not exist): give the path of a TOML file"
        )


def is_there(typed: str) -> bool:
    """Whether something is on this machine, at a URL, or ships with us, by what was typed."""
    return typed.partition("#")[0] == POCKET or typed.startswith(f"{POCKET}:") or _is_at(typed)


def _is_at(typed: str) -> bool:
    """Whether `PLACE#key` is a URL or a path that exists."""
    place = typed.partition("#")[0]
    return "://" in place or _exists(place)


def _may_be_on_hub(typed: str) -> bool:
    return hub_id(typed.partition("#")[0]) is not None


def _exists(place: str) -> bool:
    try:
        return Path(place).expanduser().exists()
    except PermissionError:
        # It is there; who opens it says what is wrong.
        return True
    except OSError:
        return False
