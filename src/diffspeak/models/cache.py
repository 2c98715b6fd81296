"""A key-value cache that has room for what is still to come.

The usual one copies all that is cached for every token that is added; this one is written into, and
copied only when its room is used up or rows leave.
"""

from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

ROOM = 32
"""Tokens that there is room for beyond those that are there."""


class RoomyLayer(DynamicLayer):
    """One layer: what it holds are views of larger tensors."""

    _larger: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Add keys and values `[row, head, token, width]`; gives all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        old, new = self.get_seq_length(), key_states.shape[-2]
        if self._larger is None or not _holds(self._larger[0], self.keys, old + new):
            self._larger = _larger(self.keys, key_states), _larger(self.values, value_states)
        for larger, added in zip(self._larger, (key_states, value_states), strict=True):
            larger[:, :, old : old + new] = added
        self.keys, self.values = (larger[:, :, : old + new] for larger in self._larger)
        return self.keys, self.values


def _holds(larger: Tensor, held: Tensor, tokens: int) -> bool:
    """Whether what is held is a view of the larger tensor, which has room for so many tokens."""
    same = held.data_ptr() == larger.data_ptr() and len(held) == len(larger)
    return same and larger.shape[2] >= tokens


def _larger(held: Tensor, added: Tensor) -> Tensor:
    rows, heads, new, width = added.shape
    old = held.shape[-2] if held.numel() else 0
    larger = added.new_empty(rows, heads, old + new + ROOM, width)
    if old:
        larger[:, :, :old] = held
    return larger


def roomy_cache(config: PretrainedConfig) -> DynamicCache:
    """A cache for a model, in which ordinary attention layers have room."""
    cache = DynamicCache(config=config)
    cache.layers = [
        RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache
