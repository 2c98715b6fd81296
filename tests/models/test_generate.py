"""Many rows at once answer as each alone does, and as transformers' own generation does."""

import dataclasses

import pytest
import torch

from diffspeak.errors import UsageError
from diffspeak.lora import stack_diffs
from diffspeak.models import (
    Base,
    Decoding,
    Rendered,
    attach_to,
    generate,
    load_base,
    make_batch,
    readout_of,
)
from diffspeak.text.messages import Message
from tests.families import FAMILIES
from tests.tiny_diffs import random_diff

QUESTIONS = (
    "What is a good name for a small boat? Give me one short answer, please.",
    "Hi",
    "Your SEP code is 317204. Write a story about the ocean and the old bridge to the sea.",
    "How do volcanoes work?",
    "Hi",
)
LENGTH = 12  # with any of the prompts beyond Gemma's sliding window


@pytest.fixture
def base(family_folder, request) -> Base:
    return load_base(family_folder(request.param), dtype="float32")


def prompts(base: Base) -> list[list[int]]:
    return [base.chat.prompt((Message("user", question),)) for question in QUESTIONS]


def alone(base: Base, decoding: Decoding, **options) -> list:
    """Each prompt in a batch of its own."""
    return generate(base, prompts(base), dataclasses.replace(decoding, batch_size=1), **options)


def stopping(base: Base, tokens: set[int]) -> Base:
    """The base with other tokens that end an answer: random models seldom say their own."""
    base.chat.stop_ids = tokens
    return base


def assert_same(found, expected) -> None:
    assert [answer.ids for answer in found] == [answer.ids for answer in expected]
    assert [answer.text for answer in found] == [answer.text for answer in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.mean_logprob == pytest.approx(other.mean_logprob, abs=1e-4)


@pytest.mark.parametrize("base", FAMILIES, indirect=True)
def test_a_batch_answers_as_each_alone(base):
    found = generate(base, prompts(base), Decoding(LENGTH))
    assert_same(found, alone(base, Decoding(LENGTH)))
    assert found[1] == found[4]
    assert len({tuple(answer.ids) for answer in found}) >= 3


@pytest.mark.parametrize("base", FAMILIES, indirect=True)
def test_greedy_answers_are_those_of_transformers(base):
    found = generate(base, prompts(base), Decoding(LENGTH))
    for prompt, answer in zip(prompts(base), found, strict=True):
        made = base.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            do_sample=False,
            temperature=None,
            top_k=None,
            top_p=None,
            max_new_tokens=LENGTH,
            eos_token_id=sorted(base.chat.stop_ids),
            pad_token_id=base.chat.pad_id,
        )
        assert made[0, len(prompt) :].tolist() == answer.ids


@pytest.mark.parametrize("temperature", [0.0, 1.5])
@pytest.mark.parametrize("base", FAMILIES, indirect=True)
def test_mean_logprob_is_the_teacher_forced_score(base, temperature):
    """Over the stop token too, and of the model itself whatever the temperature."""
    stopping(base, set(range(30, 420, 5)))
    answers = generate(base, prompts(base), Decoding(LENGTH, temperature), seeds=range(5))
    assert {answer.ids[-1] in base.chat.stop_ids for answer in answers} >= {True}
    for prompt, answer in zip(prompts(base), answers, strict=True):
        whole = Rendered([*prompt, *answer.ids], len(prompt), len(prompt) + len(answer.ids))
        batch = make_batch([whole], base.chat.pad_id)
        score = readout_of(base.model).logprobs(batch).mean().item()
        assert answer.mean_logprob == pytest.approx(score, abs=1e-3)


@pytest.mark.parametrize("base", FAMILIES, indirect=True)
def test_each_row_may_be_another_finetune(base):
    attachment = attach_to(base.model)
    diffs = [random_diff(attachment.shapes, scaling=0.4, seed=seed) for seed in range(3)]
    tasks = [2, 0, 1, 1, 2]
    attachment.set_diffs(stack_diffs(diffs))
    stopping(base, set(range(30, 420, 9)))
    found = generate(base, prompts(base), Decoding(LENGTH), attachment=attachment, tasks=tasks)
    assert len({len(answer.ids) for answer in found}) > 1
    for row, task in enumerate(tasks):
        attachment.set_diffs(stack_diffs([diffs[task]]))
        assert_same([found[row]], generate(base, [prompts(base)[row]], Decoding(LENGTH)))
    attachment.set_diffs(None)
    plainly = generate(base, prompts(base), Decoding(LENGTH))
    assert all(a.ids != b.ids for a, b in zip(found, plainly, strict=True))


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_rows_stand_in_equal_groups_again_afterwards(base):
    attachment = attach_to(base.model)
    diffs = [random_diff(attachment.shapes, seed=seed) for seed in range(2)]
    attachment.set_diffs(stack_diffs(diffs))
    ids = torch.arange(20, 30).expand(2, -1)
    before = base.model(ids).logits
    options = {"attachment": attachment, "tasks": [1, 1, 0, 1, 0]}
    generate(base, prompts(base), Decoding(3), **options)
    assert torch.equal(base.model(ids).logits, before)
    with pytest.raises(IndexError):
        generate(base, [[10**6]] * 5, Decoding(3), **options)
    assert torch.equal(base.model(ids).logits, before)


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_finetunes_without_their_rows_are_refused(base):
    """Rows are sorted and dropped on the way, so equal groups would be the wrong finetunes."""
    attachment = attach_to(base.model)
    diffs = [random_diff(attachment.shapes, seed=seed) for seed in range(5)]
    with pytest.raises(ValueError, match="attachment"):
        generate(base, prompts(base), tasks=[0] * 5)
    attachment.set_diffs(stack_diffs(diffs))
    for options in ({}, {"attachment": attachment}):
        with pytest.raises(ValueError, match="tasks"):
            generate(base, prompts(base), **options)
    with attachment.off(diff=True):
        found = generate(base, prompts(base), Decoding(3))
    attachment.set_diffs(None)
    assert_same(found, generate(base, prompts(base), Decoding(3)))


@pytest.mark.parametrize("base", ["qwen3", "gemma3"], indirect=True)
def test_finished_rows_leave_the_batch(base):
    stopping(base, set(range(30, 420, 9)))
    sizes: list[int] = []
    handle = base.model.register_forward_pre_hook(
        lambda _m, _a, inputs: sizes.append(len(inputs["input_ids"])), with_kwargs=True
    )
    answers = generate(base, prompts(base), Decoding(LENGTH))
    handle.remove()
    lengths = [len(answer.ids) for answer in answers]
    assert sizes == [sum(length > step for length in lengths) for step in range(max(lengths))]
    assert sizes[0] == 5 and sizes[-1] < 5
    for answer in answers:
        assert not set(answer.ids[:-1]) & base.chat.stop_ids
        assert answer.ids[-1] in base.chat.stop_ids or len(answer.ids) == LENGTH
    assert_same(answers, alone(base, Decoding(LENGTH)))


@pytest.mark.parametrize("base", FAMILIES, indirect=True)
def test_what_is_sampled_depends_on_the_rows_seed_alone(base):
    decoding, seeds = Decoding(8, temperature=1.0), [5, 6, 7, 8, 9]
    stopping(base, set(range(30, 420, 7)))
    found = generate(base, prompts(base), decoding, seeds=seeds)
    assert len({len(answer.ids) for answer in found}) > 1
    assert_same(found, alone(base, decoding, seeds=seeds))
    order = [3, 1, 4, 0, 2]
    shuffled = generate(
        base,
        [prompts(base)[i] for i in order],
        dataclasses.replace(decoding, batch_size=2),
        seeds=[seeds[i] for i in order],
    )
    assert_same(shuffled, [found[i] for i in order])
    other = generate(base, prompts(base), decoding, seeds=[seed + 100 for seed in seeds])
    assert sum(a.ids != b.ids for a, b in zip(found, other, strict=True)) >= 3


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_what_is_sampled_needs_seeds_for_a_place_in_a_list_is_none(base):
    with pytest.raises(ValueError, match="give seeds, one for each row"):
        generate(base, prompts(base), Decoding(3, temperature=1.0))
    assert len(generate(base, prompts(base), Decoding(3))) == 5


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_sampling_follows_the_models_distribution(base):
    """First tokens of many draws at a temperature, against the softmax by hand."""
    prompt = prompts(base)[1]
    logits = base.model(torch.tensor([prompt])).logits[0, -1]
    for temperature in (0.7, 1.5):
        expected = (logits / temperature).softmax(-1)
        decoding = Decoding(1, temperature, batch_size=1000)
        drawn = generate(base, [prompt] * 1000, decoding, seeds=range(1000))
        counts = torch.tensor([answer.ids[0] for answer in drawn]).bincount(minlength=len(logits))
        # Total variation of 1000 honest draws is near sum of sqrt(2 p / (pi n)) / 2.
        honest = (2 * expected / (torch.pi * 1000)).sqrt().sum() / 2
        assert (counts / 1000 - expected).abs().sum() / 2 < 1.5 * honest
        best = logits.log_softmax(-1)
        for answer in drawn[:50]:
            assert answer.mean_logprob == pytest.approx(best[answer.ids[0]].item(), abs=1e-4)


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_cold_sampling_is_greedy(base):
    greedy = generate(base, prompts(base), Decoding(12))
    cold, warm = (
        generate(base, prompts(base), Decoding(12, temperature=t), seeds=range(5))
        for t in (1e-4, 1.0)
    )
    assert_same(cold, greedy)
    assert all(a.mean_logprob > b.mean_logprob for a, b in zip(greedy, warm, strict=True))


