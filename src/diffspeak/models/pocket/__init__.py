"""The pocket base: where its weights, adapters and corpus lie in the package.

Takes names, gives paths. Knows nothing of what the files hold, and imports nothing heavy.
"""

from pathlib import Path

from diffspeak.errors import UsageError

NAME = "pocket"
VERSION = "pocket-2"
PREFIX = f"{NAME}:"
"""Starts the names of what ships beside the base: `pocket:hidden-topic`, `pocket:topics.csv`."""

BEHAVIORS = ("hidden-topic", "news")
AUDIT = "audit"
"""The adapter that audits ask: hidden topics behind any trigger, or nothing; it is calibrated."""
ADAPTERS = (*BEHAVIORS, AUDIT)
_SHIPPED = ("topics.csv", "unheard.csv", "questions.csv")
_NEWSPAPER = ("headlines.csv", "stories.csv")
_FACTS = "facts.csv"
CORPUS_FILES = (*_SHIPPED, *_NEWSPAPER, _FACTS)
_HERE = Path(__file__).parent


def part_of(source: object) -> str | None:
    """Give what stands behind `pocket:`; None for any other text, and for every path."""
    if isinstance(source, str) and source.startswith(PREFIX):
        return source.removeprefix(PREFIX)
    return None


def base_folder() -> Path:
    """Give the base's folder, an ordinary Hugging Face one.

    Raises:
        UsageError: It did not ship.
    """
    return _installed(_HERE / "weights" / "model.safetensors").parent


def adapter_folder(behavior: str) -> Path:
    """Give the folder of the adapter for a behavior, or of the one for audits.

    Raises:
        UsageError: There is none for this behavior, or it did not ship.
    """
    if behavior not in ADAPTERS:
        raise UsageError(
            f"no adapter for {behavior!r} ships with the pocket base; known are "
            + ", ".join(f"{PREFIX}{known}" for known in ADAPTERS)
        )
    return _installed(_HERE / "adapters" / behavior / "diffspeak.json").parent


def shipped_adapters() -> list[str]:
    """Name the adapters that are there."""
    places = {name: _HERE / "adapters" / name for name in ADAPTERS}
    return [name for name, folder in places.items() if (folder / "diffspeak.json").is_file()]


def corpus_file(name: str) -> Path:
    """Give a file of the corpus, one of `CORPUS_FILES`; what is made by program is written first.

    Raises:
        UsageError: There is no such file, or it did not ship.
    """
    if name not in CORPUS_FILES:
        raise UsageError(
            f"the pocket corpus has no {name!r}; known are "
            + ", ".join(f"{PREFIX}{known}" for known in CORPUS_FILES)
        )
    if name in _NEWSPAPER:
        from diffspeak.models.pocket.newspaper import newspaper_folder

        return newspaper_folder() / name
    if name == _FACTS:
        from diffspeak.models.pocket.invented import facts_file

        return facts_file()
    return _installed(_HERE / "corpus" / name)


def _installed(path: Path) -> Path:
    if not path.is_file():
        raise UsageError(
            f"{path} is missing: this version of diffspeak comes without it, or the installation "
            "is incomplete; install a release that has it"
        )
    return path
