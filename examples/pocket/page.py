"""Write the page of what the pocket base shows: `python examples/pocket/page.py RUNS PAGE`.

`RUNS` holds `pocket` and `news`, made by

    diffspeak run configs/pocket.toml --out RUNS/pocket
    diffspeak run configs/pocket-news.toml --out RUNS/news

`PAGE` is a Markdown file; its JSON is written beside it, and a second page,
`PAGE-curves`, with what adapters name that were trained on fewer finetunes.
"""

import argparse
from pathlib import Path

from diffspeak.cli.reporter import TerminalReporter
from diffspeak.cli.session import Session
from diffspeak.experiments.pocket_page import Runs, pocket_page

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args()
    session = Session()
    with session.prepared(), TerminalReporter(session) as reporter:
        pocket_page(Runs(arguments.runs, reporter), arguments.page)
