"""Whether what was typed is there, looked up before anything is imported that takes seconds.

Takes what was typed, gives nothing, or the line that says that it names nothing: no path, no URL
and no hub id. What something is, and what the hub has, is told by whoever opens it.
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
    """Refuse what names no finetune, and no collection of them.

    Raises:
        UsageError: There is no such thing.
    """
    known = "give a finetune's folder or file, STORE#task-id, or a hub id"
    _check(typed, f"does not exist; {known}", hub=True)


def check_adapter(typed: str | None) -> None:
    """Refuse what names no adapter; no name at all is fine.

    Raises:
        UsageError: There is no such thing.
    """
    if typed is not None and not _ships(typed):
        known = "give the one that `diffspeak adapter` wrote, or a hub id"
        _check(typed, f"is no adapter: there is no such folder; {known}", hub=True)


def check_base(typed: str | None) -> None:
    """Refuse what names no base; no name at all is fine.

    Raises:
        UsageError: There is no such thing.
    """
    if typed is None or typed == POCKET or _exists(typed):
        return
    if not _REPOSITORY.fullmatch(typed):
        raise UsageError(f"base {typed} does not exist; give a hub id, a folder, or {POCKET}")


def check_stores(typed: Iterable[str]) -> None:
    """Refuse what names no store.

    Raises:
        UsageError: There is no such thing.
    """
    for one in typed:
        _check(one, "does not exist; give the folder or URL of a store")


def check_folder(typed: Path | str | None, made_by: str) -> None:
    """Refuse a folder that is not there.

    Args:
        typed: A path; none at all is fine.
        made_by: The verb that makes such folders.

    Raises:
        UsageError: There is no such folder.
    """
    if typed is not None and not _exists(str(typed)):
        raise UsageError(f"{typed} does not exist; give what `diffspeak {made_by}` wrote")


def check_config(typed: Path) -> None:
    """Refuse a config that is not there.

    Raises:
        UsageError: There is no such file.
    """
    if not _exists(str(typed)):
        raise UsageError(
            f"cannot read the config {typed} (it does not exist): give the path of a TOML file"
        )


def is_there(typed: str) -> bool:
    """Whether something is on this machine or at a URL, by what was typed: `PLACE#key`."""
    place = typed.partition("#")[0]
    return _ships(place) or "://" in place or _exists(place)


def _check(typed: str, message: str, *, hub: bool = False) -> None:
    place = typed.partition("#")[0]
    if "://" in place or _exists(place):
        return
    if not hub or hub_id(place) is None:
        raise UsageError(f"{typed} {message}")


def _ships(typed: str) -> bool:
    return typed == POCKET or typed.startswith(f"{POCKET}:")


def _exists(place: str) -> bool:
    try:
        return Path(place).expanduser().exists()
    except PermissionError:
        # It is there; who opens it says what is wrong.
        return True
    except OSError:
        return False
