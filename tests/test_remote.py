"""Files behind an address: listing, copies, and names that lead outside."""

import fsspec
import pytest

from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.io.remote import list_names, local_path


@pytest.fixture
def remote():
    """A fresh folder in fsspec's memory file system."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    system.pipe({"/there/a.json": b"1", "/there/deep/b.bin": b"2"})
    yield system
    system.store.clear()


def test_a_plain_path_is_itself(tmp_path):
    assert local_path(str(tmp_path / "x")) == tmp_path / "x"
    (tmp_path / "x").touch()
    assert list_names(str(tmp_path)) == ["x"]


def test_a_remote_folder_is_copied_and_follows_changes(tmp_path, remote):
    cache = tmp_path / "cache"
    copy = local_path("memory://there", cache)

    def content():
        return {str(p.relative_to(copy)): p.read_bytes() for p in copy.rglob("*") if p.is_file()}

    assert content() == {"a.json": b"1", "deep/b.bin": b"2"}
    remote.pipe("/there/a.json", b"new")
    remote.rm("/there/deep/b.bin")
    assert local_path("memory://there", cache) == copy
    assert content() == {"a.json": b"new"}


def test_a_remote_file_is_fetched_once_while_it_stays_the_same(tmp_path, remote, monkeypatch):
    fetched = []
    get = type(remote).get_file
    monkeypatch.setattr(
        type(remote), "get_file", lambda self, *a, **k: (fetched.append(a[0]), get(self, *a, **k))
    )
    for _ in range(3):
        copy = local_path("memory://there/a.json", tmp_path)
        assert (copy.name, copy.read_bytes()) == ("a.json", b"1")
    assert fetched == ["/there/a.json"]
    copy.unlink()
    assert local_path("memory://there/a.json", tmp_path).read_bytes() == b"1"


def test_file_urls_are_listed_and_copied(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").write_text("1")
    url = f"file://{tmp_path}/there"
    assert list_names(url) == ["a"]
    copy = local_path(url, tmp_path / "cache")
    assert (copy / "a").read_text() == "1"
    assert copy.is_relative_to(tmp_path / "cache")


@pytest.mark.parametrize(
    "name", ["/there/../../escaped", "/elsewhere/x", "/there/..", "/there/a\\..\\b", "../x"]
)
def test_a_listed_name_may_not_leave_its_folder(tmp_path, remote, monkeypatch, name):
    monkeypatch.setattr(type(remote), "find", lambda *_a, **_k: ["/there/a.json", name])
    monkeypatch.setattr(type(remote), "ls", lambda *_a, **_k: ["/there/a.json", name])
    with pytest.raises(CorruptFileError, match="outside"):
        local_path("memory://there", tmp_path / "cache")
    with pytest.raises(CorruptFileError, match="outside"):
        list_names("memory://there")
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize("source", ["memory://nowhere", "nosuchscheme://x", "file:///nowhere/x"])
def test_what_cannot_be_reached_is_a_usage_error(tmp_path, remote, source):
    with pytest.raises(UsageError, match=source):
        local_path(source, tmp_path)
    with pytest.raises(UsageError, match=source):
        list_names(source)


def test_copies_go_to_the_users_cache_by_default(tmp_path, remote, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert local_path("memory://there/a.json").is_relative_to(tmp_path / "diffspeak")
