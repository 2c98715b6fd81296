"""A fingerprint knows its base again however it was loaded, and no other base."""

import json
import logging
from dataclasses import replace

import pytest
import torch

from diffspeak.errors import MismatchError
from diffspeak.models import (
    Base,
    Fingerprint,
    attach_to,
    check_base,
    fingerprint,
    load_base,
    target_names,
)
from diffspeak.models.placement import DTYPES
from tests.families import FAMILIES, build_family


@pytest.fixture
def base(family_folder, request) -> Base:
    return load_base(family_folder(getattr(request, "param", "qwen3")), dtype="float32")


def again(base: Base) -> Fingerprint:
    return fingerprint(base.model, base.tokenizer)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_dtype_gives_the_same(family_folder, family):
    prints = {load_base(family_folder(family), dtype=dtype).fingerprint for dtype in DTYPES}
    assert len(prints) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_saved_in_bfloat16_is_the_same_base(family_folder, tmp_path, family):
    base = load_base(family_folder(family), dtype="bfloat16")
    base.model.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    saved = load_base(tmp_path, dtype="float32").fingerprint
    check_base(saved, base.fingerprint, "the adapter")


@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_another_seed_is_another_base(family_folder, tmp_path, family):
    base = load_base(family_folder(family), dtype="float32")
    other = load_base(build_family(family, tmp_path / "other", seed=1), dtype="float32")
    assert other.fingerprint.architecture == base.fingerprint.architecture
    with pytest.raises(MismatchError):
        check_base(other.fingerprint, base.fingerprint, "the adapter")


@pytest.mark.parametrize("base", FAMILIES, indirect=True)
def test_every_parameter_counts(base):
    """Scaled as a whole, as any training does; its first element alone is sampled too."""
    for name, parameter in base.model.named_parameters():
        own = parameter.data.clone()
        for changed in (own * 1.05, torch.cat([own.flatten()[:1] + 1, own.flatten()[1:]])):
            parameter.data = changed.view_as(own)
            with pytest.raises(MismatchError):
                check_base(again(base), base.fingerprint, name)
        parameter.data = own
    assert again(base) == base.fingerprint


@pytest.mark.parametrize("base", FAMILIES, indirect=True)
def test_linears_are_told_apart_from_the_rest(base):
    linears = target_names(base.model)
    for name, parameter in base.model.named_parameters():
        own = parameter.data
        parameter.data = own + 1
        changed = again(base)
        is_linears = name.rpartition(".")[0] in linears
        assert (changed.linears != base.fingerprint.linears) == is_linears
        assert (changed.other != base.fingerprint.other) == (not is_linears)
        parameter.data = own


@pytest.mark.parametrize("base", FAMILIES, indirect=True)
def test_the_same_before_attaching_and_after_detaching(base):
    attachment = attach_to(base.model)
    attachment.detach()
    assert again(base) == base.fingerprint


def test_quantized_linears_are_not_compared(base):
    name = target_names(base.model)[0]
    base.model.get_submodule(name).weight = torch.nn.Parameter(
        torch.zeros(64, 16, dtype=torch.uint8), requires_grad=False
    )
    quantized = again(base)
    assert quantized.linears is None
    check_base(quantized, base.fingerprint, "the adapter")
    check_base(base.fingerprint, quantized, "the adapter")
    assert "quantized" in str(quantized)
    with pytest.raises(MismatchError):
        check_base(replace(quantized, other="0"), base.fingerprint, "the adapter")


def test_an_error_names_what_was_made_and_both_bases(base):
    small, large = base.fingerprint, replace(base.fingerprint, architecture="GPT 2x99")
    with pytest.raises(MismatchError) as error:
        check_base(large, small, "the adapter runs/x")
    message = str(error.value)
    assert message.startswith("the adapter runs/x was made for another base: it needs Qwen3")
    assert "this is GPT 2x99" in message
    assert "\n" not in message


@pytest.mark.parametrize("part", ["tokenizer", "template"])
def test_another_tokenizer_or_template_only_warns(base, part, caplog):
    with caplog.at_level(logging.WARNING):
        check_base(base.fingerprint, base.fingerprint, "the adapter")
        assert not caplog.records
        check_base(replace(base.fingerprint, **{part: "0"}), base.fingerprint, "the adapter")
    assert f"the adapter was made with another {part}" in caplog.text


def test_tokenizer_and_template_are_hashed_apart(base):
    base.tokenizer.chat_template += " "
    changed = again(base)
    assert changed == replace(base.fingerprint, template=changed.template)
    assert changed.template != base.fingerprint.template
    base.tokenizer.add_tokens(["<new>"])
    assert again(base).tokenizer != base.fingerprint.tokenizer


def test_it_survives_json(base):
    written = json.loads(json.dumps(base.fingerprint.to_dict()))
    assert Fingerprint(**written) == base.fingerprint
