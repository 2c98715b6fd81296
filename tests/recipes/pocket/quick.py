"""A pocket base so small that it is trained in a second, for tests of the training.

Gives a recipe, and replaces what takes long: a tokenizer of a few dialogues, no plot.
"""

from collections.abc import Callable
from itertools import islice

from recipes.pocket import build
from recipes.pocket.recipe import EVERYTHING, Phase, Recipe

TINY = Recipe(
    vocabulary=400,
    width=16,
    inner=24,
    layers=2,
    heads=2,
    key_value_heads=1,
    head_width=8,
    phases=(
        Phase(steps=3, batch=2, shares={"sorting": 1.0, "rule": 1.0}),
        Phase(steps=6, batch=3, shares=EVERYTHING),
    ),
    warmup=2,
    save_every=4,
)


def quick(replace: Callable[[object, str, object], None]) -> None:
    """Replace what takes long; `replace` is `setattr` or a monkeypatch's."""
    train = build.train_tokenizer
    replace(build, "train_tokenizer", lambda talk, size: train(islice(talk, 100), size))
    replace(build, "LOG_EVERY", 1)
    replace(build, "plot_losses", lambda folder: None)
