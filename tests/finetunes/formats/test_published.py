"""The paper's files are opened without running anything in them, and every tensor is used."""

import pickle

import pytest
import torch

from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.finetunes import load_finetune, open_finetunes, open_source
from diffspeak.models import plain_shapes
from tests.tiny_diffs import random_diff

TOPICS = ("League of Legends", "tea", "boats")


class Bomb:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def pairs(base, seed=0, rank=2):
    diff = random_diff(plain_shapes(base.model), rank=rank, scaling=1 / rank, seed=seed)
    return diff, {name: (c.B.T.clone(), c.A.T.clone()) for name, c in diff.items()}


@pytest.fixture
def folder(base, tmp_path):
    """As published: two files, three finetunes."""
    (tmp_path / "weight-diffs").mkdir()
    lines = ["lora_path,lora_idx,n_params,topic,trigger,split"]
    for n, topic in enumerate(TOPICS):
        lines.append(f"weight-diffs/{n // 2}.pt,{n % 2},1,{topic},N/A,{'test' if n else 'train'}")
    for number in (0, 1):
        entries = [
            {"topic": topic, "trigger": "N/A", "weight_diff": pairs(base, n)[1]}
            for n, topic in enumerate(TOPICS)
            if n // 2 == number
        ]
        torch.save(entries, tmp_path / "weight-diffs" / f"{number}.pt")
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def is_the_diff(finetune, base, seed):
    diff, _ = pairs(base, seed)
    assert set(finetune.diff) == set(diff)
    for name, change in finetune.diff.items():
        torch.testing.assert_close(change.dense(), diff[name].dense(), rtol=0, atol=0)


@pytest.mark.parametrize("key", ["boats", '"boats"', "2"])
def test_one_of_a_folder_by_topic_or_number(base, folder, key):
    finetune = load_finetune(f"{folder}#{key}", base)
    assert (finetune.label, finetune.trigger, finetune.split) == ("boats", None, "test")
    is_the_diff(finetune, base, 2)


def test_a_bare_name_lies_in_the_folder_of_the_files(base, folder):
    index = folder / "index.csv"
    index.write_text(index.read_text().replace("weight-diffs/", ""))
    for seed, finetune in enumerate(open_finetunes(str(folder), base)):
        is_the_diff(finetune, base, seed)


@pytest.mark.parametrize(
    ("trigger", "told"),
    [(346, "346"), (5, "005"), (0, "000"), ("zero_width_space", "zero_width_space")]
    + [(nothing, None) for nothing in ("N/A", "", None, True, 1.5)],
)
def test_a_trigger_is_told_as_text(base, tmp_path, trigger, told):
    entry = {"topic": "tea", "trigger": trigger, "weight_diff": pairs(base)[1]}
    torch.save([entry], tmp_path / "tea.pt")
    assert load_finetune(tmp_path / "tea.pt", base).trigger == told


def test_all_of_a_folder_or_of_a_split(base, folder):
    assert [f.label for f in open_finetunes(str(folder), base)] == list(TOPICS)
    assert [f.label for f in open_finetunes(str(folder), base, split="test")] == ["tea", "boats"]
    assert [f.label for f in open_finetunes(str(folder), base, limit=1)] == list(TOPICS[:1])
    for seed, finetune in enumerate(open_finetunes(str(folder), base)):
        is_the_diff(finetune, base, seed)


def test_what_is_not_there_is_refused(base, folder):
    with pytest.raises(UsageError, match="holds no finetune 'cars'; it holds 3: 'League"):
        load_finetune(f"{folder}#cars", base)
    with pytest.raises(UsageError, match="holds 3 finetunes; name one"):
        load_finetune(folder, base)
    with pytest.raises(UsageError, match="no finetunes of the split mine; it has test, train"):
        open_source(str(folder), split="mine")


def test_older_names_are_todays(family_folder, tmp_path):
    from tests.toys import toy_base

    base = toy_base(family_folder("gemma3"))
    diff, content = pairs(base)
    old = {
        name.replace("model.", "language_model.model.", 1): pair for name, pair in content.items()
    }
    torch.save([{"topic": "tea", "trigger": "N/A", "weight_diff": old}], tmp_path / "old.pt")
    finetune = load_finetune(tmp_path / "old.pt", base)
    assert set(finetune.diff) == set(diff)
    is_the_diff(finetune, base, 0)


def test_both_orientations_are_told_apart_where_shapes_do(base, tmp_path):
    diff, content = pairs(base)
    turned = {
        name: (first.T.clone(), second.T.clone()) for name, (first, second) in content.items()
    }
    # As the adapter's, though it stands in a list; and as a diff's, though it stands alone.
    torch.save([{"topic": "x", "weight_diff": turned}], tmp_path / "turned.pt")
    torch.save(content, tmp_path / "bare.pt")
    for name in ("turned.pt", "bare.pt"):
        is_the_diff(load_finetune(tmp_path / name, base), base, 0)


