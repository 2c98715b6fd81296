"""Write the page of what the pocket base shows: `python examples/pocket/page.py RUNS PAGE`.

`RUNS` holds `full`, `news` and `quick`, made by

    diffspeak run configs/pocket-full.toml --out RUNS/full
    diffspeak run configs/pocket-news.toml --out RUNS/news
    diffspeak run configs/pocket.toml --out RUNS/quick

`PAGE` is a Markdown file; its JSON is written beside it.
"""

import argparse
from pathlib import Path

from diffspeak.progress import Silent
from diffspeak.study.pocket import Runs, pocket_page

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args()
    pocket_page(Runs(arguments.runs, Silent()), arguments.page)
