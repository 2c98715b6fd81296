"""Read experiments from TOML files.

Takes the path of a file, gives one experiment, or several where the file lists others. Names of
stores and adapters may say `like = "NAME"`: they take over what that one has.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffspeak.errors import UsageError
from diffspeak.experiments.config import ExperimentConfig
from diffspeak.experiments.config_errors import Fault, validated
from diffspeak.experiments.study_read import (
    Data,
    extended,
    merged,
    missing_files,
    report,
    setting,
)

LIKE, LISTED, ROWS = "like", "experiments", "rows"
TABLES = ("stores", "adapters", "projections")


def is_experiment(path: str | Path) -> bool:
    """Whether a config holds experiments; otherwise it is one of a study.

    Raises:
        UsageError: There is no such file, or it is not TOML.
    """
    data = extended(Path(path).expanduser())
    return LISTED in data or ROWS in data


def load_experiments(path: str | Path, sets: Sequence[str] = ()) -> list[ExperimentConfig]:
    """Read and check one experiment, or all that a file lists under `experiments`.

    Args:
        path: A TOML file; what it extends is read first.
        sets: `section.key=value` each, stronger than the file.

    Raises:
        UsageError: There is no such file, it is not TOML, or it has faults; all are named.
    """
    path = Path(path).expanduser()
    data = extended(path)
    if LISTED not in data:
        return [_experiment(path, data, sets)]
    names = data[LISTED]
    if set(data) != {LISTED} or not isinstance(names, list) or not names:
        raise UsageError(f"{path}: expected nothing but {LISTED} = [FILE, ...]")
    files = [path.parent / str(name) for name in names]
    found = [_experiment(file, extended(file), sets) for file in files]
    _agree(path, found)
    return found


def _experiment(path: Path, data: Data, sets: Sequence[str]) -> ExperimentConfig:
    if ROWS not in data:
        raise UsageError(f"{path} is no experiment: it has no rows; write [[rows]]")
    data = {"name": path.stem, **data}
    faults: list[Fault] = []
    for text in sets:
        change, fault = setting(text)
        faults += fault
        data = merged(data, change)
    for table in TABLES:
        if isinstance(data.get(table), dict):
            data[table] = {name: _like(path, table, data[table], name) for name in data[table]}
    config, found = validated(ExperimentConfig, _only_used(data))
    faults += found
    for name, store in (config.stores if config else {}).items():
        missing = missing_files({"behavior": store.behavior.model_dump(mode="json")})
        faults += [Fault(f"stores.{name}.{fault.place}", fault.what) for fault in missing]
    if faults or config is None:
        raise UsageError(report(path, faults))
    return config


def _like(
    path: Path, table: str, named: dict[str, Any], name: str, below: tuple[str, ...] = ()
) -> Any:
    """What stands under a name, over what stands under the one that it is like."""
    own = named[name]
    if not isinstance(own, dict) or LIKE not in own:
        return own
    other = own[LIKE]
    if other not in named or other in (name, *below):
        raise UsageError(f"{path}: {table}.{name}: like = {other!r} is no other one of {table}")
    rest = {key: value for key, value in own.items() if key != LIKE}
    return merged(_like(path, table, named, other, (name, *below)), rest)


def _only_used(data: Data) -> Data:
    """The data without stores and the like that no row leads to: a shared file names many."""
    rows = [row for row in data.get(ROWS, []) if isinstance(row, dict)]
    trained = {row.get("adapter") for row in rows}
    data = dict(data)
    for table in TABLES[1:]:
        if isinstance(data.get(table), dict):
            data[table] = {name: v for name, v in data[table].items() if name in trained}
    stores = {row.get(key) for row in rows for key in ("test", "reference")}
    for table in TABLES[1:]:
        for made in (data.get(table) or {}).values():
            stores |= set(made.get("stores", ())) if isinstance(made, dict) else set()
    if isinstance(data.get("stores"), dict):
        data["stores"] = {name: v for name, v in data["stores"].items() if name in stores}
    return data


def _agree(path: Path, experiments: Sequence[ExperimentConfig]) -> None:
    """Refuse a list whose experiments would make different things under one name."""
    known: dict[tuple[str, str], Any] = {}
    for experiment in experiments:
        named = [("base", "", experiment.base)]
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
