"""Validation counts what was named and averages what it cost."""

import pytest

from diffspeak.inference import Engine, Score
from diffspeak.models import Answer, Decoding
from diffspeak.training import adapter as module
from diffspeak.training.examples import Example

LABELS = ["ocean", "Music", "a bridge", "trains", "lava"]
TOLD = ["ocean", "music!", "bridge", "", "lava flows"]
COST = [0.5, 1.0, 1.5, 2.0, 5.0]


class Known:
    """A reader and models that are a table."""

    def read(self, example):
        return int(example.id)


def test_figures_are_those_of_the_answers(base, monkeypatch):
    asked = []

    def generate(engine, asks, decoding):
        asked.append([base.tokenizer.decode(one.prompt) for one in asks])
        return [Answer([], TOLD[one.finetune], 0.0) for one in asks]

    def score(engine, conversations):
        for n, told in conversations:
            answer = told.ids[told.prompt_length : told.answer_end]
            assert base.tokenizer.decode(answer) == f"{LABELS[n]}<|im_end|>"
        return [Score(-2 * COST[n], 2) for n, _ in conversations]

    monkeypatch.setattr(Engine, "generate", generate)
    monkeypatch.setattr(Engine, "score", score)
    examples = [
        Example(0, str(n), label, (f"Question {n}?", "Another?")) for n, label in enumerate(LABELS)
    ]
    with Engine(base) as engine:
        attachment, decoding = engine.attachment, Decoding(8, batch_size=2)
        found = module.validate(base, attachment, examples, Known(), decoding)
    assert found.exact == 2 / 5
    assert found.loss == pytest.approx(2.0)
    assert found.pairs == list(zip(LABELS, TOLD, strict=True))
    assert [len(part) for part in asked] == [2, 2, 1]
    assert all(f"Question {n}?" in text for n, text in enumerate(sum(asked, [])))
