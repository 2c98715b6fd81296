"""Read experiments from TOML files: defaults, then the file, then `section.key=value` settings.

Relative paths in a file are seen from its folder, those in settings from the current folder; all
come out absolute. `pocket:NAME` is a file of the pocket corpus. A file may extend another file,
and a store, adapter or projection another one of its table: `extends = "..."`.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, overload

from pydantic import BaseModel

from diffspeak.behaviors.table import BEHAVIORS, BehaviorConfig
from diffspeak.errors import UsageError
from diffspeak.experiments.config import ExperimentConfig, StudyConfig
from diffspeak.experiments.config_errors import ConfigFault, model_in, validated
from diffspeak.models.pocket import NAME, corpus_file, part_of

Config = TypeVar("Config", bound=ExperimentConfig)
Data = dict[str, Any]

EXTENDS, LISTED, ROWS = "extends", "experiments", "rows"
TABLES = ("stores", "adapters", "projections")


@overload
def load_config(
    path: str | Path, sets: Sequence[str] = (), *, shrink: bool = False, corpora: bool = True
) -> StudyConfig: ...


@overload
def load_config(
    path: str | Path,
    sets: Sequence[str],
    kind: type[Config],
    *,
    shrink: bool = False,
    corpora: bool = True,
) -> Config: ...


def load_config(
    path: str | Path,
    sets: Sequence[str] = (),
    kind: type[ExperimentConfig] = StudyConfig,
    *,
    shrink: bool = False,
    corpora: bool = True,
) -> ExperimentConfig:
    """Read and check a config.

    Args:
        path: A TOML file; what it extends is read first.
        sets: `section.key=value` each, stronger than the file; a value is read as TOML, and one
            that is not TOML is taken as text.
        kind: `StudyConfig`, or `ExperimentConfig` where the config needs no behavior of its own.
        shrink: Make a dry run of it: the same study with a small random base, the pocket base's
            corpora and few finetunes, steps and tokens. Settings are stronger.
        corpora: Whether the files of corpora have to be there.

    Raises:
        UsageError: There is no such file, it is not TOML, or the config has faults; all of them
            are named, a line each.
    """
    path = Path(path).expanduser()
    data = _extended(path)
    if shrink and ROWS in data:
        raise UsageError("--shrink is for studies: a table of rows runs as it is")
    data = _shrunk(data) if shrink else data
    if ROWS in data:
        data = {"name": path.stem, **data}
    faults: list[ConfigFault] = []
    changes: Data = {}
    for text in sets:
        change, fault = setting(text)
        faults += fault
        changes = merged(changes, _anchored(change, Path.cwd()))
    data = _inherited(path, merged(data, changes))
    data = _only_used(merged(_defaults(kind, changes), data))
    config, found = validated(kind, data)
    faults += found
    if corpora:
        faults += _missing(data, own=issubclass(kind, StudyConfig) or ROWS in data)
    if faults or config is None:
        raise UsageError(report(path, faults))
    return config


def load_experiments(
    path: str | Path, sets: Sequence[str] = (), *, shrink: bool = False
) -> list[ExperimentConfig]:
    """Read and check one experiment, or all that a file lists under `experiments`.

    Raises:
        UsageError: As `load_config`, or the listed ones do not agree on what a name means.
    """
    path = Path(path).expanduser()
    data = _extended(path)
    if LISTED not in data:
        return [_one(path, sets, shrink=shrink)]
    names = data[LISTED]
    if set(data) != {LISTED} or not isinstance(names, list) or not names:
        raise UsageError(f"{path}: expected nothing but {LISTED} = [FILE, ...]")
    found = [_one(path.parent / str(name), sets, shrink=shrink) for name in names]
    _agree(path, found)
    return found


def _one(path: Path, sets: Sequence[str], *, shrink: bool) -> ExperimentConfig:
    kind = ExperimentConfig if ROWS in _extended(path) else StudyConfig
    return load_config(path, sets, kind, shrink=shrink)


def _extended(path: Path, below: Sequence[Path] = ()) -> Data:
    """A file's data over that of the file it extends; paths as seen from the file they stand in."""
    data = _read(path)
    _refuse_old_words(path, data)
    given = data.pop(EXTENDS, None)
    data = _anchored(data, path.parent)
    if given is None:
        return data
    if not isinstance(given, str):
        raise UsageError(f"{path}: {EXTENDS}: expected the path of a TOML file, not {given!r}")
    other = path.parent / Path(given).expanduser()
    chain = [*below, path.resolve()]
    if other.resolve() in chain:
        raise UsageError(f"{path}: {EXTENDS}: {given} extends this file in turn; take it out")
    return merged(_extended(other, chain), data)


