"""An adapter's calibrations on disk: `calibration.json` beside its other files.

Takes calibrations and the phrases that claims are compared with, gives them back with the adapter
that they were made for, and with no other.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffspeak.adapters.calibration import Calibration
from diffspeak.errors import CorruptFileError, MismatchError
from diffspeak.finetunes import digest_of
from diffspeak.io.files import read_json, write_json
from diffspeak.lora import Diff

FILE = "calibration.json"
VERSION = 1
GAINED = "gained"
"""The figure that the calibration for descriptions goes by."""


def gained(mean_logprob: float, lift: float) -> float:
    """The probability of words that a finetune adds to what the adapter gives them without it.

    By the token, -1 to 1. In nats a lift can be huge for words that stay improbable all the same;
    as a difference of probabilities it is large only for what the adapter really says.

    Args:
        mean_logprob: Of the words with the finetune, nats a token.
        lift: The same minus that on the base alone.
    """
    if not (math.isfinite(mean_logprob) and math.isfinite(lift)):
        return 0.0
    return math.exp(min(0.0, mean_logprob)) - math.exp(min(0.0, mean_logprob - lift))


@dataclass(frozen=True)
class Calibrations:
    """What is known of how far an adapter can be believed.

    Attributes:
        describe: From what a description gains in probability, alone; None if it was not made.
        audit: From that, and what the finetune does; None if it was not made.
        controls: Phrases of the kind that it claims, with which claims are compared.
    """

    describe: Calibration | None = None
    audit: Calibration | None = None
    controls: tuple[str, ...] = field(default=())


def save_calibrations(folder: Path, diff: Diff, made: Calibrations) -> None:
    """Write an adapter's calibrations into its folder."""
    write_json(
        folder / FILE,
        {
            "version": VERSION,
            "adapter": digest_of(diff),
            "describe": made.describe and made.describe.to_dict(),
            "audit": made.audit and made.audit.to_dict(),
            "controls": list(made.controls),
        },
    )


def read_calibrations(folder: Path, diff: Diff) -> Calibrations:
    """Calibrations of the adapter in a folder; empty ones if there are none.

    Raises:
        MismatchError: They were made for other weights, or by a newer version.
        CorruptFileError: The file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return Calibrations()
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("version"), int):
        raise _garbled(path, "its version")
    if content["version"] > VERSION:
        raise MismatchError(
            f"{path} is of version {content['version']}, this diffspeak reads up to {VERSION}; "
            "upgrade diffspeak"
        )
    if content.get("adapter") != digest_of(diff):
        raise MismatchError(
            f"{path} was made for another adapter than the one beside it; remove it, and calibrate "
            "this one with `diffspeak calibrate`"
        )
    describe = _read(path, content, "describe")
    if describe is not None and describe.names != (GAINED,):
        raise _garbled(path, "describe: it goes by other figures than what is gained")
    return Calibrations(describe, _read(path, content, "audit"), _phrases(path, content))


def _read(path: Path, content: dict[str, Any], name: str) -> Calibration | None:
    if content.get(name) is None:
        return None
    try:
        return Calibration.from_dict(content[name])
    except ValueError as error:
        raise _garbled(path, f"{name}: {error}") from error


def _phrases(path: Path, content: dict[str, Any]) -> tuple[str, ...]:
    phrases = content.get("controls")
    if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
        raise _garbled(path, "controls")
    return tuple(phrases)


def _garbled(path: Path, what: str) -> CorruptFileError:
    return CorruptFileError(
        f"{path} garbles {what}; restore it, or remove it and calibrate again with "
        "`diffspeak calibrate`"
    )
