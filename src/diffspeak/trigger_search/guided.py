"""Many words, of which few are tried: what was tried says what to try next.

Takes words and a function that scores some of them, gives the scores. A ridge regression from the
letters of a word (pieces of two to four, its ends marked) to its score is fitted to all that was
tried and picks the next ones: a finetune is set off, more or less, by much that shares tokens with
its trigger, so the scores lead there. Knows nothing of models. Source: sequential model-based
optimization (Hutter, Hoos and Leyton-Brown, LION 2011).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import lsqr
from torch import Tensor

PIECES = (2, 3, 4)
LETTERS = 24
"""Of a word that are looked at, from its beginning."""

FIRST = 0.75
"""Share of the words to try that are tried before anything is known: the first of the list."""

ROUNDS = 5
"""In which the others are tried."""

DAMPING = 3.0
STEPS = 60
"""Of the solver at most."""


def tried(
    pieces: csr_matrix, score: Callable[[Sequence[int]], Tensor], most: int
) -> dict[int, float]:
    """Score words: all of them, or the most promising if there are too many.

    Args:
        pieces: From `pieces_of`; its rows are the words, the likeliest first.
        score: Takes places of words, gives their scores, `[word]`.
        most: Words to score at most.

    Returns:
        Place of each word that was scored -> score, the highest first.
    """
    count = int(pieces.shape[0])
    most = min(count, most)
    scores = np.full(count, np.nan)
    new = np.arange(most if most == count else max(1, int(FIRST * most)))
    share = -(-(most - len(new)) // ROUNDS)
    while len(new):
        scores[new] = score(new.tolist()).double().numpy()
        left = most - int(np.isfinite(scores).sum())
        new = _promising(pieces, scores, min(left, share))
    known = np.flatnonzero(np.isfinite(scores))
    order = known[np.argsort(-scores[known], kind="stable")]
    return {int(place): float(scores[place]) for place in order}


def pieces_of(words: Sequence[str]) -> csr_matrix:
    """Which pieces stand in which words, `[word, piece]`; case aside.

    Args:
        words: At least one.
    """
    marked = np.array([f"^{word.lower()[:LETTERS]}$" for word in words])
    points: NDArray[np.uint32] = marked.view(np.uint32).reshape(len(words), -1)
    alphabet, letters = np.unique(points, return_inverse=True)
    letters = letters.reshape(points.shape)
    rows, names = [], []
    for number, size in enumerate(PIECES):
        # Columns of letters, the same window of every word; shorter words are padded with zeros.
        starts = points.shape[1] - size + 1
        name = np.full((len(words), max(0, starts)), number)
        for i in range(size):
            name = name * len(alphabet) + letters[:, i : i + starts]
        row, at = np.nonzero(points[:, size - 1 :])
        rows.append(row)
        names.append(name[row, at])
    kinds, columns = np.unique(np.concatenate(names), return_inverse=True)
    every = np.concatenate(rows)
    ones = np.ones(len(every), np.float32)
    return csr_matrix((ones, (every, columns)), shape=(len(words), len(kinds)))


def _promising(pieces: csr_matrix, scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Places of the words without a score whose predicted score is highest."""
    known, unknown = np.flatnonzero(np.isfinite(scores)), np.flatnonzero(np.isnan(scores))
    if not count:
        return unknown[:0]
    # How low a score is says nothing: what does not fire differs by the word.
    aims = np.maximum(scores[known], np.median(scores[known]))
    weights = lsqr(pieces[known], aims - aims.mean(), damp=DAMPING, iter_lim=STEPS)[0]
    order = np.argsort(-(pieces[unknown] @ weights), kind="stable")
    return unknown[order[:count]]
