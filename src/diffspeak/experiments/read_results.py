"""What a run's folder holds, read back and checked: tables, guesses, figures, studies, settings."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from diffspeak.errors import CorruptFileError
from diffspeak.experiments.artifacts import CHOICES
from diffspeak.experiments.guesses import GuessRecord
from diffspeak.experiments.results import CLOSE, FIGURE, GUESSES, TABLE
from diffspeak.io.files import parse_json, read_bytes, read_json
from diffspeak.io.runs import VERSIONS
from diffspeak.models import Fingerprint
from diffspeak.scoring.published import Table, published, published_row
from diffspeak.store.layout import MANIFEST, Place, read_header

STORES, RESULTS = "stores", "results.json"


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


Kept = TypeVar("Kept")


class TableLine(_Kept):
    """A line of a table, as `results.line_of` makes it; None where there was nothing to tell."""

    name: str
    finetunes: int
    seeds: int
    mean: float | None = Field(alias="mean score")
    low: float | None
    high: float | None
    by_seed: tuple[float, ...] = Field(alias="by seed")
    close: float | None
    exact: float | None
    unscored: int
    fires: float | None
    seconds: float
    paper: str | None

    @model_validator(mode="after")
    def _score_has_interval(self) -> "TableLine":
        if len({value is None for value in (self.mean, self.low, self.high)}) > 1:
            raise ValueError("a mean score has an interval")
        return self


class RowSettings(_Kept):
    """How a line was made."""

    name: str
    method: str
    test: str
    adapter: str | None
    question: str | None
    seeds: tuple[int, ...]
    paper: str | None


class TableSettings(_Kept):
    """The config of an experiment, as far as a report tells of it."""

    axis: str
    rows: tuple[RowSettings, ...]
    stores: dict[str, dict[str, Any]]
    adapters: dict[str, dict[str, Any]]
    projections: dict[str, dict[str, Any]]


class TablePage(_Kept):
    """A whole `table.json`."""

    title: str
    about: str
    base: str
    judge: str
    lines: tuple[TableLine, ...] = Field(min_length=1)
    config: TableSettings


class StudyRow(_Kept):
    """A row of the older kind, see `evaluate.Row`."""

    name: str
    value: float
    n: int
    interval: tuple[float, float] | None


class Study(_Kept):
    """A whole `results.json`, as a study writes it."""

    title: str
    rows: tuple[StudyRow, ...]
    about: dict[str, str | tuple[str, ...]]


_PAGE, _GUESS, _STUDY = TypeAdapter(TablePage), TypeAdapter(GuessRecord), TypeAdapter(Study)
_CHOICES, _VERSIONS = TypeAdapter(dict[str, Any]), TypeAdapter(list[dict[str, str]])


@dataclass(frozen=True)
class TableResult:
    """What came out of one experiment.

    Attributes:
        name: Of its folder.
        page: Its table, and how it was made.
        lines: Those of the table as they stand in the file.
        guesses: All of all rows.
        figure: PNG; None if somebody removed it.
    """

    name: str
    page: TablePage
    lines: tuple[dict[str, Any], ...]
    guesses: tuple[GuessRecord, ...]
    figure: bytes | None

    @property
    def main(self) -> TableLine:
        """The line that stands first, of those that have a score if any has."""
        scored = [line for line in self.page.lines if line.mean is not None]
        return (scored or self.page.lines)[0]

    @property
    def heading(self) -> str:
        """What its numbers are of; of a curve, which point."""
        axis = self.page.config.axis
        return f"{axis}: {self.main.name}" if axis else self.main.name

    def right(self, count: int) -> list[GuessRecord]:
        """Close guesses of the main line, at most one at each finetune."""
        return _one_each(guess for score, guess in self._scored() if score >= CLOSE)[:count]

    def wrong(self, count: int) -> list[GuessRecord]:
        """Its other guesses, the lowest scores first, at most one at each finetune."""
        others = [pair for pair in self._scored() if pair[0] < CLOSE]
        return _one_each(guess for _, guess in sorted(others, key=lambda pair: pair[0]))[:count]

    def _scored(self) -> list[tuple[float, GuessRecord]]:
        own = [guess for guess in self.guesses if guess.row == self.main.name]
        return [(guess.score, guess) for guess in own if guess.score is not None]

    def unscored(self) -> list[tuple[str, str, int]]:
        """Row, reason and how often, the most frequent first."""
        found = Counter((one.row, one.why) for one in self.guesses if one.score is None)
        return [(row, why, count) for (row, why), count in found.most_common()]

    def papers(self) -> dict[str, tuple[Table, set[str]]]:
        """Published tables that rows name, and which of their rows they name.

        Raises:
            UsageError: There is no such table or row.
        """
        found: dict[str, tuple[Table, set[str]]] = {}
        for row in self.page.config.rows:
            if row.paper:
                published_row(row.paper)
                table, _, name = row.paper.partition("/")
                found.setdefault(table, (published()[table], set()))[1].add(name)
        return found


def read_tables(folder: Path) -> list[TableResult]:
    """The tables of all experiments of a run, in the order in which they were finished.

    Raises:
        CorruptFileError: A file is cut off or lacks something; it is named.
    """
    pages = [path for path in folder.glob(f"*/{TABLE}.json") if path.is_file()]
    pages.sort(key=lambda path: (path.stat().st_mtime_ns, path))
    return [_table(path) for path in pages]


def read_study(folder: Path) -> Study | None:
    """What a study found, if the folder is one of a study.

    Raises:
        CorruptFileError: Its `results.json` is cut off or lacks something.
    """
    path = folder / RESULTS
    return _checked(_STUDY, read_json(path), path) if path.is_file() else None


def read_choices(folder: Path) -> dict[str, Any]:
    """What a run computed with, such as its device; empty if that was not kept.

    Raises:
        CorruptFileError: It cannot be read.
    """
    path = folder / CHOICES
    return _checked(_CHOICES, read_json(path), path) if path.is_file() else {}


def read_versions(folder: Path) -> list[dict[str, str]]:
    """The library versions of each start of a run, none if they were not kept.

    Raises:
        CorruptFileError: They cannot be read.
    """
    path = folder / VERSIONS
    return _checked(_VERSIONS, read_json(path), path) if path.is_file() else []


def read_fingerprints(folder: Path) -> list[str]:
    """Short fingerprints of the bases that a run's stores were made on: one, if all is well.

    Raises:
        CorruptFileError: A store's `store.json` was changed.
    """
    found = []
    for path in sorted(folder.glob(f"{STORES}/*/{MANIFEST}")):
        base = read_header(Place(str(path.parent))).base
        try:
            own = {key: value for key, value in base.items() if key != "name"}
            found.append(str(Fingerprint(**own)))
        except TypeError as error:
            raise CorruptFileError(f"{path} holds no fingerprint: restore it") from error
    return list(dict.fromkeys(found))


def _table(path: Path) -> TableResult:
    own, content = path.parent, read_json(path)
    page = _checked(_PAGE, content, path)
    kept = own / GUESSES
    guesses = tuple(_checked(_GUESS, line, kept) for line in _lines(kept))
    expected = sum(line.finetunes * line.seeds for line in page.lines)
    if len(guesses) != expected:
        raise _broken(kept, f"{len(guesses)} lines, where the table counts {expected} guesses")
    figure = own / FIGURE
    drawn = read_bytes(figure) if figure.is_file() else None
    return TableResult(own.name, page, tuple(content["lines"]), guesses, drawn)


def _lines(path: Path) -> Iterator[Any]:
    for number, line in enumerate(read_bytes(path).splitlines(keepends=True), 1):
        try:
            yield parse_json(line)
        except ValueError as error:
            raise _broken(path, f"line {number} is not JSON") from error


def _checked(kind: TypeAdapter[Kept], data: Any, path: Path) -> Kept:
    try:
        return kind.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise _broken(path, f"{place}: {first['msg']}") from error


def _broken(path: Path, what: str) -> CorruptFileError:
    return CorruptFileError(
        f"{path} is not as it was written ({what}): "
        "give the `diffspeak run` that wrote it again, or restore the file"
    )


def _one_each(guesses: Iterable[GuessRecord]) -> list[GuessRecord]:
    found: dict[str, GuessRecord] = {}
    for guess in guesses:
        found.setdefault(guess.finetune, guess)
    return list(found.values())
