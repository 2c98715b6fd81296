"""Calibrate an adapter: how much evidence is enough, on finetunes whose truth is known.

Takes finetunes that were taught something, and others by kind, gives `Calibrations`. They must be
of no training: an adapter is surer of what it learned from. Knows nothing of stores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from diffspeak.adapters import Adapter, Calibrations, Interpreter, calibrate, check_enough
from diffspeak.adapters.calibration import GAINED
from diffspeak.audit.auditor import TOGETHER, Auditor
from diffspeak.audit.config import AuditConfig
from diffspeak.audit.schema import AuditEvidence
from diffspeak.errors import CorruptFileError
from diffspeak.finetunes import SEEDING, Finetune, digest_of
from diffspeak.io.files import append_json, canonical_json, parse_json, sha256, whole_lines
from diffspeak.models import Base, Decoding
from diffspeak.progress import Reporter, Silent
from diffspeak.training.negatives import Negative, several

FREE: tuple[Negative, ...] = ("random", "shuffled")
"""Kinds of negatives that are made of the positives."""

DRAWS = 3
"""Such negatives of each positive: they cost no training, and the more there are, the less depends
on a single one."""

POSITIVE = "positive"
CONTROLS = 40
"""Labels that are kept as phrases to compare claims with."""

DESCRIBED = 64
"""Longest description, in tokens; that of `Interpreter.describe`."""


FIGURES = ("described", *AuditEvidence.__dataclass_fields__)
"""Names of all that is measured of a finetune."""


class Measured(dict[str, float]):
    """Figures of one finetune: `described`, what its description gains, and its `AuditEvidence`."""


class Bench:
    """Measures the evidence of many finetunes, and keeps it in a file as it goes.

    Args:
        auditor: Whose evidence it is.
        kept: Where measured figures are kept; an interrupted run goes on there. None keeps nothing.
        reporter: Told about progress.
    """

    def __init__(
        self, auditor: Auditor, kept: Path | None = None, reporter: Reporter | None = None
    ) -> None:
        self.auditor, self.kept, self.reporter = auditor, kept, reporter or Silent()
        made_with = [digest_of(auditor.adapter.diff), auditor.config.model_dump(mode="json")]
        controls = list(auditor.adapter.calibrations.controls)
        self._with = sha256(canonical_json([*made_with, controls, SEEDING]).encode())[:16]
        self._known: dict[tuple[str, str], Measured] = {}
        for row in _read(kept) if kept is not None and kept.exists() else []:
            if row["with"] == self._with:
                self._known[row["kind"], row["finetune"]] = Measured(row["figures"])

    def measure(self, kind: str, finetunes: Sequence[Finetune]) -> list[Measured]:
        """Figures of finetunes of one kind, in their order."""
        keys = [(kind, f"{finetune.name} {finetune.digest[:16]}") for finetune in finetunes]
        new = [i for i, key in enumerate(keys) if key not in self._known]
        self.reporter.begin(
            f"evidence, {kind}", len(finetunes), "finetunes", len(finetunes) - len(new)
        )
        for start in range(0, len(new), TOGETHER):
            places = new[start : start + TOGETHER]
            part = [finetunes[i] for i in places]
            found = zip(places, self._gains(part), self.auditor.evidence(part), strict=True)
            self._keep({keys[i]: Measured(described=x, **asdict(own)) for i, x, own in found})
            self.reporter.advance(len(part))
        self.reporter.end()
        return [self._known[key] for key in keys]

    def _gains(self, part: Sequence[Finetune]) -> list[float]:
        """Of each description; 0 where a finetune gives no numbers."""
        with Interpreter(self.auditor.base, self.auditor.adapter) as interpreter:
            told = interpreter.describe(part, decoding=Decoding(DESCRIBED))
        return [one.gained for one in told]

    def _keep(self, found: Mapping[tuple[str, str], Measured]) -> None:
        self._known.update(found)
        if self.kept is not None:
            rows = [
                {"with": self._with, "kind": kind, "finetune": key, "figures": figures}
                for (kind, key), figures in found.items()
            ]
            append_json(self.kept, rows)


def _read(kept: Path) -> list[dict[str, Any]]:
    """What was measured before.

    Raises:
        CorruptFileError: A line holds something else.
    """
    try:
        rows = [parse_json(line) for line in whole_lines(kept)]
        for row in rows:
            texts = [row["with"], row["kind"], row["finetune"]]
            numbers = [row["figures"][name] for name in FIGURES]
            if {type(text) for text in texts} != {str} or {type(n) for n in numbers} != {float}:
                raise ValueError("it holds something else than was measured")
    except (ValueError, TypeError, LookupError) as error:
        raise CorruptFileError(
            f"{kept} is damaged ({error}): remove it, and measure again"
        ) from error
    return rows


def calibrated(
    base: Base,
    adapter: Adapter,
    positives: Sequence[Finetune],
    negatives: Mapping[str, Sequence[Finetune]],
    *,
    kept: Path | None = None,
    reporter: Reporter | None = None,
) -> Adapter:
    """An adapter with its calibrations, by what is gained alone and by that with behavior.

    Random and shuffled changes are made of the positives, and count as kinds of their own.

    Args:
        base: Of adapter and finetunes; nothing attached.
        adapter: What to calibrate.
        positives: Labelled finetunes of what it was trained to tell, none of them seen in training.
        negatives: Finetunes that were taught nothing of it, by kind.
        kept: File for what was measured, so that an interrupted run goes on.
        reporter: Told about progress.

    Raises:
        UsageError: Too few finetunes of a kind.
        MismatchError: A finetune is of another base.
    """
    kinds = {**negatives, **made_of(positives)}
    check_enough(positives, kinds)
    labels = dict.fromkeys(one.label for one in positives if one.label)
    plain = replace(adapter, calibrations=Calibrations(controls=tuple(labels)[:CONTROLS]))
    bench = Bench(Auditor(base, plain, AuditConfig(budget=0)), kept, reporter)
    true = bench.measure(POSITIVE, positives)
    false = {kind: bench.measure(kind, own) for kind, own in kinds.items()}
    made = Calibrations(
        calibrate(described(true), {kind: described(own) for kind, own in false.items()}),
        calibrate(evident(true), {kind: evident(own) for kind, own in false.items()}),
        plain.calibrations.controls,
    )
    return replace(adapter, calibrations=made)


def made_of(positives: Sequence[Finetune]) -> dict[str, list[Finetune]]:
    """The kinds of negatives that need no training: changes of the same size without meaning."""
    low_rank = [finetune for finetune in positives if not finetune.whole]
    return {kind: several(kind, low_rank, DRAWS) for kind in FREE}


def described(measured: Sequence[Measured]) -> list[dict[str, float]]:
    """Of figures, what `describe` goes by."""
    return [{GAINED: one["described"]} for one in measured]


def evident(measured: Sequence[Measured]) -> list[dict[str, float]]:
    """Of figures, what an audit goes by."""
    return [{name: one[name] for name in AuditEvidence.__dataclass_fields__} for one in measured]
