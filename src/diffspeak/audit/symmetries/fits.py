"""Closed forms: the matrix, turns or scales that bring two sides nearest to two others.

Takes what a symmetry changes on its one side and against it on its other, and where both should
go; gives the move. Knows no architecture. Each is the least-squares solution where the move is
small, repeated until it is (Gauss-Newton); formulas in docs/symmetries.md.
"""

import torch
from scipy.linalg import solve_sylvester
from torch import Tensor

STEPS = 12
DONE = 1e-10


def invertible(left: Tensor, right: Tensor, left_to: Tensor, right_to: Tensor) -> Tensor:
    """The matrix H for which H @ left and inv(H).T @ right come nearest to their targets.

    Args:
        left: `[n, in]`.
        right: `[n, out]`.
        left_to: As left.
        right_to: As right.

    Returns:
        H, `[n, n]`.
    """
    same = torch.eye(left.shape[0], dtype=left.dtype)
    starts = [same]
    if _miss(same, left, right, left_to, right_to) > 0.1:
        starts.append(left_to @ torch.linalg.pinv(left))
        starts.append(torch.linalg.pinv(right_to @ torch.linalg.pinv(right)).T)
    ends = [_descend(start, left, right, left_to, right_to) for start in starts]
    return min(ends, key=lambda matrix: _miss(matrix, left, right, left_to, right_to))


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


def _descend(
    start: Tensor, left: Tensor, right: Tensor, left_to: Tensor, right_to: Tensor
) -> Tensor:
    """Gauss-Newton: H becomes (1 + M) H, where M solves R M + M L = C, a Sylvester equation."""
    matrix, same = start, torch.eye(left.shape[0], dtype=left.dtype)
    best = _miss(matrix, left, right, left_to, right_to)
    for _ in range(STEPS):
        if not torch.isfinite(torch.tensor(best)):
            break
        up, down = matrix @ left, torch.linalg.inv(matrix).T @ right
        rest = down @ (down - right_to).T - (up - left_to) @ up.T
        ridge = 1e-12 * (up.square().sum() + down.square().sum()) * same
        step = torch.from_numpy(
            solve_sylvester((down @ down.T + ridge).numpy(), (up @ up.T).numpy(), rest.numpy())
        )
        moved = (same + step) @ matrix
        miss = _miss(moved, left, right, left_to, right_to)
        if not miss < best:
            break
        matrix, gain, best = moved, best - miss, miss
        if gain <= 1e-9 * best or step.norm() < DONE:
            break
    return matrix


def _miss(matrix: Tensor, left: Tensor, right: Tensor, left_to: Tensor, right_to: Tensor) -> float:
    """Distance to both targets, by their norms."""
    inverse, trouble = torch.linalg.inv_ex(matrix)
    if trouble.any():
        return float("inf")
    distance = (matrix @ left - left_to).square().sum()
    distance = distance + (inverse.T @ right - right_to).square().sum()
    norm = left_to.square().sum() + right_to.square().sum()
    return float((distance / norm.clamp_min(1e-300)).sqrt().item())


def _complex(rows: Tensor) -> Tensor:
    first, second = rows.chunk(2)
    return torch.complex(first, second)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a.conj() * b).sum(1)


def _short(step: Tensor) -> Tensor:
    """A step no longer than 1, so that its exponential goes nowhere far."""
    return step / step.abs().clamp_min(1.0)
