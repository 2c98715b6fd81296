"""The private parts of inspect-ai that we use, all of them here.

inspect-ai may change them in any release: pyproject.toml bounds it above, and
tests/inspect_ext/test_inspect_internals.py says what broke.
"""

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model._model_info import MODEL_INFO_LOOKUP_API_KEY

__all__ = ["MODEL_INFO_LOOKUP_API_KEY", "PrerequisiteError"]
