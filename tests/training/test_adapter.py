"""The adapter's training: its loss, its gradient, and what it learns."""

import copy
import json

import pytest
import torch
from torch.func import functional_call

from diffspeak.adapters import Interpreter, load_adapter
from diffspeak.errors import (
    DiffspeakError,
    MismatchError,
    UsageError,
)
from diffspeak.finetunes import from_store
from diffspeak.inference import Engine
from diffspeak.models import attach_to, make_base
from diffspeak.progress import Silent
from diffspeak.store import NewEntry, create_or_resume, open_store
from diffspeak.text.messages import Message
from diffspeak.training import train_adapter
from diffspeak.training.adapter import AdapterObjective
from diffspeak.training.loop import CHECKPOINT, optimizer_step
from tests.toys import LABELS, base_diff, toy_base, toy_store
from tests.training.runs import CONFIG, attached, changed


@pytest.fixture(scope="module")
def mixed(base, tmp_path_factory):
    """Stores of different ranks and questions, a whole finetune among them."""
    root = tmp_path_factory.mktemp("mixed")
    return [
        toy_store(root / "one", base, {"a": "ocean", "b": "music"}, rank=1, seed=1),
        toy_store(
            root / "two",
            base,
            {"a": "trains", "c": "a bridge", "d": "cold rock"},
            rank=3,
            seed=2,
            full=["c"],
            questions=["Headline?"],
        ),
    ]


@pytest.mark.parametrize("seed", range(2))
def test_a_steps_loss_and_gradient_are_those_of_a_dense_merge(base, mixed, tmp_path, seed):
    config = changed(batch=5, phrasings="first", seed=seed, clip=1e9)
    attachment = attach_to(base.model)
    try:
        training = AdapterObjective(base, attachment, mixed, config, tmp_path, Silent())
        training.prepare()
        # As it would be later in training: neither factor is zero.
        for name, change in base_diff(base, rank=4, seed=7).items():
            training.adapter[name].A.data.copy_(change.A)
            training.adapter[name].B.data.copy_(change.B)
        before = {name: p.detach().clone() for name, p in training.parameters.items()}
        loss = optimizer_step(training, 0)
        gradients = {name: p.grad.clone() for name, p in training.parameters.items()}
        assert all(p.grad is None for p in base.model.parameters() if not p.requires_grad)
        assert not any(
            p.requires_grad
            for linear in attachment.linears.values()
            for p in linear.base.parameters()
        )
        finetunes = [training.finetunes.read(example) for example in training.examples]
        assert not any(
            c.A.requires_grad or c.B.requires_grad for f in finetunes for c in f.diff.values()
        )
    finally:
        attachment.detach()
    for parameter in before.values():
        parameter.requires_grad_()
    wanted = naive(base, finetunes, training.examples, before)
    wanted.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)
    for name, parameter in before.items():
        assert (gradients[name] - parameter.grad).norm() <= 1e-3 * parameter.grad.norm()
        assert parameter.grad.any()


def naive(base, finetunes, examples, adapter):
    """One dense model and one conversation at a time: mean over all label tokens."""
    total, tokens = 0, 0
    own = {name: p.detach() for name, p in base.model.named_parameters()}
    for finetune, example in zip(finetunes, examples, strict=True):
        weights = own | finetune.parameters
        for name in {key.removesuffix(".A").removesuffix(".B") for key in adapter}:
            weight = weights[f"{name}.weight"]
            if name in finetune.diff:
                change = finetune.diff[name]
                weight = weight + change.scaling * change.B @ change.A
            weights[f"{name}.weight"] = weight + adapter[f"{name}.B"] @ adapter[f"{name}.A"]
        prompt = base.chat.prompt([Message("user", example.questions[0])])
        label = base.tokenizer(example.label, add_special_tokens=False)["input_ids"]
        ids = [*prompt, *label, base.chat.end_id]
        logits = functional_call(base.model, weights, (), {"input_ids": torch.tensor([ids])}).logits
        logprobs = logits[0].log_softmax(-1)
        for place in range(len(prompt), len(ids)):
            total = total - logprobs[place - 1, ids[place]]
            tokens += 1
    return total / tokens


@pytest.fixture(scope="module")
def learned(base, store, tmp_path_factory):
    """A run long enough to learn its five finetunes by heart."""
    folder = tmp_path_factory.mktemp("learned") / "adapter"
    config = changed(rank=8, alpha=8.0, epochs=80, batch=5, save_every=1000, answer_tokens=8)
    return train_adapter(base, [store], config, folder)


def test_it_names_the_finetunes_it_was_trained_on(base, store, learned):
    assert learned.results["train_exact"] == 1.0
    assert learned.results["train_loss"] < 0.2
    finetunes = [from_store(store, entry) for entry in store.entries[: len(LABELS)]]
    with Interpreter(base, learned) as interpreter:
        told = interpreter.describe(finetunes)
        assert [description.text for description in told] == list(LABELS)
        assert all(d.mean_logprob > -0.2 for d in told)


