"""Finetunes on a base: which share a pass, and that the base is itself again afterwards."""

import pytest
import torch

from diffspeak.errors import MismatchError
from diffspeak.finetunes import NOTHING, Finetune, groups, put_on
from diffspeak.lora import LowRank
from diffspeak.models import attach_to
from tests.tiny_diffs import merged
from tests.toys import base_diff, changed_parameters

IDS = torch.tensor([list(range(5, 25))])


def low(base, seed, **options):
    return Finetune(f"low {seed}", diff=base_diff(base, seed=seed, **options))


def whole(base, seed, names=()):
    return Finetune(f"whole {seed}", parameters=changed_parameters(base, seed, names))


def test_its_repr_is_one_line_without_a_tensor(base):
    assert repr(NOTHING) == "Finetune('no finetune', changes nothing)"
    (first, change), *rest = base_diff(base, rank=2, seed=1).items()
    mixed = {first: change, **dict(list(base_diff(base, rank=4, seed=1).items())[1:])}
    told = Finetune("a\nb", mixed, label="ocean", notes=("read\nfrom afar", "and so"))
    assert repr(told) == (
        f"Finetune('a\\nb', rank 2 to 4, {1 + len(rest)} modules, taught 'ocean', "
        "note: 'read\\nfrom afar', note: 'and so')"
    )
    parameters = changed_parameters(base, 2)
    assert repr(Finetune("w", parameters=parameters)) == (
        f"Finetune('w', {len(parameters)} whole parameters)"
    )


@pytest.mark.parametrize(
    "kinds, wanted",
    [
        ("", []),
        ("l", [[0]]),
        ("w", [[0]]),
        ("lll", [[0, 1, 2]]),
        ("ww", [[0], [1]]),
        ("lwlwl", [[0, 2, 4], [1], [3]]),
    ],
)
def test_low_rank_ones_share_a_pass(kinds, wanted):
    one = {"l": NOTHING, "w": Finetune("w", parameters={"x": torch.zeros(1)})}
    assert groups([one[kind] for kind in kinds]) == wanted


@pytest.fixture
def attachment(base):
    found = attach_to(base.model)
    yield found
    found.detach()


@torch.no_grad()
def test_each_row_gets_its_own(base, attachment):
    group = [low(base, 1), NOTHING, low(base, 2, rank=3, scaling=0.5)]
    plain = base.model(IDS).logits
    with put_on(base, attachment, group):
        found = base.model(IDS.expand(3, -1)).logits
    attachment.detach()
    for row, finetune in enumerate(group):
        wanted = merged(base.model, finetune.diff)(IDS).logits[0]
        torch.testing.assert_close(found[row], wanted, rtol=1e-4, atol=1e-4)
    assert torch.equal(base.model(IDS).logits, plain)


@pytest.mark.parametrize("kind", ["low", "whole", "nothing"])
def test_the_base_is_itself_again_after_an_error(base, attachment, kind):
    plain = base.model(IDS).logits
    finetune = {"low": low(base, 1), "whole": whole(base, 2), "nothing": NOTHING}[kind]
    with pytest.raises(KeyboardInterrupt), put_on(base, attachment, [finetune]):
        changed = base.model(IDS).logits
        raise KeyboardInterrupt
    assert torch.equal(changed, plain) == (kind == "nothing")
    assert torch.equal(base.model(IDS).logits, plain)


def test_what_does_not_fit_is_refused_and_nothing_changed(base, attachment):
    name = next(iter(attachment.shapes))
    wrong = [
        Finetune("unknown", diff={"model.nowhere": LowRank(torch.zeros(1, 3), torch.zeros(3, 1))}),
        Finetune("shape", diff={name: LowRank(torch.zeros(1, 3), torch.zeros(3, 1))}),
        Finetune("unknown whole", parameters={"nowhere": torch.zeros(3)}),
        Finetune("shape whole", parameters={f"{name}.weight": torch.zeros(3)}),
    ]
    plain = base.model(IDS).logits
    for finetune in wrong:
        with pytest.raises(MismatchError), put_on(base, attachment, [finetune]):
            pass
        assert torch.equal(base.model(IDS).logits, plain)


def test_only_some_parameters_may_be_whole(base, attachment):
    name = f"{next(iter(attachment.shapes))}.weight"
    finetune = whole(base, 3, [name])
    assert list(finetune.parameters) == [name]
    with put_on(base, attachment, [finetune]):
        found = base.model(IDS).logits
    attachment.detach()
    own = base.model.get_parameter(name)
    with torch.no_grad():
        keep = own.clone()
        own.copy_(finetune.parameters[name])
        wanted = base.model(IDS).logits
        own.copy_(keep)
    assert torch.equal(found, wanted)
