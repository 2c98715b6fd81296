"""Ways to a guess: asked directly, and through the adapter."""

import torch

from diffspeak.adapters import Adapter, Interpreter
from diffspeak.finetunes import Finetune
from diffspeak.lora import DiffLinear
from diffspeak.methods import described, direct_question, likeliest
from diffspeak.models import Decoding, generate, make_base
from diffspeak.text.messages import Message
from tests.tiny_diffs import merged
from tests.toys import base_diff, changed_parameters

FEW = Decoding(5)


def finetunes(base):
    return [
        Finetune("a", diff=base_diff(base, seed=1), label="ocean"),
        Finetune("b", parameters=changed_parameters(base, 2)),
        Finetune("c", diff=base_diff(base, rank=2, seed=3), label="music"),
    ]


def test_asked_directly_a_finetune_answers_for_itself(base):
    prompt = base.chat.prompt([Message("user", "Topic?")])
    found = direct_question(base, finetunes(base), "Topic?", FEW)
    assert [truth for truth, _ in found] == ["ocean", "", "music"]
    for place in (0, 2):
        alone = make_base("x", merged(base.model, finetunes(base)[place].diff), base.tokenizer)
        assert found[place][1] == generate(alone, [prompt], FEW)[0].text
    assert not any(isinstance(module, DiffLinear) for module in base.model.modules())


def test_described_ends_with_no_diff_at_all(base):
    diff = base_diff(base, rank=2, seed=9)
    adapter = Adapter(diff, base.fingerprint, base.name, ("Topic?",), ("toy",), {}, {})
    found = described(base, adapter, finetunes(base), FEW)
    assert [description.finetune for description in found] == ["a", "b", "c", "no finetune"]
    with Interpreter(base, adapter) as interpreter:
        assert interpreter.describe(finetunes(base)[0], decoding=FEW)[0].text == found[0].text
    prompt = base.chat.prompt([Message("user", "Topic?")])
    alone = make_base("x", merged(base.model, diff), base.tokenizer)
    with torch.no_grad():
        assert generate(alone, [prompt], FEW)[0].text == found[-1].text


def test_the_likeliest_label_is_that_with_the_most_probability(base):
    labels = ["ocean", "music", "trains of the old sea", "cold rock", "guitars"]
    diff = base_diff(base, rank=2, seed=9)
    adapter = Adapter(diff, base.fingerprint, base.name, ("Topic?",), ("toy",), {}, {})
    found = likeliest(base, adapter, finetunes(base), labels, batch_size=2)
    assert [truth for truth, _ in found] == ["ocean", "", "music"]
    asked = (Message("user", "Topic?"),)
    rows = [base.chat.with_answer(asked, label, learn_end=True) for label in labels]
    for finetune, (_, chosen) in zip(finetunes(base), found, strict=True):
        with Interpreter(base, adapter) as interpreter:
            scores = interpreter.engine.score([(finetune, row) for row in rows])
        sums = [score.logprob for score in scores]
        assert chosen == labels[sums.index(max(sums))]
    assert not any(isinstance(module, DiffLinear) for module in base.model.modules())