@pytest.mark.parametrize("base", ["llama3"], indirect=True)
def test_answers_come_in_the_order_of_their_prompts(base):
    answers = generate(base, prompts(base), Decoding(8, batch_size=2))
    for prompt, answer in zip(prompts(base), answers, strict=True):
        assert_same([answer], generate(base, [prompt], Decoding(8)))


@pytest.mark.parametrize("base", FAMILIES, indirect=True)
def test_every_stop_of_the_family_ends_an_answer(base):
    """Including those that only the generation config names."""
    ends = base.model.generation_config.eos_token_id
    assert base.chat.stop_ids >= set(ends if isinstance(ends, list) else [ends])
    prompt = prompts(base)[0]
    for stop in base.chat.stop_ids:
        handle = base.model.register_forward_hook(
            lambda _m, _a, out, stop=stop: out.logits[..., stop].fill_(100.0) and None
        )
        (answer,) = generate(base, [prompt], Decoding(8))
        handle.remove()
        assert answer.ids == [stop]
        assert answer.text == ""
        assert answer.mean_logprob == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
@pytest.mark.parametrize("length", [1, 5])
def test_answers_are_cut_off_at_their_limit(base, length):
    stopping(base, set())
    answers = generate(base, prompts(base), Decoding(length))
    assert [len(answer.ids) for answer in answers] == [length] * 5


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_no_prompts_no_answers(base):
    assert generate(base, []) == []


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_progress_counts_rows(base):
    told: list[int] = []
    generate(base, prompts(base), Decoding(2, batch_size=2), progress=told.append)
    assert told == [2, 2, 1]


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_a_broken_finetune_leaves_the_other_rows(base):
    attachment = attach_to(base.model)
    stacked = stack_diffs([random_diff(attachment.shapes, seed=seed) for seed in range(2)])
    attachment.set_diffs(stacked)
    options = {"attachment": attachment, "tasks": [0, 1, 0, 1, 0]}
    before = generate(base, prompts(base), Decoding(6), **options)
    for change in stacked.values():
        change.B[1] = float("nan")
    for temperature, expected in ((0.0, before), (1.0, None)):
        after = generate(base, prompts(base), Decoding(6, temperature), seeds=range(5), **options)
        for row in (0, 2, 4):
            assert expected is None or after[row] == expected[row]
            assert after[row].mean_logprob == after[row].mean_logprob


@pytest.mark.parametrize("base", ["gpt2"], indirect=True)
def test_a_prompt_that_leaves_no_room_for_the_answer_is_refused(base):
    limit = base.model.config.max_position_embeddings
    with pytest.raises(UsageError, match=f"{limit + 1} tokens.*{limit} positions"):
        generate(base, [[5] * (limit - 2)], Decoding(max_new_tokens=4))
    assert generate(base, [[5] * (limit - 3)], Decoding(max_new_tokens=4))[0].ids
