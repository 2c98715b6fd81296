"""`diffspeak fetch`: download what a run needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffspeak.cli.there import check_config

if TYPE_CHECKING:
    from diffspeak.downloads import DownloadPlan

HELP = """Download what a run needs, its size shown first.

\b
NAME is one of
  CONFIG.toml         a study: its base, and the paper's data where corpora are missing
  ORG/NAME            a model or adapter on the hub; ORG/NAME@REVISION:SUBFOLDER is a
                      part of one, such as the paper's finetunes (.pt)
  paper:hidden-topic  the paper's training data, as topics, questions and answers
  paper:news          the same, as headlines and stories

Models go into the hub's own cache (HF_HUB_CACHE), where every verb finds them. Code and other
pickles are never downloaded. Interrupted, the same command goes on with the files that are not
there yet. With HF_HUB_OFFLINE=1 it says whether the cache holds all that is needed. For a gated
model accept its terms on its page and sign in with `hf auth login`.

\b
Example:
  diffspeak fetch study.toml --dry-run
  diffspeak fetch Qwen/Qwen3-4B
  diffspeak fetch diff-interpretation-tuning/loras:hidden-topic/qwen3-4b
  diffspeak fetch paper:hidden-topic --out data/paper
"""


def fetch(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="CONFIG.toml, hub id, or paper:BEHAVIOR.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="For the paper's data; data/paper if not given."
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit; main if not given.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be downloaded, and stop.")
    ] = False,
) -> None:
    """Find out, show, fetch."""
    if name.endswith(".toml"):
        check_config(Path(name))
    from diffspeak.cli.reporter import TerminalReporter
    from diffspeak.downloads import carry_out, check_cache, check_space, plan_downloads

    console = context.obj.results
    plan = plan_downloads(name, out, revision)
    # Before anything is said of the space there.
    check_cache(plan)
    _show(console, plan)
    if dry_run:
        check_space(plan)
        return
    with TerminalReporter(context.obj) as reporter:
        said = carry_out(plan, reporter)
    for line in said:
        console.print(line, soft_wrap=True)


def _show(console: Any, plan: "DownloadPlan") -> None:
    """What is here, what has to come, and how much space there is for it."""
    from diffspeak.cli.facts import table
    from diffspeak.hub import cache, free_space, size_of

    for note in plan.notes:
        console.print(note, soft_wrap=True)
    if not plan.repositories:
        return
    console.print(
        table(
            [
                {
                    "repository": found.repository.name,
                    "commit": found.commit[:8],
                    "files": len(found.files),
                    "size": size_of(found.size),
                    "to download": size_of(found.missing),
                }
                for found in plan.repositories
            ]
        )
    )
    for found in plan.repositories:
        if found.closed:
            console.print(f"not open to you: {found.closed}", soft_wrap=True)
    console.print(
        f"to download: {size_of(plan.missing)}; free on the disk of {cache()}: "
        f"{size_of(free_space(cache()))}",
        soft_wrap=True,
    )
