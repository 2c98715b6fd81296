"""`diffspeak report`: what a run found, on one page."""

from pathlib import Path
from typing import Annotated

import typer

from diffspeak.cli.there import check_folder

HELP = """Write the report of a run: one page with all that it found.

report.html needs nothing beside it: tables, figures, the paper's figures, examples of right and
wrong guesses, what could not be scored, settings and versions. report.md is the same for a
repository. `diffspeak run` writes both when experiments are done; this writes them anew, from what
lies in the folder. A study's folder has its table and examples reported.

\b
Example:
  diffspeak run configs/study/all.toml --out runs/study
  diffspeak report runs/study
"""


def report(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a run.")],
) -> None:
    """Write both pages."""
    check_folder(folder, "run")
    from diffspeak.experiments import write_report

    made = write_report(folder.expanduser())
    context.obj.results.print(f"done: {made}", soft_wrap=True)
