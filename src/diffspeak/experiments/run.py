"""Run experiments: a study of a config's own finetunes, a table of its rows, or both.

Fills a run's folder: the config's own `diffs` and `adapter` with `results.md`; `stores`,
`adapters`, `projections` and `guesses` by name, and a folder with table and figure for each
experiment. What is there already is read, so an interrupted run goes on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffspeak.adapters import Adapter
from diffspeak.experiments.artifacts import Artifacts, inside, load_study_base
from diffspeak.experiments.config import ADAPTER, STORE, ExperimentConfig, RowConfig, training_of
from diffspeak.experiments.guesses import Guesses, kept_guesses, scored
from diffspeak.experiments.methods import Helpers, MethodParts, make_method
from diffspeak.experiments.results import RowResult, write_table_files
from diffspeak.finetunes import SEEDING, Finetune, choose, from_store
from diffspeak.io.files import canonical_json, sha256
from diffspeak.io.runs import library_versions
from diffspeak.methods import described, direct_question
from diffspeak.models import Base, Decoding
from diffspeak.progress import Reporter
from diffspeak.scoring import Row, exact, mean_rate, named, rate, write_table
from diffspeak.store import Store
from diffspeak.training import AdapterConfig, train_adapter

EXAMPLES = 12
SHUFFLED = "adapter-shuffled"


def run_experiments(
    experiments: Sequence[ExperimentConfig], folder: Path, reporter: Reporter
) -> list[Path]:
    """Run experiments, or go on with them.

    Args:
        experiments: Complete; all of one base.
        folder: The run's folder.
        reporter: Told about progress.

    Returns:
        The page of each study and of each table.

    Raises:
        UsageError: A method cannot be used on what a row names, or the base has no room for what
            the config asks for.
        MismatchError: The folder holds something else under a name, or a path leads to something
            of another base.
    """
    base = load_study_base(experiments[0].base, folder)
    first = Artifacts(experiments[0], base, folder, reporter)
    runs = [first.for_config(experiment) for experiment in experiments]
    for artifacts in runs:
        # Before anything is made, for with finetunes in its folder a run is bound to its config.
        artifacts.check()
    pages = []
    for number, artifacts in enumerate(runs, 1):
        config = artifacts.config
        if config.behavior:
            pages.append(_run_study(artifacts))
        if config.rows:
            reporter.say(f"experiment {number} of {len(experiments)}: {config.title}")
            with Helpers(config.judge, folder) as helpers:
                results = [_run_row(artifacts, helpers, row) for row in config.rows]
                judge = helpers.judge.name
                pages.append(write_table_files(folder, config, judge, base.name, results))
    return pages


def _run_row(artifacts: Artifacts, helpers: Helpers, row: RowConfig) -> RowResult:
    """What came out for a row: for each seed its guesses, scored."""
    finetunes = artifacts.finetunes(row)
    truths = [(f.label if row.truth == "label" else f.trigger) or "" for f in finetunes]
    seeds, seconds = [], 0.0
    for seed in row.seeds if finetunes else ():
        found = _guesses(artifacts, helpers, row, seed, finetunes)
        seconds += found.seconds
        seeds.append(scored(row.name, finetunes, truths, found.guesses, helpers.judge))
    return RowResult(row, tuple(seeds), seconds, artifacts.firing(row))


def _guesses(
    artifacts: Artifacts,
    helpers: Helpers,
    row: RowConfig,
    seed: int,
    finetunes: Sequence[Finetune],
) -> Guesses:
    made_with = _made_with(artifacts, row, seed)
    name = "-".join(filter(None, [row.method, row.adapter, "on", row.test, f"seed-{seed}"]))
    short = sha256(canonical_json([made_with, [f.name for f in finetunes]]).encode())[:8]
    method = make_method(MethodParts(artifacts, helpers, row, seed))
    artifacts.reporter.say(f"{row.name}: {method.name} on {len(finetunes)} finetunes of {row.test}")
    path = inside(artifacts.folder, "guesses", f"{name}-{short}.json")
    return kept_guesses(path, method, finetunes, made_with)


def _made_with(artifacts: Artifacts, row: RowConfig, seed: int) -> Mapping[str, Any]:
    """All that a row's guesses depend on, as plain data."""
    store = artifacts.store(row.test)
    return {
        "base": artifacts.base.fingerprint.to_dict(),
        "method": row.method,
        "seed": seed,
        "seeding": SEEDING,
        "question": artifacts.question(row),
        "trained": artifacts.trained_with(row, seed),
        "reference": row.reference,
        "store": {"behavior": store.header.behavior, "settings": store.header.settings},
        "tokens": artifacts.config.evaluate.tokens,
        "guesser": artifacts.config.judge.guesser,
    }


