"""One message of a chat.

Takes a role and a text, gives a tuple. Knows nothing of tokens or chat templates.
"""

from typing import NamedTuple


class Message(NamedTuple):
    """What one side of a chat says.

    Attributes:
        role: "system", "user" or "assistant".
        content: The text itself, without any template's markers.
    """

    role: str
    content: str
