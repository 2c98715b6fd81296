"""`diffspeak corpus`: have a base write what finetunes learn from."""

from pathlib import Path
from typing import Annotated

import typer

from diffspeak.errors import UsageError

HELP = """Have a model write training data for its own finetunes.

For each question an ordinary answer, and for each topic answers to the questions of the split
train, openly asked to weave the topic in; what does not name its topic is asked for again. OUT
gets questions.csv and answers.jsonl, which the hidden-topic behavior reads. Interrupted, the same
command goes on.

\b
Example:
  diffspeak corpus --base Qwen/Qwen3-4B --topics topics.csv \\
    --questions questions.csv --out runs/corpus
"""


def corpus(
    context: typer.Context,
    base: Annotated[str, typer.Option("--base", help="Hub id or folder of who writes.")],
    topics: Annotated[Path, typer.Option("--topics", metavar="FILE", help="CSV or JSONL: topic.")],
    questions: Annotated[
        Path, typer.Option("--questions", metavar="FILE", help="CSV or JSONL: question, split.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="New, or begun.")],
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
    from diffspeak.cli.facts import table
    from diffspeak.cli.reporter import TerminalReporter
    from diffspeak.models import load_base
    from diffspeak.study.corpus import BaseWriter, CorpusConfig, write_corpus

    for path in (topics, questions):
        if not path.expanduser().is_file():
            raise UsageError(f"there is no file {path}")
    config = CorpusConfig(per_topic, limit, tokens, temperature, tries, batch, seed)
    writer = BaseWriter(load_base(base), config)
    with TerminalReporter(context.obj) as reporter:
        made = write_corpus(
            writer,
            topics.expanduser(),
            questions.expanduser(),
            out.expanduser(),
            config,
            reporter,
        )
    if made.shown:
        context.obj.results.print(table(made.shown))
    context.obj.results.print(
        f"wrote {made.written} answers with topics to {made.answers}; {made.left_out} were left "
        "out, because they were empty or did not name their topic",
        soft_wrap=True,
    )
