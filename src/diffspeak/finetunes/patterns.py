"""The regular expressions in a stranger's config, refused where matching them might take for ever.

Takes a PEFT config, gives nothing. Python's `re` tries out every way to match: where something
repeated is repeated again, as in `(a+)+`, their number doubles with each character.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 4000
"""Characters of a pattern; those that tools write have some hundred."""

_parser: Any = re._parser  # type: ignore[attr-defined]
_REPEATS = {_parser.MAX_REPEAT, _parser.MIN_REPEAT}


def check_patterns(config: Mapping[str, Any]) -> None:
    """Refuse a config with a pattern that is none, or that could be matched in too many ways.

    Raises:
        ValueError: Says which.
    """
    for pattern in _patterns(config):
        if len(pattern) > LONGEST:
            raise ValueError(f"a pattern has {len(pattern)} characters; at most {LONGEST} are read")
        try:
            tree = _parser.parse(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"{pattern[:60]!r} is no pattern ({error})") from error
        if _nested(tree, inside=False):
            raise ValueError(f"the pattern {pattern[:60]!r} repeats what is repeated already")


def _patterns(config: Mapping[str, Any]) -> Iterator[str]:
    for key in ("target_modules", "exclude_modules", "layers_pattern"):
        if isinstance(config.get(key), str):
            yield config[key]
    for key in ("rank_pattern", "alpha_pattern"):
        if isinstance(config.get(key), dict):
            yield from config[key]


def _nested(tree: Any, *, inside: bool) -> bool:
    """Whether something that repeats without end stands in something that does."""
    for operation, argument in tree:
        endless = operation in _REPEATS and argument[1] == _parser.MAXREPEAT
        if endless and inside:
            return True
        if any(_nested(part, inside=inside or endless) for part in _parts(argument)):
            return True
    return False


def _parts(argument: Any) -> Iterator[Any]:
    """The patterns within an operation's argument, however deep it keeps them."""
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, (tuple, list)):
        for part in argument:
            yield from _parts(part)
