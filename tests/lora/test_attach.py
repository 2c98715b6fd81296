"""Attaching changes a model by nothing but what is set, and detaching leaves no trace."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from diffspeak.errors import MismatchError, UsageError
from diffspeak.lora import LowRank, attach, select, stack_diffs
from tests.tiny_diffs import merged, random_change, random_diff

NAMES = ["blocks.0.up", "blocks.0.down", "blocks.1.up", "blocks.1.down"]


class Block(nn.Module):
    """A norm and two linears, one without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.up = nn.Linear(6, 9)
        self.down = nn.Linear(9, 6, bias=False)

    def forward(self, x):
        return x + self.down(self.up(self.norm(x)).relu())


def make_model() -> nn.Module:
    torch.manual_seed(0)
    blocks = nn.Sequential(Block(), Block())
    parts = {"embed": nn.Embedding(11, 6), "blocks": blocks, "head": nn.Linear(6, 11)}
    return nn.Sequential(OrderedDict(parts)).requires_grad_(False)


TOKENS = torch.randint(0, 11, (6, 4), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def model():
    return make_model()


@pytest.fixture
def attachment(model):
    return attach(model, NAMES)


@pytest.fixture
def diffs(attachment):
    return [random_diff(attachment.shapes, rank=1 + seed, seed=seed) for seed in range(3)]


@pytest.fixture
def adapter(attachment):
    return random_diff(attachment.shapes, rank=2, scaling=0.7, seed=7)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, [*NAMES, "head"]),
        ({"within": "blocks"}, NAMES),
        ({"within": "block"}, []),
        ({"suffixes": ["down"]}, NAMES[1::2]),
        ({"suffixes": ["0.up", "head"]}, ["blocks.0.up", "head"]),
        ({"suffixes": ["blocks.1.down"]}, ["blocks.1.down"]),
        ({"suffixes": []}, []),
    ],
)
def test_linears_are_selected(model, options, names):
    assert select(model, **options) == names


@pytest.mark.parametrize("wrong", ["side", "p", "own", "norm", "embed"])
def test_an_unknown_suffix_is_refused_and_the_known_ones_named(model, wrong):
    with pytest.raises(UsageError) as error:
        select(model, suffixes=["up", wrong])
    assert str(error.value) == f"no linear of the model is called {wrong}; there are down, head, up"


def test_a_suffix_outside_the_blocks_is_refused(model):
    with pytest.raises(UsageError, match="called head; there are down, up"):
        select(model, within="blocks", suffixes=["head"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["blocks.0.up", "blocks.2.up"], "cannot attach to blocks.2.up: it is not in the model"),
        (["blocks.0.up", "embed"], "cannot attach to embed: it is a Embedding, not a linear"),
        ([], "nothing to attach to"),
    ],
)
def test_what_is_no_linear_is_refused_and_nothing_changed(model, names, message):
    with pytest.raises(UsageError, match=message):
        attach(model, names)
    assert list(model.state_dict()) == list(make_model().state_dict())


def test_attaching_twice_is_refused(model):
    attach(model, ["blocks.0.up"])
    for names in (["blocks.0.up"], ["blocks.0.up.base"], select(model)):
        with pytest.raises(UsageError, match="attached already"):
            attach(model, names)


def test_an_attachment_adds_nothing_of_its_own(model, attachment):
    plain = make_model()
    assert torch.equal(model(TOKENS), plain(TOKENS))
    assert list(attachment.linears) == NAMES
    assert attachment.shapes["blocks.0.up"] == (6, 9, False)


@pytest.mark.parametrize("tasks", [None, [0, 0, 1, 1, 2, 2], [2, 0, 1, 1, 0, 2]])
def test_rows_are_those_of_the_merged_models(model, attachment, diffs, adapter, tasks):
    attachment.set_diffs(stack_diffs(diffs), None if tasks is None else torch.tensor(tasks))
    attachment.set_adapter(adapter)
    found = model(TOKENS)
    for row, task in enumerate(tasks or [0, 0, 1, 1, 2, 2]):
        expected = merged(make_model(), diffs[task], adapter)(TOKENS[row : row + 1])
        torch.testing.assert_close(found[row : row + 1], expected)


def test_rows_may_be_given_anew_and_taken_off(model, attachment, diffs):
    attachment.set_diffs(stack_diffs(diffs), torch.zeros(6, dtype=torch.int64))
    attachment.set_rows(torch.tensor([1, 2]))
    expected = merged(make_model(), diffs[2])(TOKENS[1:2])
    torch.testing.assert_close(model(TOKENS[:2])[1:], expected)
    attachment.set_diffs(None)
    assert torch.equal(model(TOKENS), make_model()(TOKENS))


