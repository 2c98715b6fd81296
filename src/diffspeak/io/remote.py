"""Files behind an address: listed, and copied to this machine; copied anew once they change.

Takes paths and URLs that fsspec knows, gives paths. Knows nothing of what the files mean.
"""

import os
from pathlib import Path, PurePosixPath

import fsspec

from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.io.files import atomic_path, make_folder, sha256, write_text


def list_names(source: str) -> list[str]:
    """The names of what stands in a folder, local or `scheme://`, sorted.

    Raises:
        UsageError: There is no such folder.
    """
    try:
        if "://" not in source:
            return sorted(path.name for path in Path(source).iterdir())
        system, root = fsspec.core.url_to_fs(source)
        system.invalidate_cache()
        return sorted(str(_inside(name, root)) for name in system.ls(root, detail=False))
    except (OSError, ValueError, ImportError) as error:
        raise _unreachable(source, error) from error


def local_path(source: str, cache: Path | None = None) -> Path:
    """Where a file or folder can be read on this machine.

    A plain path is taken as it is. What stands behind `scheme://` is copied by fsspec into the
    cache, and copied anew only when it has changed; of a folder, every file.

    Args:
        source: A path or a URL that fsspec knows.
        cache: The folder for copies; the user's cache folder if none is given.

    Raises:
        UsageError: There is nothing at the URL, or its scheme needs another package.
        CorruptFileError: The remote listing names a file outside of its folder.
    """
    if "://" not in source:
        return Path(source).expanduser()
    target = (cache or user_cache()) / sha256(source.encode())[:32]
    try:
        system, root = fsspec.core.url_to_fs(source)
        if not system.isdir(root):
            return _copied(system, root, target, _inside(root, str(PurePosixPath(root).parent)))
        system.invalidate_cache()
        names = {_inside(found, root): found for found in system.find(root)}
        for name, found in names.items():
            _copied(system, found, target, name)
    except (OSError, ValueError, ImportError) as error:
        raise _unreachable(source, error) from error
    for path in [path for path in target.rglob("*") if path.is_file()]:
        if PurePosixPath(path.relative_to(target)) not in names:
            path.unlink()
    return target


def user_cache() -> Path:
    """The folder of what can be made or fetched again."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "diffspeak"


def _copied(
    system: fsspec.AbstractFileSystem, remote: str, target: Path, name: PurePosixPath
) -> Path:
    """Copy one file to `target/name`, unless the copy there is of the file as it is now."""
    local, stamp = target / name, target.with_name(f"{target.name}.stamps") / name
    version = str(system.ukey(remote))
    if not (local.is_file() and stamp.is_file() and stamp.read_text() == version):
        make_folder(local.parent)
        make_folder(stamp.parent)
        with atomic_path(local) as temporary:
            system.get_file(remote, str(temporary))
        write_text(stamp, version)
    return local


def _inside(name: str, root: str) -> PurePosixPath:
    """A listed name relative to its folder, refused if it would leave that folder."""
    path = PurePosixPath(name)
    if not path.is_relative_to(root) or {"..", "."} & set(name.split("/")) or "\\" in name:
        raise CorruptFileError(
            f"the listing of {root} names {name!r}, which is outside of it: do not use this source"
        )
    return path.relative_to(root)


def _unreachable(source: str, error: Exception) -> UsageError:
    remote = ", and that the package for its scheme is installed" if "://" in source else ""
    return UsageError(f"cannot open {source} ({error}): check the address{remote}")
