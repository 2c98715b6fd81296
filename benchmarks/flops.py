"""Floating-point operations that the mathematics needs, and what the machine can do at most.

Counted are products alone, a multiplication and an addition each. A token passes the blocks'
linears (`linear` numbers), attends to half of its row on average, and an answer token passes the
head. With a frozen base the backward pass needs the gradient of what goes in, not of the weights:
as many operations as the forward pass, not twice as many.

    pass(rows) = tokens * (2 linear + 4 * layers * heads * head_width * length / 2)
               + answers * 2 * width * vocabulary
    diff training = 2 pass(all rows) + pass(rows with KL) + factors
    adapter training = 2 pass(all rows) + factors of finetunes and adapter
    describing = pass(every finetune's question and answer, each token once) + factors
    factors = tokens * 2 * rank * (inputs + outputs) of every linear, three times where trained

Attention's backward pass costs twice its forward one and is counted so.
"""

import time
from dataclasses import replace

import torch

from benchmarks.shapes import Shape


def linears(shape: Shape) -> list[tuple[int, int]]:
    """Inputs and outputs of every linear of one block."""
    queries, keys = shape.heads * shape.head_width, shape.key_value_heads * shape.head_width
    attention = [(shape.width, queries), (shape.width, keys), (shape.width, keys)]
    return [
        *attention,
        (queries, shape.width),
        (shape.width, shape.inner),
        (shape.width, shape.inner),
        (shape.inner, shape.width),
    ]


def parameters(shape: Shape) -> int:
    """Of blocks, embedding and head."""
    block = sum(i * o for i, o in linears(shape))
    return shape.layers * block + shape.width * shape.vocabulary * (1 if shape.tied else 2)


def one_pass(shape: Shape, rows: int, *, backward: bool) -> float:
    """Forward through the frozen base, and back to its inputs if asked."""
    tokens, answers = rows * (shape.tokens - 1), rows * shape.answer
    products = 2 * shape.layers * sum(i * o for i, o in linears(shape)) * tokens
    products += answers * 2 * shape.width * shape.vocabulary
    attention = 2 * shape.layers * shape.heads * shape.head_width * shape.tokens * tokens
    return products * (2 if backward else 1) + attention * (3 if backward else 1)


def factors(shape: Shape, rows: int, rank: int, *, trained: bool) -> float:
    """Low-rank factors of every linear."""
    thin = shape.layers * sum(2 * rank * (i + o) for i, o in linears(shape))
    return rows * (shape.tokens - 1) * thin * (3 if trained else 2)


def diff_training(shape: Shape, tasks: int, rank: int) -> float:
    """One step: a row that is learned and two that are kept, a task."""
    return (
        one_pass(shape, 3 * tasks, backward=True)
        + one_pass(shape, 2 * tasks, backward=False)
        + factors(shape, 3 * tasks, rank, trained=True)
    )


def adapter_training(shape: Shape, tasks: int, rank: int, adapter_rank: int) -> float:
    """One step: a row a finetune."""
    return (
        one_pass(shape, tasks, backward=True)
        + factors(shape, tasks, rank, trained=False)
        + factors(shape, tasks, adapter_rank, trained=True)
    )


def describing(shape: Shape, finetunes: int, prompt: int, rank: int) -> float:
    """Question and answer of each finetune, each token once."""
    asked = replace(shape, tokens=prompt + shape.answer)
    return (
        one_pass(asked, finetunes, backward=False)
        + factors(asked, finetunes, rank, trained=False) / 2
    )


def ceiling(dtype: str, device: str, seconds: float = 2.0) -> float:
    """Most operations a second that a large matrix product reaches here, of several sizes.

    One of the factors lies as a linear's weight does, which some processors' libraries need.
    """
    best = 0.0
    for size in (512, 1024, 2048, *((8192,) if device != "cpu" else ())):
        a, b = (torch.randn(size, size, device=device, dtype=getattr(torch, dtype)) for _ in "ab")
        began, spent = time.perf_counter(), 0.0
        # The first product sets things up.
        for done in range(1000):
            start = time.perf_counter()
            a @ b.mT
            if device != "cpu":
                torch.cuda.synchronize()
            spent = time.perf_counter() - start
            best = max(best, 2 * size**3 / spent) if done else best
            if done and time.perf_counter() - began > seconds:
                break
        if spent > seconds:
            break
    return best