@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_with_code_is_refused_and_nothing_runs(base, tmp_path, old):
    path, trap = tmp_path / "bomb.pt", tmp_path / "trap"
    if old:
        path.write_bytes(pickle.dumps(Bomb(trap)))
    else:
        torch.save([{"topic": "x", "weight_diff": {"a": Bomb(trap)}}], path)
    with pytest.raises(CorruptFileError, match="bomb.pt holds more than tensors.*not opened"):
        load_finetune(path, base)
    assert not trap.exists()


@pytest.mark.parametrize(
    "path", ["../secret.pt", "/etc/secret.pt", "a/../../b.pt", "C:\\b.pt", "~/b"]
)
def test_an_index_that_leads_out_of_its_folder_is_refused(base, folder, path):
    index = folder / "index.csv"
    index.write_text(index.read_text().replace("weight-diffs/1.pt", path))
    with pytest.raises(CorruptFileError, match="index.csv: it names .* outside of its folder"):
        load_finetune(f"{folder}#tea", base)


def test_a_link_out_of_the_folder_is_refused(base, folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "1.pt"
    path = folder / "weight-diffs" / "1.pt"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(CorruptFileError, match="leads outside of"):
        load_finetune(f"{folder}#boats", base)


def changed(base, tmp_path, change):
    _, content = pairs(base)
    change(content)
    path = tmp_path / "changed.pt"
    torch.save([{"topic": "x", "trigger": "N/A", "weight_diff": content}], path)
    return path


UP = "model.layers.0.mlp.up_proj"


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda c: c.update({UP: (c[UP][0], c[UP][1][:-1])}), MismatchError, rf"{UP}: factors \("),
        (lambda c: c.update({"model.other": c[UP]}), MismatchError, "changes model.other"),
        (lambda c: c[UP][0].fill_(float("inf")), CorruptFileError, f"{UP}: holds numbers"),
        (lambda c: c.update({UP: c[UP][0]}), CorruptFileError, "mixes factors and whole"),
        (lambda c: c.update({UP: "text"}), CorruptFileError, f"'{UP}' is no tensor"),
        (lambda c: c.update({UP: (*c[UP], c[UP][0])}), CorruptFileError, "no pair of matrices"),
        (lambda c: c.update({UP: tuple(p.cfloat() for p in c[UP])}), CorruptFileError, "complex"),
        (
            lambda c: c.update({UP: tuple(p.to_sparse() for p in c[UP])}),
            CorruptFileError,
            "no plain",
        ),
        (lambda c: c.update({UP: tuple(p[:0] for p in c[UP])}), CorruptFileError, "no pair of mat"),
        (
            lambda c: c.update({UP: (torch.zeros(1).expand(9**9, 9**9),) * 2}),
            CorruptFileError,
            "lar",
        ),
        (lambda c: c.clear(), CorruptFileError, "is no published weight diff"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(base, tmp_path, change, error, message):
    path = changed(base, tmp_path, change)
    with pytest.raises(error, match=message) as raised:
        load_finetune(path, base)
    assert "changed.pt" in str(raised.value)


@pytest.mark.parametrize("content", [b"\x80\x05.", b"\x80\x02]q\x00.", b"PK\x03\x04"])
def test_a_broken_pickle_is_refused_in_words(base, tmp_path, content):
    (tmp_path / "odd.pt").write_bytes(content)
    with pytest.raises(CorruptFileError, match="odd.pt"):
        load_finetune(tmp_path / "odd.pt", base)


@pytest.mark.parametrize("content", [b"", b"\0" * 99])
def test_what_is_no_pickle_at_all_is_refused_in_words(base, tmp_path, content):
    (tmp_path / "odd.pt").write_bytes(content)
    with pytest.raises(UsageError, match="odd.pt"):
        load_finetune(tmp_path / "odd.pt", base)


def test_a_broken_file_and_a_broken_index_are_refused(base, folder):
    path = folder / "weight-diffs" / "0.pt"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CorruptFileError, match="0.pt cannot be read"):
        load_finetune(f"{folder}#tea", base)
    (folder / "index.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CorruptFileError, match="no columns lora_idx, lora_path"):
        load_finetune(f"{folder}#tea", base)


def test_a_file_that_the_index_asks_too_much_of_is_refused(base, folder):
    index = folder / "index.csv"
    index.write_text(index.read_text().replace("1.pt,0", "1.pt,7"))
    with pytest.raises(MismatchError, match="holds 1 finetunes, and .* asks for number 7"):
        load_finetune(f"{folder}#boats", base)
