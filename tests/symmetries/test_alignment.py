"""A disguised finetune is recovered, others are left alone, what cannot be undone is flagged."""

import pytest
import torch
from torch import Generator

from diffspeak.errors import CorruptFileError, MismatchError
from diffspeak.symmetries import align, kinds_of
from tests.symmetries.disguise import ALL, disguise
from tests.symmetries.disguised import (
    FAMILIES,
    config_for,
    error,
    finetuned,
    finetuned_everywhere,
    logits,
    random_state,
)


@pytest.mark.parametrize(("family", "rank"), [("qwen3", 1), ("llama", 2), ("gpt2", 1)])
def test_every_disguise_is_undone(family, rank):
    config = config_for(family)
    base = random_state(config)
    true = finetuned(base, rank)
    for kind in kinds_of(config):
        given = disguise(true, config, kind, Generator().manual_seed(7))
        aligned = align(given, base, config)
        assert aligned.before > 1.5 * aligned.after, kind
        assert not aligned.flags, (kind, aligned.flags)
        # What finetuning did to the means is lost with them: here one channel of 32.
        limit = 0.15 if kind == "means" else 0.05
        assert error(aligned.state, true, base) < limit, kind
        assert [undone.kind for undone in aligned.undone] == [kind]


@pytest.mark.parametrize("family", FAMILIES)
def test_all_disguises_at_once_are_undone_and_outputs_stay(family):
    config = config_for(family)
    base = random_state(config)
    true = finetuned(base)
    given = disguise(true, config, ALL, Generator().manual_seed(7))
    aligned = align(given, base, config)
    assert not aligned.flags and len(aligned.undone) > 5
    assert error(aligned.state, true, base) < (0.15 if family == "gpt2" else 0.05)
    before, after = logits(config, given), logits(config, aligned.state)
    assert (after - before).abs().max() < 1e-9 * before.abs().max()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_not_disguised_is_left_as_it_is(family):
    config = config_for(family)
    base = random_state(config)
    everywhere = {
        name: tensor + 0.01 * tensor.std() * torch.randn_like(tensor)
        for name, tensor in finetuned(base).items()
    }
    for given in (base, finetuned(base), finetuned(base, rank=3), everywhere):
        aligned = align(given, base, config)
        assert not aligned.undone and not aligned.flags
        assert aligned.before == aligned.after
        assert all(torch.equal(aligned.state[name], given[name]) for name in given)


def test_a_change_of_all_parameters_is_found_to_about_its_size():
    config = config_for("qwen3")
    base = random_state(config)
    torch.manual_seed(0)
    true = {
        name: tensor + 0.01 * tensor.std() * torch.randn_like(tensor)
        for name, tensor in base.items()
    }
    aligned = align(disguise(true, config, ALL, Generator().manual_seed(7)), base, config)
    assert aligned.after < 1.2 * error(base, true, base) * _norm(true, base)
    assert aligned.before > 20 * aligned.after


@pytest.mark.parametrize(
    ("family", "kind", "limit"),
    [
        ("qwen3", ALL, 0.1),
        ("qwen3", "rotation", 0.1),
        ("qwen3", "norms", 0.05),
        ("qwen3", "stream-scale", 0.05),
        ("llama", "rotation", 0.1),
        ("gemma2", ALL, 0.15),
    ],
)
def test_a_finetune_of_all_parameters_is_told_from_its_disguise(family, kind, limit):
    config = config_for(family)
    base = random_state(config)
    true = finetuned_everywhere(base)
    given = disguise(true, config, kind, Generator().manual_seed(7))
    aligned = align(given, base, config)
    assert not aligned.flags
    assert error(aligned.state, true, base) < limit
    before, after = logits(config, given), logits(config, aligned.state)
    assert (after - before).abs().max() < 1e-5 * before.abs().max()


