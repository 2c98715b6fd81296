"""One linear with a diff for each row: equal to each row alone, and no row disturbs another."""

import pytest
import torch
from torch import nn

from diffspeak.errors import MismatchError
from diffspeak.lora import DiffLinear, LinearShape, linear_shape, random_factors, stack
from diffspeak.lora.linear import Switches, _is_plain
from tests.tiny_diffs import random_change

SHAPE = LinearShape(6, 4)
TASKS = 3
GROUPED = [0, 0, 1, 1, 2, 2]
MIXED = [2, 0, 1, 1, 0, 2]
BASE = {"frozen": True}


@pytest.fixture(autouse=True, params=["frozen base", "base of its own kind"])
def base_kind(request, monkeypatch):
    """Frozen linears have a way of their own; whatever else stands there is called as it is."""
    monkeypatch.setitem(BASE, "frozen", request.param == "frozen base")


def wrapped(tasks: list[int] | None = None, trained: bool = False) -> DiffLinear:
    """A linear with three tasks' diffs and an adapter on it."""
    torch.manual_seed(0)
    switches = Switches(tasks=None if tasks is None else torch.tensor(tasks))
    base = nn.Linear(*SHAPE[:2]).requires_grad_(not BASE["frozen"])
    linear = DiffLinear(base, SHAPE, switches, "blocks.0.up")
    linear.diff = stack([random_change(SHAPE, seed=task) for task in range(TASKS)])
    linear.adapter = random_change(SHAPE, rank=1, scaling=0.5, seed=9)
    if trained:
        linear.diff.A.requires_grad_()
        linear.diff.B.requires_grad_()
    return linear


def inputs(rows: int = 6) -> torch.Tensor:
    return torch.randn(rows, 5, SHAPE.inputs, generator=torch.Generator().manual_seed(1))


def by_hand(linear: DiffLinear, x: torch.Tensor, tasks: list[int]) -> torch.Tensor:
    """Each row through its own dense weight."""
    assert linear.diff is not None and linear.adapter is not None
    changes = linear.diff.dense() + linear.adapter.dense()
    rows = [
        nn.functional.linear(row, linear.base.weight + changes[task], linear.base.bias)
        for row, task in zip(x, tasks, strict=True)
    ]
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("given", "meant"), [(None, GROUPED), (GROUPED, GROUPED), (MIXED, MIXED), (None, [0, 1, 2])]
)
def test_each_row_has_the_diff_of_its_task(given, meant):
    linear, x = wrapped(given), inputs(len(meant))
    torch.testing.assert_close(linear(x), by_hand(linear, x, meant))


@pytest.mark.parametrize("given", [None, MIXED])
def test_no_gradient_crosses_tasks(given):
    linear = wrapped(given, trained=True)
    tasks = given or GROUPED
    for task in range(TASKS):
        rows = [row for row, its in enumerate(tasks) if its == task]
        loss = linear(inputs())[rows].square().sum()
        grads = torch.autograd.grad(loss, [linear.diff.A, linear.diff.B])
        for grad in grads:
            assert grad[task].abs().min() > 0
            others = [other for other in range(TASKS) if other != task]
            assert torch.equal(grad[others], torch.zeros_like(grad[others]))


@pytest.mark.parametrize("given", [None, MIXED])
def test_gradients_are_those_of_the_dense_weights(given):
    linear, x = wrapped(given, trained=True), inputs().requires_grad_()
    factors = [linear.diff.A, linear.diff.B, linear.adapter.A, linear.adapter.B]
    every = [x, *(factor.requires_grad_() for factor in factors)]
    weights = torch.randn(6, 5, SHAPE.outputs)
    found = torch.autograd.grad((linear(x) * weights).sum(), every)
    dense = by_hand(linear, x, given or GROUPED)
    expected = torch.autograd.grad((dense * weights).sum(), every)
    for grad, right in zip(found, expected, strict=True):
        torch.testing.assert_close(grad, right)


def test_a_hook_on_the_base_is_called():
    linear, seen = wrapped(), []
    assert _is_plain(linear.base) == BASE["frozen"]
    handle = linear.base.register_forward_hook(lambda *_: seen.append(1))
    hooked = linear(inputs())
    handle.remove()
    assert seen == [1]
    torch.testing.assert_close(hooked, linear(inputs()))
    assert seen == [1]


@pytest.mark.parametrize("given", [None, MIXED])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_broken_task_leaves_the_others_bit_for_bit(given, poison):
    linear, tasks = wrapped(given), given or GROUPED
    before = linear(inputs())
    linear.diff.A[1] = poison
    linear.diff.B[1] = poison
    after = linear(inputs())
    for row, task in enumerate(tasks):
        assert torch.equal(after[row], before[row]) == (task != 1)


