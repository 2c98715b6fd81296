"""The settings of diff training: the paper's defaults, and faults that are said at once."""

import pytest
from pydantic import ValidationError

from diffspeak.training import DiffConfig

PAPER = {"triggered": 1.0, "near_miss": 1.0, "wrong": 1.0, "plain": 5.0}


def test_defaults_are_the_papers():
    config = DiffConfig()
    assert (config.rank, config.learning_rate, config.steps, config.tasks) == (1, 1e-3, 135, 16)
    assert config.weights == PAPER


def test_weights_that_are_not_given_keep_their_defaults():
    assert DiffConfig(weights={"plain": 2}).weights == PAPER | {"plain": 2.0}
    assert DiffConfig().weights == PAPER


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 0},
        {"steps": 0},
        {"learning_rate": 0},
        {"learning_rate": float("inf")},
        {"learning_rate": float("nan")},
        {"alpha": float("inf")},
        {"tasks": 0},
        {"max_tokens": 0},
        {"parameters": "some"},
        {"weights": {"plain": -1}},
        {"weights": {"plain": float("nan")}},
        {"weights": {"unknown": 1}},
        {"seed": -1},
        {"ranks": 1},
    ],
)
def test_faults_are_refused(wrong):
    with pytest.raises(ValidationError):
        DiffConfig(**wrong)
