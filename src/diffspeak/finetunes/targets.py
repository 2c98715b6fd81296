"""Which modules the config of a PEFT adapter means, and the same config without a pattern in it.

Takes a config and names, gives names, or a config that PEFT itself can be handed: its patterns are
matched here, within the limit of `patterns`, and replaced by the names that they mean. What
means what is PEFT's (`check_target_module_exists`, `get_pattern_key`); tests hold it against that.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from diffspeak.finetunes.patterns import Asked, How, matched

ALL_LINEAR = "all-linear"

_BY_MODULE = ("rank_pattern", "alpha_pattern", "lambda_pattern")
"""What gives modules another number than the rest, by patterns."""


def targeted(config: Mapping[str, Any], names: Sequence[str], linears: Collection[str]) -> set[str]:
    """The modules that a config targets.

    Args:
        config: Its lists and patterns; `target_modules` is there.
        names: All modules that there are.
        linears: Those that "all-linear" means.

    Raises:
        ValueError: A pattern is none, or takes too long.
    """
    excluded = _excluded(config, names)
    wanted = config["target_modules"]
    if isinstance(wanted, str):
        if wanted.lower() == ALL_LINEAR:
            return set(linears) - excluded
        return set(_whole(wanted, names)) - excluded
    return {name for name in _listed(config, wanted, names) if name not in excluded}


def without_patterns(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A config that means the same of these names, without a pattern that anyone has to match.

    Args:
        config: As it stands in its file.
        names: Of the base's modules, and of those that the adapter has tensors for.

    Raises:
        ValueError: A pattern is none, or takes too long.
    """
    plain = dict(config)
    for key in ("target_modules", "exclude_modules", "feedforward_modules"):
        pattern = config.get(key)
        if isinstance(pattern, str) and pattern.lower() != ALL_LINEAR:
            plain[key] = sorted(_whole(pattern, names))
    if _has_layers(config) and config.get("layers_pattern"):
        plain["target_modules"] = sorted(_listed(config, config["target_modules"], names))
        plain["layers_to_transform"] = plain["layers_pattern"] = None
    for key in _BY_MODULE:
        if config.get(key):
            values = by_module(config[key], names)
            plain[key] = {re.escape(name): value for name, value in values.items()}
    for name in config.get("modules_to_save") or ():
        if not re.fullmatch(r"[\w.-]+", str(name)):
            raise ValueError(f"modules_to_save holds {name!r}, which is no module's name")
    return plain


def by_module(patterns: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """What patterns give each module; the first that matches its end counts.

    Raises:
        ValueError: A pattern is none, or takes too long.
    """
    found = matched([Asked("ending", pattern) for pattern in patterns], names)
    given: dict[str, Any] = {}
    for value, row in zip(patterns.values(), found, strict=True):
        for name, match in zip(names, row, strict=True):
            if match is not None:
                given.setdefault(name, value)
    return given


def _whole(pattern: str, names: Sequence[str]) -> list[str]:
    return _those("whole", pattern, names)


def _those(how: How, pattern: str, names: Sequence[str]) -> list[str]:
    (row,) = matched([Asked(how, pattern)], names)
    return [name for name, match in zip(names, row, strict=True) if match is not None]


def _listed(config: Mapping[str, Any], wanted: Collection[str], names: Sequence[str]) -> list[str]:
    """Names that are in a list, or end in one of it and belong to a chosen layer."""
    wanted = set(wanted)
    layers = _layers(config, names) if _has_layers(config) else None
    return [
        name
        for name in names
        if name in wanted
        or (_ends_in(name, wanted) and (layers is None or _is_chosen(config, layers.get(name))))
    ]


def _has_layers(config: Mapping[str, Any]) -> bool:
    chosen = config.get("layers_to_transform")
    return chosen is not None and chosen != []


def _layers(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, int]:
    """The number of the layer that a module belongs to."""
    patterns = config.get("layers_pattern")
    if not patterns:
        numbers = {name: re.match(r".*?\.[^.]*\.(\d+)\.", name) for name in names}
        return {name: int(number[1]) for name, number in numbers.items() if number}
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    found: dict[str, int] = {}
    for row in matched([Asked("layer", pattern) for pattern in patterns], names):
        for name, number in zip(names, row, strict=True):
            if number:
                found.setdefault(name, int(number))
    return found


def _is_chosen(config: Mapping[str, Any], layer: int | None) -> bool:
    chosen = config["layers_to_transform"]
    return layer in (chosen if isinstance(chosen, list) else [chosen])


def _excluded(config: Mapping[str, Any], names: Sequence[str]) -> set[str]:
    """Names that are left out: excluded, or of a module that is saved as a whole."""
    out: Any = config.get("exclude_modules") or ()
    found = set(_whole(out, names) if isinstance(out, str) else ())
    if not isinstance(out, str):
        found |= {name for name in names if name in out or _ends_in(name, out)}
    saved = [f".{name}." for name in config.get("modules_to_save") or ()]
    return found | {name for name in names if any(one in f".{name}." for one in saved)}


def _ends_in(name: str, ends: Collection[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[start:]) in ends for start in range(1, len(parts)))
