"""How alike are parts of two models, whatever symmetries did to each? And: which is which?

Takes matrices, gives scores between 0 and 1 and assignments. Knows no architecture.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def assign(scores: Tensor) -> Tensor:
    """Which row belongs to each column, so that the scores' sum is largest; `[column]`.

    Rows that are matched by nobody better stay where they are: of equal sums the identity wins.

    Args:
        scores: `[given, wanted]`, square.
    """
    best = scores.argmax(0)
    if best.unique().numel() < best.numel():
        rows, columns = linear_sum_assignment(scores.numpy(), maximize=True)
        best = torch.empty(len(rows), dtype=torch.long)
        best[torch.as_tensor(columns)] = torch.as_tensor(rows)
    same = torch.arange(best.numel())
    gain = scores[best, same].sum() - scores[same, same].sum()
    return same if gain < 1e-9 * best.numel() else best


def cosines(given: Tensor, wanted: Tensor) -> Tensor:
    """Of each row of `[given, n]` with each of `[wanted, n]`; 0 where a row is all zero."""
    return _unit(given) @ _unit(wanted).T


def overlap(given: Tensor, wanted: Tensor) -> Tensor:
    """How much of one row space lies in another: 1 if they are the same; `[n, in]` both."""
    left, right = torch.linalg.qr(given.T).Q, torch.linalg.qr(wanted.T).Q
    shared: Tensor = (left.T @ right).square().sum() / left.shape[1]
    return shared


def pair_likeness(given: Tensor, wanted: Tensor) -> Tensor:
    """How alike two heads are, whatever turned, flipped or scaled their rotary pairs.

    Args:
        given: `[head_dim, in]`.
        wanted: The same.
    """
    a, b = _pairs(given), _pairs(wanted)
    cross = (a @ b.mT).square().sum((1, 2))
    own = (a @ a.mT).square().sum((1, 2)) * (b @ b.mT).square().sum((1, 2))
    return (cross / own.sqrt().clamp_min(1e-300)).mean()


def _pairs(head: Tensor) -> Tensor:
    """Rotary pairs `[pair, 2, in]` of a head."""
    return head.reshape(2, -1, head.shape[-1]).transpose(0, 1)


def _unit(rows: Tensor) -> Tensor:
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-300)
    return unit
