"""`diffspeak weight-to-text`: learn to read finetunes off their weights, and read some."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from diffspeak.cli.described import print_described, tell_failed, tell_notes
from diffspeak.cli.facts import Facts, to_json
from diffspeak.cli.left_out import LeftOut
from diffspeak.cli.options import Device, DeviceMap, Dtype, Json, Limit, LowRank, Quantize, Split
from diffspeak.cli.session import Session
from diffspeak.cli.there import check_base, check_finetune, check_folder, check_stores
from diffspeak.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from diffspeak.finetunes import Finetune, Source
    from diffspeak.methods.weight_to_text import WeightToText

Model = TypeVar("Model", bound="BaseModel")

HELP = """Read what finetunes were taught off their weights.

Another way than the adapter's, to compare it with. A projection makes soft tokens of a weight
diff; the base, which stays as it is, reads them in a prompt and names what was taught. The finetune
itself is never run.

--out FOLDER trains a projection: on the training split of the stores that are given, whose labels
the base has to write. Then it is said how many training and validation finetunes it names.
Interrupted, the same command goes on from the last checkpoint. --projection FOLDER reads: anything
that `diffspeak describe` opens, by a projection that was trained.

\b
What --set changes, by default:
  tokens=4             soft tokens that a diff becomes
  projection=linear    or mlp
  hidden=256           width of the MLP's hidden layer
  rank                 of each module's projections; full if none is given
  prefix, suffix       what the base is told before and behind the soft tokens
  epochs=40            times each training finetune is seen
  batch=24             finetunes in one optimizer step
  learning_rate=0.003  AdamW's peak
  slow=0.3             share of it for the modules' projections
  warmup=0.05          share of the steps with rising rate
  clip=1.0             largest norm of the gradient
  module_dropout=0.7   share of a finetune's modules left out at each step
  max_finetunes        learn from the first so many of each store
  validation=48        held-out finetunes named at the end
  save_every=100       steps between checkpoints
  answer_tokens=32     longest guess when validating
  seed=0               of initial values and order

\b
Example:
  diffspeak weight-to-text runs/store --out runs/projection --set epochs=20
  diffspeak weight-to-text my-lora --projection runs/projection
  diffspeak weight-to-text runs/store --split test --projection runs/projection