@pytest.mark.parametrize("given", [None, MIXED])
def test_a_broken_task_leaves_the_others_gradients_bit_for_bit(given):
    linear, tasks = wrapped(given, trained=True), given or GROUPED
    rows = [row for row, task in enumerate(tasks) if task != 1]
    both = [linear.diff.A, linear.diff.B]
    before = torch.autograd.grad(linear(inputs())[rows].square().sum(), both)
    with torch.no_grad():
        linear.diff.B[1] = float("nan")
    after = torch.autograd.grad(linear(inputs())[rows].square().sum(), both)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one[[0, 2]], other[[0, 2]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("diff", "adapter"), [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_what_is_switched_off_is_not_there(dtype, diff, adapter):
    linear, x = wrapped(MIXED).to(dtype), inputs().to(dtype)
    expected = wrapped(MIXED).to(dtype)
    linear.switches.diff, linear.switches.adapter = bool(diff), bool(adapter)
    expected.diff = expected.diff if diff else None
    expected.adapter = expected.adapter if adapter else None
    assert linear(x).dtype == dtype
    assert torch.equal(linear(x), expected(x))
    assert torch.equal(linear(x), linear.base(x)) == (not diff and not adapter)


def test_float32_factors_serve_a_bfloat16_base():
    linear, x = wrapped(MIXED), inputs()
    half = wrapped(MIXED).to(torch.bfloat16)
    assert half.diff.A.dtype == torch.float32
    found = half(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), linear(x), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("tasks", "rows", "message"),
    [
        (MIXED, 5, "batch of 5 rows where the diffs are set for 6"),
        (None, 5, "batch of 5 rows where the diffs are set for 3 tasks in equal groups"),
        (None, 2, "batch of 2 rows where the diffs are set for 3 tasks in equal groups"),
    ],
)
def test_a_wrong_number_of_rows_is_refused(tasks, rows, message):
    with pytest.raises(MismatchError, match=message) as error:
        wrapped(tasks)(inputs(rows))
    assert "blocks.0.up" in str(error.value)


def test_flattened_rows_are_refused_where_a_diff_is_on():
    linear, flat = wrapped(), inputs().flatten(0, 1)
    with pytest.raises(MismatchError, match="blocks.0.up is fed 30 tokens in one axis"):
        linear(flat)
    linear.switches.batch = (6, 4)
    with pytest.raises(MismatchError, match="30 tokens in one axis, and the batch has 6 rows of 4"):
        linear(flat)
    linear.diff = None
    torch.testing.assert_close(linear(flat), linear(inputs()).flatten(0, 1))


@pytest.mark.parametrize("tasks", [None, MIXED])
def test_all_tokens_in_one_axis_are_those_of_their_rows(tasks):
    linear, x = wrapped(tasks), inputs()
    linear.switches.batch = (6, 5)
    torch.testing.assert_close(linear(x.flatten(0, 1)), linear(x).flatten(0, 1))


@pytest.mark.parametrize("tasks", [None, MIXED])
def test_any_number_of_axes_may_follow_on_the_rows(tasks):
    linear, x = wrapped(tasks), inputs()
    more = torch.stack([x, 2 * x], dim=1)
    expected = torch.stack([linear(x), linear(2 * x)], dim=1)
    torch.testing.assert_close(linear(more), expected)


def test_gradients_of_tokens_in_one_axis_are_those_of_their_rows():
    found = []
    for flat in (False, True):
        linear, x = wrapped(MIXED, trained=True), inputs().requires_grad_()
        linear.switches.batch = (6, 5)
        linear(x.flatten(0, 1) if flat else x).square().sum().backward()
        found.append([x.grad, linear.diff.A.grad, linear.diff.B.grad])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_some_of_one_finetunes_tokens_are_its_own():
    linear = wrapped()
    linear.diff = stack([linear.diff[1]])
    some = inputs().flatten(0, 1)[::4]
    by_rows = linear(some[None])[0]
    torch.testing.assert_close(linear(some), by_rows)


def test_models_may_compute_with_its_bias_and_sizes():
    linear = wrapped()
    assert linear.bias is linear.base.bias
    assert (linear.in_features, linear.out_features) == SHAPE[:2]


def test_a_task_that_is_not_there_is_refused():
    with pytest.raises(IndexError):
        wrapped([0, 1, 2, 3, 0, 0])(inputs())


def test_models_may_look_at_its_weight():
    linear = wrapped()
    assert linear.weight is linear.base.weight


@pytest.mark.parametrize(
    ("module", "shape"),
    [(nn.Linear(3, 5), LinearShape(3, 5)), (nn.Embedding(3, 5), None), (nn.LayerNorm(3), None)],
)
def test_what_counts_as_a_linear(module, shape):
    assert linear_shape(module) == shape


def test_fresh_factors_change_nothing_and_are_drawn_as_peft_draws_them():
    shapes = {"up": LinearShape(400, 30), "down": LinearShape(30, 400)}
    drawn = random_factors(shapes, 8, 2.0, [torch.Generator().manual_seed(s) for s in (0, 1)])
    assert list(drawn) == ["up", "down"]
    for name, change in drawn.items():
        assert change.A.shape == (2, 8, shapes[name].inputs)
        assert change.B.shape == (2, shapes[name].outputs, 8)
        assert change.scaling == 2.0
        assert not change.B.any()
        # kaiming_uniform_ with a = sqrt(5), PEFT's choice, is uniform within 1 / sqrt(inputs).
        bound = shapes[name].inputs ** -0.5
        assert 0.9 * bound < change.A.abs().max() <= bound
        assert change.A.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_what_a_task_draws_depends_on_its_generator_alone():
    shapes = {"up": LinearShape(7, 5), "down": LinearShape(5, 7)}

    def draw(*seeds: int) -> list[dict[str, torch.Tensor]]:
        drawn = random_factors(shapes, 2, 1.0, [torch.Generator().manual_seed(s) for s in seeds])
        return [{name: change.A[i] for name, change in drawn.items()} for i in range(len(seeds))]

    alone, together = draw(5)[0], draw(3, 5, 8)
    for name in shapes:
        assert torch.equal(alone[name], together[1][name])
        assert not torch.equal(together[0][name], together[1][name])
