"""The page of results: ratios with their aims, every measurement, a plot, and the machine.

Takes kept results, gives `speed.md` with JSON and a picture beside it.
"""

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import torch

from benchmarks import flops
from benchmarks.job import Job, Result
from benchmarks.plan import Kept, compared, growth, of_stage, stores
from diffspeak.evaluate import Row, table_lines
from diffspeak.files import atomic_path, make_folder, write_json, write_text
from diffspeak.runs import library_versions

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

COLORS = {
    "ours": "#2a6f97",
    "crew": "#61a5c2",
    "published": "#bc4749",
    "peft": "#e9a03b",
    "peft-mixed": "#8d6a9f",
}


def write_page(page: Path, kept: Kept, device: str) -> None:
    """Write the page from results that are all there."""
    ceilings = {dtype: flops.ceiling(dtype, device) for dtype in ("float32", "bfloat16")}
    rows = [*_ratios(kept, device, ceilings), *_store_rows(kept)]
    picture, grown = page.with_suffix(".png"), page.with_name(f"{page.stem}-growth.png")
    make_folder(page.parent)
    _plot(picture, kept, device)
    _plot_growth(grown, kept, device)
    machine = _machine(device, ceilings)
    details = [_detail(job, kept, ceilings) for job in compared(device)]
    write_json(
        page.with_suffix(".json"),
        {
            "machine": machine,
            "rows": [{**vars(row), "met": row.met} for row in rows],
            "measurements": details,
        },
    )
    lines = [
        "# How fast diffspeak is",
        "",
        "Written by `python -m benchmarks`: each figure from a process of its own, by the median",
        "of its timed units. Ratios above one are in our favor. *ours* is one process, *crew* one",
        "for each core, as a small base is trained on a CPU. *published* is the public algorithm,",
        "*peft* what most people would write with PEFT: one finetune at a time.",
        "",
        *table_lines(rows),
        "",
        f"![tokens a second]({picture.name})",
        "",
        "## Measurements",
        "",
        "| stage | contender | model | dtype | tokens/s | s a finetune | GiB | share of ceiling |",
        "|---|---|---|---|---|---|---|---|",
        *(_line(detail) for detail in details),
        "",
        "## As it grows",
        "",
        "Diff training, ours:",
        "",
        f"![tokens a second as it grows]({grown.name})",
        "",
        "| what | tokens/s | GiB |",
        "|---|---|---|",
        *_growth_lines(kept, device),
        "",
        "A store, for each finetune in it:",
        "",
        "| finetunes | written in | opened in | one read in |",
        "|---|---|---|---|",
        *_store_lines(kept),
        "",
        "## Machine",
        "",
        *(f"- {name}: {value}" for name, value in machine.items()),
        "",
        "What a share of the ceiling counts is written down in `benchmarks/flops.py`.",
        "",
    ]
    write_text(page, "\n".join(lines))


def _ratios(kept: Kept, device: str, ceilings: dict[str, float]) -> Iterator[Row]:
    def measured(stage: str, contender: str, model: str, dtype: str) -> Result:
        (job,) = [j for j in of_stage(stage, model, dtype, device) if j.contender == contender]
        return kept.measure(job)

    def ratio(
        stage: str, other: str, model: str, dtype: str, aim: float, own: str = "", us: str = "ours"
    ) -> Row:
        ours = measured(stage, us, model, own or dtype)
        times = ours.tokens_per_second / measured(stage, other, model, dtype).tokens_per_second
        name = f"{stage} against {other}, {model}, {dtype}"
        name += f" (ours {own})" if own and own != dtype else ""
        name += ", side by side" if us == "crew" else ""
        return Row(name, times, len(ours.seconds), None, aim)

    if device != "cpu":
        for model in ("qwen3-0.6b", "qwen3-4b", "qwen3-8b"):
            yield ratio("diffs", "published", model, "bfloat16", 4.0)
            yield ratio("adapter", "published", model, "bfloat16", 6.0)
            yield ratio("diffs", "peft", model, "bfloat16", 10.0)
            yield ratio("evaluate", "peft", model, "bfloat16", 10.0)
        return
    dtypes = ("float32", "bfloat16")
    rates = {d: measured("diffs", "ours", "54M", d).tokens_per_second for d in dtypes}
    fastest = max(dtypes, key=rates.__getitem__)
    for stage, small, large in (("diffs", 4.0, 4.0), ("adapter", 5.0, 6.0)):
        yield ratio(stage, "published", "5.8M", "float32", small)
        if stage == "diffs":
            yield ratio(stage, "published", "5.8M", "float32", small, us="crew")
        yield ratio(stage, "published", "54M", "bfloat16", large, fastest)
        if fastest != "bfloat16":
            yield ratio(stage, "published", "54M", "bfloat16", large)
        yield ratio(stage, "published", "54M", "float32", large)
    yield ratio("diffs", "peft", "5.8M", "float32", 3.0, us="crew")
    for model in ("5.8M", "54M"):
        yield ratio("diffs", "peft", model, "float32", 3.0)
        yield ratio("evaluate", "peft", model, "float32", 10.0)
    yield from _memory(kept, device)
    share = measured("diffs", "ours", "54M", fastest).flops_per_second
    share /= ceilings[fastest]
    yield Row(f"share of the matrix ceiling, diffs, 54M, {fastest}", share, 3, None, 0.4)


