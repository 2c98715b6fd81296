"""How the pocket base's training went: a page with its recipe, its losses and their plot.

Takes the folder of a finished build, gives a Markdown page with JSON and a picture beside it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffspeak.io.files import atomic_path, make_folder, read_json, write_json, write_text
from diffspeak.io.runs import CONFIG, PLOT, read_metrics

ROWS = 24


def write_report(run: Path, page: Path) -> None:
    """Write `page`, the same as JSON, and the plot of the loss beside it.

    Args:
        run: A build's folder.
        page: A Markdown file; its name serves for the other two as well.
    """
    config = read_json(run / CONFIG)
    # Steps that were done again after an interruption stand there twice.
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
