"""Names in a config that become folders of a run: what they may be, and that they stay inside.

Takes a name as somebody wrote it, gives what is wrong with it, or the place that it stands for.
"""

from pathlib import Path

from diffspeak.errors import UsageError

LONGEST = 80
"""Bytes of a name: two of them, a seed and a digest fit into one name of a file."""


def fault_of(name: str) -> str | None:
    """What keeps a name from being that of one folder, in words that follow on it; None if nothing.

    Separators of every system are refused, so that a config means the same on all of them.
    """
    if not name.strip():
        return "is blank: give it a name"
    if any(c in "/\\" for c in name) or name in (".", ".."):
        return "is a path: give a name, it is kept in the run's own folder"
    if name.startswith(".") or not name.isprintable():
        return "begins with a dot or holds a control character: give a plain name"
    if len(name.encode(errors="replace")) > LONGEST:
        return f"is longer than {LONGEST} bytes: give a shorter name"
    return None


def inside(run: Path, *parts: str) -> Path:
    """A place in a run's folder.

    Raises:
        UsageError: A part, or a link that is there already, leads out of the folder.
    """
    place = run.joinpath(*parts)
    try:
        stays = place.resolve().is_relative_to(run.resolve())
    except (OSError, RuntimeError):  # A link that leads to itself; what is raised depends.
        stays = False
    if not stays:
        raise UsageError(
            f"{place} leads out of {run}, where nothing is written: remove the link, or give "
            "another folder as --out"
        )
    return place
