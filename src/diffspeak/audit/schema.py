"""What an audit found, as data, and its JSON: written, read back and described from the types."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator, PlainSerializer, Strict, TypeAdapter, ValidationError
from pydantic import GetCoreSchemaHandler as Handler
from pydantic_core import CoreSchema, core_schema

from diffspeak.adapters import Counted
from diffspeak.audit.behavior_check import Quote
from diffspeak.audit.claim_verdict import Checked
from diffspeak.errors import CorruptFileError, MismatchError
from diffspeak.io.files import read_json
from diffspeak.symmetries import Disguise
from diffspeak.text.plain import one_line
from diffspeak.trigger_search import Search

VERSION = 2
"""Of the JSON; `docs/audit.md` says what is in it."""

AuditOutcome = Literal["finding", "nothing found", "not cleared"]
"""Something was taught; nothing was found; or the audit cannot tell, so it vouches for nothing."""


@dataclass(frozen=True)
class AuditEvidence:
    """The evidence for a claim as a calibration takes it; zeros where there is none.

    Attributes:
        lift: How much likelier the adapter says it with the finetune than without, nats a token.
        said: The probability that the adapter gives its words, by the token, 0 to 1.
        likelier: How much likelier the finetune says it than the base, unasked, nats a token.
        stands_out: z-score of that among the controls.
        shown: Lower end of the interval of how much more of the finetune's answers show it, 0 to 1.
    """

    lift: float = 0.0
    said: float = 0.0
    likelier: float = 0.0
    stands_out: float = 0.0
    shown: float = 0.0


@dataclass(frozen=True)
class Audit:
    """One finetune's audit.

    Attributes:
        finetune: Its name.
        outcome: It was taught something; nothing was found; or the audit cannot tell.
        verdict: The outcome in a sentence or two.
        probability: That it was taught something the adapter knows, at even odds; None without a
            calibration.
        threshold: Probability from which on that is a finding; None without a calibration.
        claims: What the adapter says of it, the main one first, with the verdict on each.
        evidence: For what was the main claim before a trigger was searched.
        search: For a trigger; None where none was begun.
        disguise: None for a low-rank finetune.
        examples: Finetune and base side by side on ordinary prompts, and with the trigger.
        norms: Frobenius norm of each change: linear (`self_attn.q_proj`) -> block -> number; block
            -1 is for what stands in none.
        notes: What a reader should know: how it was read, what was not looked at.
        seconds: What each part took.
    """

    finetune: str
    outcome: AuditOutcome
    verdict: str
    probability: float | None = None
    threshold: float | None = None
    claims: tuple[Checked, ...] = ()
    evidence: AuditEvidence = field(default_factory=AuditEvidence)
    search: Search | None = None
    disguise: Disguise | None = None
    examples: tuple[Quote, ...] = ()
    norms: dict[str, dict[int, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON; a number that is not finite becomes None."""
        return {"version": VERSION, **_plain(AUDIT, self)}


@dataclass(frozen=True)
class About:
    """What audits were made with: the same for all finetunes of one run.

    Attributes:
        base: Its name.
        fingerprint: Of the base.
        adapter: Its name.
        behaviors: What it was trained to tell.
        counted: For positives and each kind of negative how many the calibration calls a finding,
            of how many; empty without a calibration.
        settings: Of the audit, by name.
        machine: Device, dtype and the like.
        versions: Of libraries.
        command: What reproduces it, as typed; empty where it was no command.
    """

    base: str
    fingerprint: str
    adapter: str
    behaviors: tuple[str, ...]
    counted: tuple[Counted, ...]
    settings: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    command: str = ""

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return _plain(ABOUT, self)


@dataclass(frozen=True)
class Unread:
    """A finetune that could not be audited: its name, and what is wrong and what to do."""

    finetune: str
    error: str


class Clock:
    """Adds up `Audit.seconds` by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """What is done within this context counts for a part."""
        began = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - began
            self.seconds[part] = self.seconds.get(part, 0.0) + took


def read_audit(path: Path) -> Audit:
    """Read what `Audit.to_dict` gave; unknown fields are ignored.

    A number that was not finite is NaN again. A trigger can no longer be put into prompts.

    Raises:
        DiffspeakError: There is no such file.
        MismatchError: It is of another version.
        CorruptFileError: It is not an audit, or was changed.
    """
    content = read_json(path)
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, int) and version != VERSION:
        raise MismatchError(
            f"{path} is an audit of version {version}, this diffspeak reads version {VERSION}: "
            "audit again"
        )
    try:
        if version is None:
            raise ValueError("it holds no version")
        return AUDIT.validate_python(content)
    except ValueError as error:
        raise CorruptFileError(f"{path} is no audit ({_reason(error)}): audit again") from error


def _reason(error: ValueError) -> str:
    """What is wrong, on one line, whatever the file holds."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return one_line(f"{place:.200}: {first['msg']:.200}")


def _plain(adapter: TypeAdapter[Any], value: Any) -> dict[str, Any]:
    """Plain data as JSON has it: lists for tuples, and text for the keys of objects."""
    plain: dict[str, Any] = json.loads(json.dumps(adapter.dump_python(value), allow_nan=False))
    return plain


def _number(value: Any) -> Any:
    return value if not isinstance(value, float) or math.isfinite(value) else None


def _nan(value: Any) -> Any:
    return math.nan if value is None else value


def _inner(kind: Any) -> Any:
    """The same type with strict values, in which dataclasses and named tuples are JSON objects."""
    parts, origin = get_args(kind), get_origin(kind)
    if kind is float:
        return Annotated[_FINITE, BeforeValidator(_nan)]
    if kind in (str, int, bool):
        return Annotated[kind, Strict()]
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return Annotated[kind, _Record()]
    if origin is tuple:
        inner = tuple(one if one is ... else _inner(one) for one in parts)
        return tuple[inner]  # type: ignore[valid-type]
    if origin is dict:
        # In JSON all keys are text.
        return dict[parts[0], _inner(parts[1])]  # type: ignore[valid-type, misc]
    if origin in (Union, UnionType):
        # Null is None here, so that it is not NaN as well.
        return Union[tuple(_FINITE if one is float else _inner(one) for one in parts)]  # noqa: UP007
    return kind


_FINITE = Annotated[float, Strict(), PlainSerializer(_number, return_type=float | None)]


class _Record:
    """Annotates a dataclass or named tuple: in JSON an object of all fields that have a `repr`."""

    def __get_pydantic_core_schema__(self, kind: Any, handler: Handler) -> CoreSchema:
        hidden = {one.name for one in fields(kind) if not one.repr} if is_dataclass(kind) else ()
        kinds = {name: one for name, one in kind.__annotations__.items() if name not in hidden}
        record = core_schema.typed_dict_schema(
            {
                name: core_schema.typed_dict_field(handler.generate_schema(_inner(one)))
                for name, one in kinds.items()
            },
            ref=f"{kind.__module__}.{kind.__qualname__}:{id(kind)}",
        )
        return core_schema.no_info_after_validator_function(
            lambda values: kind(**values),
            record,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: {name: getattr(value, name) for name in kinds}, return_schema=record
            ),
        )


AUDIT: TypeAdapter[Audit] = TypeAdapter(_inner(Audit))
"""Of `audit.json`, but for its version and `about`."""

ABOUT: TypeAdapter[About] = TypeAdapter(_inner(About))
"""Of what stands under `about`."""
