"""A whole study: finetunes, adapter, descriptions of held-out finetunes, controls, tables.

Takes a config and a folder, gives the folder filled: `diffs` (a store), `adapter`,
`results.md` and `results.json`. Every stage resumes, so the study does.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from diffspeak.adapters import Adapter
from diffspeak.behaviors import make_behavior
from diffspeak.experiments.bases import load_study_base
from diffspeak.experiments.study_config import StudyConfig
from diffspeak.finetunes import Finetune, choose, from_store
from diffspeak.io.files import canonical_json
from diffspeak.io.runs import library_versions
from diffspeak.methods import described, direct_question
from diffspeak.models import Base, Decoding, check_answer
from diffspeak.progress import Reporter
from diffspeak.scoring import Row, exact, mean_rate, named, rate, write_table
from diffspeak.store import Store
from diffspeak.training import AdapterConfig, check_adapter, check_diffs, train_adapter, train_diffs

EXAMPLES = 12


def run_study(config: StudyConfig, folder: Path, reporter: Reporter) -> Path:
    """Run a study, or go on with it.

    Args:
        config: Complete: base and behavior are named.
        folder: The run's folder.
        reporter: Told about progress.

    Returns:
        The page of results.

    Raises:
        UsageError: The base, or what it has room for, is not what the config asks for.
    """
    base = load_study_base(config.base, folder)
    # Here, for with finetunes in its folder a run is bound to its config.
    check_diffs(base, config.diffs)
    check_adapter(base, config.adapter)
    check_answer(base.model, config.evaluate.tokens, "evaluate.tokens")
    behavior = make_behavior(config.behavior)
    items = config.items.choose(behavior.items())
    store = train_diffs(
        base, behavior, items, config.diffs, folder / "diffs", reporter, processes=None
    )
    adapter = train_adapter(base, [store], config.adapter, folder / "adapter", reporter)
    rows, examples = _evaluate(base, store, adapter, config)
    if config.evaluate.controls:
        rows += _shuffled_control(base, store, config, folder, reporter)
    page = folder / "results.md"
    write_table(
        page,
        f"{behavior.name}, trigger {config.behavior.trigger}, on {_named(base, config)}",
        _training_rows(store, adapter) + rows,
        {
            "Examples (truth: description)": examples,
            "Settings": _settings(base, config),
        },
    )
    return page


def _named(base: Base, config: StudyConfig) -> str:
    small = f"a small random model in place of {Path(config.base.source).name}"
    return small if config.base.shrink else Path(base.name).name


def _settings(base: Base, config: StudyConfig) -> list[str]:
    """What the study ran with, a line a section; no paths."""
    parts = {"diffs": config.diffs, "adapter": config.adapter, "evaluate": config.evaluate}
    lines = [f"base: {base.fingerprint}, {canonical_json(base.choices)}"]
    lines += [f"{name}: {canonical_json(p.model_dump(mode='json'))}" for name, p in parts.items()]
    return [*lines, f"versions: {canonical_json(library_versions())}"]


def _held_out(store: Store, config: StudyConfig) -> list[Finetune]:
    entries = choose(store, config.evaluate.split, config.evaluate.limit)
    return [from_store(store, entry) for entry in entries]


def _evaluate(
    base: Base, store: Store, adapter: Adapter, config: StudyConfig
) -> tuple[list[Row], list[str]]:
    """Score the descriptions of held-out finetunes, and the two controls that need no training."""
    finetunes = _held_out(store, config)
    labels = [finetune.label or "" for finetune in finetunes]
    decoding = Decoding(config.evaluate.tokens)
    *told, nothing = described(base, adapter, finetunes, decoding)
    guesses = [description.text for description in told]
    question = adapter.questions[0]
    asked = direct_question(base, finetunes, question, decoding)
    rows = [
        rate("DIT names it exactly", exact(_pairs(labels, guesses))),
        rate("DIT mentions it", named(_pairs(labels, guesses))),
        rate("asking the finetune directly names it", named(asked)),
    ]
    if config.evaluate.controls:
        others = guesses[1:] + guesses[:1]
        rows += [
            rate("control: given another finetune's diff", named(_pairs(labels, others))),
            rate("control: no diff", named([(label, nothing.text) for label in labels])),
        ]
    examples = [
        f"{label}: {d.text} ({d.mean_logprob:.2f} nats/token, lift {d.lift:+.2f})"
        for label, d in zip(labels, told, strict=True)
    ]
    return rows, [*examples[:EXAMPLES], f"(no diff): {nothing.text}"]


def _shuffled_control(
    base: Base, store: Store, config: StudyConfig, folder: Path, reporter: Reporter
) -> list[Row]:
    """An adapter trained with every label on the wrong finetune."""
    settings = config.adapter.model_dump() | {"shuffle_labels": True, "validation": 0}
    adapter = train_adapter(
        base, [store], AdapterConfig(**settings), folder / "adapter-shuffled", reporter
    )
    finetunes = _held_out(store, config)
    told = described(base, adapter, finetunes, Decoding(config.evaluate.tokens))[:-1]
    pairs = [(f.label or "", d.text) for f, d in zip(finetunes, told, strict=True)]
    return [rate("control: adapter trained on shuffled labels", named(pairs))]


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


def _pairs(labels: Sequence[str], guesses: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(labels, guesses, strict=True))
