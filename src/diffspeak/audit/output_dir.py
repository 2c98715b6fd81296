"""The folder that audits are written into: whose it is, a safe name for each, what is done."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from diffspeak.audit.schema import Audit, read_audit
from diffspeak.errors import DiffspeakError, UsageError
from diffspeak.io.files import exclusive, make_folder, read_bytes, read_json, sha256, write_json
from diffspeak.models.placement import DTYPES

MARK = "audits.json"
"""Says that a folder is for audits, of what, and in which precision they are made."""

DONE = "done.json"
"""Comes last of all that is written for a finetune."""

PAGE, DATA = "audit.html", "audit.json"
LOCK = ".audits.lock"

_TAKEN = (MARK, DONE, PAGE, DATA, "index.html", "overview.json")
_LONGEST = 80
"""Characters of a name made from a key."""


def is_for_audits(folder: Path) -> bool:
    """Whether audits were begun in a folder."""
    return (folder / MARK).is_file() or (folder / LOCK).is_file()


def check_out(out: Path, of: str) -> None:
    """Refuse an output folder that holds something else than audits of this source, as typed.

    Raises:
        UsageError: It is no local folder, or is not empty and of something else.
    """
    if re.match(r"\w+:/", str(out)):
        raise UsageError(f"{out} cannot be written: give a local folder and upload it later")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} stands where a folder was expected: give another --out")
    shown = {name for name in _names(out) if not name.startswith(".")}
    if not shown:
        return
    if not (out / MARK).is_file():
        raise UsageError(f"{out} is not empty and holds no audit: give another folder with --out")
    content = read_json(out / MARK)
    before = content.get("of") if isinstance(content, dict) else None
    # A mark alone is what a call leaves that was killed before anything was audited.
    if before != of and shown != {MARK}:
        raise UsageError(
            f"{out} holds audits of {before}, and these are of {of}: give another folder with --out"
        )


def dtype_of(out: Path) -> str:
    """The dtype that the audits in a folder were begun with; `auto` if there are none.

    What is chosen by measuring may come out otherwise the next time.
    """
    content = read_json(out / MARK) if (out / MARK).is_file() else {}
    found = content.get("dtype") if isinstance(content, dict) else None
    return found if isinstance(found, str) and found in DTYPES else "auto"


@contextmanager
def held(out: Path, of: str, dtype: str) -> Iterator[None]:
    """Within this context nobody else writes audits into a folder, which is made if missing.

    If nothing was written it is afterwards as it was before. `of` is what is audited, as typed, and
    `dtype` that of the base.

    Raises:
        UsageError: The folder holds something else.
        LockedError: Another process writes there.
    """
    check_out(out, of)
    there, before = out.exists(), _names(out)
    make_folder(out)
    with exclusive(out / LOCK):
        check_out(out, of)
        write_json(out / MARK, {"of": of, "dtype": dtype})
        try:
            yield
        finally:
            if _names(out) - before <= {LOCK, MARK}:
                _withdraw(out, {LOCK, MARK} - before, folder=not there)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _withdraw(out: Path, names: set[str], *, folder: bool) -> None:
    """Take away what says that a folder is for audits, and the folder if it was made for them."""
    with suppress(OSError):
        for name in names:
            (out / name).unlink(missing_ok=True)
        if folder:
            out.rmdir()


def safe_names(keys: Sequence[str]) -> list[str]:
    """For each key a name that is fit for a folder on any system, and no other key's."""
    names: list[str] = []
    taken = set(_TAKEN)
    for key in keys:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", key)[:_LONGEST].strip("-.") or "finetune"
        name, number = plain, 2
        while name.lower() in taken:
            name, number = f"{plain}-{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names


def done_before(folder: Path, made_of: str) -> Audit | None:
    """The audit in a finetune's folder, if it is whole and was made of the same.

    `made_of` stands for the finetune's content and all that it was audited with.
    """
    try:
        if not (folder / PAGE).is_file() or read_json(folder / DONE) != _done(folder, made_of):
            return None
        return read_audit(folder / DATA)
    except DiffspeakError:
        # Not there, cut off or changed: it is made again.
        return None


def mark_done(folder: Path, made_of: str) -> None:
    """Note that a folder's audit, which stands there, is whole, and what it was made of."""
    write_json(folder / DONE, _done(folder, made_of))


def _done(folder: Path, made_of: str) -> dict[str, str]:
    return {"made_of": made_of, "audit": sha256(read_bytes(folder / DATA))}
