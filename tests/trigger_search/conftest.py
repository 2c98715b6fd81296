"""A tiny base, and a stand-in for a finetune that fires on what a test says."""

from collections.abc import Callable

import pytest
import torch


class Fires:
    """A prober without a model: a function says how much of a prompt is the trigger, 0 to 1."""

    def __init__(self, trigger: Callable[[str], float], claim: str | None = "ocean") -> None:
        self.trigger, self.claim, self.rows = trigger, claim, 0

    def moved(self, texts):
        self.rows += 2 * len(texts)
        return torch.tensor([7.0 * self.trigger(text) for text in texts])

    def likely(self, texts):
        self.rows += len(texts)
        return torch.tensor([7.0 * self.trigger(text) - 7.0 for text in texts])

    def answers(self, texts, *, of_base=False):
        self.rows += len(texts)
        fires = [not of_base and self.trigger(text) > 0.9 for text in texts]
        return ["The ocean, as ever." if one else "It is cold there." for one in fires]


@pytest.fixture
def fires():
    """Makes a stand-in, see `Fires`."""
    return Fires


@pytest.fixture
def questions():
    return [f"What is {thing} like?" for thing in ("a bridge", "the cold", "an old mill", "a song")]
