"""Names that become folders of a run: plain ones, and nothing that leads out of it."""

import pytest

from diffspeak.errors import UsageError
from diffspeak.experiments.inside import LONGEST, fault_of, inside


@pytest.mark.parametrize(
    "name", ["topics", "rank-1", "zero width", "a.b", "x..y", "\u00fcber", "CON", "a" * LONGEST]
)
def test_a_plain_name_is_a_folder(tmp_path, name):
    assert fault_of(name) is None
    assert inside(tmp_path, "stores", name) == tmp_path / "stores" / name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../x", "is a path"),
        ("../../../etc", "is a path"),
        ("/etc/x", "is a path"),
        ("a/b", "is a path"),
        ("a\\b", "is a path"),
        ("C:\\x", "is a path"),
        (".", "is a path"),
        ("..", "is a path"),
        (".lock", "begins with a dot"),
        ("a\nb", "control character"),
        ("a\x00b", "control character"),
        ("a\u202eb", "control character"),
        ("", "is blank"),
        (" ", "is blank"),
        ("a" * (LONGEST + 1), "is longer than 80 bytes"),
        ("\u00fc" * LONGEST, "is longer than 80 bytes"),
    ],
)
def test_anything_else_is_refused_with_the_reason(name, said):
    assert said in (fault_of(name) or "")


@pytest.mark.parametrize("parts", [("..",), ("stores", "../../x"), ("stores", "/etc")])
def test_no_part_leads_out_of_a_run(tmp_path, parts):
    with pytest.raises(UsageError, match="leads out of"):
        inside(tmp_path / "run", *parts)


def test_a_link_that_leads_out_of_a_run_is_refused_and_one_within_is_not(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    for folder in (run / "stores", other):
        folder.mkdir(parents=True)
    (run / "stores" / "away").symlink_to(other)
    (run / "stores" / "gone").symlink_to(tmp_path / "nowhere")
    (run / "stores" / "loop").symlink_to(run / "stores" / "loop")
    (run / "stores" / "home").symlink_to(run / "elsewhere")
    for name in ("away", "gone", "loop"):
        with pytest.raises(UsageError, match="remove the link"):
            inside(run, "stores", name)
    assert inside(run, "stores", "home") == run / "stores" / "home"
    (tmp_path / "linked").symlink_to(run)
    assert inside(tmp_path / "linked", "stores", "x") == tmp_path / "linked" / "stores" / "x"