def _refuse_old_words(path: Path, data: Data) -> None:
    """Say what is written now in place of what files had until version 0.1."""
    if "tokens" in data:
        raise UsageError(f"{path}: 'tokens' stands in a section now: write evaluate.tokens")
    for table in TABLES:
        for name, made in _tables(data, table).items():
            if "like" in made:
                raise UsageError(
                    f"{path}: {table}.{name}: 'like' is 'extends' now: "
                    f"write {EXTENDS} = {made['like']!r}"
                )


def _tables(data: Data, section: str) -> dict[str, Data]:
    """What stands under each name of a section, as far as it is a table."""
    named = data.get(section)
    found = named.items() if isinstance(named, dict) else ()
    return {name: made for name, made in found if isinstance(made, dict)}


def _inherited(path: Path, data: Data) -> Data:
    """The data with each store, adapter and projection over the one that it extends."""

    def over(table: str, name: str, below: tuple[str, ...] = ()) -> Any:
        own = data[table][name]
        if not isinstance(own, dict) or EXTENDS not in own:
            return own
        other = own[EXTENDS]
        if other not in data[table] or other in (name, *below):
            raise UsageError(
                f"{path}: {table}.{name}: {EXTENDS} = {other!r} is not another one of {table}"
            )
        rest = {key: value for key, value in own.items() if key != EXTENDS}
        return merged(over(table, other, (name, *below)), rest)

    tables = {table: data[table] for table in TABLES if isinstance(data.get(table), dict)}
    return {**data, **{t: {name: over(t, name) for name in named} for t, named in tables.items()}}


def _only_used(data: Data) -> Data:
    """The data without stores and the like that no row leads to: a shared file names many."""
    given = data.get(ROWS)
    rows = [row for row in given if isinstance(row, dict)] if isinstance(given, list) else []
    used: dict[str, set[Any]] = dict.fromkeys(TABLES[1:], {row.get("adapter") for row in rows})
    used["stores"] = {row.get(key) for row in rows for key in ("test", "reference")}
    for table in TABLES[1:]:
        for name, made in _tables(data, table).items():
            stores = made.get("stores", ())
            if name in used[table] and isinstance(stores, list):
                used["stores"] |= set(map(str, stores))
    tables = {table: data[table] for table in TABLES if isinstance(data.get(table), dict)}
    return {
        **data,
        **{
            t: {n: made for n, made in named.items() if n in used[t]} for t, named in tables.items()
        },
    }


def report(path: Path, faults: Sequence[ConfigFault]) -> str:
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


def _where(message: str, text: str) -> str:
    """A parser's message; "at end of document" gets a line and a column too."""
    lines = text.split("\n")
    end = f"at line {len(lines)}, column {len(lines[-1]) + 1}, the end of the file"
    return message.replace("at end of document", end)


def setting(text: str) -> tuple[Data, list[ConfigFault]]:
    """A setting as nested data, or what is wrong with it."""
    name, equals, value = text.partition("=")
    keys = name.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        return {}, [
            ConfigFault(f"--set {text}", "expected section.key=value, such as diffs.rank=2")
        ]
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


def _defaults(kind: type[BaseModel] | None, change: Data) -> Data:
    """The whole default of each table, such as `diffs.weights`, of which settings change a key."""
    found: Data = {}
    for key, value in change.items():
        field = kind.model_fields.get(key) if kind else None
        if field is None or not isinstance(value, dict):
            continue
        inner = model_in(field.annotation)
        default = field.get_default(call_default_factory=True) if inner is None else None
        if inner and get_origin(field.annotation) is dict:
            named = {name: made for name, made in value.items() if isinstance(made, dict)}
            found[key] = {name: _defaults(inner, made) for name, made in named.items()}
        elif inner:
            found[key] = _defaults(inner, value)
        elif isinstance(default, dict):
            found[key] = default
    return {key: value for key, value in found.items() if value}


def merged(data: Mapping[str, Any], change: Mapping[str, Any]) -> Data:
    """Data with a change over it, section by section."""
    both = dict(data)
    for key, value in change.items():
        old = both.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = merged(old, value)
        both[key] = value
    return both


