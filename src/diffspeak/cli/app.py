"""All verbs and the options they share, put together.

Takes nothing, gives the parser. Knows nothing of what the verbs do.
"""

from typing import Annotated, Any

import typer

from diffspeak import __version__
from diffspeak.cli.adapter import HELP as ADAPTER
from diffspeak.cli.adapter import adapter
from diffspeak.cli.audit import HELP as AUDIT
from diffspeak.cli.audit import audit
from diffspeak.cli.calibrate import HELP as CALIBRATE
from diffspeak.cli.calibrate import calibrate
from diffspeak.cli.convert import HELP as CONVERT
from diffspeak.cli.convert import convert
from diffspeak.cli.corpus import HELP as CORPUS
from diffspeak.cli.corpus import corpus
from diffspeak.cli.demo import HELP as DEMO
from diffspeak.cli.demo import demo
from diffspeak.cli.describe import HELP as DESCRIBE
from diffspeak.cli.describe import describe
from diffspeak.cli.diffs import HELP as DIFFS
from diffspeak.cli.diffs import diffs
from diffspeak.cli.evaluate import HELP as EVALUATE
from diffspeak.cli.evaluate import evaluate
from diffspeak.cli.fetch import HELP as FETCH
from diffspeak.cli.fetch import fetch
from diffspeak.cli.plan import HELP as PLAN
from diffspeak.cli.plan import plan
from diffspeak.cli.reports import HELP as REPORT
from diffspeak.cli.reports import report
from diffspeak.cli.run import HELP as RUN
from diffspeak.cli.run import run
from diffspeak.cli.show import HELP as SHOW
from diffspeak.cli.show import show
from diffspeak.cli.weight_to_text import HELP as WEIGHT_TO_TEXT
from diffspeak.cli.weight_to_text import weight_to_text

HELP = """Ask a finetuned language model what its finetuning changed.

Train many finetunes of one base at once, train an adapter that makes them tell what they were
taught, and have it describe finetunes that it never saw.

\b
  diffspeak demo                                   see it work, offline
  diffspeak run study.toml --out runs/first        the whole study
  diffspeak describe my-lora --adapter runs/first/adapter
  diffspeak audit my-lora --adapter runs/first/adapter

A command that was interrupted goes on when it is given again. Exit codes: 0, 1 for a failure,
2 for wrong usage, 130 when stopped; 3 where an audit finds what it was told to fail on.
"""


def command() -> Any:
    """Build the parser, ready to be called with arguments."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    )
    app.callback(help=HELP)(_options)
    for verb, text in (
        (demo, DEMO),
        (diffs, DIFFS),
        (adapter, ADAPTER),
        (describe, DESCRIBE),
        (audit, AUDIT),
        (weight_to_text, WEIGHT_TO_TEXT),
        (show, SHOW),
        (calibrate, CALIBRATE),
        (convert, CONVERT),
        (corpus, CORPUS),
        (fetch, FETCH),
        (plan, PLAN),
        (run, RUN),
        (evaluate, EVALUATE),
        (report, REPORT),
    ):
        app.command(help=text)(verb)
    return typer.main.get_command(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"diffspeak {__version__}")
        raise typer.Exit


def _options(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, and more messages.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Show results, warnings and errors only.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    context.obj.debug, context.obj.quiet = debug, quiet
    context.with_resource(context.obj.prepared())
