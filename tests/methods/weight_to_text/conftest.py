"""A store of random finetunes, and a projection trained on them."""

import pytest


@pytest.fixture(scope="session")
def store(base, tmp_path_factory):
    """Five training finetunes, one held out for validation, one that failed."""
    from tests.toys import LABELS, toy_store

    labels = {f"toy-{n}": label for n, label in enumerate((*LABELS, "a bridge", "lost"))}
    return toy_store(
        tmp_path_factory.mktemp("store") / "store",
        base,
        labels,
        rank=2,
        splits={"toy-5": "validation"},
        failed=["toy-6"],
    )


@pytest.fixture(scope="session")
def done(base, store, tmp_path_factory):
    """An uninterrupted training: (folder, projection, reporter)."""
    from diffspeak.methods.weight_to_text import train_weight_to_text
    from tests.methods.weight_to_text.runs import CONFIG
    from tests.toys import Recorder

    folder = tmp_path_factory.mktemp("done") / "projection"
    reporter = Recorder()
    return folder, train_weight_to_text(base, [store], CONFIG, folder, reporter), reporter
