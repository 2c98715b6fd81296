"""The contenders do the same work: in float32 their losses are the same, to rounding."""

import pytest
import torch

from benchmarks.job import Job, Result
from benchmarks.stages import STAGES
from benchmarks.stand import Stand, random_store
from benchmarks.work import QUESTION
from diffspeak.models import make_batch
from diffspeak.text.messages import Message
from diffspeak.training import AdapterConfig, train_adapter
from tests.toys import Recorder

TASKS, STEPS = 3, 4


def measured(stage, contender) -> Result:
    job = Job(stage, contender, "tiny", tasks=TASKS, rank=2, steps=STEPS)
    return STAGES[stage, contender](Stand(job))


@pytest.fixture(scope="module")
def ours():
    return measured("diffs", "ours")


def test_diffs_have_the_losses_of_the_published_algorithm(ours):
    published = measured("diffs", "published").extra["losses"]
    assert len(published) == Job.warm_up + STEPS and published[0] != published[-1]
    torch.testing.assert_close(ours.extra["losses"], published, rtol=1e-5, atol=1e-5)


def test_the_adapter_has_the_losses_of_the_published_algorithm(tmp_path):
    job = Job("adapter", "published", "tiny", tasks=TASKS, rank=2, steps=STEPS)
    published = STAGES["adapter", "published"](Stand(job)).extra["losses"]
    stand, reporter = Stand(job), Recorder()
    store, _ = random_store(stand, tmp_path / "store", TASKS)
    config = AdapterConfig(batch=TASKS, validation=0, answer_tokens=1)
    train_adapter(stand.base, [store], config, tmp_path / "adapter", reporter)
    (first, *_) = [numbers["loss"] for _, _, numbers in reporter.logged if "loss" in numbers]
    assert first == pytest.approx(published[0], rel=1e-5)


def test_peft_starts_with_the_loss_of_its_finetune():
    """From factors of its own, which do not matter before the first step."""
    alone = measured("diffs", "peft").extra["losses"][0]
    job = Job("diffs", "ours", "tiny", tasks=1, rank=2, steps=1)
    assert alone == pytest.approx(STAGES["diffs", "ours"](Stand(job)).extra["losses"][0], rel=1e-5)


def test_every_conversation_has_the_length_that_is_counted(ours):
    job = Job("diffs", "ours", "tiny", tasks=TASKS)
    stand = Stand(job)
    chat = stand.base.chat
    for item in stand.talk.items():
        for sample in stand.talk.samples(item, 0):
            row = chat.with_answer(sample.prompt, sample.answer, learn_end=False)
            assert row.answer_end == job.shape.tokens
            assert row.answer_end - row.prompt_length == job.shape.answer
        label = chat.with_answer((Message("user", QUESTION),), item.label, learn_end=True)
        assert label.answer_end - label.prompt_length == job.shape.answer
        assert make_batch([label], chat.pad_id).ids.shape[1] == label.answer_end - 1
    assert ours.tokens == 3 * TASKS * job.shape.tokens
