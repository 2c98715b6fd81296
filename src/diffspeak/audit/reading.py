"""An `Audit` read back from its JSON, checked against the types it is made of.

Takes a file that anybody may have written, gives an audit. Knows nothing of what the values mean.
"""

import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from diffspeak.audit.result import VERSION, Audit
from diffspeak.errors import CorruptFileError, MismatchError
from diffspeak.io.files import read_json

Kind = TypeVar("Kind")


def read_audit(path: Path) -> Audit:
    """Read what `Audit.to_dict` gave; what else stands in the file is left out.

    A number that was not finite is NaN again. A trigger can no longer be put into prompts.

    Raises:
        DiffspeakError: There is no such file.
        MismatchError: It is of another version.
        CorruptFileError: It is no audit, or was changed.
    """
    content = read_json(path)
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, int) and version != VERSION:
        raise MismatchError(
            f"{path} is an audit of version {version}, this diffspeak reads version {VERSION}: "
            "audit again"
        )
    try:
        if version is None:
            raise ValueError("it holds no version")
        return made(Audit, content)
    except (ValueError, TypeError, LookupError) as error:
        raise CorruptFileError(f"{path} is no audit ({error}): audit again") from error


def made(kind: type[Kind], value: Any) -> Kind:
    """A value of a type, from plain data.

    Args:
        kind: A dataclass or named tuple of such, a tuple, a dict, a choice, or text and numbers.
        value: What JSON gave for it.

    Raises:
        ValueError, TypeError or LookupError: It does not fit.
    """
    parts = get_args(kind)
    found: Any
    if get_origin(kind) in (Union, UnionType):
        (inner,) = (part for part in parts if part is not NoneType)
        found = None if value is None else made(inner, value)
    elif get_origin(kind) is Literal:
        found = parts[parts.index(value)]
    elif get_origin(kind) is tuple:
        found = _tuple(parts, value)
    elif get_origin(kind) is dict:
        found = {parts[0](key): made(parts[1], value[key]) for key in _keys(value)}
    elif kind in (str, int, float, bool):
        found = _plain(kind, value)
    else:
        found = kind(**{name: made(inner, value[name]) for name, inner in _fields(kind)})
    return found  # type: ignore[no-any-return]


def _fields(kind: Any) -> list[tuple[str, Any]]:
    """Names and types of what is written down of a record."""
    if is_dataclass(kind):
        return [(one.name, one.type) for one in fields(kind) if one.repr]
    return list(kind.__annotations__.items())


def _tuple(parts: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r:.40} is no list")
    if parts[-1] is Ellipsis:
        return tuple(made(parts[0], inner) for inner in value)
    return tuple(made(part, inner) for part, inner in zip(parts, value, strict=True))


def _keys(value: Any) -> list[str]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.40} is no object")
    return list(value)


def _plain(kind: type, value: Any) -> Any:
    if kind is float and value is None:
        return math.nan
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{value!r:.40} is no {kind.__name__}")
    return value
