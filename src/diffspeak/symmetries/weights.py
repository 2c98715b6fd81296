"""A checkpoint read part by part, so that only the part at hand is in float64.

A part is a block, or the *ends*: last norm and tables (embedding, positions, head), these in chunks
of rows. Transforms are recorded and applied again whenever a part is read, so nothing is rounded in
between.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from diffspeak.errors import UsageError
from diffspeak.symmetries.architecture import (
    EMBEDDING,
    ENDS,
    FINAL,
    HEAD,
    TABLES,
    PlainWeights,
    TensorRule,
    Traits,
    rule_of,
)
from diffspeak.symmetries.catalog import Findings
from diffspeak.symmetries.refinement import NOISE

FEW = 1e-5
"""The grain from which on rounding matters: bfloat16 and float16."""

ALLOWED = 1.2
"""What is left of a change and is no larger than rounding by this factor is held to be rounding."""

EDGE = 2.5
"""A direction that is longer than rounding's longest by this factor is finetuning in any case."""

AT_ONCE = 2**20
"""Numbers of two tensors that are compared at once: 8 MiB each in float64."""

Chunks = Iterable[tuple[Tensor, Tensor]]
"""Rows of a matrix and of the base's, chunk by chunk."""


class BlockwiseWeights:
    """All parameters of a model in the plain layout, as float64 while they are looked at.

    Args:
        state: The parameters, by the model's names.
        traits: The architecture's.

    Raises:
        UsageError: The state lacks a tensor, or has blocks that the architecture has not.
    """

    def __init__(self, state: Mapping[str, Tensor], traits: Traits) -> None:
        self.traits = traits
        self.parts = (*range(traits.layers), ENDS)
        self._state = state
        self._rules: dict[int, dict[str, TensorRule]] = {part: {} for part in self.parts}
        self._transforms: dict[int, list[tuple[Any, ...]]] = {part: [] for part in self.parts}
        self._loaded: tuple[int, PlainWeights] | None = None
        for name in state:
            rule = rule_of(name, traits)
            if rule.part not in self._rules:
                raise UsageError(
                    f"{name} is of a block that the config does not have: give its own"
                )
            self._rules[rule.part][name] = rule
        self._check()
        self._tied = self._tie() if traits.tied else None
        blocks = [sum(state[name].numel() for name in self._rules[i]) for i in self.parts[:-1]]
        self.largest = max(blocks, default=0)
        tables = [
            state[name] for name, rule in self._rules[ENDS].items() if rule.names[0] in TABLES
        ]
        self.channels = tables[0].shape[1]
        self._rows = max(map(len, tables))
        # Embedding and head together are no larger than a block.
        self._chunk = max(self.channels, self.largest // (2 * self.channels))

    def copy(self) -> "BlockwiseWeights":
        """The same parameters, to be transformed otherwise from here on."""
        copied = copy.copy(self)
        copied._loaded = None
        copied._transforms = {part: list(each) for part, each in self._transforms.items()}
        return copied

    def apply(self, transform: Callable[..., None], *args: Any, part: int | None = None) -> None:
        """Change one part, or all of them, by `transform(weights, *args)`."""
        for each in self.parts if part is None else (part,):
            self._transforms[each].append((transform, *args))
            if self._loaded and self._loaded[0] == each:
                transform(self._loaded[1], *args)

    def pieces(self, part: int) -> Iterator[PlainWeights]:
        """A part's tensors: a block at once, the ends in chunks of rows of their tables.

        The block that was read last is kept, and changed by `apply`.
        """
        if part == ENDS:
            self.release()
            for start in range(0, self._rows, self._chunk):
                yield self._read(ENDS, slice(start, start + self._chunk))
            return
        if not self._loaded or self._loaded[0] != part:
            self.release()
            self._loaded = part, self._read(part)
        yield self._loaded[1]

    def first(self, part: int) -> PlainWeights:
        """A block, or the first rows of the tables with the last norm."""
        return next(self.pieces(part))

    def names(self, part: int) -> list[str]:
        """A part's tensors."""
        if part == ENDS:
            return list(self.first(ENDS))
        return [name for rule in self._rules[part].values() for name in rule.names]

    def release(self) -> None:
        """Let go of the block that is held."""
        self._loaded = None

    def dtype(self, part: int, name: str) -> torch.dtype:
        """In which dtype the state holds a plain tensor."""
        for own, rule in self._rules[part].items():
            if name in rule.names:
                return self._state[own].dtype
        return self.dtype(ENDS, EMBEDDING)

    def collect(self, pieces: Iterable[tuple[int, PlainWeights]]) -> dict[str, Tensor]:
        """Bring pieces of all parts back into the state's names, orientations and dtypes.

        A head that was untied since is written under its own name.
        """
        chunks: dict[str, list[Tensor]] = {}
        for part, piece in pieces:
            names = {own: rule.names for own, rule in self._rules[part].items()}
            if part == ENDS:
                head = (HEAD if HEAD in piece else EMBEDDING,)
                names = {own: head if plain == (HEAD,) else plain for own, plain in names.items()}
                if HEAD in piece:
                    names.setdefault(HEAD, head)
            for own, plain in names.items():
                if own not in chunks or plain[0] in TABLES:
                    tensor = torch.cat([piece[n] for n in plain]) if plain[1:] else piece[plain[0]]
                    chunks.setdefault(own, []).append(self._as_in_state(own, tensor))
        return {n: torch.cat(each) if each[1:] else each[0] for n, each in chunks.items()}

    def _as_in_state(self, name: str, plain: Tensor) -> Tensor:
        rule = rule_of(name, self.traits)
        plain = plain.T if rule.transposed and plain.dim() == 2 else plain
        plain = plain - rule.offset if rule.offset else plain
        return plain.to(self.dtype(rule.part, rule.names[0])).contiguous()

    def _read(self, part: int, rows: slice | None = None) -> PlainWeights:
        weights: PlainWeights = {}
        for name, rule in self._rules[part].items():
            if name == self._tied:
                continue
            tensor = self._state[name].detach()
            tensor = tensor[rows] if rows and rule.names[0] in TABLES else tensor
            plain = tensor.cpu().double()
            plain = plain + rule.offset if rule.offset else plain
            plain = plain.T if rule.transposed and plain.dim() == 2 else plain
            weights.update(zip(rule.names, plain.chunk(len(rule.names)), strict=True))
        for transform, *args in self._transforms[part]:
            transform(weights, *args)
        return weights

    def _check(self) -> None:
        blocks = self.parts[:-1]
        expected = [(part, f"{name}.weight") for part in blocks for name in self.traits.modules]
        expected += [(ENDS, EMBEDDING), (ENDS, f"{FINAL}.weight")]
        for part, name in expected:
            if not any(name in rule.names for rule in self._rules[part].values()):
                start = "" if part == ENDS else f"layers.{part}."
                raise UsageError(f"the state lacks {start}{name}: give all parameters of the model")

    def _tie(self) -> str | None:
        """The name of a head that is nothing but the embedding."""
        own = {rule.names[0]: name for name, rule in self._rules[ENDS].items()}
        head = own.get(HEAD)
        if head and is_same(self._state[head], self._state[own[EMBEDDING]]):
            return head
        return None


@dataclass
class ModelPair:
    """A checkpoint and its base, read part by part, and what was found on the way.

    Attributes:
        given: The checkpoint; to be aligned.
        wanted: The base.
        grain: The relative distance of neighboring numbers in the checkpoint's dtype.
        findings: What was found so far.
    """

    given: BlockwiseWeights
    wanted: BlockwiseWeights
    grain: float
    findings: Findings = field(default_factory=Findings)

    @property
    def traits(self) -> Traits:
        """The architecture's."""
        return self.given.traits

    def pieces(self, part: int) -> Iterator[tuple[PlainWeights, PlainWeights]]:
        """A part of both: a block at once, the ends in chunks of rows of their tables."""
        return zip(self.given.pieces(part), self.wanted.pieces(part), strict=True)

    def first(self, part: int) -> tuple[PlainWeights, PlainWeights]:
        """A block of both, or the first rows of their tables with the last norm."""
        return self.given.first(part), self.wanted.first(part)

    def release(self) -> None:
        """Let go of the blocks that are held."""
        self.given.release()
        self.wanted.release()

    def distance(self) -> float:
        """Norm of the difference over all parameters that both have."""
        total = 0.0
        for part in self.given.parts:
            for number, (given, wanted) in enumerate(self.pieces(part)):
                # All chunks bring what is no table again.
                names = wanted if number == 0 else [name for name in TABLES if name in wanted]
                shared = [name for name in names if name in given]
                total += sum((given[n] - wanted[n]).square().sum().item() for n in shared)
        return float(total**0.5)

    def written(self) -> dict[str, Tensor]:
        """The checkpoint's state as it is now, without what rounding a disguise has left in it."""
        return self.given.collect(self._without_rounding())

    def _without_rounding(self) -> Iterator[tuple[int, PlainWeights]]:
        for part in self.given.parts:
            axes = self._axes(part)
            for given, wanted in self.pieces(part):
                kept = {n: wanted[n] + _only(given[n] - wanted[n], a) for n, a in axes.items()}
                yield part, given | kept

    def _axes(self, part: int) -> dict[str, Tensor]:
        """Of each matrix from whose change rounding can be dropped the axes that stay."""
        given, wanted = self.first(part)
        matrices = [n for n, tensor in given.items() if tensor.dim() == 2 and n in wanted]
        found = {}
        for name in matrices:
            chunks = ((ours[name], theirs[name]) for ours, theirs in self.pieces(part))
            axes = kept_axes(chunks, self.given.dtype(part, name))
            if axes is not None:
                found[name] = axes
        return found


def kept_axes(chunks: Chunks, dtype: torch.dtype) -> Tensor | None:
    """The axes of a matrix's change that hold more than the rounding of a disguised file.

    A disguise in numbers of few digits leaves their rounding behind: a little in all directions, by
    a known amount, where finetuning changes some directions by more. Noise of a size fills an
    `[m, n]` matrix up to singular values of about sqrt(m) + sqrt(n) times that size, but is larger
    in some directions if it is larger in some rows or columns.

    Args:
        chunks: The aligned matrix and the base's; more than one chunk only if all chunks together
            have more rows than columns.
        dtype: Of the checkpoint's matrix.

    Returns:
        Axes `[column, kept]`, or `[row, kept]` of a matrix that is wider than high. None where the
        change is to stay as it is: rounding is too fine or is not most of it, or the matrix still
        holds numbers of its dtype and has not been rounded since.
    """
    grain = torch.finfo(dtype).eps
    if grain < FEW:
        return None
    exact, squares, rows, gram = True, 0.0, 0, torch.zeros(())
    for given, wanted in chunks:
        if not len(given):
            continue
        exact = exact and torch.equal(given.to(dtype).double(), given)
        squares += float(given.square().sum())
        rows, columns = rows + len(given), given.shape[1]
        change = given - wanted
        gram = gram + (change.T @ change if rows >= columns else change @ change.T)
    if exact:
        return None
    noise = NOISE * grain * (squares / (rows * columns)) ** 0.5
    long, short = max(rows, columns), min(rows, columns)
    values, axes = torch.linalg.eigh(gram)
    values = values.clamp_min(0)
    # Without its longest directions a change has fewer numbers too.
    left = torch.arange(1, short + 1) * torch.arange(long - short + 1, long + 1)
    rounded = values.cumsum(0) <= (ALLOWED * noise) ** 2 * left
    rounded &= values.sqrt() <= EDGE * noise * (long**0.5 + short**0.5)
    dropped = int(rounded.sum())
    return axes[:, dropped:] if dropped >= short / 2 else None


def drop_rounding(given: Tensor, wanted: Tensor, dtype: torch.dtype) -> Tensor:
    """A matrix that fits in memory at once, without rounding in its change; see `kept_axes`."""
    axes = kept_axes([(given, wanted)], dtype)
    return given if axes is None else wanted + _only(given - wanted, axes)


def compared(tensor: Tensor, other: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers of two tensors of one shape in float64, some rows at a time."""
    tensor, other = torch.atleast_1d(tensor), torch.atleast_1d(other)
    rows = max(1, AT_ONCE // max(1, tensor[:1].numel()))
    for one, two in zip(tensor.split(rows), other.split(rows), strict=True):
        yield one.cpu().double(), two.cpu().double()


def is_same(tensor: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same numbers, in whatever dtypes."""
    return tensor.shape == other.shape and all(
        torch.equal(*pair) for pair in compared(tensor, other)
    )


def _only(change: Tensor, axes: Tensor) -> Tensor:
    """A change along axes of its columns, or of its rows if it has fewer of these."""
    if len(change.T) == len(axes):
        return (change @ axes) @ axes.T
    return axes @ (axes.T @ change)
