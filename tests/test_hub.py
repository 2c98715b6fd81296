"""What may be a name on the hub, and what cannot."""

import pytest

from diffspeak.errors import UsageError
from diffspeak.hub import HubId, hub_id


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        ("org/name", HubId("org/name", None, "")),
        ("org/name@v2:deep/er/", HubId("org/name", "v2", "deep/er")),
        ("a-b/c.d_e:f.pt", HubId("a-b/c.d_e", None, "f.pt")),
        ("name", None),
        ("a/b/c", None),
        ("./a", None),
        ("../a", None),
        ("a/..", None),
        ("a/.b", None),
        ("/a", None),
        ("org/name#key", None),
        ("\u043erg/name", None),
    ],
)
def test_the_parts_of_a_name(typed, parts):
    assert hub_id(typed) == parts


def test_a_subfolder_stays_inside():
    with pytest.raises(UsageError, match="may not leave its repository"):
        hub_id("org/name:a/../..")