"""


Sources = Annotated[
    list[str],
    typer.Argument(metavar="SOURCE", help="Stores to learn from, or finetunes to read."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Train a projection into it, new or begun."),
]
Trained = Annotated[
    Path | None,
    typer.Option("--projection", metavar="FOLDER", help="Read by a projection that was trained."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change how it is trained. May be repeated."),
]
BaseName = Annotated[
    str | None,
    typer.Option(
        "--base", help="Hub id, folder or pocket; by default what stores or projection name."
    ),
]


def weight_to_text(
    context: typer.Context,
    source: Sources,
    out: Out = None,
    projection: Trained = None,
    sets: Settings = None,
    base: BaseName = None,
    split: Split = None,
    limit: Limit = None,
    low_rank: LowRank = None,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Longest description.")] = 64,
    dtype: Dtype = "auto",
    device: Device = "auto",
    device_map: DeviceMap = "none",
    quantize: Quantize = "none",
    as_json: Json = False,
) -> None:
    """Train a projection, or read by one."""
    if (out is None) == (projection is None):
        raise UsageError(
            "say either --out FOLDER, to train a projection, or --projection FOLDER, to read by one"
        )
    how = {"dtype": dtype, "device": device, "device_map": device_map, "quantize": quantize}
    choice: dict[str, Any] = {"split": split and split.value, "limit": limit, "low_rank": low_rank}
    check_base(base)
    if out is not None:
        _refuse({**choice, "json": as_json}, "--projection")
        check_stores(source)
        _train(context.obj, source, out.expanduser(), sets or (), base, how)
    elif projection is not None:
        _refuse({"set": sets}, "--out")
        check_folder(projection, "weight-to-text")
        for one in source:
            check_finetune(one)
        from diffspeak.finetunes import open_source

        found = [open_source(name, **choice) for name in source]
        _read(context.obj, _method(projection, base, how, tokens), found, as_json)


def _refuse(options: Mapping[str, Any], use: str) -> None:
    """Refuse options that are for the other use of the verb."""
    given = [name for name, value in options.items() if value]
    if given:
        raise UsageError(f"--{given[0].replace('_', '-')} is for {use}: leave it out")


def _train(
    session: Session,
    sources: Sequence[str],
    out: Path,
    sets: Sequence[str],
    base: str | None,
    how: Mapping[str, str],
) -> None:
    from diffspeak.cli.stage import stage
    from diffspeak.experiments.artifacts import load_study_base
    from diffspeak.experiments.config import BaseConfig
    from diffspeak.experiments.read import place_of, setting
    from diffspeak.methods.weight_to_text import WeightToTextConfig, train_weight_to_text
    from diffspeak.store import open_store

    given: dict[str, Any] = {}
    for text in sets:
        change, faults = setting(f"set.{text}")
        if faults:
            raise UsageError(f"--set {text}: expected key=value, such as epochs=20")
        given |= change["set"]
    settings = _checked(WeightToTextConfig, given, "--set")
    stores = [open_store(place_of(source, Path())) for source in sources]
    named = base or stores[0].header.base.get("name")
    if not named:
        raise UsageError(f"missing option '--base': {sources[0]} does not say what its base is")
    config = _checked(BaseConfig, {"source": _there(named), **how}, "the base")
    used = {
        "base": config.model_dump(mode="json"),
        "weight_to_text": settings.model_dump(mode="json"),
        "stores": [store.source for store in stores],
    }
    with stage(session, out, used) as reporter:
        loaded = load_study_base(config, out)
        trained = train_weight_to_text(loaded, stores, settings, out, reporter)
    session.results.print(f"{out} names {_named(trained.results)} finetunes", soft_wrap=True)


def _checked(kind: type[Model], data: dict[str, Any], what: str) -> Model:
    """Checked settings, or all that is wrong with them in one line."""
    from diffspeak.experiments.config_errors import validated

    found, faults = validated(kind, data)
    if found is None:
        raise UsageError(f"{what}: " + "; ".join(": ".join(fault) for fault in faults))
    return found


def _named(results: Mapping[str, float]) -> str:
    """How many finetunes of each split were named exactly, of those that were asked about."""
    return " and ".join(
        f"{round(results[f'{split}_exact'] * count)} of {count:.0f} {kind}"
        for split, kind in (("train", "training"), ("validation", "validation"))
        if (count := results.get(f"{split}_asked", 0))
    )


def _there(name: str) -> str:
    """A base's name, a folder's as it is seen from anywhere."""
    from diffspeak.experiments.read import place_of

    if Path(name).expanduser().is_absolute() and not Path(name).expanduser().is_dir():
        raise UsageError(f"the base {name} is not there: say where it is now with --base")
    return place_of(name, Path())


def _method(folder: Path, base: str | None, how: Mapping[str, str], tokens: int) -> "WeightToText":
    from diffspeak.methods.weight_to_text import WeightToText, load_projection
    from diffspeak.models import Decoding, load_base

    projection = load_projection(folder)
    loaded = load_base(_there(base or projection.base_name), **how)
    return WeightToText(loaded, projection, Decoding(tokens))


def _read(
    session: Session, method: "WeightToText", sources: "Sequence[Source]", as_json: bool
) -> None:
    """What the base reads in finetunes, some at a time; written at once if JSON is wanted."""
    from diffspeak.cli.reporter import TerminalReporter

    rows: list[Facts] = []
    count = sum(len(source.keys) for source in sources)
    left = LeftOut(session, count)
    read = _opened(session, sources, left, method)
    with TerminalReporter(session) as reporter:
        if count > 1:
            reporter.begin("weight-to-text", count, "finetunes")
        size, answers = method.decoding.batch_size, method.answers
        for finetune, answer in left.worked(
            read, size, answers, lambda a: isfinite(a.mean_logprob)
        ):
            row = {
                "finetune": finetune.name,
                "description": answer.text,
                "mean_logprob": answer.mean_logprob,
                "label": finetune.label,
            }
            rows.append(row)
            if as_json:
                typer.echo(to_json(row))
            reporter.advance()
        reporter.end()
    if rows and not as_json:
        print_described(session, rows)
    left.end()


def _opened(
    session: Session, sources: "Iterable[Source]", left: LeftOut, method: "WeightToText"
) -> "Iterator[Finetune]":
    """Read finetunes one after the other, saying what is left out and what they note."""
    for source in sources:
        if "#" not in source.name:
            tell_failed(session, source)
        for finetune in left.read(source, method.base):
            tell_notes(session, finetune)
            yield finetune
