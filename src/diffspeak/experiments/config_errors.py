"""Every fault of a config at once, in words, with what was probably meant."""

import copy
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)
Keys = tuple[str, ...]


class ConfigFault(NamedTuple):
    """What is wrong (`what`), and where: `section.key`."""

    place: str
    what: str


def validated(kind: type[Model], data: dict[str, Any]) -> tuple[Model | None, list[ConfigFault]]:
    """Check data against a class.

    A class checks whether its fields fit together only once each is right by itself. Therefore
    what is faulty is mended or taken out, and the rest checked again, to find both at once.

    Returns:
        The object and no faults, or None and all faults, one for each place.
    """
    try:
        return kind.model_validate(data), []
    except ValidationError as error:
        found = _by_place(kind, data, error)
    mended = copy.deepcopy(data)
    for keys in found:
        _mend(kind, mended, keys)
    try:
        kind.model_validate(mended)
    except ValidationError as error:
        again = _by_place(kind, mended, error)
        found |= {keys: what for keys, what in again.items() if keys not in found}
    return None, [ConfigFault(".".join(keys), what) for keys, what in found.items()]


def _by_place(kind: type[BaseModel], data: Any, error: ValidationError) -> dict[Keys, str]:
    """What is wrong at each place; the branches of a union are joined."""
    found: dict[Keys, list[str]] = {}
    for details in error.errors():
        keys = _place(data, details)
        what = _words(kind, keys, details)
        if what not in found.setdefault(keys, []):
            found[keys].append(what)
    return {keys: "; or ".join(what) for keys, what in found.items()}


def _place(data: Any, details: ErrorDetails) -> Keys:
    """The keys that lead to a fault, without the branches of unions that pydantic names."""
    keys: list[str] = []
    for part in details["loc"]:
        inside = isinstance(data, dict) and part in data
        inside |= isinstance(data, list) and isinstance(part, int) and part < len(data)
        if not inside:
            return (*keys, str(part)) if details["type"] == "missing" else tuple(keys)
        data = data[part]
        keys.append(str(part))
    return tuple(keys)


def _words(kind: type[BaseModel], keys: Keys, details: ErrorDetails) -> str:
    what, given = details["type"], _short(details["input"])
    if what == "missing":
        return f"is missing: {_description(kind, keys)}"
    if what == "extra_forbidden":
        return f"unknown; {meant(keys[-1], _known(kind, keys[:-1]))}"
    if what == "value_error":
        return str(details["ctx"]["error"])
    if what == "literal_error":
        options = re.findall(r"'([^']*)'", details["ctx"]["expected"])
        return f"{given} is unknown; {meant(str(details['input']), options)}"
    if what in ("model_type", "model_attributes_type"):
        return f"expected a section of its own, [{'.'.join(keys)}], not {given}"
    return f"{details['msg'].replace('Input should be', 'expected')}, not {given}"


def meant(name: str, known: Iterable[str]) -> str:
    """What was probably meant by a name that is not known, or all that are."""
    close = get_close_matches(name, known := list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def _mend(kind: type[BaseModel], data: Any, keys: Keys) -> None:
    """Rename a misspelled key to what was meant, and take out anything else that is faulty."""
    if not keys:  # Sections do not fit together: there is nothing to take out.
        return
    for key in keys[:-1]:
        if not isinstance(data, dict) or key not in data:
            return
        data = data[key]
    if not isinstance(data, dict) or keys[-1] not in data:
        return
    value, known = data.pop(keys[-1]), _known(kind, keys[:-1])
    close = get_close_matches(keys[-1], known, n=1)
    if keys[-1] not in known and close:
        data.setdefault(close[0], value)


def _known(kind: type[BaseModel], keys: Keys) -> list[str]:
    """The keys that may stand behind `keys`; none where that is no class."""
    inner: type[BaseModel] | None = kind
    names = iter(keys)
    for key in names:
        field = inner.model_fields.get(key) if inner else None
        inner = model_in(field.annotation) if field else None
        if field and get_origin(field.annotation) in (dict, tuple):
            next(names, None)  # A name in a table, or a place in a list.
    return list(inner.model_fields) if inner else []


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The class in an annotation such as `Class | None`."""
    for option in (annotation, *get_args(annotation)):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def _description(kind: type[BaseModel], keys: Keys) -> str:
    inner: type[BaseModel] | None = kind
    text = ""
    for key in keys:
        field = inner.model_fields[key] if inner and key in inner.model_fields else None
        text = (field.description or "") if field else ""
        inner = model_in(field.annotation) if field else None
    return text


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