def test_its_figures_are_those_of_the_adapter(base, store, learned):
    question = Message("user", learned.questions[0])
    with Engine(base, learned.diff) as engine:
        for split, name in (("train", "train_loss"), ("validation", "validation_loss")):
            entries = [e for e in store.entries if e.split == split and e.kind != "failed"]
            told = [base.chat.with_answer([question], e.label, learn_end=True) for e in entries]
            finetunes = [from_store(store, e) for e in entries]
            found = [score.mean for score in engine.score(list(zip(finetunes, told, strict=True)))]
            assert -sum(found) / len(found) == pytest.approx(learned.results[name], abs=1e-4)


def test_what_it_says_of_itself(base, store, done):
    adapter = done[1]
    assert adapter.base == base.fingerprint
    assert adapter.questions == tuple(store.header.behavior["questions"])
    assert adapter.behaviors == ("toy",)
    assert adapter.settings.items() >= CONFIG.model_dump(mode="json").items()
    assert adapter.results.keys() == {
        "train_loss",
        "train_exact",
        "train_n",
        "validation_loss",
        "validation_exact",
    }
    loaded = load_adapter(done[0])
    assert loaded.diff.keys() == adapter.diff.keys()
    assert all(torch.equal(loaded.diff[name].A, c.A) for name, c in adapter.diff.items())
    assert all(torch.equal(loaded.diff[name].B, c.B) for name, c in adapter.diff.items())
    assert (loaded.settings, loaded.results) == (adapter.settings, adapter.results)
    assert not (done[0] / CHECKPOINT).exists()
    assert not attached(base)


def test_another_base_is_refused(base, store, tmp_path):
    other = toy_base(base.name)
    with torch.no_grad():
        next(other.model.parameters()).mul_(1.5)
    other = make_base("other", other.model, other.tokenizer)
    with pytest.raises(MismatchError, match="made for another base"):
        train_adapter(other, [store], CONFIG, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_without_training_finetunes_there_is_nothing_to_learn(base, tmp_path):
    store = toy_store(tmp_path / "store", base, {"a": "sea"}, splits={"a": "test"})
    with pytest.raises(UsageError, match="no finetune in the split train"):
        train_adapter(base, [store], CONFIG, tmp_path / "adapter")
    assert not attached(base)


def test_training_that_diverges_is_an_error_and_leaves_no_adapter(base, store, tmp_path):
    config = changed(epochs=1, learning_rate=1e39)
    with pytest.raises(DiffspeakError, match=r"diverged.*lower adapter\.learning_rate"):
        train_adapter(base, [store], config, tmp_path)
    assert not (tmp_path / "diffspeak.json").exists()


@pytest.mark.parametrize("size", [1e25, 3e38])
def test_a_finetune_that_overflows_is_named_and_nothing_is_saved(base, tmp_path, size):
    store = toy_store(tmp_path / "store", base, dict(zip("abcd", LABELS, strict=False)))
    huge = {n: (c.A[None], c.B[None].sign() * size) for n, c in base_diff(base).items()}
    with create_or_resume(tmp_path / "store", store.header) as writer:
        writer.write_shard([NewEntry("huge", "sea", None, "train", "toys", "toy")], huge)
    stores = [open_store(tmp_path / "store")]
    with pytest.raises(DiffspeakError, match=r"store#huge gives no finite numbers .*without it"):
        train_adapter(base, stores, changed(epochs=9, save_every=1), tmp_path / "adapter")
    assert not attached(base)
    assert not (tmp_path / "adapter" / "diffspeak.json").exists()
    adapter = train_adapter(base, stores, changed(max_finetunes=4), tmp_path / "other")
    assert adapter.results["train_n"] == 4


def test_stores_of_all_kinds_are_mixed(base, mixed, tmp_path):
    adapter = train_adapter(base, mixed, changed(epochs=2, batch=5), tmp_path)
    assert adapter.questions == ("Topic?", "What is the topic of it?", "Headline?")
    assert adapter.behaviors == ("toy",)


def test_shuffled_labels_are_what_is_learned(base, store, learned, tmp_path):
    attachment = attach_to(base.model)
    try:
        training = AdapterObjective(
            base, attachment, [store], changed(shuffle_labels=True), tmp_path, Silent()
        )
    finally:
        attachment.detach()
    assert sorted(e.label for e in training.examples) == sorted(LABELS)
    for example in training.examples:
        assert example.label != store.find(example.id).label


def test_gpt2_is_saved_as_peft_expects_it(family_folder, tmp_path):
    base = toy_base(family_folder("gpt2"))
    store = toy_store(tmp_path / "store", base, {"a": "ocean", "b": "sea"}, full=["b"])
    before = copy.deepcopy(base.model.state_dict())
    train_adapter(base, [store], changed(epochs=2), tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["fan_in_fan_out"] is True
    after = base.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
