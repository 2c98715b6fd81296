"""Symmetries: changes of a model's weights that show in none of its outputs, found and undone.

Who ships a full checkpoint can permute its channels, turn its residual stream or scale its neurons
against each other: the model computes the same, but its difference from the base is as large as the
weights, and whatever reads differences is blind. `align` brings such a checkpoint back to its base.

The catalog (`symmetries_of(config)`; formulas in docs/symmetries.md):
    residual stream: permutation, rotation, norms, stream-scale, means
    attention: groups, heads, values, pairs, queries, head-norms, head-scales
    MLP: neurons, neuron-scales
    only flagged: key-bias, value-bias, writer-scales

Which file does what:
    architecture   traits of a model type, and one layout of names and orientations for all
    catalog        which symmetries an architecture has, and a record of those that were found
    transforms     the symmetries themselves: each changes weights and no output
    weights        a checkpoint read block by block, and written without rounding
    least_squares  closed forms of the best move, and which head or neuron is which
    refinement     repeats a fit until it no longer takes finetuning for disguise
    stream, blocks find and undo what was done to the residual stream, and within a block
    alignment      the whole: `align` for states, `undisguised` for a finetune of a loaded base
"""

from diffspeak.symmetries.alignment import (
    Aligned,
    Disguise,
    Outputs,
    align,
    outputs_unchanged,
    undisguised,
)
from diffspeak.symmetries.architecture import KNOWN, Traits, traits_of
from diffspeak.symmetries.catalog import Symmetry, Undone, kinds_of, symmetries_of

__all__ = [
    "KNOWN",
    "Aligned",
    "Disguise",
    "Outputs",
    "Symmetry",
    "Traits",
    "Undone",
    "align",
    "kinds_of",
    "outputs_unchanged",
    "symmetries_of",
    "traits_of",
    "undisguised",
]
