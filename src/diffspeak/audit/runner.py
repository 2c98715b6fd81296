"""Audits of many finetunes: each has its pages as soon as it is done, and one broken stops none.

Whatever is raised while a finetune is read or audited is a result of that one finetune; only what
keeps pages from being written ends the others, too.

Takes an auditor and targets, gives an audit or an error for each, and writes pages. What was
audited before, with the same settings and from the same content, is not audited again.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from diffspeak.adapters import Adapter
from diffspeak.audit.auditor import Auditor
from diffspeak.audit.output_dir import PAGE, held, keep, kept, safe_names
from diffspeak.audit.report import write_audit, write_overview
from diffspeak.audit.result import About, Audit, Unread
from diffspeak.errors import DiffspeakError, reason_of
from diffspeak.finetunes import SEEDING, Finetune, FinetuneRef, FinetuneSet, digest_of
from diffspeak.io.files import canonical_json, make_folder, sha256
from diffspeak.methods.asking import check_finetunes
from diffspeak.progress import Reporter, Silent

Result = Audit | Unread


def audit_all(
    auditor: Auditor,
    targets: FinetuneSet,
    out: Path,
    reporter: Reporter | None = None,
    command: str = "",
    tell: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Audit finetunes and write their pages; interrupted, the same call goes on.

    Of one finetune `audit.html` and `audit.json` are written into the folder itself; of several
    each gets a folder there, with an overview beside them, `index.html`.

    Args:
        auditor: For their base.
        targets: From `open_finetune_set`.
        out: New, empty, or begun with the same targets.
        reporter: Is told how far it is.
        command: What reproduces it, as typed.
        tell: Is given each result as soon as it is there, in order.

    Returns:
        An audit for each target, in order, or why it could not be read.

    Raises:
        UsageError: The folder holds something else.
        LockedError: Another process writes there.
        DiffspeakError: A page could not be written.
    """
    reporter, about = reporter or Silent(), auditor.about(command)
    names = safe_names([target.key for target in targets.each])
    folders = [out / name if targets.several else out for name in names]
    found: list[Result] = []
    with held(out, targets.name, auditor.base.choices["dtype"]):
        work = _Work(auditor, targets.each, folders, about)
        reporter.begin("audit", len(folders), "finetunes")
        for result in work.results():
            found.append(result)
            reporter.advance()
            if tell is not None:
                tell(result)
        reporter.end()
        if targets.several:
            write_overview(found, about, out, _pages(found, names))
    if work.before:
        reporter.say(f"{work.before} had been audited before, and are as they were")
    return found


def _pages(found: Sequence[Result], names: Sequence[str]) -> dict[str, str]:
    """Of each finetune that was audited the path of its page, seen from the overview."""
    named = zip(found, names, strict=True)
    return {one.finetune: f"{name}/{PAGE}" for one, name in named if isinstance(one, Audit)}


class _Read(NamedTuple):
    """A finetune on its way.

    Attributes:
        place: Among the targets.
        finetune: Whose audit is to come.
        made_of: Stands for all that the audit will be made of.
    """

    place: int
    finetune: Finetune
    made_of: str


class _Work:
    """Gives results in order, though finetunes are read ahead of being audited."""

    def __init__(
        self,
        auditor: Auditor,
        targets: Sequence[FinetuneRef],
        folders: Sequence[Path],
        about: About,
    ) -> None:
        self.before = 0
        self._auditor, self._targets, self._folders = auditor, targets, folders
        self._about, self._with = about, made_with(auditor.adapter, about)
        self._reads: deque[_Read] = deque()
        self._found: dict[int, Result] = {}
        self._told = 0

    def results(self) -> Iterator[Result]:
        """A result for each target; the pages of an audit are written before it is given."""
        unaudited = self._unaudited()
        audits = self._auditor.stream(unaudited)
        while True:
            try:
                audit, failed = next(audits, None), False
            except Exception:
                if not self._reads:
                    raise
                audit, failed = None, True
            # The error is gone by now, and with it the memory that it held.
            if failed:
                self._apart()
                audits = self._auditor.stream(unaudited)
                continue
            if audit is not None:
                read = self._reads.popleft()
                self._found[read.place] = self._written(read, audit)
            while self._told in self._found:
                yield self._found.pop(self._told)
                self._told += 1
            if audit is None:
                return

    def _unaudited(self) -> Iterator[Finetune]:
        """Finetunes that have to be audited; of the others the results are found at once."""
        for place, target in enumerate(self._targets):
            read = self._read(place, target)
            if isinstance(read, Unread):
                self._found[place] = read
            elif before := kept(self._folders[place], read.made_of):
                self._found[place] = before
                self.before += 1
            else:
                self._reads.append(read)
                yield read.finetune

    def _read(self, place: int, target: FinetuneRef) -> _Read | Unread:
        try:
            finetune = target.read(self._auditor.base)
            check_finetunes(self._auditor.base, [finetune])
            made_of = canonical_json([target.name, finetune.digest, self._with])
            return _Read(place, finetune, sha256(made_of.encode()))
        except Exception as error:
            # A stranger's file may break what reads it in ways that nobody thought of; that must
            # not keep the others from being audited.
            return Unread(target.name, reason_of(error, "it cannot be read"))

    def _apart(self) -> None:
        """Audit those that were read ahead one by one: which of them it was, each tells alone."""
        while self._reads:
            read = self._reads.popleft()
            self._found[read.place] = self._alone(read)

    def _alone(self, read: _Read) -> Result:
        try:
            audit = self._auditor.audit(read.finetune)
        except Exception as error:
            # Out of memory, a matrix without a decomposition: it ends this one's audit alone.
            return Unread(read.finetune.name, reason_of(error, "its audit failed"))
        return self._written(read, audit)

    def _written(self, read: _Read, audit: Audit) -> Result:
        folder = self._folders[read.place]
        make_folder(folder)
        try:
            write_audit(audit, self._about, folder)
        except (DiffspeakError, OSError):
            # A full disk is nothing that this finetune did.
            raise
        except Exception as error:
            return Unread(read.finetune.name, reason_of(error, "its page could not be made"))
        keep(folder, read.made_of)
        return audit


def made_with(adapter: Adapter, about: About) -> str:
    """All that audits depend on beside the finetune, as text: if it differs, they are made anew."""
    calibration = adapter.calibrations.audit
    told = about.to_dict()
    del told["command"]
    told["machine"].pop("threads", None)
    return canonical_json(
        [
            told,
            digest_of(adapter.diff),
            adapter.questions,
            calibration and calibration.to_dict(),
            adapter.calibrations.controls,
            SEEDING,
        ]
    )
