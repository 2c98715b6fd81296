"""The pictures of the page: tokens a second of every contender, and as one thing grows."""

from pathlib import Path

import matplotlib

from benchmarks.plan import Kept, compared, grown_to, growth
from diffspeak.io.files import atomic_path

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

COLORS = {
    "ours": "#2a6f97",
    "crew": "#61a5c2",
    "published": "#bc4749",
    "peft": "#e9a03b",
    "peft-mixed": "#8d6a9f",
}


def plot_contenders(path: Path, kept: Kept, device: str) -> None:
    """Bars of every contender's tokens a second, on a logarithmic axis."""
    cases = list(dict.fromkeys((j.stage, j.model, j.dtype) for j in compared(device)))
    figure, axes = plt.subplots(figsize=(9, 0.8 * len(cases) + 1))
    for place, case in enumerate(cases):
        jobs = [j for j in compared(device) if (j.stage, j.model, j.dtype) == case]
        for offset, job in enumerate(jobs):
            rate = kept.measure(job).tokens_per_second
            height = 0.8 / len(jobs)
            axes.barh(place + offset * height, rate, height * 0.9, color=COLORS[job.contender])
            axes.text(rate * 1.05, place + offset * height, f"{rate:,.0f}", va="center", fontsize=7)
    axes.set_yticks([place + 0.3 for place in range(len(cases))], [", ".join(c) for c in cases])
    axes.set_xscale("log")
    axes.set_xlabel("tokens a second")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=color) for color in COLORS.values()]
    axes.legend(handles, COLORS, frameon=False, fontsize=8)
    figure.tight_layout()
    with atomic_path(path) as draft:
        figure.savefig(draft, format="png", dpi=150)
    plt.close(figure)


def plot_growth(path: Path, kept: Kept, device: str) -> None:
    """A curve for each thing that grows."""
    jobs = growth(device)
    figure, axes = plt.subplots(1, len(jobs), figsize=(3 * len(jobs), 2.8))
    for axis, (what, grown) in zip(axes, jobs.items(), strict=True):
        values = [grown_to(job, what) for job in grown]
        rates = [kept.measure(job).tokens_per_second for job in grown]
        axis.plot(values, rates, "o-", color=COLORS["ours"])
        axis.set_xscale("log", base=2)
        axis.set_xticks(values, [str(value) for value in values])
        axis.set_xlabel({"answer": "answer tokens"}.get(what, what))
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("tokens a second")
    figure.tight_layout()
    with atomic_path(path) as draft:
        figure.savefig(draft, format="png", dpi=150)
    plt.close(figure)
