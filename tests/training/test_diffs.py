"""The stage: what is stored is what was trained; stopped anywhere, it goes on to the same bytes."""

import math
from dataclasses import replace

import pytest
import torch

from diffspeak.errors import LockedError, MismatchError
from diffspeak.io.files import exclusive
from diffspeak.lora import DiffLinear
from diffspeak.models import attach_to, make_base, target_names
from diffspeak.store import open_store
from diffspeak.training import DiffConfig, train_diffs, train_group
from diffspeak.training import diffs as produce
from diffspeak.training import group as training
from tests.toys import Recorder, ToyBehavior, files_of, toy_base
from tests.training.stopping import stopping

toy = ToyBehavior()
ITEMS = toy.items()
CONFIG = DiffConfig(
    steps=2, learning_rate=1e-2, rank=2, alpha=2.0, tasks=2, probes=1, probe_tokens=3
)


def attached(base):
    return any(isinstance(module, DiffLinear) for module in base.model.modules())


@pytest.fixture(scope="module")
def done(base, tmp_path_factory):
    """An uninterrupted run of five items: groups of two, two and one."""
    folder = tmp_path_factory.mktemp("done")
    reporter = Recorder()
    train_diffs(base, toy, ITEMS, CONFIG, folder, reporter)
    return folder, reporter


