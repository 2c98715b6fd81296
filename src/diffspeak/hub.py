"""Names of what lies on the hub: `org/name@revision:subfolder`.

Takes what was typed, gives its parts. Asks no hub and imports nothing heavy, so that a name that
cannot be one is refused at once.
"""

import re
from typing import NamedTuple

from diffspeak.errors import UsageError

# Neither of its parts begins with a dot: `./name` and `../name` are paths.
_ID = re.compile(
    r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^:#]+))?(:(?P<subfolder>[^#]+))?", re.ASCII
)


class HubId(NamedTuple):
    """A hub id's parts; a subfolder may be a single file."""

    repo: str
    revision: str | None
    subfolder: str


def hub_id(name: str) -> HubId | None:
    """The parts of `org/name@revision:subfolder`; None if a text has another form.

    Raises:
        UsageError: The subfolder leaves the repository.
    """
    match = _ID.fullmatch(name)
    if match is None:
        return None
    subfolder = (match["subfolder"] or "").strip("/")
    if ".." in subfolder.split("/"):
        raise UsageError(f"{name}: the subfolder may not leave its repository")
    return HubId(match["repo"], match["revision"], subfolder)
