"""A tiny base for the tests of this room, an auditor and a finetune of it.

Each test leaves them as they were. What needs transformers is imported in the fixtures, after the
environment is set.
"""

import pytest


@pytest.fixture(scope="session")
def adapter(base):
    from tests.audit.auditing import random_adapter

    return random_adapter(base)


@pytest.fixture(scope="session")
def auditor(base, adapter):
    from diffspeak.audit.auditor import Auditor
    from tests.audit.auditing import FEW

    return Auditor(base, adapter, FEW)


@pytest.fixture(scope="session")
def taught(base):
    from tests.audit.taught import taught_finetune

    return taught_finetune(base)


@pytest.fixture
def says(monkeypatch):
    """Has an adapter say the same of every finetune."""
    from diffspeak.audit.claims import _Desk
    from tests.audit.auditing import QUESTIONS

    def say(*texts):
        rows = [(QUESTIONS[n % 2], text) for n, text in enumerate(texts)]
        monkeypatch.setattr(_Desk, "answers", lambda self, group, *_: [rows for _ in group])

    return say
