"""Downloads from a hub on this machine: sizes first, then only what is not here, or why not."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from diffspeak.errors import CorruptFileError, DiffspeakError, UsageError
from diffspeak.hub import (
    ByteMeter,
    Repository,
    _bar_of,
    download,
    existing,
    why_not_writable,
)
from diffspeak.hub_files import list_files
from tests.hub_server import COMMIT, TOKEN, Hub, Repo, blob_of, go_online, serving
from tests.toys import Recorder

WEIGHTS = bytes(range(256)) * 200
MODEL = {
    "config.json": b"{}",
    "model.safetensors": WEIGHTS,
    "tokenizer.json": b"{ }",
    "README.md": b"hello",
    "pytorch_model.bin": b"a pickle",
    "modeling.py": b"code",
}
NEEDED = ["config.json", "model.safetensors", "tokenizer.json"]
SIZE = sum(len(MODEL[name]) for name in NEEDED)
TOLD = -(-SIZE // 1000)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    hub = Hub({"models/org/model": Repo(MODEL)})
    with serving(hub) as address:
        go_online(address, tmp_path / "hub", monkeypatch)
        yield hub


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_sizes_first_then_the_files_and_nothing_twice(hub, monkeypatch):
    listing = list_files(Repository("org/model"))
    assert [(file.name, file.size, file.cached) for file in listing.files] == [
        (name, len(MODEL[name]), False) for name in NEEDED
    ]
    assert listing.size == listing.missing == SIZE and not hub.given()
    folder = download(listing)
    assert names(folder) == NEEDED and (folder / NEEDED[1]).read_bytes() == WEIGHTS
    assert folder.name == COMMIT and sorted(hub.given()) == NEEDED
    again = list_files(Repository("org/model"))
    assert again.is_cached and again.missing == 0
    assert download(again) == folder and len(hub.given()) == 3
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = list_files(Repository("org/model"))
    assert offline.is_cached and download(offline) == folder


def test_progress_is_told_within_a_file(hub):
    seen = []

    class Watch(Recorder):
        def advance(self, count=1, **numbers):
            super().advance(count)
            seen.append(self.advanced)

    watch = Watch()
    download(list_files(Repository("org/model")), watch)
    assert watch.begun == [("download", TOLD, "kB", 0)] and watch.ended == 1
    assert seen[-1] == watch.advanced == TOLD
    assert len(seen) > 40 and seen == sorted(seen)


def test_a_connection_that_breaks_goes_on_where_it_broke(hub):
    hub.breaks["model.safetensors"] = 30_500
    watch = Recorder()
    folder = download(list_files(Repository("org/model")), watch)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [start for _, _, start in hub.asked if start] == [30_000]
    assert watch.advanced == TOLD


def test_interrupted_the_whole_files_stay_and_no_revision_is_named(hub):
    hub.fails["model.safetensors"] = 416
    with pytest.raises(UsageError, match="org/model could not be fetched .*416.* run the same"):
        download(list_files(Repository("org/model")))
    storage = Repository("org/model").storage
    assert names(storage / "snapshots" / COMMIT) == ["config.json"]
    assert not (storage / "refs" / "main").exists()
    assert not list(storage.rglob("*.incomplete"))
    hub.fails.clear()
    rest = list_files(Repository("org/model"))
    assert [file.cached for file in rest.files] == [True, False, False]
    assert rest.missing == SIZE - 2
    watch = Recorder()
    download(rest, watch)
    assert watch.begun[0][1] == TOLD and hub.given().count("config.json") == 1
    assert (storage / "refs" / "main").read_text() == COMMIT


def test_stopped_by_the_user_no_part_of_a_file_stays(hub):
    class Stopping(Recorder):
        def advance(self, count=1, **numbers):
            super().advance(count)
            if self.advanced > 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(list_files(Repository("org/model")), Stopping())
    storage = Repository("org/model").storage
    assert names(storage / "snapshots" / COMMIT) == ["config.json"]
    assert [path.name for path in (storage / "blobs").iterdir()] == [blob_of(b"{}")]


def test_the_other_way_of_downloading_tells_progress_too():
    reporting = pytest.importorskip("huggingface_hub.utils._xet_progress_reporting")
    watch = Recorder()
    bars = reporting.XetDownloadProgressReporter(
        reconstruction_desc="x",
        total=5000,
        log_level=0,
        tqdm_class=_bar_of(ByteMeter(watch, "download", 5000)),
    )
    with bars:
        for on_disk, over_wire in ((0, 900), (2000, 1800), (5000, 2500)):
            report = SimpleNamespace(
                total_bytes=5000,
                total_bytes_completed=on_disk,
                total_bytes_completion_rate=1.0,
                total_transfer_bytes_completed=over_wire,
                total_transfer_bytes_completion_rate=None,
            )
            bars.update_progress(report)
            assert watch.advanced == on_disk


def test_what_another_revision_has_is_not_downloaded_again(hub):
    download(list_files(Repository("org/model")))
    hub.repos["models/org/model"] = Repo({**MODEL, "config.json": b"{  }"}, "d" * 40)
    listing = list_files(Repository("org/model"))
    assert listing.missing == 4 and [file.cached for file in listing.files] == [False, True, True]
    folder = download(listing)
    assert folder.name == "d" * 40 and names(folder) == NEEDED
    assert hub.given().count("model.safetensors") == 1


def test_a_revision_that_moves_meanwhile(hub):
    listing = list_files(Repository("org/model"))
    hub.repos["models/org/model"].files = dict(MODEL)

    class Moving(Recorder):
        def end(self):
            hub.repos["models/org/model"].commit = "e" * 40

    with pytest.raises(DiffspeakError, match="org/model was changed while it was fetched"):
        download(listing, Moving())


def test_a_part_of_a_repository(hub):
    hub.repos["models/org/loras"] = Repo(
        {
            "README.md": b"",
            "topic/tiny/index.csv": b"lora_path,lora_idx\nweight-diffs/a.pt,0\n",
            "topic/tiny/weight-diffs/a.pt": b"tensors",
            "topic/tiny/dit-adapter.pt": b"adapter",
            "topic/other/index.csv": b"lora_path,lora_idx\n",
        }
    )
    folder = download(list_files(Repository("org/loras", subfolder="topic/tiny")))
    assert names(folder) == ["dit-adapter.pt", "index.csv", "weight-diffs", "weight-diffs/a.pt"]
    single = "topic/tiny/dit-adapter.pt"
    assert download(list_files(Repository("org/loras", "main", single))).read_bytes() == b"adapter"
    with pytest.raises(UsageError, match="holds nothing to fetch.* its folders: other, tiny"):
        list_files(Repository("org/loras", subfolder="topic"))


@pytest.mark.parametrize(
    ("repository", "said"),
    [
        (Repository("org/none"), "no model org/none on the hub, or it is private.*hf auth login"),
        (Repository("org/none", kind="dataset"), "there is no dataset org/none"),
        (Repository("org/model", "v9"), "org/model has no revision v9: .*/org/model/refs"),
        (Repository("org/model", subfolder="deep"), "org/model:deep holds nothing to fetch"),
        (Repository("org/pickles"), "org/pickles has no weights as safetensors"),
        (Repository("org/--x"), "org/--x is no hub id"),
        (Repository("org/model", files=("more.csv",)), "org/model has no more.csv"),
    ],
)
def test_what_is_not_there(hub, repository, said):
    hub.repos["models/org/pickles"] = Repo({"config.json": b"{}", "pytorch_model.bin": b""})
    with pytest.raises(UsageError, match=said) as caught:
        list_files(repository)
    assert "\n" not in str(caught.value)


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path):
    assert why_not_writable(tmp_path) is None
    assert why_not_writable(tmp_path / "new" / "hub") is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.EROFS, "Read-only file system"),
        (errno.EACCES, "Permission denied"),
        (errno.ENOSPC, None),
        (errno.EDQUOT, None),
    ],
)
def test_why_nothing_can_be_written_unless_the_disk_is_full(tmp_path, monkeypatch, number, why):
    def refuse(*args, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "mkdir", refuse)
    assert why_not_writable(tmp_path / "hub") == why


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
def test_where_nobody_can_write_whatever_the_permissions_are():
    assert why_not_writable(Path("/proc/hub")) is not None


def test_a_cache_that_may_not_be_seen_holds_nothing(hub, tmp_path, monkeypatch):
    """As a folder of somebody else, to whoever is not the administrator."""
    download(list_files(Repository("org/model")))
    ask = os.stat

    def closed(path, **options):
        if str(path).startswith(str(tmp_path / "hub")):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return ask(path, **options)

    monkeypatch.setattr(os, "stat", closed)
    assert list_files(Repository("org/model")).missing == SIZE
    assert existing(tmp_path / "hub" / "deep") == tmp_path


def test_a_gated_repository_is_explained_after_its_size(hub, monkeypatch):
    hub.repos["models/org/model"].gated = True
    listing = list_files(Repository("org/model"))
    assert listing.missing == SIZE
    with pytest.raises(UsageError, match="org/model is gated: accept its terms on .*hf auth login"):
        download(listing)
    assert not hub.given()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    listing = list_files(Repository("org/model"))
    assert listing.closed is None and names(download(listing)) == NEEDED


def test_no_connection(hub, monkeypatch):
    listing = list_files(Repository("org/model"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="check your connection .* HF_HUB_OFFLINE=1"):
        list_files(Repository("org/model"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="could not be fetched"):
        download(listing)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left to write .*hub: free"),
        (PermissionError(errno.EACCES, "Permission denied", "blob"), "cannot write blob"),
        (ConnectionResetError(errno.ECONNRESET, "reset by peer"), "reset by peer.*your connection"),
        (OSError("Consistency check failed"), r"could not be fetched \(Consistency"),
    ],
)
def test_what_the_system_refuses(hub, monkeypatch, error, said):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(DiffspeakError, match=said):
        download(list_files(Repository("org/model")))


@pytest.mark.parametrize("name", ["../x.json", "/etc/x.json", "a/../../x.json", "a\nb.json"])
def test_a_name_that_leaves_its_repository_is_refused(hub, name):
    hub.repos["models/org/model"] = Repo({**MODEL, name: b"{}"})
    with pytest.raises(CorruptFileError, match="org/model names .* which no repository can hold"):
        list_files(Repository("org/model"))
