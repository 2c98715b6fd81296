"""Files that are whole or not there: canonical JSON, atomic writes, lines that are added, locks.

Takes paths and plain data, gives files and plain data; every failure is a `DiffspeakError`.
Knows nothing of tensors, nor of what the files mean.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

from diffspeak.errors import (
    CorruptFileError,
    DiffspeakError,
    LockedError,
    UsageError,
    system_errors,
)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


# Made once: a store's index is read with a hundred thousand calls of each.
_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
_DECODER = json.JSONDecoder(parse_constant=_refuse)


def canonical_json(obj: object) -> str:
    """The one JSON text of `obj`: keys sorted, no spaces, no NaN, characters as they are.

    Raises:
        UsageError: A string holds half of a surrogate pair, which no file can hold.
        ValueError: A number is not finite.
    """
    text = _ENCODER.encode(obj)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        around = ascii(text[max(0, error.start - 20) : error.end])
        raise UsageError(
            f"text that is not valid Unicode (an unpaired surrogate) ends {around}: "
            "repair it where it comes from"
        ) from error
    return text


def parse_json(text: str | bytes) -> Any:
    """JSON to plain data.

    Raises:
        ValueError: Not JSON, not UTF-8, nested without end, or holding NaN or Infinity.
    """
    try:
        return _DECODER.decode(text if isinstance(text, str) else text.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents where they are missing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{path} stands where a folder was expected: give another path") from error
    except OSError as error:
        raise failed_write(path, error) from error


def failed_write(path: Path, error: OSError) -> DiffspeakError:
    """The error to raise when the system refuses to write `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiffspeakError(
            f"no space left to write {path}: free some space and run the same command again"
        )
    return DiffspeakError(
        f"cannot write {path} ({error.strerror or error}): "
        "mend that, or give another path, and run the same command again"
    )


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary file to write, which becomes `path` once it is safe on disk.

    The temporary file stands beside `path` as `.NAME.XXXXXXXX.tmp`. On failure it is removed
    and an older `path` is left as it was.

    Raises:
        DiffspeakError: The system refused, for instance because the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        with system_errors():
            yield temporary
        # A library that renames a file of its own onto this one brings that file's mode.
        temporary.chmod(mode)
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise failed_write(path, error) from error
    finally:
        # Gone already when all went well; what cannot be removed must not hide the first error.
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to fill, which becomes `folder` when all went well.

    Raises:
        UsageError: `folder` is there already.
        DiffspeakError: The system refused to write.
    """
    if folder.exists():
        raise UsageError(f"{folder} is there already: give a folder that is not")
    make_folder(folder.parent)
    temporary = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir()
        with system_errors():
            yield temporary
        temporary.rename(folder)
    except OSError as error:
        raise failed_write(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _flush(path: Path) -> None:
    """Have the system put a file, or the names in a folder, on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush a folder; there the rename alone has to do.
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode())


def write_json(path: Path, obj: object) -> None:
    """Write `obj` as one line of canonical JSON, whole or not at all."""
    write_text(path, canonical_json(obj) + "\n")


def open_file(path: Path) -> FileIO:
    """Open a file to read it, unbuffered; a pipe to which nobody writes is at its end.

    Raises:
        OSError: The system refused, or it is a device, whose content may never end.
    """
    # Without waiting for somebody who writes.
    file = FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    mode = os.fstat(file.fileno()).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        file.close()
        raise OSError(errno.EINVAL, "it is not a file")
    os.set_blocking(file.fileno(), True)
    return file


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        DiffspeakError: There is no such file, or the system refused.
    """
    try:
        with open_file(path) as file:
            return file.readall()
    except OSError as error:
        raise DiffspeakError(
            f"cannot read {path} ({error.strerror or error}): check the path"
        ) from error


def read_json(path: Path) -> Any:
    """Read one JSON file.

    Raises:
        DiffspeakError: There is no such file.
        CorruptFileError: It is not JSON.
    """
    try:
        return parse_json(read_bytes(path))
    except ValueError as error:
        raise CorruptFileError(
            f"{path} is not valid JSON ({error}): restore it, or remove it and make it again"
        ) from error


def append_json(path: Path, objects: Iterable[object]) -> int:
    """Add objects to a file of JSON lines, on their way to disk at once; it is made if missing.

    What a killed process left of a last line is cut off first. Hold a lock: of two processes that
    add at once, one may cut off what the other is writing.

    Returns:
        The file's size now, in bytes.

    Raises:
        UsageError: A string holds half of a surrogate pair; nothing was added.
        DiffspeakError: The system refused; a part of a line that got through counts as cut off.
    """
    lines = "".join(canonical_json(each) + "\n" for each in objects).encode()
    try:
        with path.open("a+b", buffering=0) as file:
            _cut_torn(file)
            if file.write(lines) < len(lines):
                raise OSError(errno.ENOSPC, "only a part of the lines was written")
            return file.seek(0, os.SEEK_END)
    except OSError as error:
        raise failed_write(path, error) from error


def _cut_torn(file: FileIO) -> None:
    """Cut off what follows the last whole line."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 1))
    if file.read(1) not in (b"", b"\n"):
        file.seek(0)
        file.truncate(file.readall().rfind(b"\n") + 1)


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that grows; a last one that was cut off is none.

    Raises:
        DiffspeakError: There is no such file, or the system refused.
    """
    *lines, _torn = read_bytes(path).split(b"\n")
    return lines


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, which the system releases when this process ends, however it ends.

    The file stays behind; it holds the number of the process that held the lock last.

    Raises:
        LockedError: Somebody else holds it; said at once, without waiting.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise failed_write(path, error) from error
    try:
        _take(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        raise LockedError(
            f"{path.parent} is being written by process {holder or 'unknown'}: "
            "wait for it to end, or write to another folder"
        ) from error
    except OSError as error:
        raise failed_write(path, error) from error


def sha256(*chunks: bytes | memoryview) -> str:
    """The SHA-256 of all chunks in a row, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