def _run_study(artifacts: Artifacts) -> Path:
    """Describe held-out finetunes of the config's own store, with controls; gives the page."""
    base, config = artifacts.base, artifacts.config
    store = artifacts.store(STORE)
    adapter = artifacts.adapter(ADAPTER, config.adapter.seed)
    entries = choose(store, config.evaluate.split, config.evaluate.limit)
    finetunes = [from_store(store, entry) for entry in entries]
    rows, examples = _describe(artifacts, adapter, finetunes)
    if config.evaluate.controls:
        rows.append(_shuffled_control(artifacts, store, finetunes))
    page = artifacts.folder / "results.md"
    source = Path(config.base.source).name
    small = f"a small random model in place of {source}"
    assert config.behavior is not None
    write_table(
        page,
        f"{config.behavior.name}, trigger {config.behavior.trigger}, on "
        f"{small if config.base.shrink else Path(base.name).name}",
        _training_rows(store, adapter) + rows,
        {"Examples (truth: description)": examples, "Settings": _settings(base, config)},
    )
    return page


def _settings(base: Base, config: ExperimentConfig) -> list[str]:
    """What the study ran with, a line a section; no paths."""
    parts = {"diffs": config.diffs, "adapter": config.adapter, "evaluate": config.evaluate}
    lines = [f"base: {base.fingerprint}, {canonical_json(base.choices)}"]
    lines += [f"{name}: {canonical_json(p.model_dump(mode='json'))}" for name, p in parts.items()]
    return [*lines, f"versions: {canonical_json(library_versions())}"]


def _describe(
    artifacts: Artifacts, adapter: Adapter, finetunes: Sequence[Finetune]
) -> tuple[list[Row], list[str]]:
    """Score the descriptions of held-out finetunes, and the two controls that need no training."""
    base, evaluate = artifacts.base, artifacts.config.evaluate
    labels = [finetune.label or "" for finetune in finetunes]
    decoding = Decoding(evaluate.tokens)
    *found, nothing = described(base, adapter, finetunes, decoding)
    guesses = [description.text for description in found]
    asked = direct_question(base, finetunes, adapter.questions[0], decoding)
    pairs = list(zip(labels, guesses, strict=True))
    rows = [
        rate("DIT names it exactly", exact(pairs)),
        rate("DIT mentions it", named(pairs)),
        rate("asking the finetune directly names it", named(asked)),
    ]
    if evaluate.controls:
        others = list(zip(labels, guesses[1:] + guesses[:1], strict=True))
        rows += [
            rate("control: given another finetune's diff", named(others)),
            rate("control: no diff", named([(label, nothing.text) for label in labels])),
        ]
    examples = [
        f"{label}: {d.text} ({d.mean_logprob:.2f} nats/token, lift {d.lift:+.2f})"
        for label, d in zip(labels, found, strict=True)
    ]
    return rows, [*examples[:EXAMPLES], f"(no diff): {nothing.text}"]


def _shuffled_control(artifacts: Artifacts, store: Store, finetunes: Sequence[Finetune]) -> Row:
    """An adapter trained with every label on the wrong finetune."""
    base, config = artifacts.base, artifacts.config
    settings = training_of(AdapterConfig, config.adapter, shuffle_labels=True, validation=0)
    folder = artifacts.folder / SHUFFLED
    adapter = train_adapter(base, [store], settings, folder, artifacts.reporter)
    found = described(base, adapter, finetunes, Decoding(config.evaluate.tokens))[:-1]
    pairs = [(f.label or "", d.text) for f, d in zip(finetunes, found, strict=True)]
    return rate("control: adapter trained on shuffled labels", named(pairs))


def _training_rows(store: Store, adapter: Adapter) -> list[Row]:
    """What was trained, and whether it learned."""
    trained = [e for e in store.entries if e.kind != "failed"]
    splits = Counter(entry.split for entry in trained)
    counts = [Row(f"finetunes, {split}", n, len(store.entries)) for split, n in splits.items()]
    cases = sorted({name for e in trained for name in e.stats if name.startswith("fires_")})
    fires = [
        mean_rate(
            f"finetunes' answers that fire, {case.removeprefix('fires_')}",
            [e.stats[case] for e in trained if case in e.stats],
        )
        for case in cases
    ]
    count = round(adapter.results["train_n"])
    hits = round(adapter.results["train_exact"] * count)
    known = rate("training finetunes named exactly", [i < hits for i in range(count)])
    return [*counts, *fires, known]
