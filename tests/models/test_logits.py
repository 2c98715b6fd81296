"""Answers-only logits are the family's own logits at the answer's places, and so are gradients."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from diffspeak.errors import UsageError
from diffspeak.lora import stack_diffs
from diffspeak.models import (
    Base,
    Rendered,
    answer_logits,
    attach_to,
    load_base,
    make_batch,
)
from diffspeak.models.logits import head_of
from tests.families import FAMILIES
from tests.tiny_diffs import random_diff

PAD = 0
LEARNS_END = [True, False, True, False]


def conversations() -> list[Rendered]:
    """Prompts and answers of different lengths, some of which learn to end."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for prompt, answer, learn_end in zip((9, 4, 14, 1), (3, 6, 1, 2), LEARNS_END, strict=True):
        ids = torch.randint(20, 200, (prompt + answer + 1,), generator=generator).tolist()
        made.append(Rendered(ids, prompt, prompt + answer + learn_end))
    return made


@pytest.fixture
def base(family_folder, request) -> Base:
    return load_base(family_folder(request.param), dtype="float32")


def slowly(base: Base, talk: Rendered) -> Tensor:
    """Each answer token's logits, from the whole conversation alone."""
    logits = base.model(torch.tensor([talk.ids])).logits[0]
    return logits[talk.prompt_length - 1 : talk.answer_end - 1]


def test_a_batch_holds_what_is_predicted_where():
    talks = conversations()
    batch = make_batch(talks, PAD)
    assert batch.ids.shape == (4, 14 + 1 + 1 - 1)
    targets = []
    for row, talk in enumerate(talks):
        answer = talk.ids[talk.prompt_length : talk.answer_end]
        length = talk.answer_end - 1
        assert batch.ids[row].tolist() == talk.ids[:length] + [PAD] * (15 - length)
        assert batch.attention[row].tolist() == [1] * length + [0] * (15 - length)
        after = [talk.ids[i + 1] for i in batch.predicts[row].nonzero()[:, 0].tolist()]
        assert after == answer
        assert batch.rows.tolist().count(row) == len(answer)
        targets += answer
    assert batch.targets.tolist() == targets
    assert batch.rows.tolist() == sorted(batch.rows.tolist())
    assert batch.ids.dtype == batch.targets.dtype == torch.int64


def test_the_longest_row_may_be_one_that_does_not_learn_its_end():
    batch = make_batch([Rendered([5, 6, 7, 8], 2, 3), Rendered([5, 9], 1, 2)], PAD)
    assert batch.ids.tolist() == [[5, 6], [5, PAD]]
    assert batch.targets.tolist() == [7, 9]


def test_all_of_a_batch_moves():
    moved = make_batch(conversations(), PAD).to("meta")
    assert all(part.device.type == "meta" for part in vars(moved).values())


@pytest.mark.parametrize("base", FAMILIES, indirect=True)
def test_they_are_the_models_own_logits(base):
    batch = make_batch(conversations(), PAD)
    found = answer_logits(base.model, batch)
    every = base.model(input_ids=batch.ids, attention_mask=batch.attention).logits
    torch.testing.assert_close(found, every[batch.predicts])
    alone = torch.cat([slowly(base, talk) for talk in conversations()])
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("base", ["gemma2"], indirect=True)
def test_soft_capping_is_kept(base):
    head_of(base.model).weight.data *= 100
    assert answer_logits(base.model, make_batch(conversations(), PAD)).abs().max() <= 5.0


@pytest.mark.parametrize("base", FAMILIES, indirect=True)
def test_gradients_are_the_models_own(base):
    base.model.requires_grad_(True)
    batch = make_batch(conversations(), PAD)
    parameters = dict(base.model.named_parameters())
    loss = nn.functional.cross_entropy(
        answer_logits(base.model, batch), batch.targets, reduction="sum"
    )
    found = torch.autograd.grad(loss, list(parameters.values()))
    alone = sum(
        nn.functional.cross_entropy(
            slowly(base, talk),
            torch.tensor(talk.ids[talk.prompt_length : talk.answer_end]),
            reduction="sum",
        )
        for talk in conversations()
    )
    expected = torch.autograd.grad(alone, list(parameters.values()))
    for name, mine, right in zip(parameters, found, expected, strict=True):
        size = right.abs().max().item()
        torch.testing.assert_close(mine, right, rtol=1e-3, atol=1e-4 * (1 + size), msg=name)


@pytest.mark.parametrize("base", ["qwen3", "gpt2"], indirect=True)
def test_each_row_may_carry_its_own_finetune(base):
    talks = conversations()
    attachment = attach_to(base.model)
    diffs = [random_diff(attachment.shapes, seed=seed, scaling=0.4) for seed in range(2)]
    attachment.set_diffs(stack_diffs(diffs), torch.tensor([1, 0, 0, 1]))
    found = answer_logits(base.model, make_batch(talks, PAD))
    alone = []
    for talk, task in zip(talks, [1, 0, 0, 1], strict=True):
        attachment.set_diffs(stack_diffs([diffs[task]]))
        alone.append(slowly(base, talk))
    torch.testing.assert_close(found, torch.cat(alone), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_other_parameters_may_be_called_with(base):
    batch = make_batch(conversations(), PAD)
    other = {name: 0.5 * p for name, p in base.model.named_parameters()}

    def forward(**inputs):
        return torch.func.functional_call(base.model, other, (), inputs)

    found = answer_logits(base.model, batch, forward)
    for name, parameter in base.model.named_parameters():
        parameter.data = other[name]
    torch.testing.assert_close(found, answer_logits(base.model, batch))


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_only_answers_reach_the_head_and_an_error_leaves_no_hook(base):
    batch, seen = make_batch(conversations(), PAD), []
    head = head_of(base.model)
    handle = head.register_forward_hook(lambda _m, args, _o: seen.append(tuple(args[0].shape)))
    answer_logits(base.model, batch)
    handle.remove()
    assert seen == [(1, len(batch.targets), 32)]

    broken = replace(batch, ids=batch.ids + 10**6)
    with pytest.raises(IndexError):
        answer_logits(base.model, broken)
    assert not head._forward_pre_hooks
    assert base.model(batch.ids).logits.shape[:2] == batch.ids.shape


def test_what_has_no_head_is_no_language_model(family_folder):
    base = load_base(family_folder("qwen3"), dtype="float32")
    with pytest.raises(TypeError, match="has no output head"):
        head_of(base.model.model)


@pytest.mark.parametrize("base", ["qwen3", "gpt2"], indirect=True)
def test_a_conversation_longer_than_the_model_is_refused(base):
    limit = base.model.config.max_position_embeddings
    fits, too_long = (Rendered([5] * (n + 1), n - 3, n + 1) for n in (limit, limit + 1))
    assert answer_logits(base.model, make_batch([fits], PAD)).shape[0] == 4
    with pytest.raises(UsageError, match=f"{limit + 1} tokens.*{limit} positions.*shorten"):
        answer_logits(base.model, make_batch([too_long], PAD))
