"""Every disguise leaves every output as it was, to rounding in float64."""

import pytest
import torch
from torch import Generator

from diffspeak.errors import UsageError
from diffspeak.symmetries import kinds_of, symmetries_of
from tests.symmetries.disguise import ALL, disguise
from tests.symmetries.disguised import FAMILIES, config_for, logits, random_state


@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_stay(family):
    config = config_for(family)
    state = random_state(config)
    before = logits(config, state)
    exact = {s.kind: s.exactness == "exact" for s in symmetries_of(config)}
    for kind in (*kinds_of(config), ALL):
        disguised = disguise(state, config, kind, Generator().manual_seed(5))
        moved = max((disguised[n] - state[n]).abs().max().item() for n in state)
        assert moved > 1e-3, kind
        away = (logits(config, disguised) - before).abs().max() / before.abs().max()
        assert away < (1e-11 if exact.get(kind, True) else 1e-3), (kind, away)


def test_the_state_given_is_left_as_it_is():
    config = config_for("qwen3")
    state = random_state(config)
    kept = {name: tensor.clone() for name, tensor in state.items()}
    disguise(state, config, ALL, Generator().manual_seed(5))
    assert all(torch.equal(kept[name], state[name]) for name in state)


def test_what_an_architecture_has_not_is_refused_with_the_reason():
    config = config_for("gpt2")
    with pytest.raises(UsageError, match="cannot be folded into a tied head"):
        disguise(random_state(config), config, "rotation", Generator())
    with pytest.raises(UsageError, match="it is not known"):
        disguise(random_state(config), config, "magic", Generator())


def test_a_rotation_unties_a_tied_head_and_an_untied_model_keeps_its_names():
    for family in ("qwen3", "llama"):
        config = config_for(family)
        state = random_state(config)
        turned = disguise(state, config, "rotation", Generator().manual_seed(5))
        assert set(turned) == set(state) | {"lm_head.weight"}
