"""Train a DIT adapter for a base of your own, from a config, step by step.

    python examples/train_adapter.py configs/pocket.toml runs/mine

`diffspeak run` does the same, with controls and a table. Interrupted, it goes on.
"""

import sys
from pathlib import Path

import diffspeak
from diffspeak.behaviors import make_behavior
from diffspeak.experiments.read import load_config
from diffspeak.finetunes import open_finetunes


def main(config: str, out: str, *sets: str) -> list[tuple[str, str]]:
    """Print label and description of every test finetune."""
    study, folder = load_config(config, sets), Path(out)
    base = diffspeak.load_base(study.base.source, dtype=study.base.dtype)
    behavior = make_behavior(study.behavior)
    items = study.items.choose(behavior.items())
    store = diffspeak.train_diffs(base, behavior, items, study.diffs, folder / "diffs")
    adapter = diffspeak.train_adapter(base, [store], study.adapter, folder / "adapter")
    told = []
    with diffspeak.Interpreter(base, adapter) as interpreter:
        for finetune in open_finetunes(store.source, base, split="test"):
            (description,) = interpreter.describe(finetune)
            told.append((finetune.label or "", description.text))
            print(f"{told[-1][0]!r} -> {told[-1][1]!r}")
    return told


if __name__ == "__main__":
    main(*sys.argv[1:])
