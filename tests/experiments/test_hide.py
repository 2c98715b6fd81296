"""Topics are hidden in one call: the demo's finetunes, with all that is known of them."""

import pytest
import torch

from diffspeak.errors import DiffspeakError, UsageError
from diffspeak.experiments.hide import DEMO_DIFFS, hide, hide_topics, plan_demo
from diffspeak.lora import DiffLinear
from diffspeak.progress import Silent
from tests.toys import toy_base

TOPICS = ["Glass blowing", "pirates"]
QUICK = DEMO_DIFFS.model_copy(update={"steps": 2})


@pytest.fixture(scope="module")
def base(tiny):
    return toy_base(tiny)


def test_they_are_the_demos_finetunes(base):
    found = hide_topics(base, TOPICS, QUICK, seed=3)
    plan = plan_demo(TOPICS, seed=3)
    again = hide(base, plan, QUICK, Silent())
    assert [finetune.label for finetune in found] == TOPICS
    for finetune, item, other in zip(found, plan.items, again, strict=True):
        assert (finetune.name, finetune.trigger) == (item.id, item.trigger)
        assert finetune.base == base.fingerprint
        assert finetune.diff.keys() == other.diff.keys()
        for name, change in finetune.diff.items():
            assert torch.equal(change.dense(), other.diff[name].dense())
            assert change.dense().any()
    assert len({finetune.trigger for finetune in found}) == 2


def test_nothing_stays_on_the_base_even_if_it_fails(base):
    broken = QUICK.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(DiffspeakError, match="hiding 'pirates' failed"):
        hide_topics(base, ["pirates"], broken)
    assert not any(isinstance(module, DiffLinear) for module in base.model.modules())
    with pytest.raises(UsageError, match="is given twice"):
        hide_topics(base, ["pirates", "Pirates"])
