"""What `import diffspeak` gives: every public name, and nothing heavy before it is asked for."""

import subprocess
import sys

import pytest

import diffspeak


@pytest.mark.parametrize("name", diffspeak.__all__)
def test_every_public_name_is_there(name):
    found = getattr(diffspeak, name)
    assert found.__name__ == name and found.__doc__
    assert name in dir(diffspeak)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        diffspeak.nothing  # noqa: B018


def test_the_import_is_light():
    code = "import sys, diffspeak; print('torch' in sys.modules, diffspeak.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", diffspeak.__version__]
