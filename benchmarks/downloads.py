"""`make bench-downloads`: how much `make demo` downloads and how long it takes, beside before.

*Before* is the last commit without a lock, where `make demo` installed all that developing takes.
Sizes are those that the package index tells of the wheels that fit; nothing is downloaded for
them. `--find-links FOLDER` is where wheels of torch for a CPU lie; `--timed` runs `make demo` of
both commits in fresh clones, without pip's cache.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from diffspeak.io.files import write_json, write_text
from diffspeak.scoring import Row, table_lines
from diffspeak.scoring.tables import markdown_table

BEFORE = "419a804"
"""The last commit without a lock."""
AIM = 0.75
TITLE = "What `make demo` downloads"
TOP = """Written by `make bench-downloads`. *Before* is commit {before}, where `make demo` installed
the extra `dev` as well; its versions are the newest of today. What both sides need of torch is the
same; with CUDA that is nearly all there is."""
MACOS = "14.0"
"""The oldest macOS that torch has wheels for."""


@dataclass(frozen=True)
class Wheel:
    """One file that is downloaded.

    Attributes:
        package: Its name.
        version: Its version.
        size: Bytes.
    """

    package: str
    version: str
    size: int


@dataclass(frozen=True)
class Asked:
    """What to find out, and with what.

    Attributes:
        uv: The program.
        python: Version of Python, such as `3.11`.
        links: A folder with wheels of torch for a CPU, if there is one.
    """

    uv: Path
    python: str
    links: Path | None

    def systems(self) -> dict[str, list[str]]:
        """Options for each system that is looked at."""
        linux, macos = ["--python-platform", "linux"], ["--python-platform", "macos"]
        local = {"Linux, torch for CPU": [*linux, "--find-links", str(self.links)]}
        return {
            **(local if self.links else {}),
            "Linux, torch with CUDA": linux,
            "macOS": macos,
        }

    def wheels(self, project: Path, options: Sequence[str]) -> list[Wheel]:
        """What an install of the project's `pyproject.toml` downloads, its build included."""
        with tempfile.TemporaryDirectory() as folder:
            build, found = Path(folder, "build.txt"), Path(folder, "pylock.toml")
            build.write_text("editables\nhatchling\n")
            command = [self.uv, "pip", "compile", "--quiet", "--format", "pylock.toml"]
            given = ["--python-version", self.python, *options, project, build, "-o", found]
            environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": MACOS}
            subprocess.run([*command, *given], env=environment, check=True)
            return [_wheel(one) for one in tomllib.loads(found.read_text())["packages"]]


def _wheel(package: Mapping[str, Any]) -> Wheel:
    """The file that pip takes: one for this platform before one for any, a wheel before source."""
    files = package.get("wheels") or [package["sdist"]]
    best = min(files, key=lambda file: file["url"].endswith("-any.whl"))
    local = Path(unquote(urlsplit(best["url"]).path))
    size = best["size"] if "size" in best else local.stat().st_size
    return Wheel(package["name"], package["version"], size)


def measure(asked: Asked) -> dict[str, dict[str, list[Wheel]]]:
    """What is downloaded on each system, before and now."""
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder, "pyproject.toml")
        old.write_bytes(_git("show", f"{BEFORE}:pyproject.toml"))
        return {
            name: {
                "before": asked.wheels(old, ["--extra", "dev", *options]),
                "now": asked.wheels(Path("pyproject.toml"), ["-c", "requirements.txt", *options]),
            }
            for name, options in asked.systems().items()
        }


def seconds_of(commit: str) -> float:
    """How long `make demo` takes in a fresh clone, without pip's cache."""
    with tempfile.TemporaryDirectory() as folder:
        _git("clone", "--quiet", ".", folder)
        _git("-C", folder, "checkout", "--quiet", commit)
        start = time.perf_counter()
        command = ["make", "demo", f"PYTHON={sys.executable}"]
        environment = {**os.environ, "PIP_NO_CACHE_DIR": "1"}
        subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - start


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], capture_output=True, check=True).stdout


def rows_of(found: Mapping[str, Mapping[str, Sequence[Wheel]]]) -> Iterator[Row]:
    """Bytes now against before; only with CUDA there is no aim, for torch is nearly all of it."""
    for system, sides in found.items():
        before, now = (sum(wheel.size for wheel in sides[side]) for side in ("before", "now"))
        aim = None if "CUDA" in system else AIM
        count = len(sides["now"])
        yield Row(f"{system}: bytes against before", now / before, count, aim=aim, below=True)
        yield Row(f"{system}: before", before / 1e9, len(sides["before"]), unit="GB")
        yield Row(f"{system}: now", now / 1e9, count, unit="GB")


def main() -> None:
    """Measure, and write the page and its JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.downloads", description=__doc__)
    parser.add_argument("--uv", type=Path, default=Path(".venv-tools/bin/uv"))
    parser.add_argument("--python", default="{}.{}".format(*sys.version_info[:2]))
    parser.add_argument("--find-links", type=Path, help="a folder with wheels of torch for a CPU")
    parser.add_argument("--timed", action="store_true", help="run `make demo` before and now")
    parser.add_argument("--page", type=Path, default=Path("docs/results/downloads.md"))
    given = parser.parse_args()
    found = measure(Asked(given.uv, given.python, given.find_links))
    rows = list(rows_of(found))
    if given.timed:
        for name, commit in (("before", BEFORE), ("now", "HEAD")):
            rows.append(
                Row(f"`make demo` in a fresh clone: {name}", seconds_of(commit), 1, unit="s")
            )
    _write(given.page, rows, found)


def _write(
    page: Path, rows: Sequence[Row], found: Mapping[str, Mapping[str, Sequence[Wheel]]]
) -> None:
    largest = [
        {
            "system": system,
            "side": side,
            "largest files, MB": ", ".join(
                f"{w.package} {w.size / 1e6:.0f}"
                for w in sorted(sides[side], key=lambda w: -w.size)[:8]
            ),
        }
        for system, sides in found.items()
        for side in ("before", "now")
    ]
    top = TOP.format(before=BEFORE)
    lines = [f"# {TITLE}", "", top, "", *table_lines(rows), "", *markdown_table(largest), ""]
    write_text(page, "\n".join(lines))
    files = {s: {k: [vars(w) for w in v] for k, v in sides.items()} for s, sides in found.items()}
    table = [{**vars(row), "met": row.met} for row in rows]
    write_json(page.with_suffix(".json"), {"title": TITLE, "rows": table, "files": files})


if __name__ == "__main__":
    main()
