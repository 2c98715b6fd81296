"""Outputs that changed are told from rounding, whatever the dtype."""

import pytest
import torch
from torch import Generator

from diffspeak.errors import UsageError
from tests.symmetries.disguise import ALL, disguise
from tests.symmetries.disguised import config_for, finetuned, model_of, outputs_of, random_state

PROMPTS = [torch.arange(12), torch.arange(40, 60)]


@pytest.mark.parametrize("family", ["qwen3", "llama", "gpt2"])
def test_a_disguise_is_no_change_and_a_finetune_is_one(family):
    config = config_for(family)
    state = random_state(config)
    other = disguise(state, config, ALL, Generator().manual_seed(5))
    models = [model_of(config, each).float() for each in (state, other, finetuned(state))]
    assert outputs_of(models[0], models[1], PROMPTS).unchanged
    changed = outputs_of(models[0], models[2], PROMPTS)
    assert not changed.unchanged and changed.largest > 10 * changed.allowed


def test_numbers_that_are_not_finite_are_a_change():
    config = config_for("llama")
    state = random_state(config)
    model, broken = model_of(config, state).float(), model_of(config, state).float()
    broken.lm_head.weight.data[0, 0] = torch.nan
    assert not outputs_of(model, broken, PROMPTS).unchanged


def test_without_prompts_nothing_is_said():
    model = model_of(config_for("llama"), random_state(config_for("llama")))
    with pytest.raises(UsageError, match="one at least"):
        outputs_of(model, model, [])
