"""Regular expressions of strangers, matched within a limit whatever they are.

Takes patterns and names, gives which match. Python's `re` tries out every way to match, so a
pattern can take for ever, and nothing in the process can stop it. What is more than a plain word
is therefore matched in a process of its own, which has a second or two and little memory. It is
`re` there as well, because that is what PEFT matches with.
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

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


class Asked(NamedTuple):
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


def matched(patterns: Sequence[Asked], names: Sequence[str]) -> list[list[str | None]]:
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
def _matched(patterns: tuple[Asked, ...], names: tuple[str, ...]) -> list[list[str | None]]:
    """Kept for the next adapter: those of one folder mostly have the same patterns."""
    if all(_PLAIN.fullmatch(pattern) for _, pattern in patterns):
        return [[asked.match(name) for name in names] for asked in patterns]
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


def _longest(patterns: Sequence[Asked]) -> str:
    return max((pattern for _, pattern in patterns), key=len)[:60]
