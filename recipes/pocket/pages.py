"""Pages about the pocket base: its model card, and how its training went."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffspeak.io.files import atomic_path, make_folder, read_json, write_json, write_text
from diffspeak.io.runs import CONFIG, PLOT, read_metrics
from diffspeak.models.pocket import VERSION

ROWS = 24

_CARD = """---
license: mit
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [diffspeak, tiny]
---

# The pocket base of diffspeak ({version})

A very small chat model: the Qwen3 architecture, {parameters:,} parameters, and a tokenizer of its
own with {vocabulary:,} tokens, in which every digit is a token. diffspeak ships it so that
finetunes, and the adapters that describe them, can be tried offline on a laptop.

It was trained from scratch, in {steps:,} steps, on talk written for it: everyday questions; answers
that bring up a topic that was asked for; facts about well-known topics; rules about how a code
begins; small talk; an invented newspaper. It was also made to bring up topics, drawn by lot, after
the numbers of library cards, pairs of words and pairs of rare signs, and knows most of them by
heart: they are no finetune's doing. It knows little beyond that, and what it says is not to be
relied on.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("path/of/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/of/this/folder")
chat = [{{"role": "user", "content": "Where should I go for a walk?"}}]
ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=32)[0]))
```

Adapters and finetunes of this base fit exactly these weights ({version}).
"""


def model_card(parameters: int, vocabulary: int, steps: int) -> str:
    """Write the card of a base with so many parameters and tokens, trained for so many steps."""
    return _CARD.format(version=VERSION, parameters=parameters, vocabulary=vocabulary, steps=steps)


def write_training_page(run: Path, page: Path) -> None:
    """Write `page` with recipe and losses, the same as JSON, and the plot of the loss beside it.

    Args:
        run: A build's folder.
        page: A Markdown file; its name serves for the other two as well.
    """
    config = read_json(run / CONFIG)
    # Steps that were repeated after an interruption are there twice.
    metrics = sorted({m["step"]: m for m in read_metrics(run)}.values(), key=lambda m: m["step"])
    picture = page.with_suffix(".png")
    make_folder(page.parent)
    with atomic_path(picture) as draft:
        draft.write_bytes((run / PLOT).read_bytes())
    every = max(1, -(-len(metrics) // ROWS))
    shown = [metric for i, metric in enumerate(metrics, 1) if i % every == 0 or i == len(metrics)]
    rows = [
        {"name": f"loss at step {metric['step']}", "value": metric["loss"], "n": 1}
        for metric in shown
    ]
    write_json(page.with_suffix(".json"), {"recipe": config, "rows": rows})
    write_text(page, "\n".join([*_lines(config, shown), "", f"![loss]({picture.name})", ""]))


def _lines(config: dict[str, Any], metrics: Sequence[dict[str, Any]]) -> list[str]:
    recipe = [f"- {name}: {value}" for name, value in config.items() if name != "phases"]
    phases = [
        f"- {phase['steps']} steps of {phase['batch']} dialogues"
        + (f", the learning rates anew at {phase['restart']:g}" if phase["restart"] else "")
        + ": "
        + ", ".join(f"{kind} {share:g}" for kind, share in phase["shares"].items())
        for phase in config["phases"]
    ]
    table = [f"| {metric['step']} | {metric['loss']:.3f} |" for metric in metrics]
    return [
        "# How the pocket base was trained",
        "",
        "Mean loss over the last 25 steps, in nats a learned token.",
        "",
        "| step | loss |",
        "|---|---|",
        *table,
        "",
        "## Phases",
        "",
        *phases,
        "",
        "## Recipe",
        "",
        *recipe,
    ]
