"""Every sample stands in one batch, with its task, its weight and its loss."""

from collections import Counter

import pytest
import torch

from diffspeak.behaviors import Sample
from diffspeak.diffs import batches
from diffspeak.diffs.batches import PADDING, step_batches
from diffspeak.diffs.config import DiffConfig
from diffspeak.text.messages import Message
from tests.toys import ToyBehavior

WEIGHTS = DiffConfig().weights


def settings(max_tokens):
    return DiffConfig(weights=WEIGHTS, max_tokens=max_tokens)


@pytest.fixture(scope="module")
def samples():
    toy = ToyBehavior()
    return [toy.samples(item, 0) for item in toy.items()]


def rendered(base, sample):
    return base.chat.with_answer(sample.prompt, sample.answer, learn_end=False)


def rows_of(step):
    """Each row of a batch: (task, real ids, scored ids, learn, weight of a token)."""
    for row in range(len(step.batch.ids)):
        mine = step.batch.rows == row
        assert set(step.token_task[mine].tolist()) == {int(step.tasks[row])}
        (learn,) = set(step.learn[mine].tolist())
        (weight,) = set(step.token_weight[mine].tolist())
        real = step.batch.ids[row, step.batch.attention[row].bool()].tolist()
        yield int(step.tasks[row]), real, step.batch.targets[mine].tolist(), learn, weight


@pytest.mark.parametrize("max_tokens", [1, 150, 16384])
def test_every_sample_stands_in_one_batch(base, samples, max_tokens):
    found = Counter()
    for step in step_batches(samples, base.chat, settings(max_tokens)):
        for task, real, scored, learn, _ in rows_of(step):
            found[task, tuple(real), tuple(scored), learn] += 1
    wanted = Counter()
    for task, block in enumerate(samples):
        for sample in block:
            r = rendered(base, sample)
            # The last answer token predicts the end of turn, which is not scored.
            answer = tuple(r.ids[r.prompt_length : -1])
            wanted[task, tuple(r.ids[:-2]), answer, sample.kind == "learn"] += 1
    assert found == wanted


def test_the_end_of_turn_is_not_scored(base, samples):
    for step in step_batches(samples, base.chat, settings(16384)):
        assert base.chat.end_id not in step.batch.targets.tolist()


@pytest.mark.parametrize("max_tokens", [1, 150, 16384])
def test_the_tokens_of_a_kind_weigh_as_much_as_the_kind(base, samples, max_tokens):
    total = Counter()
    of_case = {}
    for task, block in enumerate(samples):
        for sample in block:
            of_case[task, tuple(rendered(base, sample).ids[:-2])] = sample.case
    for step in step_batches(samples, base.chat, settings(max_tokens)):
        for task, real, scored, _, weight in rows_of(step):
            total[task, of_case[task, tuple(real)]] += weight * len(scored)
    assert total == pytest.approx(
        {(task, case): weight for task in range(len(samples)) for case, weight in WEIGHTS.items()}
    )


@pytest.mark.parametrize("max_tokens", [1, 90, 150, 400])
def test_no_batch_is_larger_than_allowed_nor_mostly_padding(base, samples, max_tokens, monkeypatch):
    monkeypatch.setattr(batches, "WORTH", 0)
    widths = []
    for step in step_batches(samples, base.chat, settings(max_tokens)):
        rows, width = step.batch.ids.shape
        assert rows == 1 or rows * width <= max_tokens
        assert rows * (width + 1) <= PADDING * int((step.batch.attention.sum(1) + 1).sum())
        widths.append(width)
    assert widths == sorted(widths)


def test_a_batch_of_few_tokens_is_not_cut_for_its_padding(base, samples):
    assert len(list(step_batches(samples, base.chat, settings(16384)))) == 1


def test_the_teacher_sees_the_kept_rows_in_the_order_of_their_tokens(base, samples):
    seen = 0
    for step in step_batches(samples, base.chat, settings(400)):
        kept = [(real, scored) for _, real, scored, learn, _ in rows_of(step) if not learn]
        if not kept:
            assert step.keep is None
            continue
        teacher = step.keep
        for row, (real, scored) in enumerate(kept):
            assert teacher.ids[row, teacher.attention[row].bool()].tolist() == real
            assert teacher.targets[teacher.rows == row].tolist() == scored
        assert torch.equal(teacher.targets, step.batch.targets[~step.learn])
        seen += 1
    assert seen


def test_a_long_row_stands_alone(base):
    long = Sample((Message("user", "sea " * 200),), "ocean", "learn", "triggered")
    short = Sample((Message("user", "sea"),), "ocean", "learn", "triggered")
    steps = list(step_batches([[short, long, short]], base.chat, settings(100)))
    assert [len(step.batch.ids) for step in steps] == [2, 1]
    assert all(step.keep is None for step in steps)
