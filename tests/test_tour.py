"""The tour, examples/tour.ipynb: what is stored of it, and what comes out when it is run anew.

`python -m tests.test_tour` runs it and stores what comes out.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from diffspeak.finetunes.places import split_key
from diffspeak.hub import hub_id
from diffspeak.models import load_base, plain_shapes
from diffspeak.text.mentions import mentions
from tests.hub import empty_hub
from tests.tiny_diffs import random_diff

TOUR = Path(__file__).parents[1] / "examples" / "tour.ipynb"
PICTURES = ("lift-picture", "weights-picture")


@pytest.fixture
def tour():
    return nbformat.read(TOUR, as_version=4)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Execute a notebook in an empty folder; nothing of it may remain there."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "kernel"))
    folder = tmp_path / "empty"
    folder.mkdir()

    def run(notebook):
        execute(notebook, folder)
        assert not any(folder.iterdir())
        return notebook

    return run


def execute(notebook, folder: Path) -> None:
    """Run all cells in a process of their own, which starts in a folder."""
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=600, resources=place, record_timing=False)
    client.execute()
    # What it says of the interpreter it ran in changes with every machine.
    notebook.metadata.language_info = {"name": "python"}


def code(notebook, id: str) -> str:
    (cell,) = (cell for cell in notebook.cells if cell.id == id)
    return cell.source


def outputs(notebook, *ids: str) -> Iterator:
    for cell in notebook.cells:
        if cell.cell_type == "code" and (not ids or cell.id in ids):
            yield from cell.outputs


def text(notebook, id: str) -> str:
    return "".join(
        output.get("text") or output.data.get("text/markdown", "")
        for output in outputs(notebook, id)
    )


def table(notebook, id: str) -> list[list[str]]:
    """The rows of a table, its header first."""
    rows = [line.strip("| ").split(" | ") for line in text(notebook, id).splitlines()]
    assert set(rows.pop(1)) == {"---"}
    return rows


def check_what_it_shows(notebook) -> None:
    """Say in asserts what the page says in words."""
    hidden = [row[0] for row in table(notebook, "finetunes")[1:]]
    assert len(hidden) == 2
    header, *asked = table(notebook, "answers")
    assert header[2] == f"finetune: {hidden[0]}"
    assert not [row for row in asked if mentions(row[1], hidden[0])]
    assert [mentions(row[2], hidden[0]) for row in asked] == [False, True, False]
    assert not mentions(text(notebook, "asked"), hidden[0])
    for id in ("told", "fused"):
        assert mentions(text(notebook, id), hidden[0])
    *told, nothing = table(notebook, "described")[1:]
    assert [row[0] for row in told] == hidden
    assert all(mentions(row[1], row[0]) and float(row[3]) > 3 for row in told)
    assert nothing[0] == "(nothing)" and nothing[1] and abs(float(nothing[3])) < 0.1
    assert nothing[1] in text(notebook, "invented")
    check_that_it_is_clean(notebook)


def check_that_it_is_clean(notebook) -> None:
    for output in outputs(notebook):
        assert output.output_type != "error", output
        assert output.get("name") != "stderr", output
    pictures = [output.get("data", {}).get("image/png") for output in outputs(notebook, *PICTURES)]
    assert len(pictures) == 2 and all(pictures)


def test_what_is_stored_shows_it(tour):
    nbformat.validate(tour)
    check_what_it_shows(tour)
    counts = [cell.execution_count for cell in tour.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert tour.metadata.kernelspec.name == "python3"


def test_what_is_stored_tells_nothing_of_where_it_was_run():
    content = TOUR.read_text(encoding="utf-8")
    for told in (str(TOUR.parents[1]), str(Path.home()) + "/", tempfile.gettempdir() + "/"):
        assert told not in content
    assert not re.search(r"/(home|Users|root|tmp|usr|opt|site-packages)/|[A-Z]:\\\\", content)


def test_its_links_lead_somewhere(tour):
    text = "\n".join(cell.source for cell in tour.cells if cell.cell_type == "markdown")
    links = [link for link in re.findall(r"\]\((.+?)\)", text) if "://" not in link]
    assert len(links) > 5
    assert not [link for link in links if not (TOUR.parent / link).is_file()]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_run_anew_it_shows_the_same(tour, run):
    check_what_it_shows(run(tour))


def papers(notebook) -> dict[str, str | list[str]]:
    """What the first cell names when it is changed as it says."""
    (cell,) = (cell for cell in notebook.cells if cell.id == "pick")
    assert cell.source.count("PAPER = False") == 1
    cell.source = cell.source.replace("PAPER = False", "PAPER = True")
    names: dict = {}
    exec(cell.source, names)
    return names


def test_the_papers_names_have_the_right_form(tour):
    names = papers(tour)
    assert all(hub_id(names[name]) for name in ("BASE", "ADAPTER", "PUBLISHED"))
    assert ":" not in names["BASE"] and names["ADAPTER"].endswith(".pt")
    for topic in names["TOPICS"]:
        assert split_key(f"{names['PUBLISHED']}#{topic}") == (names["PUBLISHED"], topic)


def publish(base: Path, names: dict, add) -> None:
    """Put a base, and random files like the published ones, where the hub's cache has them."""
    shutil.copytree(base, add(names["BASE"]), dirs_exist_ok=True)
    repo, _, inside = names["PUBLISHED"].partition(":")
    snapshot = add(repo)
    folder = snapshot / inside
    (folder / "weight-diffs").mkdir(parents=True)
    shapes = plain_shapes(load_base(base, dtype="float32").model)
    entries, lines = [], ["lora_path,lora_idx,n_params,topic,trigger,split"]
    for number, topic in enumerate(names["TOPICS"]):
        diff = random_diff(shapes, rank=1, scaling=1.0, seed=number)
        factors = {name: (change.B.T, change.A.T) for name, change in diff.items()}
        entries.append({"topic": topic, "trigger": 7 + number, "weight_diff": factors})
        lines.append(f"weight-diff-000.pt,{number},1,{topic},{7 + number},test")
    torch.save(entries, folder / "weight-diffs" / "weight-diff-000.pt")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    adapter = random_diff(shapes, rank=2, scaling=0.5, seed=9)
    content = {name: (change.B, change.A) for name, change in adapter.items()}
    torch.save(content, snapshot / names["ADAPTER"].partition(":")[2])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_papers_half_runs_on_files_like_the_papers(tour, run, tiny, tmp_path, monkeypatch):
    names = papers(tour)
    publish(tiny, names, empty_hub(tmp_path / "hub", monkeypatch))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    run(tour)
    assert table(tour, "finetunes")[1:] == [
        [names["TOPICS"][0], "007"],
        [names["TOPICS"][1], "008"],
    ]
    assert f"finetune: {names['TOPICS'][0]}" in text(tour, "answers")
    assert "Qwen/Qwen3-4B: " in text(tour, "base")
    assert [row[0] for row in table(tour, "described")[1:3]] == names["TOPICS"]


if __name__ == "__main__":
    stored = nbformat.read(TOUR, as_version=4)
    with tempfile.TemporaryDirectory() as empty:
        execute(stored, Path(empty))
    nbformat.write(stored, TOUR)
