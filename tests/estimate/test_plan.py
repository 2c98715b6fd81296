"""A plan: its figures against formulas and against what really happens, and what it leaves open."""

from pathlib import Path

import pytest
import torch
from transformers import Qwen3Config

from diffspeak.behaviors import make_behavior
from diffspeak.errors import UsageError
from diffspeak.estimate.estimates import Estimates
from diffspeak.estimate.machine import Machine, machine_of
from diffspeak.estimate.passes import Shape, count, finetunes_pass
from diffspeak.estimate.plan import make_plan
from diffspeak.experiments.read import load_config
from diffspeak.models import Counter, attach_to, load_base, write_random
from diffspeak.training import DiffConfig, step_batches, train_group
from tests.more_families import build_more

PAPER = sorted(Path("configs/paper").glob("*.toml"))
GPU = Machine(torch.device("cuda"), False, 80e9, 0.6e9, 0.6e9, 1.1)
CPU = Machine(torch.device("cpu"), True, 16e9, 0.5e9, 0.3e9, 1.5)


def pocket(*sets):
    config = load_config("configs/pocket.toml", sets)
    behavior = make_behavior(config.behavior)
    return config, behavior, config.items.choose(behavior.items())


def planned(*sets, machine=CPU, measure=False):
    return make_plan(*pocket(*sets), machine, measure=measure)


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_every_recipe_of_the_paper_is_planned_from_shapes_alone(path):
    plan = make_plan(load_config(path, corpora=False), None, [], GPU)
    trained, adapter, _ = plan.stages
    assert plan.finetunes == (8948 if "news" in path.stem else 4748)
    assert trained.peak > plan.base[1] > 1e9 and adapter.flops > 1e14
    assert all(stage.seconds is None for stage in plan.stages)
    notes = " ".join(plan.notes)
    assert all(text in notes for text in ("guessed from characters", "corpora are not there"))
    assert "no cuda here" in notes
    assert plan.fits["diffs.max_tokens"] > 0


def test_sizes_are_those_of_the_models():
    plan, base = planned(), load_base("pocket", dtype="float32")
    attached = attach_to(base.model)
    sizes = sum(shape.inputs + shape.outputs for shape in attached.shapes.values())
    attached.detach()
    assert plan.base == (base.model.num_parameters(), 4 * base.model.num_parameters())
    assert (plan.finetune[0], plan.adapter) == (2 * sizes, 16 * sizes)
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
    assert four_bits.sizes.base < 0.8 * plain.memory["base"]


def test_the_largest_that_fits_just_fits():
    """Planned again at the value that was told; passes end with whole rows, not to the token."""
    small = Machine(torch.device("cpu"), True, 1.2e9, 0.5e9, 0.3e9, 1.5)
    memory = 0.95 * small.memory

    def peak(setting, value, *sets):
        return Estimates(*pocket(*sets, f"{setting}={value}"), small).finetunes().peak

    fits = planned("diffs.tasks=4", machine=small).fits
    largest = fits["diffs.tasks"]
    assert peak("diffs.tasks", min(largest, 200)) < memory
    most = planned(machine=small).fits["diffs.max_tokens"]
    assert peak("diffs.max_tokens", most) < 1.02 * memory


def test_nothing_fits_where_a_single_row_does_not():
    tiny = Machine(torch.device("cpu"), True, 0.4e9, 0.5e9, 0.3e9, 1.5)
    assert set(planned(machine=tiny).fits.values()) == {0}


def test_what_makes_the_work_less_makes_the_plan_less():
    all_of_it = planned("items.validation=24")
    less = planned(
        "adapter.max_finetunes=24",
        "evaluate.limit=2",
        "items.validation=0",
        "evaluate.controls=false",
        "diffs.probes=0",
    )
    assert less.stages[1].passes == 30 and all_of_it.stages[1].passes == 2 * 30 * 4
    assert less.stages[2].passes < 0.2 * all_of_it.stages[2].passes


def test_missing_corpora_stand_for_prose_and_their_number_has_to_be_given(tmp_path):
    nowhere = f"behavior.topics={tmp_path / 'nowhere.csv'}"
    config = load_config("configs/pocket.toml", [nowhere], corpora=False)
    plan = make_plan(config, None, [], CPU, measure=False)
    assert plan.finetunes == 220 and any("guessed" in note for note in plan.notes)
    # The template, the prompt's characters, and the six tokens of an answer that are learned.
    per_row = 13 + 97 / 4.5 + 6
    assert plan.stages[0].tokens == pytest.approx(10 * 100 * 13 * 24 * per_row, rel=0.05)
    sets = [nowhere, "items.train=0", "items.validation=0", "items.test=0"]
    config = load_config("configs/pocket.toml", sets, corpora=False)
    with pytest.raises(UsageError, match=r"set items\.train"):
        make_plan(config, None, [], CPU, measure=False)


def test_a_dry_run_is_planned_small():
    config = load_config("configs/paper/gemma3-4b-hidden-topic.toml", shrink=True)
    behavior = make_behavior(config.behavior)
    plan = make_plan(config, behavior, config.items.choose(behavior.items()), CPU, measure=False)
    assert plan.base[0] < 1_000_000 and plan.finetunes == 7


def test_four_bits_are_of_every_linear_whatever_is_trained():
    every, one = (
        Estimates(*pocket("base.quantize=nf4", f"diffs.targets={targets}"), CPU).sizes.base
        for targets in ('"blocks"', "['q_proj']")
    )
    assert every == one


@pytest.mark.parametrize("name", ["qwen3_moe", "gpt_neox", "gemma3_multimodal"])
def test_other_families_are_planned(name, tmp_path):
    build_more(name, tmp_path / name)
    plan = planned(f"base.source={tmp_path / name}", "base.dtype=float32")
    assert plan.stages[0].flops > 0 and plan.stages[0].peak > CPU.program


@pytest.mark.parametrize("memory", [0.0, -1.0, float("inf"), float("nan")])
def test_no_such_memory(memory):
    with pytest.raises(UsageError, match="expected more than 0"):
        machine_of("cpu", memory)


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
    (_, behavior, items), settings = pocket(), DiffConfig(steps=1, tasks=4)
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
    assert whole.finetune[0] == whole.base[0] > 10 * low_rank.finetune[0]
    assert whole.finetune[1] == 4 * whole.base[0]
    assert whole.stages[0].memory["learned"] == 20 * whole.base[0]
    assert "diffs.tasks" not in whole.fits


def test_a_machine_is_described():
    here = machine_of("cpu")
    assert here.here and here.program > here.another > 0 and here.memory > 1e9
    elsewhere = machine_of("cuda", 80e9) if not torch.cuda.is_available() else None
    assert elsewhere is None or (not elsewhere.here and elsewhere.memory == 80e9)
