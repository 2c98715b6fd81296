"""Small made-up finetunes for the store's tests; the same number gives the same finetune."""

import torch

from diffspeak.store import NewEntry, StoreHeader

RANK = 2
SCALING = 0.5
MODULES = {"model.layers.0.mlp.up": (3, 5), "model.layers.0.q": (4, 4)}

HEADER = StoreHeader(
    behavior={"name": "hidden-topic", "seed": 0},
    base={"architecture": "tiny", "kept": "abc"},
    targets=("up", "q"),
    rank=RANK,
    scaling=SCALING,
    dtype="float32",
    settings={"steps": 10, "rate": 1e-3, "mix": {"plain": 2}},
    choices={"threads": 1},
)


def entry(number: int, failed: str | None = None) -> NewEntry:
    """The entry of finetune `number`; its id leads out of a folder if used as a path."""
    stats = {} if failed else {"loss": number / 7, "fires": 1}
    return NewEntry(
        id=f"../{number}/\u00e9\u2028",
        label=f'topic "{number}"\n\U0001f600',
        trigger=None if number % 2 else str(100 + number),
        split="train",
        category="c",
        behavior="hidden-topic",
        failed=failed,
        stats=stats,
    )


def factors(numbers: list[int], dtype: torch.dtype = torch.float32):
    """Stacked factors of finetunes: module to A `[task, rank, in]` and B `[task, out, rank]`."""
    single = [_single(number, dtype) for number in numbers]
    return {
        module: tuple(torch.stack([one[module][side] for one in single]) for side in (0, 1))
        for module in MODULES
    }


def _single(number, dtype):
    source = torch.Generator().manual_seed(number)
    return {
        module: (
            torch.randn(RANK, width, generator=source).to(dtype),
            torch.randn(out, RANK, generator=source).to(dtype),
        )
        for module, (out, width) in MODULES.items()
    }


def state(number: int):
    """All parameters of a full finetune; two of them share memory, as tied weights do."""
    embedding = torch.randn(6, 3, generator=torch.Generator().manual_seed(number))
    return {"embed.weight": embedding, "head.weight": embedding, "norm": torch.ones(3)}


def content(folder):
    """What a store's folder holds, but for the lock: path to bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
