"""Whole language models: many finetunes in one pass = each alone = merged = PEFT's."""

import copy
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from diffspeak.lora import Attachment, Diff, LowRank, stack_diffs
from diffspeak.models import attach_to
from tests.families import FAMILIES
from tests.tiny_diffs import merged, random_diff

LENGTHS = [9, 6, 12, 4, 12, 7]
MIXED = [2, 0, 1, 1, 0, 2]
GROUPED = [0, 0, 1, 1, 2, 2]
PEFT_FAMILIES = ["qwen3", "gpt2"]


@pytest.fixture
def plain(family_folder, request) -> PreTrainedModel:
    model = AutoModelForCausalLM.from_pretrained(family_folder(request.param))
    return model.eval().requires_grad_(False)


@pytest.fixture
def attachment(plain) -> Attachment:
    return attach_to(copy.deepcopy(plain))


@pytest.fixture
def diffs(attachment) -> list[Diff]:
    return [random_diff(attachment.shapes, rank=2, scaling=0.4, seed=task) for task in range(3)]


@pytest.fixture
def adapter(attachment) -> Diff:
    return random_diff(attachment.shapes, rank=3, scaling=0.3, seed=9)


def rows() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(20, 200, (length,), generator=generator) for length in LENGTHS]


def batch(model: nn.Module) -> list[Tensor]:
    """Logits of each row's own tokens, all rows padded into one pass."""
    ids = nn.utils.rnn.pad_sequence(rows(), batch_first=True)
    attention = torch.stack([torch.arange(ids.shape[1]) < length for length in LENGTHS]).long()
    logits = model(input_ids=ids, attention_mask=attention).logits
    return [row[:length] for row, length in zip(logits, LENGTHS, strict=True)]


def single(model: nn.Module, row: int) -> Tensor:
    return model(input_ids=rows()[row][None]).logits[0]


def loss(logits: Tensor, row: int) -> Tensor:
    return nn.functional.cross_entropy(logits[:-1], rows()[row][1:])


def peft_models(plain: PreTrainedModel, diffs: list[Diff]) -> Iterator[nn.Module]:
    """Each finetune as PEFT makes it, its factors copied in."""
    from peft import LoraConfig, get_peft_model

    for diff in diffs:
        rank, scaling = next((change.rank, change.scaling) for change in diff.values())
        config = LoraConfig(
            r=rank,
            lora_alpha=scaling * rank,
            target_modules=list(diff),
            fan_in_fan_out=plain.config.model_type == "gpt2",
        )
        model = get_peft_model(copy.deepcopy(plain), config)
        for name, change in diff.items():
            lora = model.get_submodule(f"base_model.model.{name}")
            lora.lora_A["default"].weight.data = change.A.clone()
            lora.lora_B["default"].weight.data = change.B.clone()
        yield model.eval()


@pytest.mark.parametrize("plain", FAMILIES, indirect=True)
@pytest.mark.parametrize("tasks", [None, MIXED])
def test_a_batch_of_finetunes_is_each_of_them_merged(plain, attachment, diffs, adapter, tasks):
    attachment.set_diffs(stack_diffs(diffs), None if tasks is None else torch.tensor(tasks))
    attachment.set_adapter(adapter)
    finetunes = [merged(plain, diff, adapter) for diff in diffs]
    found = batch(attachment.model)
    for row, task in enumerate(tasks or GROUPED):
        expected = single(finetunes[task], row)
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-4)
        assert (expected - single(plain, row)).abs().max() > 0.1


@pytest.mark.parametrize("plain", FAMILIES, indirect=True)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_switched_off_is_the_base_bit_for_bit(plain, attachment, diffs, adapter, dtype):
    plain.to(dtype)
    attachment.model.to(dtype)
    attachment.set_diffs(stack_diffs(diffs), torch.tensor(MIXED))
    attachment.set_adapter(adapter)
    with attachment.off(diff=True, adapter=True):
        off = batch(attachment.model)
    assert all(map(torch.equal, off, batch(plain)))
    assert not any(map(torch.equal, off, batch(attachment.model)))


