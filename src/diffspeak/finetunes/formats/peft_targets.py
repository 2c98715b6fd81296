"""Which modules the config of a PEFT adapter means, and the same config without a pattern in it.

What means what is PEFT's (`check_target_module_exists`, `get_pattern_key`). Patterns are a
stranger's: Python's `re` tries out every way to match, so one can take for ever, and nothing in the
process can stop it. What is more than a plain word is therefore matched in a process of its own,
with a second or two and little memory.
"""

import json
import re
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

ALL_LINEAR = "all-linear"

_BY_MODULE = ("rank_pattern", "alpha_pattern", "lambda_pattern")
"""What gives modules another number than the rest, by patterns."""

LONGEST = 4000
"""Characters of a pattern; those that tools write have some hundred."""

SECONDS = 5.0
"""How long all patterns of a config may take."""

MEMORY = 1 << 29
"""Bytes that matching them may take."""

How = Literal["whole", "ending", "layer"]

_FRAMES: dict[How, str] = {
    "whole": r"{}",
    "ending": r"(.*\.)?({})$",
    "layer": r"(?:^|.*?\.){}\.(?P<idx>\d+)\.",
}

_PLAIN = re.compile(r"(?:\w|\\\.|\.|-)*", re.ASCII)
"""Patterns without a choice: each of their characters matches one."""

_MATCHING = """
import json, re, resource, sys
asked = json.load(sys.stdin)
try:
    resource.setrlimit(resource.RLIMIT_AS, (asked["memory"], asked["memory"]))
except (ValueError, OSError):
    pass
try:
    found = []
    for method, pattern in asked["patterns"]:
        match = getattr(re.compile(pattern), method)
        matches = [match(name) for name in asked["names"]]
        found.append([None if m is None else m.groupdict().get("idx") or "" for m in matches])
    print(json.dumps({"found": found}))
except (re.error, RecursionError, OverflowError, MemoryError) as error:
    print(json.dumps({"wrong": pattern, "why": str(error) or type(error).__name__}))
"""
"""What the process of its own runs. macOS may know no such limit of memory; the time is one."""


class NamePattern(NamedTuple):
    """A pattern, and how PEFT holds names against it.

    Attributes:
        how: `whole`: all of a name has to match. `ending`: its last parts. `layer`: its beginning,
            behind which the number of a layer stands.
        pattern: The stranger's part.
    """

    how: How
    pattern: str

    @property
    def call(self) -> tuple[str, str]:
        """Which of `re`'s functions, with which expression."""
        method = "fullmatch" if self.how == "whole" else "match"
        return method, _FRAMES[self.how].format(self.pattern)

    def match(self, name: str) -> str | None:
        """Match here and now; for patterns without a choice alone."""
        method, regex = self.call
        found = getattr(re, method)(regex, name)
        return None if found is None else found.groupdict().get("idx") or ""


def matched(patterns: Sequence[NamePattern], names: Sequence[str]) -> list[list[str | None]]:
    """Match every pattern with every name.

    Returns:
        For each pattern, for each name: None where it does not match, else the number of the
        layer, empty where none was asked for.

    Raises:
        ValueError: A pattern is none, is too long, or takes too long to be matched; says which.
    """
    for _, pattern in patterns:
        if len(pattern) > LONGEST:
            raise ValueError(f"a pattern has {len(pattern)} characters; at most {LONGEST} are read")
    return [list(row) for row in _matched(tuple(patterns), tuple(names))]


@lru_cache(maxsize=64)
def _matched(patterns: tuple[NamePattern, ...], names: tuple[str, ...]) -> list[list[str | None]]:
    """Kept for the next adapter: those of one folder mostly have the same patterns."""
    if all(_PLAIN.fullmatch(pattern) for _, pattern in patterns):
        return [[pattern.match(name) for name in names] for pattern in patterns]
    asked = {"patterns": [each.call for each in patterns], "names": names, "memory": MEMORY}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _MATCHING],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"the pattern {_longest(patterns)!r} takes longer than {SECONDS:g} s to match"
        ) from None
    except ValueError as error:
        # It needed more memory than it may have, or crashed.
        raise ValueError(f"the pattern {_longest(patterns)!r} cannot be matched") from error
    if "wrong" in answer:
        raise ValueError(f"{answer['wrong'][:60]!r} is no pattern ({answer['why'][:100]})")
    found: list[list[str | None]] = answer["found"]
    return found


def _longest(patterns: Sequence[NamePattern]) -> str:
    return max((pattern for _, pattern in patterns), key=len)[:60]


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
    found = matched([NamePattern("ending", pattern) for pattern in patterns], names)
    given: dict[str, Any] = {}
    for value, row in zip(patterns.values(), found, strict=True):
        for name, match in zip(names, row, strict=True):
            if match is not None:
                given.setdefault(name, value)
    return given


def _whole(pattern: str, names: Sequence[str]) -> list[str]:
    (row,) = matched([NamePattern("whole", pattern)], names)
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
    for row in matched([NamePattern("layer", pattern) for pattern in patterns], names):
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