def test_modules_left_out_stay_the_bases(model, attachment, diffs, adapter):
    some = {"blocks.1.up": diffs[0]["blocks.1.up"]}
    attachment.set_diffs(stack_diffs(diffs))
    attachment.set_adapter(adapter)
    attachment.set_diffs(stack_diffs([some]))
    attachment.set_adapter({"blocks.0.down": adapter["blocks.0.down"]})
    expected = merged(make_model(), some, {"blocks.0.down": adapter["blocks.0.down"]})
    torch.testing.assert_close(model(TOKENS), expected(TOKENS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_switched_off_is_the_base_bit_for_bit(model, attachment, diffs, adapter, dtype):
    model.to(dtype)
    plain = make_model().to(dtype)(TOKENS)
    attachment.set_diffs(stack_diffs(diffs))
    only_diff = model(TOKENS)
    attachment.set_adapter(adapter)
    both = model(TOKENS)
    with attachment.off(adapter=True):
        assert torch.equal(model(TOKENS), only_diff)
        with attachment.off(diff=True):
            assert torch.equal(model(TOKENS), plain)
        assert torch.equal(model(TOKENS), only_diff)
    with attachment.off(diff=True, adapter=True):
        assert torch.equal(model(TOKENS), plain)
    assert torch.equal(model(TOKENS), both)
    assert not torch.equal(both, plain)


def test_an_error_within_off_switches_on_again(model, attachment, diffs):
    attachment.set_diffs(stack_diffs(diffs))
    before = model(TOKENS)
    with pytest.raises(KeyboardInterrupt), attachment.off(diff=True, adapter=True):
        raise KeyboardInterrupt
    assert torch.equal(model(TOKENS), before)


def test_detaching_leaves_no_trace(diffs):
    model = make_model()
    modules, keys = dict(model.named_modules()), list(model.state_dict())
    attachment = attach(model, NAMES)
    attachment.set_diffs(stack_diffs(diffs))
    attachment.detach()
    assert list(model.named_modules()) == list(modules.items())
    assert list(model.state_dict()) == keys
    assert torch.equal(model(TOKENS), make_model()(TOKENS))
    with pytest.raises(MismatchError, match="not attached"):
        attachment.set_diffs(stack_diffs(diffs))
    attach(model, NAMES).detach()


def test_an_unknown_module_is_refused_by_name(attachment, diffs, adapter):
    odd = {f"blocks.{i}.side": diffs[0]["blocks.0.up"] for i in range(5)}
    for give in (attachment.set_adapter, lambda diff: attachment.set_diffs(stack_diffs([diff]))):
        with pytest.raises(MismatchError) as error:
            give(adapter | odd)
        assert "5 modules of the diff are not attached" in str(error.value)
        assert "blocks.0.side, blocks.1.side, blocks.2.side, ..." in str(error.value)


@pytest.mark.parametrize("stacked", [True, False])
def test_a_wrong_shape_is_refused(attachment, stacked):
    change = random_change(attachment.shapes["blocks.0.down"])
    wrong = {"blocks.0.up": change}
    with pytest.raises(MismatchError, match="blocks.0.up maps 9 to 6 .* linear maps 6 to 9"):
        attachment.set_diffs(stack_diffs([wrong])) if stacked else attachment.set_adapter(wrong)


def test_one_diff_is_no_stack_and_a_stack_no_adapter(attachment, diffs):
    with pytest.raises(MismatchError, match="without a task axis"):
        attachment.set_diffs(diffs[0])
    with pytest.raises(MismatchError, match="with a task axis"):
        attachment.set_adapter(stack_diffs(diffs))


def test_all_modules_carry_the_same_number_of_tasks(attachment, diffs):
    up, down = (stack_diffs(diffs)[name] for name in NAMES[:2])
    with pytest.raises(MismatchError, match="blocks.0.down .* 2 tasks .* 3"):
        attachment.set_diffs({NAMES[0]: up, NAMES[1]: LowRank(down.A[:2], down.B[:2])})


def test_what_was_refused_changed_nothing(model, attachment, diffs, adapter):
    attachment.set_diffs(stack_diffs(diffs), torch.tensor([2, 0, 1, 1, 0, 2]))
    attachment.set_adapter(adapter)
    before = model(TOKENS)
    for give in (attachment.set_diffs, attachment.set_adapter):
        with pytest.raises(MismatchError):
            give({"blocks.9.up": adapter["blocks.0.up"]})
    assert torch.equal(model(TOKENS), before)
