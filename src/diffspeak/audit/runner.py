"""Audits of many finetunes: each has its pages as soon as it is done, and one broken stops none.

Whatever is raised while a finetune is read or audited is a result of that one finetune; only what
keeps pages from being written ends the others, too. What was audited before, with the same settings
and from the same content, is not audited again.
"""

from collections.abc import Callable
from pathlib import Path

from diffspeak.adapters import Adapter
from diffspeak.audit.auditor import Auditor
from diffspeak.audit.output_dir import PAGE, done_before, held, mark_done, safe_names
from diffspeak.audit.report import write_audit, write_overview
from diffspeak.audit.schema import About, Audit, Unread
from diffspeak.errors import DiffspeakError, reason_of
from diffspeak.finetunes import SEEDING, FinetuneRef, FinetuneSet, digest_of
from diffspeak.inference import check_finetunes
from diffspeak.io.files import canonical_json, make_folder, sha256
from diffspeak.progress import Reporter, Silent

AuditResult = Audit | Unread


def audit_all(
    auditor: Auditor,
    targets: FinetuneSet,
    out: Path,
    reporter: Reporter | None = None,
    command: str = "",
    tell: Callable[[AuditResult], None] | None = None,
) -> list[AuditResult]:
    """Audit finetunes and write their pages; interrupted, the same call goes on.

    Args:
        auditor: For their base.
        targets: From `open_finetune_set`.
        out: New, empty, or begun with the same targets. Of one finetune the pages are written here;
            of several each gets a folder in it, with an overview beside them, `index.html`.
        reporter: Is told how far it is.
        command: What reproduces it, as typed.
        tell: Is given each result, in the order of the targets, as soon as it is there.

    Raises:
        UsageError: The folder holds something else.
        LockedError: Another process writes there.
        DiffspeakError: A page could not be written.
    """
    reporter, about = reporter or Silent(), auditor.about(command)
    names = safe_names([target.key for target in targets.each])
    with_what = made_with(auditor.adapter, about)
    found: list[AuditResult] = []
    before = 0
    with held(out, targets.name, auditor.base.choices["dtype"]):
        reporter.begin("audit", len(names), "finetunes")
        for target, name in zip(targets.each, names, strict=True):
            folder = out / name if targets.several else out
            result, known = _result(auditor, target, folder, about, with_what)
            before += known
            found.append(result)
            reporter.advance()
            if tell is not None:
                tell(result)
        reporter.end()
        if targets.several:
            named = zip(found, names, strict=True)
            pages = {
                one.finetune: f"{name}/{PAGE}" for one, name in named if isinstance(one, Audit)
            }
            write_overview(found, about, out, pages)
    if before:
        reporter.say(f"{before} had been audited before, and are as they were")
    return found


def _result(
    auditor: Auditor, target: FinetuneRef, folder: Path, about: About, with_what: str
) -> tuple[AuditResult, bool]:
    """One finetune's result, its pages written, and whether it had been audited before."""
    try:
        finetune = target.read(auditor.base)
        check_finetunes(auditor.base, [finetune])
        made_of = canonical_json([target.name, finetune.digest, with_what])
        made_of = sha256(made_of.encode())
    except Exception as error:
        # A stranger's file may break what reads it in ways that nobody thought of; that must not
        # keep the others from being audited.
        return Unread(target.name, reason_of(error, "it cannot be read")), False
    if before := done_before(folder, made_of):
        return before, True
    try:
        audit = auditor.audit(finetune)
    except Exception as error:
        # Out of memory, a matrix without a decomposition: it ends this one's audit alone.
        return Unread(target.name, reason_of(error, "its audit failed")), False
    make_folder(folder)
    try:
        write_audit(audit, about, folder)
    except (DiffspeakError, OSError):
        # A full disk is nothing that this finetune did.
        raise
    except Exception as error:
        return Unread(target.name, reason_of(error, "its page could not be made")), False
    mark_done(folder, made_of)
    return audit, False


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
