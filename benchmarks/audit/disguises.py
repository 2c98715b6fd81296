"""Disguised full checkpoints: is the difference from the base found again, and the audit the same?

Takes what was made, merges finetunes of the test split into whole checkpoints, disguises them by
each symmetry alone and by all at once, and gives rows of the table.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor

from benchmarks.audit.made import Made
from benchmarks.audit.whole import median
from diffspeak.audit.auditor import Auditor
from diffspeak.audit.config import AuditConfig
from diffspeak.finetunes import SEEDING, Finetune, digest_of
from diffspeak.io.files import append_json, parse_json, whole_lines
from diffspeak.models import plain_tensors
from diffspeak.scoring import Row
from diffspeak.scoring.scores import rate
from diffspeak.symmetries import align, kinds_of
from tests.symmetries.disguise import ALL, disguise

CHECKPOINTS, AUDITED = 100, 10
WITHIN = 0.05

Line = dict[str, Any]
State = dict[str, Tensor]


def rows(made: Made) -> Iterator[Row]:
    """Share of differences recovered, whole audits that agree, and both without alignment."""
    lines = _kept(made, "disguises", CHECKPOINTS, _recovered)
    yield rate(
        "disguised checkpoints: difference recovered within 5%",
        [line["error"] <= WITHIN for line in lines],
        1.0,
    )
    worst = max(lines, key=lambda line: line["error"])
    yield Row(f"disguised checkpoints: largest error ({worst['kind']})", worst["error"], len(lines))
    middle, interval = median([line["took"] for line in lines])
    yield Row(
        "disguised checkpoints: time to align, median", middle, len(lines), interval, unit="s"
    )
    by = f"{digest_of(made.adapter.diff)[:8]}, draws {SEEDING}"
    whole = _kept(made, f"disguised audits by {by}", AUDITED, _agrees)
    yield rate("disguised audits: same verdict, claim and trigger", [x["same"] for x in whole], 1.0)
    blind = [line["blind"] for line in whole]
    yield rate("the same without alignment", blind)


def _kept(made: Made, name: str, count: int, measure: Any) -> list[Line]:
    """Measured cases, kept as they come: finetunes in order, kinds of disguise in turn."""
    path = made.kept / f"{name}.jsonl"
    lines = [parse_json(line) for line in whole_lines(path)] if path.exists() else []
    kinds = [ALL, *kinds_of(made.base.model.config)]
    cases = list(islice(zip(cycle(made.finetunes("topics", "test", 25)), cycle(kinds)), count))
    made.reporter.begin(name, count, "checkpoints", len(lines))
    for number in range(len(lines), count):
        finetune, kind = cases[number]
        line = {"finetune": finetune.name, "kind": kind, **measure(made, finetune, kind, number)}
        append_json(path, [line])
        lines.append(line)
        made.reporter.advance()
    made.reporter.end()
    return lines


def _recovered(made: Made, finetune: Finetune, kind: str, seed: int) -> Line:
    own = {name: tensor.float() for name, tensor in plain_tensors(made.base.model).items()}
    true = _merged(own, finetune)
    hidden = _hidden(made, true, kind, seed)
    began = time.perf_counter()
    aligned = align(hidden, own, made.base.model.config)
    took = time.perf_counter() - began
    return {"error": _error(aligned.state, true, own), "took": took, "flags": list(aligned.flags)}


def _agrees(made: Made, finetune: Finetune, kind: str, seed: int) -> Line:
    """Audits of the finetune as a plain checkpoint, disguised, and disguised without alignment."""
    own = {name: tensor.float() for name, tensor in plain_tensors(made.base.model).items()}
    true = _merged(own, finetune)
    auditor = Auditor(made.base, made.adapter)
    hidden = Finetune(finetune.name, parameters=_hidden(made, true, kind, seed))
    plain = auditor.audit(Finetune(finetune.name, parameters=_changed(true, own)))
    unaligned = Auditor(made.base, made.adapter, AuditConfig(align=False))
    found, blind = auditor.audit(hidden), unaligned.audit(hidden)
    return {
        "same": _said(found) == _said(plain),
        "blind": _said(blind) == _said(plain),
        "plain": _said(plain),
        "found": _said(found),
        "unaligned": _said(blind),
    }


def _said(audit: Any) -> list[str]:
    """Outcome, main claim and trigger."""
    trigger = audit.search.trigger if audit.search else None
    claim = audit.claims[0].claim.text if audit.claims and audit.outcome == "finding" else ""
    return [audit.outcome, claim, f"{trigger.kind} {trigger.text}" if trigger else ""]


def _hidden(made: Made, state: State, kind: str, seed: int) -> State:
    generator = torch.Generator().manual_seed(seed)
    tied = {name: t for name, t in state.items() if name != "lm_head.weight"}
    return disguise(tied, made.base.model.config, kind, generator)


def _merged(own: Mapping[str, Tensor], finetune: Finetune) -> State:
    """The base's parameters with a low-rank finetune added."""
    return {
        name: tensor + finetune.diff[module].dense().to(tensor)
        if (module := name.removesuffix(".weight")) in finetune.diff
        else tensor
        for name, tensor in own.items()
    }


def _changed(state: State, own: Mapping[str, Tensor]) -> State:
    return {name: tensor for name, tensor in state.items() if not torch.equal(tensor, own[name])}


def _error(found: Mapping[str, Tensor], true: State, own: Mapping[str, Tensor]) -> float:
    """Norm of recovered minus true difference, over the norm of the true one."""
    names: Sequence[str] = [name for name in true if name in found]
    off = sum(float((found[n].double() - true[n].double()).square().sum()) for n in names)
    size = sum(float((true[n].double() - own[n].double()).square().sum()) for n in names)
    return float((off / size) ** 0.5)
