"""The rows of the page: ratios with their aims, from kept results."""

from collections.abc import Iterator
from statistics import median

from benchmarks.job import Result
from benchmarks.plan import Kept, of_stage, stores
from diffspeak.scoring import Row


def ratios(kept: Kept, device: str, ceilings: dict[str, float]) -> Iterator[Row]:
    """What the page compares, on the shapes that suit the device."""

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

    def share(model: str, dtype: str, aim: float) -> Row:
        result = measured("diffs", "ours", model, dtype)
        name = f"share of the matrix ceiling, diffs, {model}, {dtype}"
        return Row(name, result.flops_per_second / ceilings[dtype], len(result.seconds), None, aim)

    if device != "cpu":
        for model in ("qwen3-0.6b", "qwen3-4b", "qwen3-8b"):
            yield ratio("diffs", "published", model, "bfloat16", 4.0)
            yield ratio("adapter", "published", model, "bfloat16", 6.0)
            yield ratio("diffs", "peft", model, "bfloat16", 10.0)
            yield ratio("evaluate", "peft", model, "bfloat16", 10.0)
        yield share("qwen3-4b", "bfloat16", 0.45)
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
    yield share("54M", fastest, 0.4)


def _memory(kept: Kept, device: str) -> Iterator[Row]:
    jobs = of_stage("adapter", "54M", "float32", device)
    held = {job.contender: kept.measure(job) for job in jobs}
    share = held["ours"].peak_bytes / held["published"].peak_bytes
    name = "peak memory of adapter training, 54M, float32, of the published algorithm's"
    yield Row(name, share, 1, None, 1 / 3, below=True)


def store_rows(kept: Kept) -> Iterator[Row]:
    """What a finetune costs in a large store, of what it costs in a small one.

    Writing is compared within the large store, its last shards with its first; reading with a
    small store that was read in turns with it.
    """
    few, *_, many = (kept.measure(job) for job in stores())
    written, read = many.extra["write"], many.extra["read small"]
    some = max(1, len(written) // 5)
    pairs = {
        "time to write": (written[-some:], written[:some]),
        "time to open": (many.extra["open"], few.extra["open"]),
        "memory to hold": (many.extra["bytes"], few.extra["bytes"]),
        "time to read": (many.seconds, read),
    }
    for what, (large, small) in pairs.items():
        title = f"store: {what}, a finetune, 10,000 against 100"
        yield Row(title, median(large) / median(small), len(large), None, 1.1, True)
