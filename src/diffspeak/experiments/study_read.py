"""Read a study's config: defaults, then a TOML file, then `section.key=value` settings.

Takes a path and settings as typed, gives a checked config or one error that names every fault.
Relative paths in the file are taken from the file's folder, those in settings from the current
folder; both come out absolute, so that a saved config can be used from anywhere. `pocket:NAME` is
a file of the pocket corpus. A file may extend another one.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, get_args, overload

from diffspeak.behaviors import BehaviorConfig
from diffspeak.errors import UsageError
from diffspeak.experiments.config_errors import Fault, model_in, validated
from diffspeak.experiments.shrink import shrunk
from diffspeak.experiments.study_config import AdapterStudyConfig, StudyConfig
from diffspeak.models.pocket import NAME, corpus_file, part_of

Config = TypeVar("Config", bound=AdapterStudyConfig)
Data = dict[str, Any]

EXTENDS = "extends"
"""Key of the file whose values a file takes over where it has none of its own."""


@overload
def load_config(
    path: str | Path, sets: Sequence[str] = (), *, shrink: bool = False, corpora: bool = True
) -> StudyConfig: ...


@overload
def load_config(
    path: str | Path, sets: Sequence[str], kind: type[Config], *, shrink: bool = False
) -> Config: ...


def load_config(
    path: str | Path,
    sets: Sequence[str] = (),
    kind: type[AdapterStudyConfig] = StudyConfig,
    *,
    shrink: bool = False,
    corpora: bool = True,
) -> AdapterStudyConfig:
    """Read and check a config.

    Args:
        path: A TOML file; what it extends is read first.
        sets: `section.key=value` each, stronger than the file; a value is read as TOML, and one
            that is no TOML is taken as text.
        kind: `StudyConfig`, or `AdapterStudyConfig` where a behavior is not needed.
        shrink: Make a dry run of it, see `shrunk`; settings are stronger.
        corpora: Whether the files of corpora have to be there.

    Raises:
        UsageError: There is no such file, it is not TOML, or the config has faults; all of them
            are named, a line each.
    """
    path = Path(path).expanduser()
    data = extended(path)
    data = shrunk(data) if shrink else data
    faults: list[Fault] = []
    for text in sets:
        change, fault = setting(text)
        faults += fault
        data = merged(_with_defaults(kind, data, change), anchored(change, Path.cwd()))
    config, found = validated(kind, data)
    faults += found
    if corpora and issubclass(kind, StudyConfig):
        faults += missing_files(data)
    if faults or config is None:
        raise UsageError(report(path, faults))
    return config


def report(path: Path, faults: Sequence[Fault]) -> str:
    """All faults of a config, a line each."""
    lines = [": ".join(filter(None, fault)) for fault in faults]
    if len(lines) == 1:
        return f"{path}: {lines[0]}"
    return "\n  ".join([f"{path} has {len(lines)} faults:", *lines])


def _read(path: Path) -> Data:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"cannot read the config {path} ({error.strerror}): give the path of a TOML file"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: save it as UTF-8") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {_where(str(error), text)}") from error


def extended(path: Path, below: Sequence[Path] = ()) -> Data:
    """A file's data over that of the file it extends; paths as seen from the file they stand in."""
    data = _read(path)
    given = data.pop(EXTENDS, None)
    data = anchored(data, path.parent)
    if given is None:
        return data
    if not isinstance(given, str):
        raise UsageError(f"{path}: {EXTENDS}: expected the path of a TOML file, not {given!r}")
    other = path.parent / Path(given).expanduser()
    chain = [*below, path.resolve()]
    if other.resolve() in chain:
        raise UsageError(f"{path}: {EXTENDS}: {given} extends this file in turn; take it out")
    return merged(extended(other, chain), data)


def _where(message: str, text: str) -> str:
    """A parser's message; "at end of document" gets a line and a column too."""
    lines = text.split("\n")
    end = f"at line {len(lines)}, column {len(lines[-1]) + 1}, the end of the file"
    return message.replace("at end of document", end)


def setting(text: str) -> tuple[Data, list[Fault]]:
    """A setting as nested data, or what is wrong with it."""
    name, equals, value = text.partition("=")
    keys = name.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        return {}, [Fault(f"--set {text}", "expected section.key=value, such as diffs.rank=2")]
    nested: Data = {keys[-1]: _value(value.strip())}
    for key in reversed(keys[:-1]):
        nested = {key: nested}
    return nested, []


def _value(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    # A line break would let one setting smuggle in others.
    return found["value"] if len(found) == 1 else text


def _with_defaults(kind: type[AdapterStudyConfig], data: Data, change: Data) -> Data:
    """The data with the whole default of each table of which a setting changes one key."""
    for section, keys in change.items():
        field = kind.model_fields.get(section)
        known = model_in(field.annotation) if field else None
        for key, value in keys.items():
            if known is None or key not in known.model_fields or not isinstance(value, dict):
                continue
            default = known.model_fields[key].get_default(call_default_factory=True)
            if isinstance(default, dict):
                data = merged({section: {key: default}}, data)
    return data


def merged(data: Mapping[str, Any], change: Mapping[str, Any]) -> Data:
    """Data with a change over it, section by section."""
    both = dict(data)
    for key, value in change.items():
        old = both.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = merged(old, value)
        both[key] = value
    return both


def anchored(data: Data, folder: Path) -> Data:
    """The same data with the paths in it made absolute, as seen from `folder`."""
    behavior, base, stores = data.get("behavior"), data.get("base"), data.get("stores")
    if isinstance(stores, dict):
        inside = {n: anchored(s, folder) if isinstance(s, dict) else s for n, s in stores.items()}
        data = {**data, "stores": inside}
    if isinstance(behavior, dict):
        paths = {
            key: _corpus_path(behavior[key], folder)
            for key in _path_keys()
            if isinstance(behavior.get(key), str) and behavior[key]
        }
        data = {**data, "behavior": {**behavior, **paths}}
    if isinstance(base, dict) and isinstance(base.get("source"), str):
        data = {**data, "base": {**base, "source": _base_source(base["source"], folder)}}
    return data


def _corpus_path(given: str, folder: Path) -> str:
    """An absolute path; a name that the pocket corpus does not know stays as it is."""
    name = part_of(given)
    if name is None:
        return str((folder / Path(given).expanduser()).resolve())
    with suppress(UsageError):
        return str(corpus_file(name))
    return given


def _base_source(source: str, folder: Path) -> str:
    """A hub id and `pocket` stay as they are; another one is a folder only if there is one."""
    if not source or source == NAME or re.match(r"\w+://", source):
        return source
    path = folder / Path(source).expanduser()
    return str(path.resolve()) if path.is_dir() else source


def _path_keys() -> list[str]:
    fields = BehaviorConfig.model_fields.items()
    return [name for name, field in fields if Path in get_args(field.annotation)]


def missing_files(data: Data) -> list[Fault]:
    """Corpora of a behavior that are not there."""
    behavior = data.get("behavior")
    if not isinstance(behavior, dict):
        return []
    given = [(key, behavior[key]) for key in _path_keys() if isinstance(behavior.get(key), str)]
    return [
        Fault(f"behavior.{key}", _why_missing(path))
        for key, path in given
        if not Path(path).is_file()
    ]


def _why_missing(path: str) -> str:
    if (name := part_of(path)) is not None:
        try:
            corpus_file(name)
        except UsageError as error:
            return str(error)
    return f"there is no file {path!r}" if path else "is empty"
