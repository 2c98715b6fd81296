"""What each step of adapter training sees, and when it is looked at."""

import itertools
from random import Random

import pytest
import torch

from diffspeak.finetunes import Finetune, from_store
from diffspeak.lora import LowRank
from diffspeak.models import attach_to
from diffspeak.progress import Silent
from diffspeak.text.seeds import seed_of
from diffspeak.training import train_adapter
from diffspeak.training.adapter import AdapterObjective
from diffspeak.training.examples import examples_of
from diffspeak.training.loop import Schedule, optimizer_step, rate_share
from tests.toys import Recorder, toy_store
from tests.training.runs import CONFIG, STEPS, begun, changed


def test_progress_adds_up(done):
    reporter = done[2]
    assert reporter.begun == [("adapter", STEPS, "steps", 0)]
    assert (reporter.advanced, reporter.ended) == (STEPS, 1)
    logged = [(step, name) for _, step, numbers in reporter.logged for name in numbers]
    assert (STEPS, "loss") in logged
    validated = [step for step, name in logged if name == "validation_exact"]
    assert validated == [6, 12]
    assert sum("held-out loss" in said for said in reporter.said) == 2
    assert any("only" in said and "98% is healthy" in said for said in reporter.said)


def test_without_dropout_a_finetune_is_seen_whole(store):
    finetune = from_store(store, store.entries[0])
    assert Schedule([], CONFIG).thinned(finetune, 3) is finetune


@pytest.mark.parametrize("dropped", [0.3, 0.7])
def test_dropout_leaves_out_a_share_of_the_modules(dropped):
    change = LowRank(torch.ones(1, 2), torch.ones(2, 1))
    finetune = Finetune("many", {f"m{i}": change for i in range(1000)})
    schedule = Schedule([], changed(module_dropout=dropped))
    seen = schedule.thinned(finetune, 3)
    assert abs(len(seen.diff) / 1000 - (1 - dropped)) < 0.05
    assert all(seen.diff[name] is change for name in seen.diff)
    assert (
        list(schedule.thinned(finetune, 3).diff)
        == list(seen.diff)
        != list(schedule.thinned(finetune, 4).diff)
    )
    assert len(finetune.diff) == 1000


def test_dropout_always_leaves_something():
    change = LowRank(torch.ones(1, 2), torch.ones(2, 1))
    schedule = Schedule([], changed(module_dropout=0.9))
    low_rank, whole = (
        Finetune("a", {"m": change, "n": change}),
        Finetune("b", {}, {"w": torch.ones(2)}),
    )
    for step in range(30):
        assert schedule.thinned(low_rank, step).diff and schedule.thinned(whole, step).parameters


def test_dropout_changes_what_is_learned(base, store, tmp_path):
    whole, part = (
        train_adapter(base, [store], changed(module_dropout=p), tmp_path / str(p)) for p in (0, 0.5)
    )
    assert any(not torch.equal(whole.diff[name].B, part.diff[name].B) for name in whole.diff)


@pytest.mark.parametrize("validations, at", [(1, [9]), (2, [5, 9]), (5, [2, 4, 6, 8, 9])])
def test_validations_are_as_many_as_asked_for(base, store, tmp_path, validations, at):
    config = changed(epochs=3, validations=validations, rank=1)
    reporter = Recorder()
    train_adapter(base, [store], config, tmp_path, reporter)
    steps = [step for _, step, numbers in reporter.logged if "validation_exact" in numbers]
    assert steps == at


def test_without_validation_there_are_no_such_figures(base, store, tmp_path):
    adapter = train_adapter(base, [store], changed(epochs=1, validation=0), tmp_path)
    assert adapter.results.keys() == {"train_loss", "train_exact", "train_n"}


def test_held_out_finetunes_that_failed_are_none(base, tmp_path):
    labels, splits = {"a": "ocean", "b": "sea"}, {"b": "validation"}
    store = toy_store(tmp_path / "store", base, labels, splits=splits, failed=["b"])
    adapter = train_adapter(base, [store], changed(epochs=1), tmp_path / "adapter")
    assert "validation_loss" not in adapter.results


def test_held_out_finetunes_come_from_all_stores(base, tmp_path):
    stores = [
        toy_store(
            tmp_path / name,
            base,
            {f"{name}{n}": f"{name} {n}" for n in range(4)},
            splits={f"{name}{n}": "validation" for n in (1, 2, 3)},
        )
        for name in ("a", "b", "c")
    ]
    attachment = attach_to(base.model)
    try:
        for count, wanted in [(3, [0, 1, 2]), (4, [0, 1, 2, 0]), (48, [0, 1, 2] * 3)]:
            config = changed(validation=count)
            training = AdapterObjective(base, attachment, stores, config, tmp_path, Silent())
            assert [example.store for example in training.held_out] == wanted
            assert len(set(training.held_out)) == len(wanted)
    finally:
        attachment.detach()


@pytest.mark.parametrize("phrasings", ["all", "first"])
def test_questions_are_drawn_anew_each_step(base, store, tmp_path, monkeypatch, phrasings):
    asked = []
    render = base.chat.with_answer

    def listen(messages, answer, *, learn_end):
        asked.append(messages[0].content)
        return render(messages, answer, learn_end=learn_end)

    monkeypatch.setattr(base.chat, "with_answer", listen)
    training = begun(base, store, tmp_path, phrasings=phrasings, batch=5)
    try:
        for step in range(4):
            optimizer_step(training, step)
    finally:
        training.attachment.detach()
    first, second = store.header.behavior["questions"]
    assert set(asked) == ({first, second} if phrasings == "all" else {first})
    assert len({tuple(asked[n : n + 5]) for n in range(0, 20, 5)}) > 1 or phrasings == "first"


@pytest.mark.parametrize("clip", [1e-3, 1e9])
def test_the_gradient_is_clipped(base, store, tmp_path, clip):
    training = begun(base, store, tmp_path, clip=clip)
    try:
        optimizer_step(training, 0)
    finally:
        training.attachment.detach()
    gradients = [parameter.grad for parameter in training.parameters.values()]
    norm = torch.nn.utils.get_total_norm(gradients)
    assert float(norm) == pytest.approx(1e-3, rel=1e-3) if clip < 1 else norm > 0.1


def test_an_epoch_meets_every_finetune_once(store):
    schedule = Schedule(examples_of([store], "train"), CONFIG)
    epochs = []
    for epoch in range(4):
        batches = [schedule.batch(3 * epoch + place) for place in range(3)]
        assert [len(batch) for batch in batches] == [2, 2, 1]
        epochs.append([example.id for example, _ in itertools.chain(*batches)])
        assert sorted(epochs[-1]) == [f"toy-{n}" for n in range(5)]
    assert len({tuple(order) for order in epochs}) > 1
    order = list(range(5))
    Random(seed_of("adapter", 0, 1)).shuffle(order)
    assert epochs[1] == [f"toy-{n}" for n in order]


def test_the_learning_rate_rises_and_falls_to_zero(store):
    schedule = Schedule(examples_of([store], "train"), changed(epochs=10))
    shares = [rate_share(step, schedule.steps, 0.2) for step in range(30)]
    assert shares[:6] == pytest.approx([(n + 1) / 6 for n in range(6)])
    assert shares[6] == 1
    assert all(a > b for a, b in itertools.pairwise(shares[6:]))
    assert 0 < shares[-1] < 0.01
