"""The whole method on a stand-in base, offline on a CPU: `make demo`.

Trains the base if it is not there, then runs `study.toml`: finetunes, adapter, descriptions of
finetunes held out, controls. Stopped at any point, the same command goes on.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE / "out"


def main() -> None:
    """Train the base, run the study, show its page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, help="copy the results to this Markdown file")
    record = parser.parse_args().record
    if not (OUT / "base" / "tokenizer.json").exists():
        print("training the stand-in base", flush=True)
        _call(str(HERE / "base.py"), str(OUT / "base"))
    _call("-m", "diffspeak", "run", str(HERE / "study.toml"), "--out", str(OUT / "run"))
    if record:
        record.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".md", ".json"):
            shutil.copy(OUT / "run" / f"results{suffix}", record.with_suffix(suffix))


def _call(*command: str) -> None:
    try:
        code = subprocess.run([sys.executable, *command], check=False).returncode  # noqa: S603
    except KeyboardInterrupt:
        code = 130
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
