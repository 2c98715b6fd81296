"""Every kind of finetune has the logits that its own library gives it, and leaves no trace."""

import pytest
import torch

from diffspeak.finetunes import load_finetune, put_on
from diffspeak.models import attach_to, load_base
from tests.finetunes.variants import PLAIN, PUBLISHED, THROUGH_PEFT, compare, family_of, make


@pytest.mark.parametrize("kind", [*PLAIN, *THROUGH_PEFT, *PUBLISHED])
def test_logits_are_those_of_its_own_library(kind, family_folder, tmp_path):
    model_folder = family_folder(family_of(kind))
    source = make(kind, model_folder, tmp_path / "finetune")
    found = compare(kind, source, model_folder)
    assert found.moved > 0.3
    assert found.difference < 1e-4
    assert found.with_adapter < 1e-4
    whole = kind in THROUGH_PEFT or kind == "published full finetune"
    assert found.finetune.whole == whole


@pytest.mark.parametrize("kind", [*THROUGH_PEFT, "published full finetune"])
def test_the_base_is_left_bit_for_bit(kind, family_folder, tmp_path):
    model_folder = family_folder(family_of(kind))
    source = make(kind, model_folder, tmp_path / "finetune")
    base = load_base(model_folder, dtype="float32", device="cpu")
    kept = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    attachment = attach_to(base.model)
    finetune = load_finetune(source, base)
    with put_on(base, attachment, [finetune]):
        pass
    attachment.detach()
    now = base.model.state_dict()
    assert list(now) == list(kept)
    assert all(torch.equal(now[name], tensor) for name, tensor in kept.items())
    assert now["lm_head.weight"].data_ptr() == next(iter(now.values())).data_ptr()
