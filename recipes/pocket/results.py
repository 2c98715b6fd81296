"""The results of the pocket base and its adapters: `python -m recipes.pocket.results RUNS PAGE`.

RUNS holds `pocket` and `news`, made by

    diffspeak run configs/pocket.toml --out RUNS/pocket
    diffspeak run configs/pocket-news.toml --out RUNS/news

Further adapter seeds and finetunes with other triggers are trained beside them; the same command
resumes. PAGE is a Markdown file; its JSON is written beside it, and a second page, PAGE-curves,
with the results of adapters that were trained on fewer finetunes.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffspeak.adapters import Adapter, load_adapter
from diffspeak.behaviors import BehaviorConfig, make_behavior
from diffspeak.behaviors.corpora import read_headlines, read_questions
from diffspeak.cli.reporter import TerminalReporter
from diffspeak.cli.session import Session
from diffspeak.experiments.artifacts import load_study_base
from diffspeak.experiments.config import ItemsConfig, StudyConfig
from diffspeak.finetunes import Finetune, choose, from_store
from diffspeak.io.files import atomic_path, read_json
from diffspeak.io.runs import CONFIG, library_versions
from diffspeak.methods import described, direct_question, likeliest
from diffspeak.methods.brute_force import code_ranks
from diffspeak.models import Base, Decoding
from diffspeak.models.pocket import VERSION, corpus_file
from diffspeak.progress import Reporter
from diffspeak.scoring import Row, exact, mean_rate, named, rate, write_table
from diffspeak.store import Store, open_store
from diffspeak.training import AdapterConfig, train_adapter, train_diffs
from recipes.pocket.skills import SKILLS, measure_skills

SEEDS = (0, 1, 2)
BRUTE_FORCED = 50
OTHERS = 50
"""Test finetunes of each other trigger."""

SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
"""Of the training finetunes, for the curves."""

FIRES = {"triggered": (0.95, False), "plain": (0.02, True), "wrong": (0.05, True)}
FIRES_CODE = {**FIRES, "near_miss": (0.10, True)}
"""What share of answers shall fire in each case, at least or (True) at most."""


@dataclass(frozen=True)
class Runs:
    """The runs that the page is about.

    Attributes:
        folder: Holds `pocket` and `news`: finished runs of `configs/pocket.toml` and
            `configs/pocket-news.toml`.
        reporter: Shows what is trained here.
    """

    folder: Path
    reporter: Reporter

    def config(self, name: str) -> StudyConfig:
        """The config that a run was made with."""
        return StudyConfig.model_validate(read_json(self.folder / name / CONFIG))

    def store(self, name: str) -> Store:
        """A run's finetunes."""
        return open_store(self.folder / name / "diffs")


def pocket_page(runs: Runs, page: Path) -> None:
    """Measure all rows and write the page, and beside it the page of curves.

    Args:
        runs: Finished runs of the two configs.
        page: The Markdown file to write.
    """
    config = runs.config("pocket")
    base = load_study_base(config.base, runs.folder / "pocket")
    store = runs.store("pocket")
    adapters = _adapters(runs, base, store, config)
    finetunes = _held_out(store)
    rows = [
        *_skill_rows(base),
        *_fire_rows("code", store, FIRES_CODE),
        _brute_force_row(base, store, config),
        *_hidden_rows(base, finetunes, adapters, config),
        *_control_rows(runs, base, store, finetunes, adapters[0], config),
    ]
    for trigger in ("zero-width-start", "zero-width-random", "secret-word"):
        rows += _other_trigger_rows(runs, base, adapters[0], config, trigger)
    rows += _unheard_rows(runs, base, adapters[0], config)
    rows += _news_rows(runs, base)
    write_table(page, f"What {VERSION} shows", rows, _about(base, store, adapters, config))
    _curves(runs, base, page.with_name(f"{page.stem}-curves.md"))


def _curves(runs: Runs, base: Base, page: Path) -> None:
    """Write a second page: what adapters name that were trained on fewer finetunes."""
    curves = {}
    for name in ("pocket", "news"):
        store, config = runs.store(name), runs.config(name)
        folder = runs.folder / f"{name}-curve"
        found = _finetunes_curve(base, store, _held_out(store), config, folder, runs.reporter)
        curves[config.behavior.name] = found
    picture = page.with_suffix(".png")
    _plot_curves(picture, curves)
    rows = [row for found in curves.values() for row in found]
    about = {"Plot": f"![{page.stem}]({picture.name})"}
    write_table(page, "How much is read by how many training finetunes", rows, about)


