"""How much is read by how many training finetunes: adapters on ever larger parts of a store.

Takes a finished run, gives rows and a plot. Each adapter sees about as many finetunes in all as
the run's own, so that fewer of them are seen more often.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from diffspeak.experiments.config import StudyConfig
from diffspeak.finetunes import Finetune
from diffspeak.io.files import atomic_path
from diffspeak.methods import described
from diffspeak.models import Base, Decoding
from diffspeak.progress import Reporter
from diffspeak.scoring import Row, exact, rate
from diffspeak.store import Store
from diffspeak.training import AdapterConfig, train_adapter

SHARES = (1 / 8, 1 / 4, 1 / 2, 1)


def finetunes_curve(
    base: Base,
    store: Store,
    finetunes: Sequence[Finetune],
    config: StudyConfig,
    folder: Path,
    reporter: Reporter,
) -> list[Row]:
    """Train an adapter on an eighth, a quarter, half and all of a store's training finetunes.

    Args:
        base: Of the store.
        store: Holds the training finetunes.
        finetunes: Those that are described.
        config: Of the run.
        folder: Where the adapters go, one folder each.
        reporter: Told about progress.

    Returns:
        For each the share that is named exactly; the row's name ends with the number.
    """
    total = sum(entry.split == "train" and entry.kind != "failed" for entry in store.entries)
    rows = []
    for count in dict.fromkeys(max(1, round(share * total)) for share in SHARES):
        epochs = round(config.adapter.epochs * total / count)
        changed = {"max_finetunes": count, "epochs": epochs, "validation": 0}
        settings = AdapterConfig(**config.adapter.model_dump() | changed)
        adapter = train_adapter(base, [store], settings, folder / str(count), reporter)
        told = described(base, adapter, finetunes, Decoding(config.evaluate.tokens))[:-1]
        pairs = [(f.label or "", d.text) for f, d in zip(finetunes, told, strict=True)]
        name = f"{config.behavior.name}: named exactly, training finetunes {count}"
        rows.append(rate(name, exact(pairs)))
    return rows


def plot_curves(path: Path, curves: Mapping[str, Sequence[Row]]) -> None:
    """Draw curves by name, each with its intervals, over the number of finetunes.

    Args:
        path: A PNG file.
        curves: Rows as `finetunes_curve` gives them.
    """
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
