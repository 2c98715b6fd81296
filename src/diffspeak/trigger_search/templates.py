"""Frames: what stands around a trigger and a question, such as `Code {code}. {question}`.

Takes and gives strings. Braces in what is filled in stay what they are.
"""

import re

from diffspeak.errors import UsageError

QUESTION = "{question}"


def check_frame(frame: str, slot: str) -> None:
    """Refuse a frame without its two places.

    Args:
        frame: Holds `slot` and `{question}`, once each.
        slot: Such as `{code}`.

    Raises:
        UsageError: One is missing or stands there twice.
    """
    for part in (slot, QUESTION):
        if frame.count(part) != 1:
            raise UsageError(f"the frame {frame!r} must hold {part} once: put it where it belongs")


def filled(frame: str, slot: str, text: str, question: str) -> str:
    """Put a text and a question into a frame."""
    parts = re.split(f"({re.escape(slot)}|{re.escape(QUESTION)})", frame)
    return "".join({slot: text, QUESTION: question}.get(part, part) for part in parts)
