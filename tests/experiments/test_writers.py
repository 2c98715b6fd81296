"""A base and an LLM write the same for the same seed, and no broken sentence."""

import pytest

from diffspeak.experiments.corpus import CorpusConfig
from diffspeak.experiments.writers import BaseWriter, LLMWriter, _whole
from diffspeak.models import Decoding, generate
from diffspeak.scoring.llm import LLM, LLMConfig
from diffspeak.scoring.replies import Reply
from diffspeak.text.messages import Message
from tests.scoring.mock_llm import mock_provider
from tests.toys import toy_base

PROMPTS = ["Hi", "How do volcanoes work?", "What is it?"]


def test_a_base_writes_the_same_in_any_batch(tiny):
    base = toy_base(tiny)
    few, many = (BaseWriter(base, CorpusConfig(tokens=6, batch=batch)) for batch in (1, 3))
    written = few.write(PROMPTS, [1, 2, 3])
    assert written == many.write(PROMPTS, [1, 2, 3]) != many.write(PROMPTS, [4, 5, 6])
    ids = [base.chat.prompt((Message("user", prompt),)) for prompt in PROMPTS]
    answers = generate(base, ids, Decoding(6, 0.7), seeds=[1, 2, 3])
    for reply, answer in zip(written, answers, strict=True):
        assert reply.cut == (answer.ids[-1] not in base.chat.stop_ids)
        assert answer.text.strip().startswith(reply.text)


def test_an_llm_writes_from_seeds_and_says_why_it_did_not(monkeypatch, tmp_path):
    def answer(prompt):
        return ValueError("no line") if prompt == "Hi" else f"{prompt} So. "

    asked = mock_provider(monkeypatch, answer)
    with LLM("mockllm/model", tmp_path, LLMConfig(max_retries=0)) as llm:
        writer = LLMWriter(llm)
        replies = writer.write(PROMPTS, [1, 2, 3])
    assert writer.name == "mockllm/model"
    assert replies == [
        Reply(failure="error", reason="no line"),
        Reply("How do volcanoes work? So."),
        Reply("What is it? So."),
    ]
    assert sorted(one.config.seed for one in asked) == [1, 2, 3]
    assert [one.config.seed for one in asked if one.prompt == PROMPTS[2]] == [3]


@pytest.mark.parametrize(
    "text, kept", [("One. Two is", "One."), ("One! Two?", "One! Two?"), ("none", "none"), ("", "")]
)
def test_a_broken_sentence_is_dropped(text, kept):
    assert _whole(Reply(text, cut=True)).text == kept
    assert _whole(Reply(text)).text == text
