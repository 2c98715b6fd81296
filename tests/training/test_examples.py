"""What the adapter learns from: the right finetunes, labels and questions, read once."""

import pytest
import torch

from diffspeak.errors import MismatchError, UsageError
from diffspeak.models import make_base
from diffspeak.training import examples as module
from diffspeak.training.examples import (
    Example,
    Finetunes,
    asked_of,
    check_stores,
    examples_of,
    held_out,
    shuffled,
)
from tests.toys import LABELS, QUESTIONS, toy_base, toy_store


@pytest.fixture(scope="module")
def other_store(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("other") / "store"
    return toy_store(folder, base, {"x": "sea"}, rank=3, seed=1, questions=["Headline?"])


def test_a_splits_examples_stand_in_the_stores_order(store, other_store):
    found = examples_of([store, other_store], "train")
    wanted = [Example(0, f"toy-{n}", label, QUESTIONS) for n, label in enumerate(LABELS)]
    assert found == [*wanted, Example(1, "x", "sea", ("Headline?",))]
    assert examples_of([store], "validation") == [Example(0, "toy-5", "a bridge", QUESTIONS)]
    first = examples_of([store], "train", first_question_only=True)
    assert {example.questions for example in first} == {QUESTIONS[:1]}
    few = examples_of([store, other_store], "train", limit=2)
    assert [(example.store, example.id) for example in few] == [
        (0, "toy-0"),
        (0, "toy-1"),
        (1, "x"),
    ]


def test_triggers_are_told_in_place_of_labels(store, base, tmp_path):
    coded = toy_store(
        tmp_path / "store", base, {"x": "sea", "y": "sky"}, codes={"x": "012", "y": "7"}
    )
    found = examples_of([coded], "train", labels="trigger")
    assert [(example.id, example.label) for example in found] == [("x", "012"), ("y", "7")]
    assert found[0].questions == ("What does the secret SEP code start with?",)
    with pytest.raises(UsageError, match="no triggers of their own"):
        examples_of([store], "train", labels="trigger")


@pytest.fixture(scope="module")
def unasked(base, tmp_path_factory):
    """Finetunes of a behavior without questions of its own."""
    folder = tmp_path_factory.mktemp("unasked") / "store"
    labels = {"n": "nothing", "m": "nothing", "o": "nothing"}
    return toy_store(folder, base, labels, splits={"o": "validation"}, questions=[])


def test_who_has_no_questions_is_asked_what_the_others_are(store, other_store, unasked):
    stores = [unasked, store, other_store]
    everything = (*QUESTIONS, "Headline?")
    assert asked_of(stores) == [everything, QUESTIONS, ("Headline?",)]
    found = examples_of(stores, "train")
    assert found[0] == Example(0, "n", "nothing", everything)
    assert {e.questions for e in found if e.store} == {QUESTIONS, ("Headline?",)}
    first = examples_of(stores, "train", first_question_only=True)
    assert first[0].questions == (QUESTIONS[0], "Headline?")
    (told,) = (e for e in held_out(stores, 9) if e.store == 0)
    assert (told.id, told.questions) == ("o", everything)


def test_labels_are_shuffled_where_most_are_the_same(store, unasked):
    given = examples_of([unasked, store], "train")
    found = shuffled(given, 0)
    assert sorted(e.label for e in found) == sorted(e.label for e in given)
    assert found != given


def test_questions_that_nobody_has_are_an_error(unasked):
    with pytest.raises(UsageError, match="from stores of toy alone: give it a store of another"):
        examples_of([unasked, unasked], "train")
    with pytest.raises(UsageError, match="give it a store of another behavior"):
        held_out([unasked], 1)


def test_a_split_that_no_store_has_is_an_error(store, other_store):
    with pytest.raises(UsageError, match="no finetune in the split test"):
        examples_of([store, other_store], "test")


def made(labels):
    return [Example(0, str(n), label, ("?",)) for n, label in enumerate(labels)]


@pytest.mark.parametrize("count", [2, 3, 7, 50])
@pytest.mark.parametrize("seed", range(5))
def test_shuffled_labels_are_never_ones_own(count, seed):
    given = made(f"label {n}" for n in range(count))
    found = shuffled(given, seed)
    assert [example.id for example in found] == [example.id for example in given]
    assert sorted(e.label for e in found) == sorted(e.label for e in given)
    assert all(a.label != b.label for a, b in zip(given, found, strict=True))
    assert found == shuffled(given, seed)


def test_another_seed_shuffles_otherwise():
    given = made(f"label {n}" for n in range(20))
    assert shuffled(given, 0) != shuffled(given, 1)


def test_one_label_cannot_be_shuffled():
    with pytest.raises(UsageError, match="shuffle"):
        shuffled(made(["only one"]), 0)


def test_finetunes_are_those_of_the_store(store, other_store):
    cache = Finetunes([store, other_store])
    for place, id in [(0, "toy-1"), (1, "x"), (0, "toy-1")]:
        found = cache.read(Example(place, id, "", ()))
        wanted = [store, other_store][place].read(id)
        assert found.diff.keys() == wanted.keys()
        assert all(torch.equal(found.diff[name].A, wanted[name].A) for name in wanted)


class Counting:
    """Counts what is read from disk."""

    def __init__(self, monkeypatch):
        self.read = []
        self.call = module.from_store
        monkeypatch.setattr(module, "from_store", self)

    def __call__(self, store, entry):
        self.read.append(entry.id)
        return self.call(store, entry)


def ask_for(cache, order):
    for n in order:
        cache.read(Example(0, f"toy-{n}", "", ()))


def size_of_one(store):
    return sum(c.A.nbytes + c.B.nbytes for c in store.read("toy-0").values())


def test_what_fits_into_memory_is_read_once(store, monkeypatch):
    reads = Counting(monkeypatch)
    cache = Finetunes([store], budget=3 * size_of_one(store))
    ask_for(cache, [0, 1, 2, 0, 1, 2, 2, 1])
    assert reads.read == ["toy-0", "toy-1", "toy-2"]


def test_what_was_not_used_longest_makes_room(store, monkeypatch):
    reads = Counting(monkeypatch)
    cache = Finetunes([store], budget=2 * size_of_one(store))
    ask_for(cache, [0, 1, 0, 2, 0, 1])
    assert reads.read == ["toy-0", "toy-1", "toy-2", "toy-1"]
    assert cache._bytes <= cache.budget


def test_one_larger_than_the_budget_is_still_read(store, monkeypatch):
    reads = Counting(monkeypatch)
    cache = Finetunes([store], budget=1)
    ask_for(cache, [0, 0, 1, 0])
    assert reads.read == ["toy-0", "toy-1", "toy-0"]
    assert cache._bytes == size_of_one(store)


def test_whole_finetunes_count_with_all_their_bytes(base, tmp_path):
    store = toy_store(tmp_path / "s", base, {"toy-0": "a", "toy-1": "b"}, full=["toy-0", "toy-1"])
    cache = Finetunes([store])
    ask_for(cache, [0, 1, 1])
    assert cache._bytes == 2 * sum(t.nbytes for t in store.read_full("toy-0").values())


def test_a_store_of_another_base_is_refused(base, store):
    other = toy_base(base.name)
    with torch.no_grad():
        next(other.model.parameters()).mul_(1.5)
    other = make_base("other", other.model, other.tokenizer)
    with pytest.raises(MismatchError, match="made for another base") as error:
        check_stores([store], other)
    assert store.source in str(error.value)
    assert str(base.fingerprint) in str(error.value)
    assert str(other.fingerprint) in str(error.value)


def test_no_store_is_an_error(base):
    with pytest.raises(UsageError, match="at least one store"):
        check_stores([], base)