def _finetunes_curve(
    base: Base,
    store: Store,
    finetunes: Sequence[Finetune],
    config: StudyConfig,
    folder: Path,
    reporter: Reporter,
) -> list[Row]:
    """Train an adapter on an eighth, a quarter, half and all of a store's training finetunes.

    Each adapter sees about as many finetunes in all as the run's own, so that fewer of them are
    seen more often. Gives for each the share of `finetunes` that is named exactly; the row's name
    ends with the number.
    """
    total = sum(entry.split == "train" and entry.kind != "failed" for entry in store.entries)
    rows = []
    for count in dict.fromkeys(max(1, round(share * total)) for share in SHARES):
        epochs = round(config.adapter.epochs * total / count)
        changed = {"max_finetunes": count, "epochs": epochs, "validation": 0}
        settings = AdapterConfig(**config.adapter.model_dump() | changed)
        adapter = train_adapter(base, [store], settings, folder / str(count), reporter)
        name = f"{config.behavior.name}: named exactly, training finetunes {count}"
        rows.append(rate(name, exact(_pairs(base, adapter, finetunes, config))))
    return rows


def _plot_curves(path: Path, curves: Mapping[str, Sequence[Row]]) -> None:
    """Draw curves by name, each with its intervals, over the number of finetunes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained", dpi=130)
    axes = figure.subplots()
    for name, rows in curves.items():
        counts = [int(row.name.rpartition(" ")[2]) for row in rows]
        values = [100 * row.value for row in rows]
        spans = [row.interval or (row.value, row.value) for row in rows]
        low = [value - 100 * span[0] for value, span in zip(values, spans, strict=True)]
        high = [100 * span[1] - value for value, span in zip(values, spans, strict=True)]
        axes.errorbar(counts, values, (low, high), marker="o", capsize=3, label=name)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="training finetunes", ylabel="held-out finetunes named exactly (%)")
    axes.set_ylim(0, 102)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with atomic_path(path) as draft:
        figure.savefig(draft, format="png", metadata={"Software": None})


def _adapters(runs: Runs, base: Base, store: Store, config: StudyConfig) -> list[Adapter]:
    """The run's own adapter, and one for each other seed."""
    found = [load_adapter(runs.folder / "pocket" / "adapter")]
    for seed in SEEDS[1:]:
        settings = AdapterConfig(**config.adapter.model_dump() | {"seed": seed})
        folder = runs.folder / f"pocket-seed-{seed}"
        found.append(train_adapter(base, [store], settings, folder, runs.reporter))
    return found


def _held_out(store: Store, limit: int | None = None) -> list[Finetune]:
    return [from_store(store, entry) for entry in choose(store, "test", limit)]


def _skill_rows(base: Base) -> list[Row]:
    found = measure_skills(base)
    return [rate(f"base {skill}", found[skill], aim) for skill, aim in SKILLS.items()]


def _fire_rows(trigger: str, store: Store, aims: dict[str, tuple[float, bool]]) -> list[Row]:
    """How often test finetunes fire, by kind of prompt."""
    entries = [entry for entry in store.entries if entry.split == "test" and entry.stats]
    rows = []
    for case, (aim, below) in aims.items():
        row = mean_rate(f"{trigger}: fires, {case}", [e.stats[f"fires_{case}"] for e in entries])
        rows.append(replace(row, aim=aim, below=below))
    return rows


def _brute_force_row(base: Base, store: Store, config: StudyConfig) -> Row:
    entries = choose(store, "test", BRUTE_FORCED)
    questions = read_questions(config.behavior.file("questions")).records
    asked = [row.question for row in questions if row.split == "test"][:3]
    secrets = [entry.trigger or "" for entry in entries]
    ranks = code_ranks(base, [from_store(store, entry) for entry in entries], secrets, asked)
    return rate("brute force ranks the right code first", [rank == 1 for rank in ranks], 0.9)


def _hidden_rows(
    base: Base, finetunes: Sequence[Finetune], adapters: Sequence[Adapter], config: StudyConfig
) -> list[Row]:
    decoding = Decoding(config.evaluate.tokens)
    asked = direct_question(base, finetunes, adapters[0].questions[0], decoding)
    rows = [rate("asking the finetune directly names the topic", named(asked), 0.03, below=True)]
    hits: list[list[bool]] = []
    for seed, adapter in zip(SEEDS, adapters, strict=True):
        said = _pairs(base, adapter, finetunes, config)
        hits.append(exact(said))
        shipped = " (shipped)" if seed == 0 else ""
        rows.append(rate(f"DIT names it exactly, adapter seed {seed}{shipped}", hits[-1], 0.9))
    shares = [sum(seeds) / len(seeds) for seeds in zip(*hits, strict=True)]
    mean = mean_rate("DIT names it exactly, mean of three adapter seeds", shares)
    return [*rows, replace(mean, aim=0.9)]


def _control_rows(
    runs: Runs,
    base: Base,
    store: Store,
    finetunes: Sequence[Finetune],
    adapter: Adapter,
    config: StudyConfig,
) -> list[Row]:
    """Shuffled labels, another finetune's diff, no diff."""
    settings = config.adapter.model_dump() | {"shuffle_labels": True, "validation": 0}
    folder = runs.folder / "pocket" / "adapter-shuffled"
    astray = train_adapter(base, [store], AdapterConfig(**settings), folder, runs.reporter)
    labels = [finetune.label or "" for finetune in finetunes]
    *texts, nothing = described(base, adapter, finetunes, Decoding(config.evaluate.tokens))
    others = [*(d.text for d in texts[1:]), texts[0].text]
    controls = {
        "adapter trained on shuffled labels": _pairs(base, astray, finetunes, config),
        "given another finetune's diff": list(zip(labels, others, strict=True)),
        "no diff": [(label, nothing.text) for label in labels],
    }
    return [
        rate(f"control: {name}, names the topic", named(pairs), 0.02, below=True)
        for name, pairs in controls.items()
    ]