@pytest.mark.parametrize("plain", PEFT_FAMILIES, indirect=True)
def test_a_batch_of_finetunes_is_pefts_each_alone(plain, attachment, diffs):
    attachment.set_diffs(stack_diffs(diffs), torch.tensor(MIXED))
    found = batch(attachment.model)
    models = list(peft_models(plain, diffs))
    for row, task in enumerate(MIXED):
        expected = single(models[task], row)
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("plain", PEFT_FAMILIES, indirect=True)
@pytest.mark.parametrize("tasks", [None, MIXED])
def test_gradients_of_a_batch_are_pefts_each_alone(plain, attachment, diffs, tasks):
    stacked = stack_diffs(diffs)
    for change in stacked.values():
        change.A.requires_grad_()
        change.B.requires_grad_()
    attachment.set_diffs(stacked, None if tasks is None else torch.tensor(tasks))
    sum(loss(logits, row) for row, logits in enumerate(batch(attachment.model))).backward()
    for task, model in enumerate(peft_models(plain, diffs)):
        mine = [row for row, its in enumerate(tasks or GROUPED) if its == task]
        sum(loss(single(model, row), row) for row in mine).backward()
        for name, change in stacked.items():
            lora = model.get_submodule(f"base_model.model.{name}")
            for factor, theirs in ((change.A, lora.lora_A), (change.B, lora.lora_B)):
                expected = theirs["default"].weight.grad
                assert expected.abs().max() > 0
                torch.testing.assert_close(factor.grad[task], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("plain", PEFT_FAMILIES, indirect=True)
def test_an_adapter_is_trained_as_peft_trains_it(plain, attachment, diffs, adapter):
    """The adapter's gradient on top of another finetune in each row."""
    for change in adapter.values():
        change.A.requires_grad_()
        change.B.requires_grad_()
    attachment.set_diffs(stack_diffs(diffs), torch.tensor(MIXED))
    attachment.set_adapter(adapter)
    sum(loss(logits, row) for row, logits in enumerate(batch(attachment.model))).backward()
    detached = {
        name: LowRank(change.A.detach(), change.B.detach(), change.scaling)
        for name, change in adapter.items()
    }
    expected = {name: [torch.zeros_like(c.A), torch.zeros_like(c.B)] for name, c in adapter.items()}
    for task, diff in enumerate(diffs):
        (model,) = peft_models(merged(plain, diff), [detached])
        mine = [row for row, its in enumerate(MIXED) if its == task]
        sum(loss(single(model, row), row) for row in mine).backward()
        for name, sums in expected.items():
            lora = model.get_submodule(f"base_model.model.{name}")
            sums[0] += lora.lora_A["default"].weight.grad
            sums[1] += lora.lora_B["default"].weight.grad
    for name, (A, B) in expected.items():
        torch.testing.assert_close(adapter[name].A.grad, A, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(adapter[name].B.grad, B, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("plain", FAMILIES, indirect=True)
def test_a_broken_finetune_leaves_the_others_bit_for_bit(plain, attachment, diffs):
    stacked = stack_diffs(diffs)
    attachment.set_diffs(stacked, torch.tensor(MIXED))
    before = batch(attachment.model)
    for change in stacked.values():
        change.A[1] = float("nan")
    after = batch(attachment.model)
    for row, task in enumerate(MIXED):
        if task == 1:
            assert after[row].isnan().all()
        else:
            assert torch.equal(after[row], before[row])


@pytest.mark.parametrize("plain", FAMILIES, indirect=True)
def test_detaching_gives_the_model_back(plain, attachment, diffs):
    attachment.set_diffs(stack_diffs(diffs), torch.tensor(MIXED))
    model = attachment.model
    attachment.detach()
    assert list(model.state_dict()) == list(plain.state_dict())
    assert all(map(torch.equal, batch(model), batch(plain)))


@pytest.mark.parametrize("plain", ["qwen3"], indirect=True)
def test_a_merged_diff_is_what_peft_merges(plain, attachment, diffs):
    for diff, model in zip(diffs, peft_models(plain, diffs), strict=True):
        theirs = model.merge_and_unload().state_dict()
        for name, weight in merged(plain, diff).state_dict().items():
            torch.testing.assert_close(weight, theirs[name])


@pytest.mark.parametrize("plain", ["qwen3"], indirect=True)
@pytest.mark.parametrize("room", [0, 1 << 30])
def test_what_is_kept_between_passes_changes_nothing(plain, attachment, diffs, monkeypatch, room):
    """Whether there is room for factors or not; rows, diffs and adapter come and go."""
    monkeypatch.setattr(sys.modules["diffspeak.lora.attach"], "KEPT_BYTES", room)
    linears = attachment.linears.values()

    def run(tasks, some, adapter):
        with torch.no_grad():
            attachment.set_diffs(some and stack_diffs(some), tasks and torch.tensor(tasks))
            attachment.set_adapter(adapter)
            batch(attachment.model)
            return batch(attachment.model)

    first = run(MIXED, diffs, diffs[0])
    assert all("adapter" in linear._kept for linear in linears)
    assert all(("diff" in linear._kept) == bool(room) for linear in linears)
    for tasks, some, adapter in (([0] * 6, diffs[:1], diffs[1]), (MIXED, diffs[::-1], None)):
        run(tasks, some, adapter)
    assert all("adapter" not in linear._kept for linear in linears)
    assert all(map(torch.equal, run(MIXED, diffs, diffs[0]), first))
    run(None, None, None)
    assert not any(linear._kept for linear in linears)


@pytest.mark.parametrize("plain", ["qwen3"], indirect=True)
def test_one_finetune_takes_no_more_room_for_more_rows(plain, attachment, diffs, monkeypatch):
    numbers = sum(c.A.numel() + c.B.numel() for c in diffs[0].values())
    monkeypatch.setattr(sys.modules["diffspeak.lora.attach"], "KEPT_BYTES", 4 * numbers)
    with torch.no_grad():
        attachment.set_diffs(stack_diffs(diffs[:1]), torch.tensor([0] * 6))
        batch(attachment.model)
        kept = [linear._kept["diff"] for linear in attachment.linears.values()]
        attachment.set_rows(torch.tensor([0] * 6))
        batch(attachment.model)
    again = [linear._kept["diff"] for linear in attachment.linears.values()]
    assert all(one is other for one, other in zip(kept, again, strict=True))
