"""From diffs to soft tokens: what does not matter about factors, and what does."""

from dataclasses import replace

import pytest
import torch

from diffspeak.errors import DiffspeakError, MismatchError, UsageError
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.lora import LowRank
from diffspeak.methods.weight_to_text import WeightToTextConfig
from diffspeak.methods.weight_to_text.projection import (
    fresh,
    learned,
    measure,
    soft_tokens,
    stacked,
)
from diffspeak.models import plain_shapes
from tests.toys import base_diff, changed_parameters


def tensors_of(base, **changes):
    """A projection with nothing at its first, special values."""
    shapes = plain_shapes(base.model)
    inputs = {name: torch.ones(shape.inputs) for name, shape in shapes.items()}
    embedding = base.model.get_input_embeddings().weight
    config = WeightToTextConfig(tokens=3, hidden=8, **changes)
    generator = torch.Generator().manual_seed(0)
    tensors = fresh(shapes, inputs, embedding, config, generator)
    return {
        name: tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in tensors.items()
    }


def vectors(tensors, *diffs):
    finetunes = [Finetune(str(n), diff=diff) for n, diff in enumerate(diffs)]
    return soft_tokens(tensors, stacked(tensors, finetunes), len(diffs))


def mapped(diff, change):
    return {name: change(factors) for name, factors in diff.items()}


SAME = {
    "signs": lambda c: replace(c, A=-c.A, B=-c.B),
    "sign of one component": lambda c: replace(c, A=c.A * SIGNS[:, None], B=c.B * SIGNS),
    "order": lambda c: replace(c, A=c.A.flip(0), B=c.B.flip(1)),
    "rank": lambda c: c.padded(5),
    "scaling": lambda c: c.folded(),
    "any other factors": lambda c: replace(c, A=MIX @ c.A, B=c.B @ MIX.inverse()),
}
SIGNS = torch.tensor([1.0, -1.0, 1.0])
MIX = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.5], [0.3, 0.0, 1.0]])


@pytest.mark.parametrize("settings", [{}, {"rank": 2}, {"projection": "mlp"}], ids=str)
@pytest.mark.parametrize("how", SAME)
def test_the_same_change_in_other_factors_gives_the_same_tokens(base, settings, how):
    tensors, diff = tensors_of(base, **settings), base_diff(base, rank=3, scaling=0.7)
    other = mapped(diff, SAME[how])
    assert torch.allclose(vectors(tensors, diff), vectors(tensors, other), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("settings", [{}, {"rank": 2}, {"projection": "mlp"}], ids=str)
def test_another_change_gives_other_tokens(base, settings):
    tensors, diff = tensors_of(base, **settings), base_diff(base, rank=3)
    turned = mapped(diff, lambda c: replace(c, B=-c.B))
    one, other, back = vectors(tensors, diff, base_diff(base, rank=2, seed=1), turned)
    assert one.shape == (3, base.model.config.hidden_size)
    for unlike in (other, back):
        assert (one - unlike).norm() > 0.1 * one.norm()


def test_the_tokens_are_those_of_the_formula(base):
    tensors, diff = tensors_of(base), base_diff(base, rank=3, scaling=0.7)
    total = 0
    for name, change in diff.items():
        D, own = change.dense(), {k: tensors[f"{name}|{k}"] for k in ("p", "q", "P", "Q", "size")}
        written, read = own["P"].T @ D @ own["p"], own["Q"].T @ D.T @ own["q"]
        shares = tensors[f"{name}|shares"]
        total = total + (shares[0] * written + shares[1] * read).T / own["size"]
    total = total / (total.square().mean(-1, keepdim=True) + 1e-4).sqrt()
    expected = torch.stack([row @ m for row, m in zip(total, tensors["map"], strict=True)])
    expected = (expected + tensors["offset"]) * tensors["unit"]
    assert torch.allclose(vectors(tensors, diff)[0], expected, atol=1e-4, rtol=1e-4)


def test_no_change_gives_the_offset(base):
    tensors = tensors_of(base)
    expected = tensors["offset"] * tensors["unit"]
    assert torch.equal(soft_tokens(tensors, stacked(tensors, [NOTHING]), 1)[0], expected)


def test_sizes_are_those_of_the_dense_changes(base):
    tensors = tensors_of(base)
    finetunes = [Finetune(str(n), diff=base_diff(base, rank=2, seed=n)) for n in range(3)]
    measure(tensors, [finetunes[:2], finetunes[2:]])
    name = next(iter(finetunes[0].diff))
    norms = torch.stack([f.diff[name].dense().norm() for f in finetunes])
    assert torch.allclose(tensors[f"{name}|size"], norms.square().mean().sqrt(), rtol=1e-4)
    assert not any(name.endswith("|size") or name == "unit" for name in learned(tensors))


def test_a_change_that_is_too_large_to_measure_is_named(base):
    large = {name: LowRank(c.A * 1e20, c.B) for name, c in base_diff(base, seed=1).items()}
    finetunes = [Finetune("plain", diff=base_diff(base)), Finetune("large", diff=large)]
    with pytest.raises(DiffspeakError, match="^large gives no finite numbers .its change of"):
        measure(tensors_of(base), [finetunes])


def test_what_it_cannot_read_is_refused(base):
    tensors = tensors_of(base)
    with pytest.raises(UsageError, match="far is whole"):
        stacked(tensors, [Finetune("far", parameters=changed_parameters(base))])
    head = {"lm_head": LowRank(torch.ones(1, 4), torch.ones(4, 1))}
    with pytest.raises(MismatchError, match="far changes lm_head"):
        stacked(tensors, [Finetune("far", diff=head)])
