"""Low-rank factors, a linear with one diff per row and one shared adapter, attach and detach."""

from diffspeak.lora.attach import Attachment, ShapeOf, attach, select
from diffspeak.lora.factors import Diff, LowRank, concatenate, from_dense, stack, stack_diffs
from diffspeak.lora.linear import DiffLinear, LinearShape, linear_shape, random_factors

__all__ = [
    "Attachment",
    "Diff",
    "DiffLinear",
    "LinearShape",
    "LowRank",
    "ShapeOf",
    "attach",
    "concatenate",
    "from_dense",
    "linear_shape",
    "random_factors",
    "select",
    "stack",
    "stack_diffs",
]
