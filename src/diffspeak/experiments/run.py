"""Run experiments: for every row the guesses of its method, their scores, a table and a figure.

Takes experiments and a run's folder, gives the folder filled: `stores`, `adapters`, `projections`,
`guesses`, and for each experiment a folder with its table and figure. What is there already is
read, so an interrupted run goes on, and experiments share what they name alike.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffspeak.experiments.artifacts import Workshop
from diffspeak.experiments.bases import load_study_base
from diffspeak.experiments.config import ExperimentConfig, RowConfig
from diffspeak.experiments.guesses import Guesses, kept_guesses, scored
from diffspeak.experiments.helpers import Helpers
from diffspeak.experiments.inside import inside
from diffspeak.experiments.methods import Wanted, make_method
from diffspeak.experiments.outcome import Outcome, Told, write_outcome
from diffspeak.finetunes import SEEDING, Finetune
from diffspeak.io.files import canonical_json, sha256
from diffspeak.methods import check_projection
from diffspeak.models import Base, check_answer
from diffspeak.progress import Reporter
from diffspeak.training import check_adapter, check_diffs

log = logging.getLogger(__name__)


def run_experiments(
    experiments: Sequence[ExperimentConfig],
    folder: Path,
    reporter: Reporter,
    workshop: Workshop | None = None,
) -> list[Path]:
    """Run experiments, or go on with them.

    Args:
        experiments: Complete; all of one base.
        folder: The run's folder.
        reporter: Told about progress.
        workshop: Where what they need comes from; by default it is made in the folder.

    Returns:
        The page of each.

    Raises:
        UsageError: A method cannot be used on what a row names.
        MismatchError: The folder holds something else under a name.
    """
    if workshop is None:
        workshop = Workshop(load_study_base(experiments[0].base, folder), folder, reporter)
    for experiment in experiments:
        _check(workshop.base, experiment)
    pages = []
    for number, experiment in enumerate(experiments, 1):
        reporter.say(f"experiment {number} of {len(experiments)}: {experiment.title}")
        with Helpers(experiment.judge, folder) as helpers:
            told = [_told(workshop, helpers, experiment, row) for row in experiment.rows]
            pages.append(
                write_outcome(
                    folder, experiment, Outcome(helpers.judge.name, workshop.base.name, told)
                )
            )
    return pages


def _check(base: Base, experiment: ExperimentConfig) -> None:
    """Refuse what the base has no room for, before anything is made.

    Raises:
        UsageError: A rank, or the longest answer, is too large.
    """
    for store in experiment.stores.values():
        check_diffs(base, store.diffs)
    for adapter in experiment.adapters.values():
        check_adapter(base, adapter)
    for projection in experiment.projections.values():
        check_projection(base, projection)
    check_answer(base.model, experiment.tokens, "tokens")


def _told(
    workshop: Workshop, helpers: Helpers, experiment: ExperimentConfig, row: RowConfig
) -> Told:
    """What came out for a row: for each seed its guesses, scored."""
    finetunes = workshop.finetunes(experiment, row)
    truths = [(f.label if row.truth == "label" else f.trigger) or "" for f in finetunes]
    seeds, seconds = [], 0.0
    for seed in row.seeds if finetunes else ():
        found = _guesses(workshop, helpers, experiment, row, seed, finetunes)
        seconds += found.seconds
        seeds.append(scored(finetunes, truths, found.guesses, helpers.judge))
    fires = workshop.firing(experiment, row)
    return Told(row, tuple(map(tuple, seeds)), seconds, fires)


def _guesses(
    workshop: Workshop,
    helpers: Helpers,
    experiment: ExperimentConfig,
    row: RowConfig,
    seed: int,
    finetunes: Sequence[Finetune],
) -> Guesses:
    made_with = _made_with(workshop, experiment, row, seed)
    name = "-".join(filter(None, [row.method, row.adapter, "on", row.test, f"seed-{seed}"]))
    short = sha256(canonical_json([made_with, [f.name for f in finetunes]]).encode())[:8]
    method = make_method(Wanted(workshop, helpers, experiment, row, seed))
    workshop.reporter.say(f"{row.name}: {method.name} on {len(finetunes)} finetunes of {row.test}")
    return kept_guesses(
        inside(workshop.folder, "guesses", f"{name}-{short}.json"), method, finetunes, made_with
    )


def _made_with(
    workshop: Workshop, experiment: ExperimentConfig, row: RowConfig, seed: int
) -> Mapping[str, Any]:
    """All that a row's guesses depend on, as plain data."""
    store = workshop.store(experiment, row.test)
    return {
        "base": workshop.base.fingerprint.to_dict(),
        "method": row.method,
        "seed": seed,
        "seeding": SEEDING,
        "question": workshop.question(experiment, row),
        "trained": workshop.trained_with(experiment, row, seed),
        "reference": row.reference,
        "store": {"behavior": store.header.behavior, "settings": store.header.settings},
        "tokens": experiment.tokens,
        "guesser": experiment.judge.guesser,
    }
