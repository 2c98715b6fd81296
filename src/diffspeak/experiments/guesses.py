"""Guesses at finetunes, made once and kept on disk, and how a judge scores them.

A file of guesses says what they were made with, so that it is never taken for others.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from diffspeak.errors import CorruptFileError
from diffspeak.finetunes import Finetune
from diffspeak.io.files import canonical_json, make_folder, parse_json, read_json, write_json
from diffspeak.methods import Guess, Method
from diffspeak.scoring.judges import Judge
from diffspeak.text.mentions import same


@dataclass(frozen=True)
class Guesses:
    """What a method says of some finetunes.

    Attributes:
        method: Its name in tables.
        guesses: One a finetune.
        seconds: That it took.
    """

    method: str
    guesses: tuple[Guess, ...]
    seconds: float


@dataclass(frozen=True)
class GuessRecord:
    """A guess at one finetune beside the truth: a line of `guesses.jsonl`.

    Attributes:
        row: Of the table.
        finetune: Its name.
        truth: What it was taught.
        guess: None where there was none to be had.
        evidence: What the guess rests on, a line each.
        score: 1 to 5; None where it is unscored.
        why: Why it is unscored.
        exact: Whether the guess is the truth, case and punctuation aside.
    """

    row: str
    finetune: str
    truth: str
    guess: str | None
    evidence: tuple[str, ...]
    score: float | None
    why: str
    exact: bool


_GUESSES = TypeAdapter(Guesses)


def kept_guesses(
    path: Path, method: Method, finetunes: Sequence[Finetune], made_with: Mapping[str, Any]
) -> Guesses:
    """Guesses from a file, or made and written into it.

    Args:
        path: JSON. Holds it guesses made with something else, they are made anew.
        method: Ready.
        finetunes: To guess at.
        made_with: All that the guesses depend on, as plain data.

    Raises:
        CorruptFileError: The file is no file of guesses.
        UsageError: The method cannot be used on one of the finetunes.
    """
    wanted = parse_json(canonical_json({**made_with, "finetunes": [f.name for f in finetunes]}))
    if path.exists():
        made, found = _read(path)
        if made == wanted:
            return found
    began = time.monotonic()
    guesses = method.guess(finetunes)
    found = Guesses(method.name, tuple(guesses), time.monotonic() - began)
    make_folder(path.parent)
    plain = [{"text": guess.text, "evidence": guess.evidence} for guess in guesses]
    kept = {"method": found.method, "seconds": found.seconds, "guesses": plain}
    write_json(path, {"made_with": wanted, **kept})
    return found


def scored(
    row: str,
    finetunes: Sequence[Finetune],
    truths: Sequence[str],
    guesses: Sequence[Guess],
    judge: Judge,
) -> tuple[GuessRecord, ...]:
    """Each guess with the judge's verdict.

    Args:
        row: Its name.
        finetunes: That were guessed at.
        truths: What is right, one each.
        guesses: One each.
        judge: Compares the two.
    """
    verdicts = judge.score([(t, g.text) for t, g in zip(truths, guesses, strict=True)])
    return tuple(
        GuessRecord(row, f.name, t, g.text, g.evidence, v.score, v.why, same(t, g.text or ""))
        for f, t, g, v in zip(finetunes, truths, guesses, verdicts, strict=True)
    )


def _read(path: Path) -> tuple[Any, Guesses]:
    data = read_json(path)
    try:
        return data["made_with"], _GUESSES.validate_python(data)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(
            f"{path} holds no guesses: delete it, and they are made anew"
        ) from error
