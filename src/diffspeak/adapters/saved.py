"""An adapter on disk: a PEFT LoRA folder plus `diffspeak.json`.

`peft` loads the folder without us. `diffspeak.json` says which base it belongs to, what it may be
asked, which behaviors it knows and how it was trained. A folder counts once that file is in it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from diffspeak.adapters.calibration import Calibrations, read_calibrations, save_calibrations
from diffspeak.behaviors.ordinary import NOTHING_LABEL
from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.finetunes import Finetune, load_finetune, read_peft, write_peft
from diffspeak.finetunes.places import locate
from diffspeak.hub import hub_id
from diffspeak.io.files import make_folder, read_json, write_text
from diffspeak.lora import Diff
from diffspeak.models import Base, Fingerprint, check_base
from diffspeak.models.pocket import adapter_folder, part_of

CARD = "diffspeak.json"
VERSION = 1
NOTHING_TAUGHT = "ordinary"
"""The behavior whose finetunes were taught nothing."""


class Card(BaseModel):
    """What every file says that stands beside trained weights."""

    model_config = ConfigDict(frozen=True)

    version: StrictInt
    base: dict[str, str | None]
    base_name: str
    settings: dict[str, Any]
    results: dict[str, float]


AnyCard = TypeVar("AnyCard", bound=Card)


class AdapterCard(Card):
    """What `diffspeak.json` holds."""

    questions: tuple[str, ...] = Field(min_length=1)
    behaviors: tuple[str, ...]


@dataclass(frozen=True)
class Adapter:
    """A DIT adapter.

    Attributes:
        diff: Its own change of the base.
        base: Fingerprint of the base it belongs to.
        base_name: Where that base came from.
        questions: What it may be asked; the first one is its behavior's standard question.
        behaviors: Names of the behaviors it was trained on.
        settings: The config it was trained with.
        results: What was measured at the end of its training, by name.
        name: Where it lies.
        calibrations: How far it can be believed; empty until `diffspeak calibrate` was run.
    """

    diff: Diff
    base: Fingerprint
    base_name: str
    questions: tuple[str, ...]
    behaviors: tuple[str, ...]
    settings: dict[str, Any]
    results: dict[str, float]
    name: str = "adapter"
    calibrations: Calibrations = field(default_factory=Calibrations)

    def __repr__(self) -> str:
        """One line, without a tensor."""
        ranks = "/".join(map(str, sorted({change.rank for change in self.diff.values()})))
        tells = f"tells {', '.join(self.behaviors)}" if self.behaviors else "trained by others"
        made = self.calibrations.describe or self.calibrations.audit
        calibrated = "calibrated" if made else "not calibrated"
        return (
            f"Adapter({self.name!r}, rank {ranks}, {len(self.diff)} modules, {tells}, "
            f"{calibrated}, for {self.base})"
        )

    @property
    def nothing(self) -> str | None:
        """What it was taught to say where nothing was changed; None if it never was."""
        some = self.settings.get("negatives") or self.settings.get("unrelated")
        taught = some or NOTHING_TAUGHT in self.behaviors
        return str(self.settings.get("nothing", NOTHING_LABEL)) if taught else None

    def check(self, base: Base) -> None:
        """Refuse another base than its own.

        Raises:
            MismatchError: The base is another one; the message names both.
        """
        check_base(base.fingerprint, self.base, f"the adapter {self.name}")


def save_adapter(adapter: Adapter, folder: Path, *, transposed: bool = False) -> None:
    """Write an adapter, its calibrations if it has any; `diffspeak.json` comes last.

    Args:
        adapter: What to write.
        folder: Made if missing.
        transposed: The base's linears store their weights `[in, out]`, as GPT-2's do.
    """
    make_folder(folder)
    write_peft(folder, adapter.diff, adapter.base_name, transposed=transposed)
    if adapter.calibrations != Calibrations():
        save_calibrations(folder, adapter.diff, adapter.calibrations)
    card = {
        "version": VERSION,
        "base": adapter.base.to_dict(),
        "base_name": adapter.base_name,
        "questions": list(adapter.questions),
        "behaviors": list(adapter.behaviors),
        "settings": adapter.settings,
        "results": adapter.results,
    }
    text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(folder / CARD, f"{text}\n")


def load_adapter(
    source: str | Path, base: Base | None = None, questions: Sequence[str] = ()
) -> Adapter:
    """Read an adapter.

    Args:
        source: What `diffspeak adapter` wrote, a folder or its hub id
            (`org/name@revision:subfolder`); `pocket:hidden-topic` and its like, which ship with
            the pocket base; or a LoRA of others, such as the paper's `dit-adapter.pt`.
        base: What it belongs to. An adapter of ours tells itself, and is checked against a base
            that is given; a LoRA of others needs one.
        questions: What it may be asked, the usual one first. An adapter of ours knows some, and
            takes these in their place; a LoRA of others needs one.

    Raises:
        UsageError: There is no adapter, base or question is lacking, or a question is blank.
        MismatchError: It is of another base or of a newer version.
        CorruptFileError: A file is damaged.
    """
    path = _found(source)
    if (path / CARD).is_file():
        if _blank(questions):
            raise UsageError(f"a question for {source} is blank: ask something, or leave it out")
        adapter = _read(path, str(source))
        if base is not None:
            adapter.check(base)
        return replace(adapter, questions=tuple(questions)) if questions else adapter
    if base is None or not questions:
        raise UsageError(
            f"{source} is no adapter: it holds no {CARD}; give what `diffspeak adapter` wrote, or "
            "for a LoRA of others also its base and what to ask it"
        )
    return adopt(load_finetune(source, base), base, questions)


def adopt(finetune: Finetune, base: Base, questions: Sequence[str]) -> Adapter:
    """Take a LoRA that others trained, the paper's own adapter for one, as an adapter of a base.

    Args:
        finetune: The adapter as `load_finetune` opened it.
        base: What it was trained on; that it is the right one nothing but its shapes can tell.
        questions: What it may be asked.

    Raises:
        UsageError: It is not low-rank, there is no question, or one is blank.
    """
    if finetune.whole or not finetune.diff:
        raise UsageError(f"{finetune.name} is no LoRA: it cannot be put on top of a finetune")
    if not questions or _blank(questions):
        raise UsageError(f"say what {finetune.name} is to be asked: it does not tell itself")
    return Adapter(
        finetune.diff, base.fingerprint, base.name, tuple(questions), (), {}, {}, finetune.name
    )


def _blank(questions: Sequence[str]) -> bool:
    """Whether one of them asks nothing."""
    return not all(question.strip() for question in questions)


def is_adapter(source: str | Path) -> bool:
    """Whether a source, as `load_adapter` takes it, is an adapter of ours.

    Raises:
        UsageError: There is nothing.
    """
    return (_found(source) / CARD).is_file()


def _found(source: str | Path) -> Path:
    """Where an adapter lies, fetched if it is a hub id; a path is never one."""
    shipped = part_of(source)
    if shipped is not None:
        return adapter_folder(shipped)
    path = Path(source).expanduser()
    if path.exists():
        return path
    if isinstance(source, str) and hub_id(source):
        return locate(source).path
    raise UsageError(
        f"{source} is no adapter: there is no such folder; give the one that `diffspeak adapter` "
        "wrote, or a hub id"
    )


def _read(folder: Path, name: str) -> Adapter:
    card, base = read_card(folder / CARD, AdapterCard, VERSION)
    diff = read_peft(folder)
    return Adapter(
        diff,
        base,
        card.base_name,
        card.questions,
        card.behaviors,
        card.settings,
        card.results,
        name,
        read_calibrations(folder, diff),
    )


def read_card(path: Path, kind: type[AnyCard], newest: int) -> tuple[AnyCard, Fingerprint]:
    """Read a card, and the fingerprint of the base that it names.

    Raises:
        MismatchError: Its version is above the newest one that is known.
        CorruptFileError: It lacks or garbles something.
    """
    content = read_json(path)
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > newest:
        raise MismatchError(
            f"{path} is of version {version}, this diffspeak reads up to {newest}; "
            "upgrade diffspeak"
        )
    try:
        card = kind.model_validate(content)
        return card, Fingerprint(**card.base)  # type: ignore[arg-type]
    except (ValidationError, TypeError) as error:
        faults = error.errors() if isinstance(error, ValidationError) else [{"loc": ["base"]}]
        what = ", ".join(str(fault["loc"][0]) for fault in faults if fault["loc"]) or "its fields"
        raise CorruptFileError(
            f"{path} lacks or garbles {what}; restore it, or train anew"
        ) from error
