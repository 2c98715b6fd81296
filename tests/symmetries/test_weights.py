"""A checkpoint read part by part and written again; rounding taken out where it can be told."""

import weakref

import pytest
import torch
from torch import Generator

from diffspeak.errors import UsageError
from diffspeak.symmetries import align, traits_of, transforms
from diffspeak.symmetries.architecture import ENDS, UP
from diffspeak.symmetries.weights import BlockwiseWeights, drop_rounding
from tests.symmetries.disguise import ALL, disguise
from tests.symmetries.disguised import FAMILIES, config_for, error, finetuned, random_state


def draw(*shape, seed=0):
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def dropped(weight, base, dtype=torch.bfloat16):
    return drop_rounding(weight, base, dtype)


@pytest.mark.parametrize("shape", [(96, 64), (64, 96)])
def test_most_of_it_goes_and_finetuning_stays(shape):
    base = draw(*shape)
    true = base + 0.01 * draw(shape[0], 2, seed=1) @ draw(2, shape[1], seed=2)
    turn = torch.linalg.qr(draw(shape[1], shape[1], seed=3)).Q
    rounded = (true @ turn).bfloat16().double() @ turn.T
    found = dropped(rounded, base)
    assert (found - true).norm() < 0.4 * (rounded - true).norm()


def test_a_change_in_all_directions_stays():
    base = draw(64, 48)
    true = base + 0.02 * draw(64, 48, seed=1)
    assert torch.equal(dropped(true, base), true)


def test_numbers_of_the_dtype_and_fine_numbers_stay():
    base = draw(64, 48)
    rounded = base.bfloat16().double()
    assert torch.equal(dropped(rounded, base), rounded)
    turned = base + 1e-4 * draw(64, 48, seed=1)
    assert torch.equal(dropped(turned, base, torch.float32), turned)
    assert not torch.equal(dropped(turned, base), turned)


def read(family, dtype=torch.float32, **changes):
    config = config_for(family, **changes)
    state = {name: tensor.to(dtype) for name, tensor in random_state(config).items()}
    return state, BlockwiseWeights(state, traits_of(config))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_read_is_written_as_it_came_whatever_the_chunks(family):
    state, weights = read(family, vocab_size=1000)
    assert len(list(weights.pieces(ENDS))) > 1
    written = weights.collect(
        (part, piece) for part in weights.parts for piece in weights.pieces(part)
    )
    assert written.keys() == state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(written[name], tensor, rtol=0, atol=1e-6)


def test_one_block_is_held_at_a_time_and_read_again_as_it_was_transformed():
    _, weights = read("qwen3")
    block = weights.first(0)
    own, held = block[f"{UP}.weight"], weakref.ref(block[f"{UP}.weight"])
    weights.apply(transforms.permute_neurons, torch.arange(48).flip(0), part=0)
    assert torch.equal(weights.first(0)[f"{UP}.weight"], own.flip(0))
    del block, own
    weights.first(1)
    assert held() is None
    assert weights.copy().first(0)[f"{UP}.weight"].dtype == torch.float64


@pytest.mark.parametrize("kind", [ALL, "rotation"])
@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_tables_in_chunks_are_aligned_as_well(family, kind):
    config = config_for(family, vocab_size=1000)
    base = random_state(config)
    true = finetuned(base)
    assert len(list(BlockwiseWeights(base, traits_of(config)).pieces(ENDS))) > 1
    aligned = align(disguise(true, config, kind, Generator().manual_seed(7)), base, config)
    assert not aligned.flags and error(aligned.state, true, base) < 0.05
    # Rounded, a disguised table keeps its rounding only where it was finetuned.
    few = {name: tensor.bfloat16() for name, tensor in base.items()}
    given = disguise(finetuned(few), config, kind, Generator().manual_seed(7))
    aligned = align(given, few, config)
    assert not aligned.flags and aligned.before > 5 * aligned.after


def test_a_state_that_lacks_a_tensor_or_has_a_block_too_many_is_refused():
    state, weights = read("llama")
    name = "model.layers.1.mlp.up_proj.weight"
    with pytest.raises(UsageError, match="lacks layers.1.mlp.up_proj.weight"):
        BlockwiseWeights({n: t for n, t in state.items() if n != name}, weights.traits)
    with pytest.raises(UsageError, match="a block that the config does not have"):
        BlockwiseWeights(state | {name.replace("1", "7"): state[name]}, weights.traits)
