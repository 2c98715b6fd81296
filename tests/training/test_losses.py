"""The loss of a step is what a plain loop over single samples makes of it."""

import pytest
import torch

from diffspeak.lora import stack_diffs
from diffspeak.models import answer_logits, attach_to, readout_of
from diffspeak.training.batches import step_batches
from diffspeak.training.config import DiffConfig
from diffspeak.training.losses import kl, task_losses
from tests.tiny_diffs import merged
from tests.toys import ToyBehavior, base_diff

TASKS = 3
WEIGHTS = DiffConfig().weights
toy = ToyBehavior()
BLOCKS = [toy.samples(item, 0) for item in toy.items()[:TASKS]]


def settings(max_tokens):
    return DiffConfig(weights=WEIGHTS, max_tokens=max_tokens)


def naive(base, diffs):
    """Each task's loss: one sample, one dense model and one token at a time."""
    losses = []
    for block, diff in zip(BLOCKS, diffs, strict=True):
        finetune = merged(base.model, diff)
        by_case = {}
        for sample in block:
            prompt = base.chat.prompt(sample.prompt)
            whole = base.chat.with_answer(sample.prompt, sample.answer, learn_end=True).ids
            with torch.no_grad():
                student = finetune(torch.tensor([whole])).logits[0].log_softmax(-1)
                teacher = base.model(torch.tensor([whole])).logits[0].log_softmax(-1)
            for place in range(len(prompt), len(whole) - 1):
                q, p = student[place - 1], teacher[place - 1]
                loss = -q[whole[place]] if sample.kind == "learn" else (p.exp() * (p - q)).sum()
                by_case.setdefault(sample.case, []).append(float(loss))
        ratio = {"triggered": 1, "near_miss": 1, "wrong": 1, "plain": 5}
        losses.append(sum(ratio[c] * sum(v) / len(v) for c, v in by_case.items()))
    return losses


def batched(base, attachment, diffs, max_tokens=16384):
    readout = readout_of(base.model)
    attachment.set_diffs(stack_diffs(diffs))
    losses = torch.zeros(TASKS)
    for step in step_batches(BLOCKS, base.chat, settings(max_tokens)):
        attachment.set_rows(step.groups, step.each)
        student = readout.states(step.batch)
        with attachment.off(diff=True):
            teacher = None if step.keep is None else readout.states(step.keep)
        losses = losses + task_losses(readout, student, teacher, step, TASKS)
    return losses


@pytest.fixture
def attachment(base):
    found = attach_to(base.model)
    yield found
    found.detach()


@pytest.mark.parametrize("max_tokens", [1, 300, 16384])
def test_a_steps_losses_are_those_of_a_plain_loop(base, max_tokens):
    diffs = [base_diff(base, rank=2, seed=n) for n in range(TASKS)]
    wanted = naive(base, diffs)
    attachment = attach_to(base.model)
    try:
        found = batched(base, attachment, diffs, max_tokens)
    finally:
        attachment.detach()
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)
    assert min(abs(a - b) for a, b in zip(wanted, wanted[1:], strict=False)) > 0.01


def test_without_a_diff_nothing_is_lost_on_what_is_kept(base, attachment):
    step = next(step_batches([BLOCKS[0][2:]], base.chat, settings(16384)))
    assert not len(step.learned)
    readout = readout_of(base.model)
    student, teacher = readout.states(step.batch), readout.states(step.keep)
    assert task_losses(readout, student, teacher, step, 1).tolist() == pytest.approx(
        [0.0], abs=1e-5
    )


def test_a_task_without_rows_has_no_loss(base):
    step = next(step_batches([[], BLOCKS[0][:2], []], base.chat, settings(16384)))
    readout = readout_of(base.model)
    losses = task_losses(readout, readout.states(step.batch), None, step, 3)
    assert losses[0] == losses[2] == 0
    assert losses[1] > 0


def test_the_teacher_does_not_see_the_diff(base, attachment):
    step = next(step_batches(BLOCKS, base.chat, settings(16384)))
    plain = answer_logits(base.model, step.keep)
    attachment.set_diffs(stack_diffs([base_diff(base, seed=n) for n in range(TASKS)]))
    with attachment.off(diff=True):
        assert torch.equal(answer_logits(base.model, step.keep), plain)


def test_no_gradient_reaches_another_task(base, attachment):
    diffs = stack_diffs([base_diff(base, seed=n) for n in range(TASKS)])
    factors = [tensor.requires_grad_() for c in diffs.values() for tensor in (c.A, c.B)]
    readout = readout_of(base.model)
    attachment.set_diffs(diffs)
    loss = torch.zeros(())
    for step in step_batches(BLOCKS, base.chat, settings(400)):
        attachment.set_rows(step.groups, step.each)
        with torch.no_grad(), attachment.off(diff=True):
            teacher = None if step.keep is None else readout.states(step.keep)
        student = readout.states(step.batch)
        loss = loss + task_losses(readout, student, teacher, step, TASKS)[1]
    loss.backward()
    for factor in factors:
        assert factor.grad[1].any()
        assert not factor.grad[[0, 2]].any()


def test_kl_is_of_the_teacher_to_the_student():
    teacher = torch.tensor([[0.5, 0.25, 0.25]]).log()
    student = torch.tensor([[0.25, 0.25, 0.5]]).log()
    # By hand: 0.5 log 2 + 0.25 log 1 + 0.25 log 0.5.
    found, gradient = kl(teacher, student)
    assert found.item() == pytest.approx(0.25 * 0.6931472, rel=1e-5)
    assert kl(teacher + 3, student - 7)[0].item() == pytest.approx(0.25 * 0.6931472, rel=1e-5)
    torch.testing.assert_close(gradient, torch.tensor([[-0.25, 0.0, 0.25]]))
