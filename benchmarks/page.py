"""The page of results: ratios with their aims, every measurement, a plot, and the machine.

Takes kept results, gives `speed.md` with JSON and a picture beside it.
"""

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.job import Job
from benchmarks.pictures import plot_contenders, plot_growth
from benchmarks.plan import Kept, compared, grown_to, growth, stores
from benchmarks.rows import ratios, store_rows
from diffspeak.io.files import make_folder, write_json, write_text
from diffspeak.io.runs import library_versions
from diffspeak.scoring import Row, table_lines


def write_page(page: Path, kept: Kept, device: str) -> None:
    """Write the page from results that are all there."""
    ceilings = {dtype: kept.ceiling(dtype, device) for dtype in ("float32", "bfloat16")}
    rows = [*ratios(kept, device, ceilings), *store_rows(kept)]
    picture, grown = page.with_suffix(".png"), page.with_name(f"{page.stem}-growth.png")
    make_folder(page.parent)
    plot_contenders(picture, kept, device)
    plot_growth(grown, kept, device)
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
        *_top(rows, ceilings, picture),
        *_measurements(details),
        *_grown(kept, device, grown),
        *_stored(kept),
        "## Machine",
        "",
        *(f"- {name}: {value}" for name, value in machine.items()),
        "",
        "What a share of the ceiling counts is written down in `benchmarks/flops.py`.",
    ]
    write_text(page, "\n".join(lines) + "\n")


def _top(rows: Sequence[Row], ceilings: dict[str, float], picture: Path) -> Iterator[str]:
    yield "# How fast diffspeak is\n"
    yield "Written by `python -m benchmarks`: each figure from a process of its own, by the median"
    yield "of its timed units. Ratios above one are in our favor. *ours* is one process, *crew* one"
    yield "for each core, as a small base is trained on a CPU. *published* is the public algorithm,"
    yield "*peft* what most people would write with PEFT: one finetune at a time.\n"
    if ceilings["bfloat16"] < ceilings["float32"]:
        yield "This machine multiplies bfloat16 more slowly than float32: it has no instructions"
        yield "for it. A ratio of our float32 to another's bfloat16 says that and little else.\n"
    yield from table_lines(rows)
    yield f"\n![tokens a second]({picture.name})\n"


def _measurements(details: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "## Measurements\n"
    yield "| stage | contender | model | dtype | tokens/s | s a finetune | GiB | share of ceiling |"
    yield "|---|---|---|---|---|---|---|---|"
    for detail in details:
        yield (
            f"| {detail['stage']} | {detail['contender']} | {detail['model']} | {detail['dtype']} "
            f"| {detail['tokens_per_second']:,.0f} | {detail['seconds_a_finetune_and_unit']:.3g} "
            f"| {detail['peak_bytes'] / 2**30:.2f} | {detail['share_of_ceiling']:.1%} |"
        )
    yield ""


def _grown(kept: Kept, device: str, picture: Path) -> Iterator[str]:
    yield "## As it grows\n\nDiff training, ours:\n"
    yield f"![tokens a second as it grows]({picture.name})\n"
    yield "| what | tokens/s | GiB |\n|---|---|---|"
    for what, jobs in growth(device).items():
        for job in jobs:
            result = kept.measure(job)
            yield (
                f"| {what} {grown_to(job, what)} | {result.tokens_per_second:,.0f} "
                f"| {result.peak_bytes / 2**30:.2f} |"
            )
    yield ""


def _stored(kept: Kept) -> Iterator[str]:
    yield "A store, for each finetune in it; one is read when its shard is open already:\n"
    yield "| finetunes | written in | opened in | one read in | held open in |"
    yield "|---|---|---|---|---|"
    for job in stores():
        result = kept.measure(job)
        cost = {name: median(values) for name, values in result.extra.items()}
        yield (
            f"| {job.tasks:,} | {1e3 * cost['write']:.2f} ms | {1e3 * cost['open']:.3f} ms "
            f"| {1e3 * median(result.seconds):.2f} ms | {cost['bytes'] / 1024:.2f} KiB |"
        )
    yield ""


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
