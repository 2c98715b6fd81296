"""A tiny base, a store of random finetunes of it, and an adapter trained on them.

What needs transformers is imported in the fixtures, after the environment is set.
"""

import pytest


@pytest.fixture(scope="session")
def store(base, tmp_path_factory):
    """Five training finetunes, one held out for validation, one that failed."""
    from tests.toys import LABELS, toy_store

    labels = {f"toy-{n}": label for n, label in enumerate((*LABELS, "a bridge", "lost"))}
    return toy_store(
        tmp_path_factory.mktemp("adapter") / "store",
        base,
        labels,
        splits={"toy-5": "validation"},
        failed=["toy-6"],
    )


@pytest.fixture(scope="session")
def done(base, store, tmp_path_factory):
    """An uninterrupted run: (folder, adapter, reporter)."""
    from diffspeak.training import train_adapter
    from tests.toys import Recorder
    from tests.training.runs import CONFIG

    folder = tmp_path_factory.mktemp("done") / "adapter"
    reporter = Recorder()
    adapter = train_adapter(base, [store], CONFIG, folder, reporter)
    return folder, adapter, reporter
