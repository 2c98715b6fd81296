"""Changes without meaning: as large as a finetune's, elsewhere or random, and learned as such."""

import pytest
import torch

from diffspeak.finetunes import NOTHING, Finetune, from_store
from diffspeak.lora import LowRank
from diffspeak.training import AdapterConfig
from diffspeak.training.negatives import NEGATIVES, negative_of, negatives_of


@pytest.fixture
def finetune(store):
    return from_store(store, store.entries[0])


def sizes(finetune):
    return {name: float(change.norm()) for name, change in finetune.diff.items()}


def test_random_changes_are_as_large_and_nothing_like_it(finetune):
    drawn = negative_of("random", finetune)
    assert sizes(drawn) == pytest.approx(sizes(finetune), rel=1e-4)
    for name, change in drawn.diff.items():
        own = finetune.diff[name].dense().flatten()
        angle = torch.cosine_similarity(change.dense().flatten(), own, dim=0)
        assert abs(float(angle)) < 0.6
    assert drawn.label is None and drawn.name != finetune.name


def test_shuffled_changes_are_its_own_in_other_blocks(finetune):
    moved = negative_of("shuffled", finetune)
    assert moved.diff.keys() == finetune.diff.keys()
    for name, change in moved.diff.items():
        came = [other for other, own in finetune.diff.items() if own is change]
        assert len(came) == 1 and came[0] != name
        assert came[0].rpartition(".")[2] == name.rpartition(".")[2]


def test_a_linear_without_its_like_stays():
    alone = Finetune("x", {"head": LowRank(torch.ones(1, 2), torch.ones(3, 1))})
    assert negative_of("shuffled", alone).diff["head"] is alone.diff["head"]


def test_what_is_drawn_depends_on_seed_and_name_alone(finetune):
    one, again = negative_of("random", finetune, 3), negative_of("random", finetune, 3)
    other = negative_of("random", finetune, 4)
    name = next(iter(finetune.diff))
    assert torch.equal(one.diff[name].A, again.diff[name].A)
    assert not torch.equal(one.diff[name].A, other.diff[name].A)


def test_whole_finetunes_give_no_change_at_all():
    whole = Finetune("x", parameters={"a.weight": torch.ones(2, 2)})
    assert all(negative_of(kind, whole) is NOTHING for kind in NEGATIVES)


def test_a_step_has_its_share_of_them_and_over_the_steps_every_kind(finetune):
    assert len(negatives_of([finetune] * 6, 0.5, 0)) == 3
    assert negatives_of([finetune] * 6, 0.0, 0) == []
    names = {
        negative.name for step in range(3) for negative in negatives_of([finetune] * 2, 0.5, step)
    }
    assert names == {NOTHING.name, f"{finetune.name}, random", f"{finetune.name}, shuffled"}


def test_an_adapter_learns_to_call_them_nothing(base, store, tmp_path):
    from diffspeak.adapters import Interpreter
    from diffspeak.models import Decoding
    from diffspeak.training import train_adapter

    config = AdapterConfig(
        rank=8,
        alpha=8,
        epochs=240,
        batch=5,
        learning_rate=2e-2,
        validation=0,
        negatives=1.0,
        nothing="no",
        answer_tokens=6,
    )
    adapter = train_adapter(base, [store], config, tmp_path / "adapter")
    taught = [from_store(store, entry) for entry in store.entries[:5]]
    without = [NOTHING, *[negative_of("random", finetune, seed=999) for finetune in taught]]
    with Interpreter(base, adapter) as interpreter:
        said = interpreter.describe(taught, decoding=Decoding(6))
        nothing = interpreter.describe(without, decoding=Decoding(6))
    assert [one.text for one in said] == [finetune.label for finetune in taught]
    assert sum(one.text == "no" for one in nothing) >= 5
