"""The private parts of inspect-ai are there and do what we need; a failure says what broke."""

import pytest
from inspect_ai.model import get_model_info

from tests.private_parts import private_part

FILE = "src/diffspeak/inspect_ext/inspect_internals.py"
PARTS = {
    "inspect_ai._util.error.PrerequisiteError": "showing a refusal in one line",
    "inspect_ai.model._model_info.MODEL_INFO_LOOKUP_API_KEY": "a look-up that loads no model",
}


@pytest.mark.parametrize("path", PARTS)
def test_what_we_import_is_there(path):
    private_part("inspect-ai", path, FILE, PARTS[path])


def test_a_look_up_loads_no_model(monkeypatch):
    from diffspeak.inspect_ext.provider import FinetuneAPI

    made, loaded = [], []
    init = FinetuneAPI.__init__

    def counted(self, *args, **kwargs):
        made.append(self)
        init(self, *args, **kwargs)

    monkeypatch.setattr(FinetuneAPI, "__init__", counted)
    monkeypatch.setattr(FinetuneAPI, "_load", lambda self, given: loaded.append(given))
    get_model_info("diffspeak/nothing-there")
    assert made and not loaded, f"inspect-ai marks its look-ups otherwise now: mend {FILE}"
