"""What an answer depends on reaches the base, and what cannot be done is refused."""

import pytest
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentImage,
    ContentReasoning,
    ContentText,
    GenerateConfig,
)
from inspect_ai.tool import ToolCall

from diffspeak.errors import UsageError
from diffspeak.finetunes import Finetune
from diffspeak.inspect_ext.batcher import Request, Said
from diffspeak.inspect_ext.requests import output_of, request_of
from diffspeak.models import Answer
from diffspeak.text.messages import Message

HI = [ChatMessageUser(content="Hi")]


def test_a_conversation_with_its_settings():
    thought = [ContentReasoning(reasoning="hm"), ContentText(text="Yes")]
    said = [
        ChatMessageSystem(content="Be brief"),
        ChatMessageUser(content=[ContentText(text="Well?")]),
        ChatMessageAssistant(content=thought),
        ChatMessageUser(content="Why?"),
    ]
    config = GenerateConfig(max_tokens=7, temperature=0.5, seed=3, extra_body={"finetune": "S#a"})
    messages = ("system", "Be brief"), ("user", "Well?"), ("assistant", "Yes"), ("user", "Why?")
    expected = Request(tuple(Message(*one) for one in messages), "S#a", 7, 0.5, 3)
    assert request_of(said, config) == expected


def test_without_settings_it_is_greedy_and_every_request_draws_its_own_seed():
    requests = [request_of(HI, GenerateConfig()) for _ in range(8)]
    assert {(one.max_tokens, one.temperature, one.finetune) for one in requests} == {
        (None, 0.0, None)
    }
    assert len({one.seed for one in requests}) > 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"top_p": 0.9}, "has no top_p, and top_p=0.9 asks for it"),
        ({"num_choices": 2}, "has no num_choices"),
        ({"logprobs": True}, "has no logprobs"),
        ({"temperature": -1.0}, "temperature=-1.0: expected"),
        ({"temperature": float("nan")}, "temperature=nan: expected"),
        ({"extra_body": {"adapter": "x"}}, "extra_body has adapter; diffspeak knows finetune"),
    ],
)
def test_settings_that_cannot_be_followed(settings, said):
    with pytest.raises(UsageError, match=said):
        request_of(HI, GenerateConfig(**settings))


def test_settings_that_ask_for_nothing_pass():
    config = GenerateConfig(top_p=1.0, num_choices=1, logprobs=False, frequency_penalty=0.0)
    assert request_of(HI, config).messages == (Message("user", "Hi"),)


CALL = ToolCall(id="1", function="look", arguments={})


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (ChatMessageUser(content=[ContentImage(image="data:,x")]), "holds image"),
        (ChatMessageTool(content="4"), "knows no tools"),
        (ChatMessageAssistant(content="", tool_calls=[CALL]), "knows no tools"),
    ],
)
def test_messages_that_cannot_be_read(message, said):
    with pytest.raises(UsageError, match=said):
        request_of([message], GenerateConfig())


@pytest.mark.parametrize(
    ("stops", "stopped", "text", "reason"),
    [
        (None, True, "One. Two. Three", "stop"),
        (None, False, "One. Two. Three", "max_tokens"),
        (["Four", ""], False, "One. Two. Three", "max_tokens"),
        ([" Three", "Two"], False, "One.", "stop"),
    ],
)
def test_an_answer_ends_at_the_first_stop(stops, stopped, text, reason):
    said = Said(
        Finetune("S#a", label="tea"), Answer([1, 2, 3], "One. Two. Three", -0.5), 9, stopped
    )
    output = output_of("m", said, Request(()), GenerateConfig(stop_seqs=stops))
    assert (output.completion, output.stop_reason) == (text, reason)
    usage = output.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (9, 3, 12)
    assert output.metadata == {"finetune": "S#a", "label": "tea", "mean_logprob": -0.5}
