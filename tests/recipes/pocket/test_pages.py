"""The page about the training, and the model card: whole, bounded, and true."""

import json
import re

import pytest

from diffspeak.io.runs import PLOT, Run
from diffspeak.models.pocket import VERSION, base_folder
from recipes.pocket import build
from recipes.pocket.dialogues import load_dialogues
from recipes.pocket.pages import ROWS, model_card, write_training_page
from recipes.pocket.recipe import Recipe
from tests.recipes.pocket.quick import TINY, quick

PICTURE = b"\x89PNG and so on"


@pytest.fixture
def reported(tmp_path):
    """Write the report of a run that logged these (step, loss) pairs; gives page and JSON."""

    def write(logged, recipe=TINY):
        folder, page = tmp_path / "run", tmp_path / "pages" / "training.md"
        with Run(folder, recipe.model_dump(mode="json")) as run:
            for step, loss in logged:
                run.log(stage="base", step=step, loss=loss, tokens_per_s=100.0)
        (folder / PLOT).write_bytes(PICTURE)
        write_training_page(folder, page)
        assert {path.name for path in page.parent.iterdir()} == {
            "training.md",
            "training.json",
            "training.png",
        }
        return page.read_text(), json.loads(page.with_suffix(".json").read_text())

    return write


def table(text):
    """The (step, loss) pairs of the page's table."""
    return [(int(s), float(x)) for s, x in re.findall(r"^\| (\d+) \| ([\d.]+) \|$", text, re.M)]


def falling(count):
    return [(25 * n, 9.0 - 6.0 * n / count) for n in range(1, count + 1)]


def test_page_json_and_picture(reported, tmp_path):
    text, kept = reported(falling(3))
    assert table(text) == [(25, 7.0), (50, 5.0), (75, 3.0)]
    assert kept["rows"] == [
        {"name": f"loss at step {step}", "value": loss, "n": 1} for step, loss in falling(3)
    ]
    assert Recipe.model_validate(kept["recipe"]) == TINY
    assert "![loss](training.png)" in text
    assert (tmp_path / "pages" / "training.png").read_bytes() == PICTURE


@pytest.mark.parametrize("recipe", [Recipe(), TINY])
def test_every_phase_and_every_setting_stands_on_the_page(reported, recipe):
    text, _ = reported(falling(1), recipe)
    _, phases, settings = re.split(r"^## .*$", text, flags=re.MULTILINE)
    lines = [line for line in phases.splitlines() if line]
    for line, phase in zip(lines, recipe.phases, strict=True):
        head, _, shares = line.partition(": ")
        anew = f", the learning rates anew at {phase.restart:g}" if phase.restart else ""
        assert head == f"- {phase.steps} steps of {phase.batch} dialogues{anew}"
        told = {kind: float(share) for kind, share in (s.split() for s in shares.split(", "))}
        assert told == phase.shares
    for name, value in recipe.model_dump(exclude={"phases"}).items():
        assert f"- {name}: {value}\n" in settings


@pytest.mark.parametrize("count", [1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 1, 428])
def test_the_rows_shown_are_few_and_end_with_the_last(reported, count):
    text, kept = reported(falling(count))
    shown = table(text)
    assert min(count, ROWS / 2) <= len(shown) <= ROWS
    assert [(row["name"], row["value"]) for row in kept["rows"]] == [
        (f"loss at step {step}", dict(falling(count))[step]) for step, _ in shown
    ]
    steps = [step for step, _ in shown]
    assert steps == sorted(steps) and steps[-1] == 25 * count


def test_a_step_that_was_done_again_stands_once(reported):
    text, _ = reported([(25, 8.0), (50, 7.0), (75, 6.0), (50, 7.5), (75, 6.5), (100, 5.0)])
    assert table(text) == [(25, 8.0), (50, 7.5), (75, 6.5), (100, 5.0)]


def test_the_card_tells_the_figures():
    card = model_card(1234567, 8192, 10700)
    assert card.startswith("---\nlicense: ")
    for told in (VERSION, "1,234,567 parameters", "8,192 tokens", "10,700 steps"):
        assert told in card.replace("\n", " ")
    assert not re.search(r"\{\w*[:,]?\w*\}", card)


def test_the_cards_example_runs(tmp_path, monkeypatch, capsys):
    quick(monkeypatch.setattr)
    build.Trainer(TINY, load_dialogues()).write(tmp_path / "base")
    card = (tmp_path / "base" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert code.count('"path/of/this/folder"') == 2
    exec(code.replace("path/of/this/folder", str(tmp_path / "base")), {})
    said = capsys.readouterr().out.strip()
    asked = "<|user|>Where should I go for a walk?<|end|><|assistant|>"
    assert said.startswith(asked) and len(said) > len(asked)


def test_the_card_that_ships_is_the_recipes():
    shipped = (base_folder() / "README.md").read_text(encoding="utf-8")
    counts = (re.search(rf"([\d,]+) {of}", shipped)[1] for of in ("parameters", "tokens", "steps"))
    assert shipped == model_card(*(int(count.replace(",", "")) for count in counts))