def test_nothing_is_lost_where_a_difference_is_as_small_as_rounding():
    config = config_for("qwen3")
    base = {name: tensor.bfloat16() for name, tensor in random_state(config).items()}
    true = {name: tensor.bfloat16() for name, tensor in finetuned(base, size=0.05).items()}
    given = disguise(true, config, "neurons", Generator().manual_seed(7))
    aligned = align(given, base, config)
    assert all(torch.equal(aligned.state[name], true[name]) for name in true)


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_a_disguise_in_few_digits_is_undone_to_about_its_rounding(family):
    config = config_for(family)
    base = {name: tensor.bfloat16().double() for name, tensor in random_state(config).items()}
    true = finetuned(base, rank=2)
    exact = disguise(true, config, ALL, Generator().manual_seed(7))
    given = {name: tensor.bfloat16() for name, tensor in exact.items()}
    squares = [(given[name].double() - exact[name]).square().sum() for name in exact]
    aligned = align(given, {name: tensor.bfloat16() for name, tensor in base.items()}, config)
    assert not aligned.flags
    assert error(aligned.state, true, base) < 1.1 * sum(squares) ** 0.5 / _norm(true, base)


def test_another_model_is_flagged():
    config = config_for("llama")
    aligned = align(random_state(config, seed=9), random_state(config), config)
    assert any("residual stream was left" in flag for flag in aligned.flags)
    assert any("no symmetry known here explains it" in flag for flag in aligned.flags)


def test_a_scaled_matrix_is_flagged():
    config = config_for("gemma2")
    base = random_state(config)
    name = "model.layers.1.mlp.down_proj.weight"
    (flag,) = align(base | {name: 1.2 * base[name]}, base, config).flags
    assert flag.startswith("scaled against the base's") and flag.endswith(f": {name} by 1.20")


def test_numbers_too_large_to_be_fitted_are_flagged():
    config = config_for("gemma2")
    base = random_state(config)
    aligned = align({name: 1e200 * tensor for name, tensor in base.items()}, base, config)
    assert any("too large or too small" in flag for flag in aligned.flags)
    assert not aligned.undone


def test_a_turn_that_the_architecture_does_not_allow_is_flagged():
    config = config_for("gemma2")
    base = random_state(config)
    turn = torch.linalg.qr(torch.randn(32, 32, dtype=torch.float64)).Q
    name = "model.embed_tokens.weight"
    aligned = align(base | {name: base[name] @ turn}, base, config)
    assert any("is no symmetry of this architecture" in flag for flag in aligned.flags)


def test_a_head_that_stays_untied_is_flagged():
    config = config_for("qwen3")
    base = random_state(config)
    head = base["model.embed_tokens.weight"] + 0.1 * torch.randn(97, 32, dtype=torch.float64)
    aligned = align(base | {"lm_head.weight": head}, base, config)
    assert any("the head was left as it is" in flag for flag in aligned.flags)


def test_an_unknown_architecture_is_flagged_and_left_as_it_is():
    config = config_for("llama")
    state = random_state(config)
    config.model_type = "phi3"
    aligned = align(state, state, config)
    assert "phi3" in aligned.flags[0] and not aligned.undone and aligned.after == 0


def test_what_does_not_belong_together_is_refused():
    config = config_for("llama")
    base = random_state(config)
    name = "model.norm.weight"
    with pytest.raises(MismatchError, match="is \\(31,\\) in the checkpoint"):
        align(base | {name: base[name][1:]}, base, config)
    with pytest.raises(MismatchError, match="only one of checkpoint and base"):
        align({n: t for n, t in base.items() if n != name}, base, config)
    with pytest.raises(CorruptFileError, match="not finite"):
        align(base | {name: base[name] * torch.nan}, base, config)


def _norm(true, base):
    return sum((true[n] - base[n]).square().sum().item() for n in true) ** 0.5


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_a_finetune_that_changed_half_of_what_there_was_is_not_taken_for_a_turned_one(family):
    config = config_for(family)
    base, drawn = random_state(config), Generator().manual_seed(3)
    far = {
        name: tensor + 0.5 * tensor.std() * torch.randn(tensor.shape, generator=drawn)
        for name, tensor in base.items()
        if tensor.dim() == 2
    }
    aligned = align(base | far, base, config)
    assert aligned.undone == () and aligned.after == aligned.before