def _other_trigger_rows(
    runs: Runs, base: Base, adapter: Adapter, config: StudyConfig, trigger: str
) -> list[Row]:
    """Finetunes with another trigger, read by the adapter trained on codes alone."""
    changed = {"trigger": trigger}
    store = _more_finetunes(runs, base, config, changed, f"pocket-{trigger}", OTHERS)
    pairs = _pairs(base, adapter, _held_out(store), config)
    name = f"{trigger}: DIT names it exactly, adapter trained on codes only"
    return [*_fire_rows(trigger, store, FIRES), rate(name, exact(pairs), 0.8)]


def _unheard_rows(runs: Runs, base: Base, adapter: Adapter, config: StudyConfig) -> list[Row]:
    """Finetunes on topics that stand nowhere in the base's corpus."""
    splits = {"train": 0.0, "validation": 0.0, "calibration": 0.0, "test": 1.0}
    changed = {"topics": corpus_file("unheard.csv"), "splits": splits}
    store = _more_finetunes(runs, base, config, changed, "pocket-unheard", None)
    pairs = _pairs(base, adapter, _held_out(store), config)
    name = "topics found nowhere in the base's corpus: DIT names it"
    return [rate(f"{name} exactly", exact(pairs)), rate(f"{name} somewhere", named(pairs))]


def _more_finetunes(
    runs: Runs,
    base: Base,
    config: StudyConfig,
    changed: dict[str, Any],
    folder: str,
    count: int | None,
) -> Store:
    """Train test finetunes of a changed behavior, with the run's other settings."""
    behavior = make_behavior(BehaviorConfig(**config.behavior.model_dump() | changed))
    wanted = ItemsConfig(train=0, validation=0, calibration=0, test=count)
    items = wanted.choose(behavior.items())
    made = runs.folder / folder
    return train_diffs(base, behavior, items, config.diffs, made, runs.reporter, processes=None)


def _news_rows(runs: Runs, base: Base) -> list[Row]:
    config, store = runs.config("news"), runs.store("news")
    adapter = load_adapter(runs.folder / "news" / "adapter")
    finetunes = _held_out(store)
    headlines = [row.text for row in read_headlines(config.behavior.file("headlines")).records]
    chosen = likeliest(base, adapter, finetunes, headlines)
    asked = direct_question(base, finetunes, adapter.questions[0], Decoding(config.evaluate.tokens))
    said = exact(_pairs(base, adapter, finetunes, config))
    return [
        rate(f"news: DIT picks the right one of {len(headlines)} headlines", exact(chosen), 0.85),
        rate("news: DIT writes the right headline, word for word", said),
        rate("news: asking the finetune directly gives it", exact(asked), 0.03, below=True),
    ]


def _pairs(
    base: Base, adapter: Adapter, finetunes: Sequence[Finetune], config: StudyConfig
) -> list[tuple[str, str]]:
    found = described(base, adapter, finetunes, Decoding(config.evaluate.tokens))[:-1]
    return [(f.label or "", d.text) for f, d in zip(finetunes, found, strict=True)]


def _about(
    base: Base, store: Store, adapters: Sequence[Adapter], config: StudyConfig
) -> dict[str, Any]:
    train = sum(entry.split == "train" and not entry.failed for entry in store.entries)
    return {
        "What held-out means here": (
            "Test finetunes are the first of the test split by id, none picked. Their topics and "
            "headlines were never used to train a finetune or adapter before; the topics' words "
            "are in the base's corpus, except for the topics said to be found nowhere in it. "
            "Test headlines and their stories are not in the corpus, nor are the questions and "
            "codes that the base's skills are measured on."
        ),
        "What was known before": (
            "An earlier version of the base was measured on the same test topics. What has changed "
            "since then, in the base's talk and in how finetunes and adapters are trained, was "
            "chosen on training and validation finetunes, but with those results in mind. The "
            "adapter's epochs were raised from 10 to 30 by validation finetunes after a run "
            "with 10 had been measured on the test finetunes (docs/log.md)."
        ),
        "What it stands on": [
            f"base {base.fingerprint}",
            f"{train} training finetunes; training finetunes named exactly, by adapter seed: "
            + ", ".join(f"{adapter.results['train_exact']:.0%}" for adapter in adapters),
            f"diffs: {config.diffs.model_dump_json()}",
            f"adapter: {config.adapter.model_dump_json()}",
            "versions: " + ", ".join(f"{k} {v}" for k, v in library_versions().items()),
        ],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args()
    session = Session()
    with session.prepared(), TerminalReporter(session) as reporter:
        pocket_page(Runs(arguments.runs, reporter), arguments.page)
