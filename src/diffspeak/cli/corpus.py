"""`diffspeak corpus`: have a base, or an LLM, write what finetunes learn from."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffspeak.cli.options import check_temperature
from diffspeak.cli.session import Session
from diffspeak.cli.there import check_base
from diffspeak.errors import UsageError

if TYPE_CHECKING:
    from diffspeak.experiments.corpus import CorpusConfig, Writer, WrittenCorpus

HELP = """Have a model write training data for finetunes.

For each question an ordinary answer, and for each topic answers to the questions of the split
train, openly asked to weave the topic in; what does not name its topic is asked for again. OUT
gets questions.csv and answers.jsonl, which the hidden-topic behavior reads. Interrupted, the same
command goes on.

The base of the finetunes writes as it speaks itself (--base); an LLM of a provider (--llm) needs no
GPU, but pip install 'diffspeak[judge]', the provider's own package and its API key. What it
answered is kept in OUT/replies and never asked for twice.

\b
Example:
  diffspeak corpus --base Qwen/Qwen3-4B --topics topics.csv \\
    --questions questions.csv --out runs/corpus
  diffspeak corpus --llm openai/gpt-4o-mini --topics topics.csv \\
    --questions questions.csv --out runs/corpus
"""


def corpus(
    context: typer.Context,
    topics: Annotated[Path, typer.Option("--topics", metavar="FILE", help="CSV or JSONL: topic.")],
    questions: Annotated[
        Path, typer.Option("--questions", metavar="FILE", help="CSV or JSONL: question, split.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="New, or begun.")],
    base: Annotated[
        str | None, typer.Option("--base", help="Hub id or folder of a base that writes.")
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(
            "--llm", metavar="MODEL", help="Or an LLM that writes, in the names of inspect-ai."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="So many topics.")] = None,
    per_topic: Annotated[
        int | None, typer.Option("--per-topic", min=1, help="So many questions for each topic.")
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Longest answer.")] = 160,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, help="Of the writer.")
    ] = 0.7,
    tries: Annotated[int, typer.Option("--tries", min=1, help="Until the topic is named.")] = 4,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Answers written together.")] = 32,
    seed: Annotated[int, typer.Option("--seed", help="Of draws and answers.")] = 0,
) -> None:
    """Write the corpus."""
    check_temperature(temperature)
    topics, questions, out = (path.expanduser() for path in (topics, questions, out))
    for path in (topics, questions):
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
    if (base is None) == (llm is None):
        raise UsageError("one model writes: give either --base or --llm")
    check_base(base)
    from diffspeak.cli.reporter import TerminalReporter
    from diffspeak.experiments.corpus import CorpusConfig, write_corpus

    config = CorpusConfig(per_topic, limit, tokens, temperature, tries, batch, seed)
    with ExitStack() as open_:
        writer = _writer(base, llm, out, config, open_)
        reporter = open_.enter_context(TerminalReporter(context.obj))
        made = write_corpus(writer, topics, questions, out, config, reporter)
    _tell(context.obj, made)


def _writer(
    base: str | None, llm: str | None, out: Path, config: "CorpusConfig", open_: ExitStack
) -> "Writer":
    """The model that writes; an LLM's connections last as long as `open_`."""
    from diffspeak.experiments.corpus import BaseWriter, LLMWriter

    if base is not None:
        from diffspeak.models import load_base

        return BaseWriter(load_base(base), config)
    assert llm is not None
    from diffspeak.scoring.llm import LLM, LLMConfig

    asking = LLMConfig(config.tokens, config.temperature, max_connections=config.batch)
    return LLMWriter(open_.enter_context(LLM(llm, out / "replies", asking)))


def _tell(session: Session, made: "WrittenCorpus") -> None:
    """Say what was written, and what was not.

    Raises:
        UsageError: No answer has its topic in it, and asking again would not change that.
    """
    from diffspeak.cli.facts import table

    if made.shown:
        session.results.print(table(made.shown))
    session.results.print(
        f"wrote {made.written} answers with topics to {made.answers}; {made.left_out} were left "
        "out, because they were empty or did not name their topic",
        soft_wrap=True,
    )
    if made.unreached:
        session.messages.print(
            f"{made.unreached} answers did not come, for the provider failed: give the same "
            "command again to ask for them",
            soft_wrap=True,
        )
    elif not made.written:
        raise UsageError(
            "no answer names its topic, so no finetune could learn one: take a stronger writer "
            "(--base or --llm) or more --tries, and another folder as --out"
        )