def _anchored(data: Data, folder: Path) -> Data:
    """The same data with the paths in it made absolute, as seen from `folder`."""
    data = dict(data)
    for table in TABLES:
        if named := _tables(data, table):
            data[table] = data[table] | {n: _anchored(made, folder) for n, made in named.items()}
    if isinstance(behavior := data.get("behavior"), dict):
        paths = {
            key: _corpus_path(behavior[key], folder)
            for key in _path_keys()
            if isinstance(behavior.get(key), str) and behavior[key]
        }
        data["behavior"] = {**behavior, **paths}
    base = data.get("base")
    if isinstance(base, dict) and isinstance(base.get("source"), str):
        data["base"] = {**base, "source": place_of(base["source"], folder)}
    if isinstance(data.get("path"), str):
        data["path"] = place_of(data["path"], folder)
    return data


def _corpus_path(given: str, folder: Path) -> str:
    """An absolute path; a name that the pocket corpus does not know stays as it is."""
    name = part_of(given)
    if name is None:
        return str((folder / Path(given).expanduser()).resolve())
    with suppress(UsageError):
        return str(corpus_file(name))
    return given


def place_of(source: str, folder: Path) -> str:
    """A URL, a hub id and what ships stay as they are; a folder is one only if it is there."""
    if not source or source == NAME or part_of(source) is not None or re.match(r"\w+://", source):
        return source
    path = folder / Path(source).expanduser()
    return str(path.resolve()) if path.is_dir() else source


def _path_keys() -> list[str]:
    fields = BehaviorConfig.model_fields.items()
    return [name for name, field in fields if Path in get_args(field.annotation)]


def _missing(data: Data, *, own: bool) -> list[ConfigFault]:
    """Corpora and stores that are not there; `own`: those of the config's own store, too."""
    sections = [("", data)] if own else []
    sections += [(f"stores.{name}.", made) for name, made in _tables(data, "stores").items()]
    faults = []
    for place, section in sections:
        behavior = section.get("behavior")
        given = behavior if isinstance(behavior, dict) else {}
        faults += [
            ConfigFault(f"{place}behavior.{key}", _why_missing(given[key]))
            for key in _path_keys()
            if isinstance(given.get(key), str) and not Path(given[key]).is_file()
        ]
        path = section.get("path") if place else None
        if isinstance(path, str) and "://" not in path and not Path(path).exists():
            faults.append(ConfigFault(f"{place}path", f"there is no store {path!r}"))
    return faults


def _why_missing(path: str) -> str:
    try:
        if (name := part_of(path)) is not None:
            corpus_file(name)
    except UsageError as error:
        return str(error)
    return f"there is no file {path!r}" if path else "is empty"


def _agree(path: Path, experiments: Sequence[ExperimentConfig]) -> None:
    """Refuse a list whose experiments would make different things under one name."""
    known: dict[tuple[str, str], Any] = {}
    for experiment in experiments:
        named: list[tuple[str, str, Any]] = [("base", "", experiment.base)]
        for table in TABLES:
            named += [(table, name, made) for name, made in getattr(experiment, table).items()]
        for table, name, made in named:
            if known.setdefault((table, name), made) != made:
                raise UsageError(
                    f"{path}: {table} {name} is not the same in {experiment.name} as in another "
                    "experiment of the list: give it another name"
                )
    names = [experiment.name for experiment in experiments]
    if len(set(names)) < len(names):
        raise UsageError(f"{path}: two experiments have one name: {', '.join(names)}")


_MOST: Mapping[str, Mapping[str, int]] = {
    "items": {"train": 4, "validation": 1, "calibration": 0, "test": 2},
    "diffs": {"steps": 3, "tasks": 4, "probes": 1, "probe_tokens": 8},
    "adapter": {"epochs": 2, "batch": 2, "validation": 1, "validations": 1, "answer_tokens": 8},
    "evaluate": {"limit": 2, "tokens": 8},
}


def _shrunk(data: Data) -> Data:
    """The data of a small study; sections that are no tables stay as they are, to be refused."""
    small = dict(data)
    for section, most in _MOST.items():
        given = small.setdefault(section, {})
        for key, n in most.items() if isinstance(given, dict) else ():
            value = given.get(key)
            fits = isinstance(value, int) and 0 <= value <= n
            small[section] = {**small[section], key: value if fits else n}
    for section, changed in (("base", {"shrink": True}), ("behavior", _corpora(data))):
        if isinstance(small.get(section), dict):
            small[section] = {**small[section], **changed}
    return small


def _corpora(data: Data) -> Data:
    """The pocket corpora in place of those that a behavior reads; it ships no answers."""
    behavior = data.get("behavior")
    kind = BEHAVIORS.get(str(behavior.get("name"))) if isinstance(behavior, dict) else None
    parts = (*kind.needs, *kind.may_have) if kind else ()
    return {p: None if p == "answers" else str(corpus_file(f"{p}.csv")) for p in parts}
