"""`diffspeak plan`: what a study will need, before anything is loaded."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffspeak.cli.options import ConfigFile, Json, Sets, Shrink
from diffspeak.cli.there import check_config

if TYPE_CHECKING:
    from diffspeak.estimate.machine import Machine
    from diffspeak.estimate.plan import Plan

HELP = """Tell what a study will need, before anything is loaded.

Parameters, memory by part and stage, tokens, operations, time, and the largest batches that fit.
The base need not be here: its architecture is read from its config, which the hub's cache, the hub
or, for the models of the paper, diffspeak itself has. Costs are counted by going through the
training code with tensors that have shapes but no content; time is measured on a few passes.

\b
Example:
  diffspeak plan configs/paper/qwen3-4b-hidden-topic.toml --device cuda --memory 80
  diffspeak plan configs/pocket.toml
"""


def plan(
    context: typer.Context,
    config: ConfigFile,
    sets: Sets = None,
    shrink: Shrink = False,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu or cuda, here or not; the config's if none.")
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(
            "--memory", metavar="GB", min=0, help="Memory of the device, if not this one."
        ),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Time a few passes to tell how long.")
    ] = True,
    json: Json = False,
) -> None:
    """Make the plan and show it."""
    check_config(config)
    from diffspeak.behaviors import make_behavior
    from diffspeak.cli.facts import show_facts, to_json
    from diffspeak.cli.reporter import TerminalReporter
    from diffspeak.estimate.machine import machine_of
    from diffspeak.estimate.plan import make_plan
    from diffspeak.experiments.read import load_config

    settings = load_config(config, sets or (), shrink=shrink, corpora=False)
    there = all(path.is_file() for path in settings.behavior.files)
    behavior = make_behavior(settings.behavior) if there else None
    items = settings.items.choose(behavior.items()) if behavior else []
    machine = machine_of(device or settings.base.device, None if memory is None else memory * 1e9)
    with TerminalReporter(context.obj) as reporter:
        made = make_plan(settings, behavior, items, machine, measure=measure, reporter=reporter)
    if json:
        context.obj.results.out(to_json(_facts(made, machine, plain=True)), highlight=False)
    else:
        show_facts(context.obj.results, _facts(made, machine, plain=False))


def _facts(plan: "Plan", machine: "Machine", *, plain: bool) -> dict[str, Any]:
    """A plan as facts: plain numbers of bytes and seconds, or in words."""

    def size(number: float) -> Any:
        return round(number) if plain else _scaled(number, "B")

    def number(value: float, unit: str = "") -> Any:
        return value if plain else _scaled(value, unit)

    parameters, held = plan.base
    parts = list(dict.fromkeys(part for stage in plan.stages for part in stage.memory))
    stages = []
    for stage in plan.stages:
        seconds = stage.seconds
        stages.append(
            {
                "stage": stage.name,
                "passes": stage.passes,
                "tokens": number(stage.tokens),
                "FLOP": number(stage.flops),
                "memory": size(stage.peak),
                "time": seconds if plain or seconds is None else _span(seconds),
            }
        )
    return {
        "base": {"parameters": number(parameters), "memory": size(held)},
        "finetunes": {
            "count": plan.finetunes,
            "parameters of each": number(plan.finetune[0]),
            "on disk": size(plan.store),
        },
        "adapter": {"parameters": number(plan.adapter)},
        "device": {
            "name": str(machine.device),
            "memory": None if machine.memory is None else size(machine.memory),
        },
        "stages": stages,
        "memory": [
            {"part": part, **{s.name: size(s.memory.get(part, 0.0)) for s in plan.stages}}
            for part in parts
        ],
        "largest that fits": plan.fits,
        "notes": list(plan.notes),
    }


def _scaled(number: float, unit: str) -> str:
    """Three digits and a prefix: 1.23 G."""
    for factor, prefix in (
        (1e18, "E"),
        (1e15, "P"),
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
    ):
        if number >= factor:
            return f"{number / factor:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}".strip()


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
