"""A plan: its figures against formulas and against what really happens, and what it leaves open."""

from pathlib import Path

import pytest
import torch
from transformers import Qwen3Config

from diffspeak.behaviors import make_behavior
from diffspeak.diffs import DiffConfig, step_batches, train_group
from diffspeak.models import Counter, attach_to, load_base, write_random
from diffspeak.study import load_config
from diffspeak.study.estimates import Estimates
from diffspeak.study.machine import Machine, machine_of
from diffspeak.study.passes import Shape, count, finetunes_pass
from diffspeak.study.plan import make_plan

PAPER = sorted(Path("configs/paper").glob("*.toml"))
GPU = Machine(torch.device("cuda"), False, 80e9, 0.6e9, 0.6e9, 1.1)
CPU = Machine(torch.device("cpu"), True, 16e9, 0.5e9, 0.3e9, 1.5)


def pocket(*sets):
    config = load_config("configs/pocket.toml", sets)
    return config, config.items.choose(make_behavior(config.behavior).items())


def planned(*sets, machine=CPU, measure=False):
    return make_plan(*pocket(*sets), machine, measure=measure)


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_every_recipe_of_the_paper_is_planned_from_shapes_alone(path):
    plan = make_plan(load_config(path, corpora=False), None, GPU)
    trained, adapter, _ = plan.stages
    assert plan.finetunes == (8948 if "news" in path.stem else 4748)
    assert trained.peak > plan.base[1] > 1e9 and adapter.flops > 1e14
    assert all(stage.seconds is None for stage in plan.stages)
    notes = " ".join(plan.notes)
    assert "no tokenizer" in notes and "corpora are not there" in notes and "no cuda here" in notes
    assert plan.fits["diffs.max_tokens"] > 0


def test_sizes_are_those_of_the_models():
    plan, base = planned(), load_base("pocket", dtype="float32")
    attached = attach_to(base.model)
    sizes = sum(shape.inputs + shape.outputs for shape in attached.shapes.values())
    attached.detach()
    assert plan.base == (base.model.num_parameters(), 4 * base.model.num_parameters())
    assert (plan.finetune, plan.adapter) == (2 * sizes, 16 * sizes)
    assert plan.store == 4 * 220 * 2 * sizes


def test_what_a_stage_needs_grows_as_it_should():
    def passes(*sets):
        return Estimates(*pocket(*sets), CPU).finetunes()

    plain, longer, more = passes(), passes("diffs.steps=200"), passes("diffs.tasks=48")
    assert longer.flops == 2 * plain.flops and longer.peak == plain.peak
    assert more.memory["learned"] == 2 * plain.memory["learned"]
    smaller = passes("diffs.max_tokens=1024")
    assert smaller.memory["activations and logits"] < 0.4 * plain.memory["activations and logits"]
    again = passes("diffs.checkpointing=true")
    assert again.memory["activations and logits"] < 0.6 * plain.memory["activations and logits"]
    assert 1.1 < again.flops / plain.flops < 1.6
    four_bits = Estimates(*pocket("base.quantize=nf4"), CPU)
    assert four_bits.base_bytes < 0.8 * plain.memory["base"]


def test_the_largest_that_fits_just_fits():
    plan = planned(machine=Machine(torch.device("cpu"), True, 2e9, 0.5e9, 0.3e9, 1.5))
    largest = plan.fits["diffs.max_tokens"]
    stage = plan.stages[0]
    now, parts = stage.scales["diffs.max_tokens"]
    growing = sum(stage.memory[part] for part in parts)
    assert stage.peak + growing * (largest / now - 1) == pytest.approx(0.95 * 2e9, rel=1e-3)
    assert planned(machine=Machine(CPU.device, True, 1e8, 0.5e9, 0.3e9, 1.5)).fits == dict.fromkeys(
        plan.fits, 0
    )


def test_counting_agrees_with_training(tmp_path):
    """Tensors of a real training at their peak, against four layers reckoned from three."""
    shape = Qwen3Config(
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
    )
    write_random(shape, tmp_path / "base")
    base = load_base(tmp_path / "base", dtype="float32")
    config, items = pocket()
    behavior, settings = make_behavior(config.behavior), DiffConfig(steps=1, tasks=4)
    parts = list(
        step_batches([behavior.samples(item, 0) for item in items[:4]], base.chat, settings)
    )
    passes = [finetunes_pass(settings, part, 4) for part in parts]
    costs = [count(Shape(base.model.config, torch.float32), "blocks", run) for run in passes]
    attachment = attach_to(base.model)
    with Counter([*base.model.parameters(), *base.model.buffers()]) as counter:
        train_group(base, attachment, behavior, items[:4], settings)
    assert max(cost.peak for cost in costs) == pytest.approx(counter.cost.peak, rel=0.05)
    # Training also tries out on a few tokens what the family's head does.
    assert sum(cost.flops for cost in costs) == pytest.approx(counter.cost.flops, rel=0.02)


def test_time_and_allocator_are_measured_where_the_machine_is():
    plan = planned("diffs.tasks=4", "items.train=8", "adapter.batch=4", measure=True)
    assert all(stage.seconds is not None and stage.seconds > 0 for stage in plan.stages)


def test_whole_finetunes_are_planned_too():
    whole, low_rank = planned("diffs.parameters=all"), planned()
    assert whole.finetune == whole.base[0] > 10 * low_rank.finetune
    assert whole.stages[0].memory["learned"] == 16 * whole.finetune
    assert "diffs.tasks" not in whole.fits


def test_a_machine_is_described():
    here = machine_of("cpu")
    assert here.here and here.program > here.another > 0 and here.memory > 1e9
    elsewhere = machine_of("cuda", 80e9) if not torch.cuda.is_available() else None
    assert elsewhere is None or (not elsewhere.here and elsewhere.memory == 80e9)
