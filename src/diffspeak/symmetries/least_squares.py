"""Closed forms: the move that brings two sides nearest to two others, and which part is which.

The two sides are what a symmetry changes and what it changes against that. Each fit is the
least-squares solution where the move is small, repeated until it is (Gauss-Newton); formulas in
docs/symmetries.md.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

STEPS = 12
DONE = 1e-10
GAIN = 1e-3
"""Share of its distance that a step must gain, or it is the last."""

FAR = 0.1
"""Distance, by the targets' norm, from which other starts than the identity are tried."""


def invertible(left: Tensor, right: Tensor, left_to: Tensor, right_to: Tensor) -> Tensor:
    """The matrices H for which H @ left and inv(H).T @ right come nearest to their targets.

    Args:
        left: `[head, n, in]`.
        right: `[head, n, out]`.
        left_to: As left.
        right_to: As right.

    Returns:
        H, `[head, n, n]`.
    """
    same = torch.eye(left.shape[1], dtype=left.dtype).expand(left.shape[0], -1, -1)
    starts = [same]
    if (_miss(same, left, right, left_to, right_to) > FAR).any():
        starts.append(left_to @ torch.linalg.pinv(left))
        starts.append(torch.linalg.pinv(right_to @ torch.linalg.pinv(right)).mT)
    ends = [_descend(start, left, right, left_to, right_to) for start in starts]
    misses = torch.stack([_miss(end, left, right, left_to, right_to) for end in ends])
    return torch.stack(ends)[misses.argmin(0), torch.arange(left.shape[0])]


def pair_numbers(queries: Tensor, keys: Tensor, queries_to: Tensor, keys_to: Tensor) -> Tensor:
    """A complex number z for each rotary pair: z * queries, keys / conj(z) come nearest.

    Args:
        queries: `[head_dim, n]`.
        keys: `[head_dim, m]`.
        queries_to: As queries.
        keys_to: As keys.

    Returns:
        `[pair]`, complex.
    """
    q, k, q_to, k_to = (_complex(side) for side in (queries, keys, queries_to, keys_to))
    z = _inner(q, q_to) / _inner(q, q).real.clamp_min(1e-300)
    z = torch.where(z.abs() < 1e-6, torch.ones_like(z), z)
    for _ in range(STEPS):
        turned, against = z[:, None] * q, k / z.conj()[:, None]
        step = _inner(turned, q_to - turned) + _inner(against, against - k_to).conj()
        step = step / (_inner(turned, turned) + _inner(against, against)).real.clamp_min(1e-300)
        z = z * torch.exp(_short(step))
        if step.abs().max() < DONE:
            break
    return z


def scales(left: Tensor, right: Tensor, left_to: Tensor, right_to: Tensor) -> Tensor:
    """A real number s for each row: s * left and right / s come nearest to their targets.

    Args:
        left: `[row, n]`.
        right: `[row, m]`.
        left_to: As left.
        right_to: As right.

    Returns:
        `[row]`.
    """
    s = (left * left_to).sum(1) / left.square().sum(1).clamp_min(1e-300)
    s = torch.where(s.abs() < 1e-6, torch.ones_like(s), s)
    for _ in range(STEPS):
        up, down = s[:, None] * left, right / s[:, None]
        step = (up * (left_to - up)).sum(1) + (down * (down - right_to)).sum(1)
        step = step / (up.square().sum(1) + down.square().sum(1)).clamp_min(1e-300)
        s = s * torch.exp(_short(step))
        if step.abs().max() < DONE:
            break
    return s


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


def _descend(
    start: Tensor, left: Tensor, right: Tensor, left_to: Tensor, right_to: Tensor
) -> Tensor:
    """Gauss-Newton: H becomes (1 + M) H, where M solves R M + M L = C, a Sylvester equation."""
    same = torch.eye(left.shape[1], dtype=left.dtype)
    best = _miss(start, left, right, left_to, right_to)
    matrix = torch.where(best.isfinite()[:, None, None], start, same)
    for _ in range(STEPS):
        up, down = matrix @ left, torch.linalg.inv(matrix).mT @ right
        rest = down @ (down - right_to).mT - (up - left_to) @ up.mT
        moved = matrix + _sylvester(down @ down.mT, up @ up.mT, rest) @ matrix
        miss = _miss(moved, left, right, left_to, right_to)
        better = miss < best
        matrix = torch.where(better[:, None, None], moved, matrix)
        gained = bool((miss < (1 - GAIN) * best).any())
        best = torch.where(better, miss, best)
        if not gained:
            break
    return matrix


def _sylvester(left: Tensor, right: Tensor, rest: Tensor) -> Tensor:
    """M with left @ M + M @ right = rest, both symmetric and nowhere negative."""
    (ours, turn), (theirs, back) = torch.linalg.eigh(left), torch.linalg.eigh(right)
    sums = ours[:, :, None] + theirs[:, None, :]
    ridge = 1e-12 * sums.amax((1, 2), keepdim=True)
    inner = (turn.mT @ rest @ back) / (sums + ridge).clamp_min(1e-300)
    solved: Tensor = turn @ inner @ back.mT
    return solved


def _miss(matrix: Tensor, left: Tensor, right: Tensor, left_to: Tensor, right_to: Tensor) -> Tensor:
    """Distance to both targets by their norms, `[head]`; infinite for a matrix without inverse."""
    inverse, trouble = torch.linalg.inv_ex(matrix)
    distance = (matrix @ left - left_to).square().sum((1, 2))
    distance = distance + (inverse.mT @ right - right_to).square().sum((1, 2))
    norm = left_to.square().sum((1, 2)) + right_to.square().sum((1, 2))
    found = (distance / norm.clamp_min(1e-300)).sqrt()
    bad = (trouble != 0) | ~found.isfinite()
    return torch.where(bad, torch.inf, found)


def _complex(rows: Tensor) -> Tensor:
    first, second = rows.chunk(2)
    return torch.complex(first, second)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a.conj() * b).sum(1)


def _short(step: Tensor) -> Tensor:
    """A step no longer than 1, so that its exponential goes nowhere far."""
    return step / step.abs().clamp_min(1.0)


def _pairs(head: Tensor) -> Tensor:
    """Rotary pairs `[pair, 2, in]` of a head."""
    return head.reshape(2, -1, head.shape[-1]).transpose(0, 1)


def _unit(rows: Tensor) -> Tensor:
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-300)
    return unit
