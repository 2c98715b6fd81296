"""docs/cli.md is what the program says of itself; `python tests/test_docs.py` writes it anew."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from diffspeak.cli.app import command
from diffspeak.experiments.config import ExperimentConfig, TrainedConfig
from diffspeak.experiments.config_errors import model_in
from diffspeak.training import AdapterConfig

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
COMMAND = ".venv/bin/python tests/test_docs.py"
TOP = f"""# The command line

Written by `{COMMAND}` from what `diffspeak --help` says; change it there.

"""
CONFIG = """## Config

A TOML file. The sections `behavior`, `items`, `diffs`, `adapter` and `evaluate` are a study, which
rows call `diffs` and `adapter`. Further stores, adapters and projections have names; each is made
by its settings, or is there already, at its `path`. `[[rows]]` try methods on them.
`extends = "NAME"` takes over the settings of another one, and `extends = "FILE"` at the top those
of a file.

`--set section.key=value` is stronger than the file, which is stronger than the defaults. Relative
paths in the file are seen from the file's folder, those in `--set` from the current one. A value of
`--set` is read as TOML; what is no TOML is text. Everything that is wrong is reported at once.

```toml
[base]
source = "Qwen/Qwen3-4B"

[behavior]
name = "hidden-topic"
topics = "topics.csv"
questions = "questions.csv"

[items]
train = 1000

[diffs]
steps = 135

[adapter]
rank = 16
```

"""


def test_the_page_is_what_the_program_says():
    assert PAGE.read_text(encoding="utf-8") == page(), f"docs/cli.md is stale: run `{COMMAND}`"


def test_nothing_is_left_without_a_word():
    text = page()
    assert "| `adapter.rank` | `16` |" in text and "`--temperature`" in text
    assert not re.search(r"\| *\|$|: *$\n^-", text, re.MULTILINE)


def page() -> str:
    """All verbs and all keys of the config."""
    program = command()
    parts = [TOP, _verb("diffspeak", program)]
    parts += [_verb(f"diffspeak {name}", verb) for name, verb in program.commands.items()]
    return "".join([*parts, CONFIG, *_sections()])


def _verb(name: str, verb: Any) -> str:
    lines = [f"- `{_names(param)}`: {_help(param)}" for param in verb.params if param.name]
    return f"## {name}\n\n{_prose(verb.help)}\n" + "\n".join(lines) + "\n\n"


def _names(param: Any) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar)
    return ", ".join(param.opts) + (f" {param.metavar}" if param.metavar else "")


def _help(param: Any) -> str:
    given = param.default is not None and param.default is not False and not param.required
    default = f" Default: {param.default}." if given and param.default != () else ""
    return f"{param.help}{' Required.' if param.required else default}"


def _prose(text: str) -> str:
    """A verb's help: paragraphs as they are, kept lines as code."""
    parts = []
    for paragraph in text.strip().split("\n\n"):
        kept = paragraph.startswith("\b\n")
        lines = paragraph.removeprefix("\b\n").split("\n")
        if kept and not lines[0].startswith(" "):
            parts.append(lines.pop(0))
        plain = [line.removeprefix("  ") for line in lines]
        parts.append("\n".join(["```", *plain, "```"] if kept else plain))
    return "\n\n".join(parts) + "\n"


def _sections() -> Iterator[str]:
    alone = {}
    for name, field in ExperimentConfig.model_fields.items():
        kind, place = model_in(field.annotation), _place(name, field.annotation)
        if kind is None:
            alone[name] = field
            continue
        yield f"### {place}\n\n{_sentence(field.description)}\n\n"
        known = AdapterConfig.model_fields if kind is TrainedConfig else {}
        if known:
            yield "All keys of `adapter`, and:\n\n"
        fields = {key: inner for key, inner in kind.model_fields.items() if key not in known}
        yield from _table({f"{place}.{key}": inner for key, inner in fields.items()})
    yield "### Before the first section\n\n"
    yield from _table(alone)


def _place(name: str, annotation: Any) -> str:
    """How a section is written: of a table of names with one of them, of a list as one of it."""
    kind = get_origin(annotation)
    return f"{name}.NAME" if kind is dict else f"[{name}]" if kind is tuple else name


def _table(fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    yield "| key | default | meaning |\n|---|---|---|\n"
    for key, field in fields.items():
        meaning = _sentence(field.description or "").replace("|", "\\|")
        yield f"| `{key}` | {_default(field)} | {meaning} |\n"
    yield "\n"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].removesuffix(".") + "."


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    plain = value.model_dump() if isinstance(value, BaseModel) else value
    if isinstance(plain, dict):
        return "`{" + ", ".join(f"{key} = {json.dumps(v)}" for key, v in plain.items()) + "}`"
    return f"`{json.dumps(plain)}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
