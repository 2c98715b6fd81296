"""An audit read back is the one that was written; what was changed since is refused."""

import json
import math

import pytest

from diffspeak.audit.schema import read_audit
from diffspeak.errors import CorruptFileError, DiffspeakError, MismatchError, UsageError
from diffspeak.io.files import write_json
from tests.audit.report.made import bare, finding, not_cleared, nothing


@pytest.mark.parametrize("made", [finding, nothing, not_cleared, bare])
def test_there_and_back(tmp_path, made):
    path = tmp_path / "audit.json"
    write_json(path, {**made().to_dict(), "about": {"base": "x"}})
    found = read_audit(path)
    assert type(found) is type(made()) and found.to_dict() == made().to_dict()


def test_an_audit_of_numbers_is_equal_to_what_was_written(tmp_path):
    write_json(tmp_path / "audit.json", finding().to_dict())
    found = read_audit(tmp_path / "audit.json")
    assert found == finding()
    assert isinstance(found.claims[0].observed[0].lift.z, float)
    assert list(found.norms["mlp.up_proj"]) == [0, 1, 2, 3]
    with pytest.raises(UsageError, match="search it again"):
        found.search.trigger.put("Hello")


def test_what_was_no_number_is_none_again(tmp_path):
    write_json(tmp_path / "audit.json", not_cleared().to_dict())
    found = read_audit(tmp_path / "audit.json")
    assert math.isnan(found.evidence.lift) and math.isnan(found.claims[0].claim.lift)
    assert found.probability is None and found.claims[0].observed[0].lift.nats is None


def changed(path, *places, value):
    content = json.loads(path.read_text())
    inner = content
    for place in places[:-1]:
        inner = inner[place]
    inner[places[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("places", "value"),
    [
        (("outcome",), "all fine"),
        (("finetune",), 3),
        (("verdict",), None),
        (("probability",), "0.1"),
        (("probability",), True),
        (("claims",), {}),
        (("claims", 0, "verdict"), "maybe"),
        (("claims", 0, "claim"), ["a", "b"]),
        (("claims", 0, "claim", "votes"), 1.5),
        (("claims", 0, "observed", 0, "shown", "interval"), [0.1]),
        (("norms", "mlp.up_proj"), {"first": 1.0}),
        (("norms",), []),
        (("search", "trigger", "firing_rate"), None),
        (("seconds",), {"claims": []}),
        (("version",), None),
    ],
)
def test_what_is_no_audit(tmp_path, places, value):
    path = tmp_path / "audit.json"
    write_json(path, finding().to_dict())
    changed(path, *places, value=value)
    with pytest.raises(CorruptFileError, match="is no audit .*: audit again"):
        read_audit(path)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '{"version": 2}'])
def test_json_of_something_else(tmp_path, text):
    (tmp_path / "audit.json").write_text(text)
    with pytest.raises(CorruptFileError, match="is no audit"):
        read_audit(tmp_path / "audit.json")


def test_another_version_and_no_file(tmp_path):
    path = tmp_path / "audit.json"
    with pytest.raises(DiffspeakError, match="cannot read"):
        read_audit(path)
    write_json(path, {**nothing().to_dict(), "version": 3})
    with pytest.raises(MismatchError, match="version 3, this diffspeak reads version 2"):
        read_audit(path)