def _memory(kept: Kept, device: str) -> Iterator[Row]:
    jobs = of_stage("adapter", "54M", "float32", device)
    held = {job.contender: kept.measure(job) for job in jobs}
    share = held["ours"].peak_bytes / held["published"].peak_bytes
    name = "peak memory of adapter training, 54M, float32, of the published algorithm's"
    yield Row(name, share, 1, None, 1 / 3, below=True)


def _store_rows(kept: Kept) -> Iterator[Row]:
    few, *_, many = (kept.measure(job) for job in stores())
    for what in ("write", "open"):
        grown = many.extra[what][0] / few.extra[what][0]
        yield Row(
            f"store: time to {what}, a finetune, 10,000 against 100", grown, 1, None, 1.1, True
        )
    grown = median(many.seconds) / median(few.seconds)
    yield Row("store: time to read a finetune, 10,000 against 100", grown, 200, None, 1.1, True)


def _detail(job: Job, kept: Kept, ceilings: dict[str, float]) -> dict[str, Any]:
    result = kept.measure(job)
    return {
        "stage": job.stage,
        "contender": job.contender,
        "model": job.model,
        "dtype": job.dtype,
        "tokens_per_second": result.tokens_per_second,
        "seconds_a_finetune_and_unit": median(result.seconds) / result.finetunes,
        "peak_bytes": result.peak_bytes,
        "flops_per_second": result.flops_per_second,
        "share_of_ceiling": result.flops_per_second / ceilings[job.dtype],
    }


def _line(detail: dict[str, Any]) -> str:
    return (
        f"| {detail['stage']} | {detail['contender']} | {detail['model']} | {detail['dtype']} "
        f"| {detail['tokens_per_second']:,.0f} | {detail['seconds_a_finetune_and_unit']:.3g} "
        f"| {detail['peak_bytes'] / 2**30:.2f} | {detail['share_of_ceiling']:.1%} |"
    )


def _growth_lines(kept: Kept, device: str) -> Iterator[str]:
    for what, jobs in growth(device).items():
        for job in jobs:
            result = kept.measure(job)
            yield (
                f"| {what} {_grown_to(job, what)} | {result.tokens_per_second:,.0f} "
                f"| {result.peak_bytes / 2**30:.2f} |"
            )


def _store_lines(kept: Kept) -> Iterator[str]:
    for job in stores():
        result = kept.measure(job)
        yield (
            f"| {job.tasks:,} | {1e3 * result.extra['write'][0]:.2f} ms "
            f"| {1e3 * result.extra['open'][0]:.3f} ms | {1e3 * median(result.seconds):.2f} ms |"
        )


def _plot(path: Path, kept: Kept, device: str) -> None:
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


def _plot_growth(path: Path, kept: Kept, device: str) -> None:
    jobs = growth(device)
    figure, axes = plt.subplots(1, len(jobs), figsize=(3 * len(jobs), 2.8))
    for axis, (what, grown) in zip(axes, jobs.items(), strict=True):
        values = [_grown_to(job, what) for job in grown]
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


def _grown_to(job: Job, what: str) -> int:
    return job.changed[what] if what in job.changed else int(getattr(job, what))


def _machine(device: str, ceilings: dict[str, float]) -> dict[str, str]:
    found = {"processor": _processor(), "threads": str(torch.get_num_threads())}
    if device != "cpu":
        found["GPU"] = torch.cuda.get_device_name()
    for dtype, most in ceilings.items():
        found[f"matrix ceiling, {dtype}"] = f"{most / 1e9:,.0f} GFLOP/s"
    versions = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    return {**found, "versions": versions}


def _processor() -> str:
    cores = os.cpu_count()
    return f"{platform.machine()}, {cores} cores, {torch.backends.cpu.get_cpu_capability()}"
