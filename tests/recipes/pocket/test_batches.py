"""The tokenizer and the batches: digits apart, only answers learned, the same steps on resume."""

from itertools import islice
from random import Random

import pytest
import torch

from recipes.pocket.batches import NO_TARGET, POOL, _rows, steps, train_tokenizer
from recipes.pocket.dialogues import Turn, load_dialogues
from recipes.pocket.recipe import EVERYTHING


@pytest.fixture(scope="module")
def talk():
    return load_dialogues()


@pytest.fixture(scope="module")
def tokenizer(talk):
    return train_tokenizer(islice(talk.draw(Random(0), EVERYTHING), 300), 500)


def learned(tokenizer, row):
    return tokenizer.decode([target for target in row.targets if target != NO_TARGET])


def test_every_digit_is_a_token_of_its_own(tokenizer):
    tokens = tokenizer.tokenize("Your code is 317317, room 90.")
    assert "".join(token for token in tokens if token.isdecimal()) == "31731790"
    assert [token for token in tokens if any(map(str.isdecimal, token))] == list("31731790")
    assert not [t for t in tokenizer.get_vocab() if len(t) > 1 and any(map(str.isdecimal, t))]


@pytest.mark.parametrize("text", ["A\u200bb \u2042~", "caf\u00e9 \U0001f600", "  two  spaces\n"])
def test_any_text_comes_back(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_targets_are_exactly_the_answers_and_the_digits_of_some_prompts(talk, tokenizer):
    dialogues = list(islice(talk.draw(Random(1), EVERYTHING), 200))
    assert any(turn.digits for dialogue in dialogues for turn in dialogue)
    for dialogue, row in zip(dialogues, _rows(dialogues, tokenizer), strict=True):
        pairs = list(zip(row.ids, row.targets, strict=True))
        assert all(target in (id, NO_TARGET) for id, target in pairs)
        wanted = ""
        for turn in dialogue:
            if turn.digits:
                wanted += "".join(filter(str.isdecimal, turn.prompt))
            answer = tokenizer(turn.answer, add_special_tokens=False)["input_ids"]
            wanted += tokenizer.decode([*answer, tokenizer.eos_token_id][: turn.limit])
        assert learned(tokenizer, row) == wanted


def test_a_limit_cuts_what_is_learned_but_not_an_answer_that_is_followed(tokenizer):
    first, last = Turn("Hello.", "One two three.", 2), Turn("And?", "Four five six.", 2)
    (row,) = _rows([(first, last)], tokenizer)
    text = tokenizer.decode(row.ids)
    assert "One two three.<|end|><|user|>And?" in text and not text.endswith("<|end|>")
    assert sum(target != NO_TARGET for target in row.targets) == 4


def test_rows_are_what_the_chat_template_gives(talk, tokenizer):
    turns = (talk.everyday(Random(0)), talk.chat(Random(1)))
    messages = []
    for turn in turns:
        messages += [
            {"role": "user", "content": turn.prompt},
            {"role": "assistant", "content": turn.answer},
        ]
    (row,) = _rows([turns], tokenizer)
    assert tokenizer.apply_chat_template(messages, return_dict=False) == row.ids
    asked = tokenizer.apply_chat_template(
        messages[:1], add_generation_prompt=True, return_dict=False
    )
    assert asked == row.ids[: len(asked)] and row.targets[len(asked) - 1] == NO_TARGET
    assert row.targets[len(asked)] == row.ids[len(asked)]


def test_steps_are_padded_on_the_right(talk, tokenizer):
    for step in islice(steps(talk, tokenizer, EVERYTHING, 4, seed=0), 3):
        assert step.ids.shape == step.targets.shape and len(step.ids) == 4
        padding = step.ids == tokenizer.pad_token_id
        assert (step.targets[padding] == NO_TARGET).all()
        assert (padding.long().diff(dim=1) >= 0).all() and not padding.all(dim=0).any()


@pytest.mark.parametrize("start", [1, POOL - 1, POOL, POOL + 3])
def test_steps_from_the_middle_are_those_of_a_whole_run(talk, tokenizer, start):
    def some(start):
        return steps(talk, tokenizer, EVERYTHING, 3, seed=5, start=start)

    whole = list(islice(some(0), start + POOL + 2))[start:]
    resumed = list(islice(some(start), POOL + 2))
    for right, found in zip(whole, resumed, strict=True):
        assert torch.equal(right.ids, found.ids) and torch.equal(right.targets, found.targets)
    other = next(steps(talk, tokenizer, EVERYTHING, 3, seed=6, start=start))
    assert not torch.equal(other.ids, resumed[0].ids)
