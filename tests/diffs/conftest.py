"""A tiny base for the tests of diff training; each test leaves it as it was."""

import pytest


@pytest.fixture(scope="session")
def base(tiny):
    # Imported here, after the environment is set.
    from tests.toys import toy_base

    return toy_base(tiny)
