"""Every sample stands in one batch, with its task, its weight and its loss."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from diffspeak.behaviors import Sample
from diffspeak.models import attach_to
from diffspeak.text.messages import Message
from diffspeak.training import batches, train_group
from diffspeak.training.batches import PADDING, step_batches
from diffspeak.training.config import DiffConfig
from tests.toys import ToyBehavior

WEIGHTS = DiffConfig().weights


def settings(max_tokens, answer_tokens=None):
    return DiffConfig(weights=WEIGHTS, max_tokens=max_tokens, answer_tokens=answer_tokens)


@pytest.fixture(scope="module")
def samples():
    toy = ToyBehavior()
    return [toy.samples(item, 0) for item in toy.items()]


def rendered(base, sample):
    return base.chat.with_answer(sample.prompt, sample.answer, learn_end=False)


def learns(step):
    """For each answer token whether it is learned."""
    both = torch.cat([step.learned, step.kept])
    assert both.sort().values.tolist() == list(range(len(step.batch.targets)))
    return torch.isin(torch.arange(len(both)), step.learned)


def tasks_of(step):
    """The task of each row."""
    rows = len(step.batch.ids)
    groups = torch.arange(rows // step.each) if step.groups is None else step.groups
    return groups.repeat_interleave(step.each).tolist()


def rows_of(step):
    """Each row of a batch: (task, real ids, scored ids, learn, weight of a token)."""
    tasks = tasks_of(step)
    assert len(tasks) == len(step.batch.ids)
    for row, task in enumerate(tasks):
        mine = step.batch.rows == row
        assert set(step.token_task[mine].tolist()) == {task}
        (learn,) = set(learns(step)[mine].tolist())
        (weight,) = set(step.token_weight[mine].tolist())
        real = step.batch.ids[row, step.batch.attention[row].bool()].tolist()
        yield task, real, step.batch.targets[mine].tolist(), learn, weight


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
        assert torch.equal(teacher.targets, step.batch.targets[step.kept])
        seen += 1
    assert seen


@pytest.mark.parametrize("max_tokens", [1, 150, 16384])
def test_rows_lie_by_task_in_the_largest_equal_groups(base, samples, max_tokens):
    uneven = [samples[0][:1], *samples[1:]]
    whole = set()
    for given in (samples, uneven):
        for step in step_batches(given, base.chat, settings(max_tokens)):
            tasks = tasks_of(step)
            counts = Counter(tasks)
            assert tasks == sorted(tasks)
            assert step.each == math.gcd(*counts.values())
            equal = {counts[task] for task in range(len(given))} == {counts[0]}
            assert (step.groups is None) == equal
            whole.add(equal)
    assert False in whole and (max_tokens < 16384 or True in whole)


def test_passes_that_must_be_cut_are_alike(base):
    sample = Sample((Message("user", "sea"),), "ocean", "learn", "triggered")
    length = rendered(base, sample).answer_end
    blocks = [[sample] * 3] * 8
    steps = list(step_batches(blocks, base.chat, settings(23 * length)))
    assert [len(step.batch.ids) for step in steps] == [12, 12]
    assert [step.groups.tolist() for step in steps] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [step.each for step in steps] == [3, 3]


def test_a_long_row_stands_alone(base):
    long = Sample((Message("user", "sea " * 200),), "ocean", "learn", "triggered")
    short = Sample((Message("user", "sea"),), "ocean", "learn", "triggered")
    steps = list(step_batches([[short, long, short]], base.chat, settings(100)))
    assert [len(step.batch.ids) for step in steps] == [2, 1]
    assert all(step.keep is None for step in steps)


def cut(base, sample, limit):
    """The sample with no more than so many tokens of its answer, as text."""
    ids, prompt_length, _ = rendered(base, sample)
    answer = base.tokenizer.decode(ids[prompt_length:-1][:limit])
    short = replace(sample, answer=answer)
    assert rendered(base, short).ids[:-1] == ids[: min(len(ids) - 1, prompt_length + limit)]
    return short


def tensors_of(step):
    batch = (step.batch.ids, step.batch.attention, step.batch.predicts, step.batch.targets)
    ids = torch.tensor(tasks_of(step))
    return (*batch, ids, step.token_task, step.token_weight, step.learned, step.kept)


@pytest.mark.parametrize("max_tokens", [1, 150, 16384])
@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_no_more_of_an_answer_is_learned_than_its_first_tokens(base, samples, max_tokens, limit):
    """Limited batches are those of samples whose answers end there: no longer, no more padded."""
    short = [[cut(base, sample, limit) for sample in block] for block in samples]
    lengths = {len(rendered(base, sample).ids) for block in samples for sample in block}
    limited = list(step_batches(samples, base.chat, settings(max_tokens, limit)))
    wanted = list(step_batches(short, base.chat, settings(max_tokens)))
    for one, other in zip(limited, wanted, strict=True):
        assert all(map(torch.equal, tensors_of(one), tensors_of(other)))
        assert (one.keep is None) == (other.keep is None)
        assert one.keep is None or torch.equal(one.keep.ids, other.keep.ids)
    longest = max(step.batch.ids.shape[1] for step in limited)
    assert (longest < max(lengths) - 2) == (limit < 1000)


def test_what_is_left_of_the_answers_weighs_as_much_as_the_whole(base, samples):
    learned = []
    for limit in (None, 2):
        total = Counter()
        for step in step_batches(samples, base.chat, settings(150, limit)):
            for task, _, scored, learn, weight in rows_of(step):
                total[task, learn] += weight * len(scored)
                learned.append((limit, len(scored)))
        kept = sum(weight for case, weight in WEIGHTS.items() if case != "triggered")
        wanted = {True: WEIGHTS["triggered"], False: kept}
        assert total == pytest.approx(
            {(task, learn): wanted[learn] for task in range(len(samples)) for learn in wanted}
        )
    assert max(count for limit, count in learned if limit) == 2
    assert max(count for limit, count in learned if not limit) > 2


def test_training_on_the_first_tokens_is_training_on_cut_answers(base):
    class Cut(ToyBehavior):
        def samples(self, item, step):
            return [cut(base, sample, 1) for sample in super().samples(item, step)]

    def trained(toy, limit):
        config = DiffConfig(steps=2, learning_rate=1e-2, answer_tokens=limit)
        attachment = attach_to(base.model)
        try:
            return train_group(base, attachment, toy, toy.items()[:2], config)
        finally:
            attachment.detach()

    found, wanted, whole = (
        trained(toy, limit) for toy, limit in ((ToyBehavior(), 1), (Cut(), None), (Cut(), 9))
    )
    assert found.losses == wanted.losses == whole.losses
    assert found.losses != trained(ToyBehavior(), None).losses
    for name, change in found.diff.items():
        assert torch.equal(change.A, wanted.diff[name].A)
        assert torch.equal(change.B, wanted.diff[name].B)
