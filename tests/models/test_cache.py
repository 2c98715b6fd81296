"""A cache with room holds what the usual one holds, whatever is done to it."""

import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from diffspeak.models.cache import ROOM, RoomyLayer, roomy_cache
from diffspeak.models.load import load_base
from tests.families import FAMILIES


def states(rows, tokens, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 2, tokens, 4, generator=generator), torch.randn(
        rows, 2, tokens, 6, generator=generator
    )


def test_it_holds_what_the_usual_one_holds_through_growing_cropping_and_leaving():
    ours, usual = RoomyLayer(), DynamicLayer()
    keep = torch.tensor([0, 2])
    for step in range(3 * ROOM):
        rows = 3 if step < ROOM + 5 else 2
        both = [layer.update(*states(rows, 7 if step == 0 else 1, step)) for layer in (ours, usual)]
        assert all(map(torch.equal, *both))
        assert ours.get_seq_length() == usual.get_seq_length()
        for layer in (ours, usual):
            if step == ROOM + 4:
                layer.batch_select_indices(keep)
            if step == 2 * ROOM:
                layer.crop(-3)


def test_a_token_that_is_added_moves_nothing():
    layer = RoomyLayer()
    layer.update(*states(3, 7, 0))
    places = {layer.update(*states(3, 1, step))[0].data_ptr() for step in range(ROOM)}
    assert len(places) == 1


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_model_reads_on_as_with_the_usual_one(family_folder, family):
    from diffspeak.models.generate import _cache_name

    model = load_base(family_folder(family), dtype="float32", device="cpu").model
    name = _cache_name(model)
    caches = {name: roomy_cache(model.config)}, {name: DynamicCache(config=model.config)}
    for ids in (torch.arange(5, 17).view(2, 6), torch.tensor([[4], [9]]), torch.tensor([[7], [3]])):
        one, other = (model(input_ids=ids, use_cache=True, **cache).logits for cache in caches)
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