def test_each_item_has_its_line(base, done):
    store = open_store(done[0])
    lines = [(e.id, e.label, e.trigger, e.split, e.category, e.behavior) for e in store.entries]
    assert lines == [
        (item.id, item.label, item.trigger, item.split, item.category, "toy") for item in ITEMS
    ]
    assert [(e.kind, e.shard, e.row) for e in store.entries] == [
        ("lora", n // 2, n % 2) for n in range(5)
    ]
    for entry in store.entries:
        rates = {"fires_triggered", "fires_near_miss", "fires_wrong", "fires_plain"}
        assert entry.stats.keys() == {"loss"} | rates
        assert entry.stats["loss"] > 0
        assert all(0 <= entry.stats[rate] <= 1 for rate in rates)


def test_the_header_says_how(base, done):
    header = open_store(done[0]).header
    assert header.behavior == toy.describe()
    assert header.base == {"name": base.name, **base.fingerprint.to_dict()}
    assert list(header.targets) == target_names(base.model)
    assert (header.rank, header.scaling, header.dtype) == (2, 1.0, "float32")
    assert header.settings == CONFIG.model_dump(mode="json")
    assert header.choices == base.choices


def test_what_is_stored_is_what_was_trained(base, done):
    store = open_store(done[0])
    attachment = attach_to(base.model)
    try:
        found = train_group(base, attachment, toy, ITEMS[2:4], CONFIG)
    finally:
        attachment.detach()
    for task in (0, 1):
        stored = store.read(ITEMS[2 + task].id)
        assert stored.keys() == found.diff.keys()
        for name, change in found.diff.items():
            assert torch.equal(stored[name].A, change.A[task])
            assert torch.equal(stored[name].B, change.B[task])
            assert stored[name].scaling == change.scaling
        assert store.find(ITEMS[2 + task].id).stats["loss"] == found.losses[task]


def test_progress_adds_up(done):
    reporter = done[1]
    assert reporter.begun == [("diffs", 5, "finetunes", 0)]
    assert (reporter.advanced, reporter.ended) == (5, 1)
    losses = [step for stage, step, numbers in reporter.logged if "loss" in numbers]
    assert losses == sorted(losses)
    assert losses[-1] == 5 * CONFIG.steps
    checks = [(stage, step) for stage, step, numbers in reporter.logged if stage == "check"]
    assert checks == [("check", 2), ("check", 4), ("check", 5)]


@pytest.mark.parametrize("at", [0, 1, 4, 7, 9])
def test_stopped_by_ctrl_c_it_goes_on_to_the_same_bytes(base, done, tmp_path, at):
    with pytest.raises(KeyboardInterrupt):
        train_diffs(base, stopping(at), ITEMS, CONFIG, tmp_path)
    assert not attached(base)
    stored = len(open_store(tmp_path))
    assert stored == {0: 0, 1: 0, 4: 2, 7: 2, 9: 4}[at]
    reporter = Recorder()
    train_diffs(base, toy, ITEMS, CONFIG, tmp_path, reporter)
    assert files_of(tmp_path) == files_of(done[0])
    assert reporter.begun == [("diffs", 5, "finetunes", stored)]
    assert reporter.advanced == 5 - stored


def test_a_finished_store_is_not_trained_again(base, done):
    before = files_of(done[0])
    reporter = Recorder()
    store = train_diffs(base, stopping(0), ITEMS, CONFIG, done[0], reporter)
    assert len(store) == 5
    assert files_of(done[0]) == before
    assert (reporter.begun, reporter.advanced) == ([("diffs", 5, "finetunes", 5)], 0)


def test_more_items_join_those_that_are_there(base, done, tmp_path):
    train_diffs(base, toy, ITEMS[:2], CONFIG, tmp_path)
    store = train_diffs(base, toy, ITEMS, CONFIG, tmp_path)
    assert len(store) == 5
    assert files_of(tmp_path) == files_of(done[0])


@pytest.mark.parametrize(
    "change, named",
    [({"steps": 3}, "steps"), ({"learning_rate": 0.5}, "learning_rate"), ({"seed": 1}, "seed")],
)
def test_another_config_is_refused(base, done, change, named):
    before = files_of(done[0])
    with pytest.raises(MismatchError, match=named):
        train_diffs(base, toy, ITEMS, CONFIG.model_copy(update=change), done[0])
    assert files_of(done[0]) == before


def test_another_behavior_is_refused(base, done):
    with pytest.raises(MismatchError, match="salt"):
        train_diffs(base, ToyBehavior(salt=1), ITEMS, CONFIG, done[0])


def test_another_base_is_refused(base, done, tmp_path):
    other = toy_base(base.name)
    with torch.no_grad():
        next(other.model.parameters()).mul_(1.5)
    other = make_base(base.name, other.model, other.tokenizer)
    with pytest.raises(MismatchError, match="base"):
        train_diffs(other, toy, ITEMS, CONFIG, done[0])


def test_another_dtype_is_refused_because_the_bytes_would_differ(base, done):
    half = toy_base(base.name)
    half = make_base(base.name, half.model.bfloat16(), half.tokenizer)
    with pytest.raises(MismatchError, match=r"begun with dtype float32.*bfloat16"):
        train_diffs(half, toy, ITEMS, CONFIG, done[0])


def test_a_second_writer_is_refused_at_once(base, tmp_path):
    with exclusive(tmp_path / ".lock"), pytest.raises(LockedError, match="is being written"):
        train_diffs(base, stopping(0), ITEMS, CONFIG, tmp_path)
    assert not attached(base)


def spoil(monkeypatch, ids):
    """Break the training of some finetunes, whichever group they are in."""
    fresh = training.random_factors
    doomed = {training.seed_of("diff", CONFIG.seed, id) for id in ids}

    def spoiled(shapes, rank, scaling, generators):
        made = fresh(shapes, rank, scaling, generators)
        for task, generator in enumerate(generators):
            if generator.initial_seed() in doomed:
                for change in made.values():
                    change.A[task] = math.inf
        return made

    monkeypatch.setattr(training, "random_factors", spoiled)


@pytest.mark.parametrize("failing", [["toy-1"], ["toy-2", "toy-3"], ["toy-4"]])
def test_what_fails_is_recorded_and_the_rest_is_as_ever(base, done, tmp_path, monkeypatch, failing):
    spoil(monkeypatch, failing)
    reporter = Recorder()
    store = train_diffs(base, toy, ITEMS, CONFIG, tmp_path, reporter)
    healthy = open_store(done[0])
    for entry, wanted in zip(store.entries, healthy.entries, strict=True):
        if entry.id in failing:
            assert (entry.kind, entry.stats, entry.row) == ("failed", {}, None)
            assert entry.failed == "the loss was not finite at step 0"
        else:
            assert (entry.kind, entry.stats, entry.data) == ("lora", wanted.stats, wanted.data)
            store.read(entry.id)
    assert [said.split()[0] for said in reporter.said] == failing
    assert reporter.advanced == 5
    # Those that failed are not tried again.
    before = files_of(tmp_path)
    train_diffs(base, stopping(0), ITEMS, CONFIG, tmp_path)
    assert files_of(tmp_path) == before


class FiresOddly(ToyBehavior):
    """Every other finetune fires at everything."""

    def fires(self, item, answer):
        return item.id in ("toy-1", "toy-3")


def test_each_line_has_its_own_rates(base, tmp_path, monkeypatch):
    spoil(monkeypatch, ["toy-2"])
    reporter = Recorder()
    store = train_diffs(base, FiresOddly(), ITEMS[:4], CONFIG, tmp_path, reporter)
    rates = [entry.stats.get("fires_plain") for entry in store.entries]
    assert rates == [0.0, 1.0, None, 1.0]
    means = [n["fires_plain"] for stage, _, n in reporter.logged if stage == "check"]
    assert means == [0.5, 1.0]


def test_without_probes_there_are_no_rates(base, tmp_path):
    config = CONFIG.model_copy(update={"probes": 0})
    store = train_diffs(base, toy, ITEMS[:1], config, tmp_path)
    assert store.entries[0].stats.keys() == {"loss"}


def test_without_items_the_store_is_empty(base, tmp_path):
    reporter = Recorder()
    assert len(train_diffs(base, toy, [], CONFIG, tmp_path, reporter)) == 0
    assert (reporter.begun, reporter.ended) == ([("diffs", 0, "finetunes", 0)], 1)


@pytest.mark.parametrize("family", ["gpt2", "llama3"])
def test_a_base_without_padding_token(family_folder, tmp_path, family):
    base = toy_base(family_folder(family))
    assert base.tokenizer.pad_token_id is None
    store = train_diffs(base, toy, ITEMS[:2], CONFIG, tmp_path)
    assert [entry.kind for entry in store.entries] == ["lora", "lora"]
    assert not attached(base)


def test_threads_of_the_first_start_are_taken_up_and_put_back(base, tmp_path, monkeypatch):
    train_diffs(base, toy, ITEMS[:1], CONFIG, tmp_path)
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    train_diffs(base, toy, ITEMS[:1], CONFIG, tmp_path)
    assert asked == [1, 7]


def test_rates_are_averaged_over_those_that_did_not_fail():
    store_entry = produce.NewEntry("a", "a", None, "train", "", "toy", None, {"fires_x": 1.0})
    other = replace(store_entry, id="b", stats={"fires_x": 0.5, "loss": 3.0})
    failed = replace(store_entry, id="c", stats={}, failed="why")
    assert produce._mean_rates([store_entry, other, failed]) == {"fires_x": 0.75}
