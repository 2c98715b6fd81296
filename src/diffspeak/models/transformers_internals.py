"""The private parts of transformers that we use, all of them here.

transformers may change them in any release: pyproject.toml bounds it above, and
tests/models/test_transformers_internals.py says what broke.
"""

from transformers import PreTrainedModel


def attention_of(model: PreTrainedModel) -> str | None:
    """The attention implementation that a model computes with, such as `sdpa`."""
    found: str | None = model.config._attn_implementation
    return found
