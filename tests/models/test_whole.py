"""A finetune's whole parameters stand in the model for a while, and nothing of them stays."""

import copy

import pytest
import torch

from diffspeak.errors import MismatchError
from diffspeak.lora import stack_diffs
from diffspeak.models import Base, attach_to, load_base, target_names, whole
from diffspeak.models.whole import plain_parameters
from tests.families import FAMILIES
from tests.tiny_diffs import merged, random_diff

IDS = torch.arange(20, 40)[None]


@pytest.fixture(params=FAMILIES)
def base(family_folder, request) -> Base:
    return load_base(family_folder(request.param), dtype="float32")


def trained(model, scale: float = 1.1) -> dict[str, torch.Tensor]:
    """Every parameter changed."""
    return {name: parameter.detach() * scale for name, parameter in model.named_parameters()}


def by_hand(model, state) -> torch.Tensor:
    model = copy.deepcopy(model)
    parameters = dict(model.named_parameters())
    for name, tensor in state.items():
        parameters[name].data = tensor
    return model(IDS).logits


@pytest.mark.parametrize("attached", [False, True])
def test_parameters_are_swapped_and_given_back_bit_for_bit(base, attached):
    state = trained(base.model)
    before, expected = base.model(IDS).logits, by_hand(base.model, state)
    kept = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    attachment = attach_to(base.model) if attached else None
    with whole(base.model, state):
        assert torch.equal(base.model(IDS).logits, expected)
    assert not torch.equal(expected, before)
    assert torch.equal(base.model(IDS).logits, before)
    if attachment:
        attachment.detach()
    now = base.model.state_dict()
    assert list(now) == list(kept)
    assert all(torch.equal(now[name], tensor) for name, tensor in kept.items())


@pytest.mark.parametrize("attached", [False, True])
def test_an_error_within_gives_them_back(base, attached):
    if attached:
        attach_to(base.model)
    before = base.model(IDS).logits
    with pytest.raises(KeyboardInterrupt), whole(base.model, trained_plain(base)):
        raise KeyboardInterrupt
    assert torch.equal(base.model(IDS).logits, before)


def trained_plain(base: Base) -> dict[str, torch.Tensor]:
    return {name: 2 * parameter for name, parameter in plain_parameters(base.model).items()}


def test_names_are_those_of_the_plain_model(base):
    plainly = {name: id(parameter) for name, parameter in base.model.named_parameters()}
    attach_to(base.model)
    found = {name: id(parameter) for name, parameter in plain_parameters(base.model).items()}
    assert list(found.items()) == list(plainly.items())


@pytest.mark.parametrize("attached", [False, True])
def test_some_parameters_may_be_left_out(base, attached):
    name = f"{target_names(base.model)[3]}.weight"
    state = {name: 2 * dict(base.model.named_parameters())[name].detach()}
    expected = by_hand(base.model, state)
    if attached:
        attach_to(base.model)
    with whole(base.model, state):
        assert torch.equal(base.model(IDS).logits, expected)


def test_a_diff_and_an_adapter_add_to_whole_parameters(base):
    state, plain = trained(base.model), copy.deepcopy(base.model)
    attachment = attach_to(base.model)
    diff, adapter = (random_diff(attachment.shapes, scaling=0.3, seed=s) for s in (1, 2))
    attachment.set_diffs(stack_diffs([diff]))
    attachment.set_adapter(adapter)
    with whole(plain, state):
        expected = merged(plain, diff, adapter)(IDS).logits
    with whole(base.model, state):
        torch.testing.assert_close(base.model(IDS).logits, expected, rtol=1e-3, atol=1e-3)


def test_other_dtypes_are_used_in_the_bases(base):
    state = {name: tensor.bfloat16() for name, tensor in trained(base.model).items()}
    rounded = {name: tensor.float() for name, tensor in state.items()}
    with whole(base.model, state):
        assert base.dtype == torch.float32
        found = base.model(IDS).logits
    assert torch.equal(found, by_hand(base.model, rounded))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.layers.9.up.weight", "has model.layers.9.up.weight, which the base has not"),
        ("first", r"is \(3,\) in the finetune and \(\d+, \d+\) in the base"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changed(base, name, message):
    before, state = base.model(IDS).logits, trained(base.model)
    state |= {next(iter(state)) if name == "first" else name: torch.zeros(3)}
    with pytest.raises(MismatchError, match=message), whole(base.model, state):
        pytest.fail("it was let in")
    assert torch.equal(base.model(IDS).logits, before)
