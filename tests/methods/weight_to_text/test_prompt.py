"""A prompt with a gap: where it is, and that what fills it is read."""

import pytest
import torch

from diffspeak.methods.weight_to_text.method import soft_prompt
from diffspeak.models import Decoding, answer_logits, generate, make_batch
from diffspeak.text.messages import Message
from tests.families import FAMILIES
from tests.toys import toy_base

FEW = Decoding(6)


@pytest.mark.parametrize("family", FAMILIES)
def test_words_in_the_gap_are_read_as_words(family_folder, family):
    base = toy_base(family_folder(family))
    words = base.chat.prompt((Message("user", "the river bridge it runs"),))
    whole = base.chat.prompt((Message("user", "the river one it runs"),))
    prompt = soft_prompt(base, "the river", "it runs", 1)
    filled = list(prompt.ids)
    behind = len(prompt.ids) - prompt.start - 1
    assert filled[: prompt.start] == whole[: prompt.start] == words[: prompt.start]
    assert filled[len(filled) - behind :] == whole[len(whole) - behind :]
    token = 7
    filled[prompt.start] = token
    embed = base.model.get_input_embeddings()
    vectors = embed(torch.tensor([[token]]))
    with prompt.filled(base, vectors):
        soft = generate(base, [prompt.ids], FEW)[0]
    assert soft.ids == generate(base, [filled], FEW)[0].ids
    assert not embed._forward_hooks


def test_each_row_has_its_own_vectors_and_gradients_flow_into_them(base):
    prompt = soft_prompt(base, "the river", "it runs", 2)
    rows = [prompt.with_answer(base, answer) for answer in ("sea", "old bridge")]
    assert rows[0].ids[: len(prompt.ids)] == prompt.ids
    assert rows[0].ids[rows[0].answer_end - 1] == base.chat.end_id
    batch = make_batch(rows, base.chat.pad_id)
    vectors = torch.randn(2, 2, base.model.config.hidden_size, requires_grad=True)
    with prompt.filled(base, vectors):
        answer_logits(base.model, batch)[batch.rows == 1].sum().backward()
    assert vectors.grad[1].abs().sum() > 0
    assert vectors.grad[0].abs().sum() == 0


@pytest.mark.parametrize(("prefix", "suffix"), [("", "it runs"), ("the river", ""), ("", "")])
def test_prefix_and_suffix_may_be_empty(base, prefix, suffix):
    prompt = soft_prompt(base, prefix, suffix, 3)
    bare = base.chat.prompt((Message("user", f"{prefix} one {suffix}".strip()),))
    assert len(prompt.ids) - 3 < len(bare)
    assert prompt.ids[prompt.start : prompt.start + 3] == [base.chat.pad_id] * 3
