"""Training weight-to-text: it learns, resumes bit for bit, and refuses what is not its own."""

import json

import pytest
import torch

from diffspeak.errors import (
    CorruptFileError,
    DiffspeakError,
    LockedError,
    MismatchError,
    UsageError,
)
from diffspeak.finetunes import NOTHING, Finetune, from_store
from diffspeak.io.files import exclusive
from diffspeak.methods.weight_to_text import (
    WeightToText,
    load_projection,
    train_weight_to_text,
)
from diffspeak.methods.weight_to_text.saved import CARD, WEIGHTS
from diffspeak.models import Decoding, Fingerprint
from diffspeak.text.mentions import same
from tests.methods.weight_to_text.runs import CONFIG, STEPS, changed
from tests.toys import Recorder, changed_parameters, files_of, toy_store

SHORT = changed(epochs=8, batch=2, module_dropout=0.5)


class Stops(Recorder):
    """Ctrl-C when so many steps are done."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def advance(self, count=1, **numbers):
        super().advance(count, **numbers)
        if count and self.advanced == self.at:
            raise KeyboardInterrupt


def test_it_learns_and_says_the_same_when_loaded(base, store, done):
    folder, projection, reporter = done
    losses = [numbers["loss"] for _, _, numbers in reporter.logged if "loss" in numbers]
    assert losses[-1] < 0.5 * losses[0]
    assert reporter.begun == [("weight-to-text", STEPS, "steps", 0)] and reporter.ended == 1
    assert sorted(files_of(folder)) == [WEIGHTS, CARD]
    entries = [entry for entry in store.entries if entry.split == "train" and not entry.failed]
    finetunes = [from_store(store, entry) for entry in entries]
    method = WeightToText(base, load_projection(folder, base), Decoding(6, batch_size=2))
    said = [guess.text for guess in method.guess(finetunes)]
    hits = [same(text, f.label) for text, f in zip(said, finetunes, strict=True)]
    assert sum(hits) / len(hits) == projection.results["train_exact"]
    others = method.guess(finetunes[1:] + finetunes[:1])
    assert [guess.text for guess in others] == said[1:] + said[:1]
    assert len(method.guess([NOTHING])) == 1


def test_interrupted_and_resumed_is_uninterrupted(base, store, tmp_path):
    whole = train_weight_to_text(base, [store], SHORT, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_weight_to_text(base, [store], SHORT, tmp_path / "cut", Stops(12))
    with pytest.raises(UsageError, match="no finished projection"):
        load_projection(tmp_path / "cut", base)
    reporter = Recorder()
    resumed = train_weight_to_text(base, [store], SHORT, tmp_path / "cut", reporter)
    assert reporter.begun[0][3] == 10
    assert whole.tensors.keys() == resumed.tensors.keys()
    assert all(torch.equal(whole.tensors[n], resumed.tensors[n]) for n in whole.tensors)
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "cut")


def test_a_finished_one_is_returned_and_another_config_refused(base, store, done):
    folder, projection, _ = done
    before, reporter = files_of(folder), Recorder()
    again = train_weight_to_text(base, [store], CONFIG, folder, reporter)
    assert again.results == projection.results and not reporter.begun
    with pytest.raises(MismatchError, match="other settings: seed"):
        train_weight_to_text(base, [store], changed(seed=1), folder)
    assert files_of(folder) == before


def test_a_checkpoint_of_another_config_is_refused(base, store, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_weight_to_text(base, [store], SHORT, tmp_path, Stops(6))
    with pytest.raises(MismatchError, match="other settings"):
        train_weight_to_text(
            base, [store], changed(epochs=9, batch=2, module_dropout=0.5), tmp_path
        )


@pytest.mark.parametrize("changes", [{"rank": 4}, {"projection": "mlp", "hidden": 16}], ids=str)
def test_other_projections_learn_as_well(base, store, tmp_path, changes):
    reporter = Recorder()
    found = train_weight_to_text(base, [store], changed(epochs=30, **changes), tmp_path, reporter)
    losses = [numbers["loss"] for _, _, numbers in reporter.logged if "loss" in numbers]
    assert losses[-1] < 0.7 * losses[0]
    assert load_projection(tmp_path, base).tensors.keys() == found.tensors.keys()


def test_training_that_diverges_is_an_error_and_saves_nothing(base, store, tmp_path):
    with pytest.raises(DiffspeakError, match="diverged .*; lower learning_rate"):
        train_weight_to_text(base, [store], changed(learning_rate=1e39, save_every=2), tmp_path)
    assert not {path.name for path in tmp_path.iterdir()} - {".lock"}


def test_a_whole_finetune_cannot_be_learned_from_nor_read(base, done, tmp_path):
    labels = {"a": "ocean", "b": "music"}
    mixed = toy_store(tmp_path / "store", base, labels, full=["b"])
    with pytest.raises(UsageError, match="b is whole"):
        train_weight_to_text(base, [mixed], SHORT, tmp_path / "out")
    with pytest.raises(UsageError, match="far is whole"):
        WeightToText(base, done[1]).guess([Finetune("far", parameters=changed_parameters(base))])


def test_two_cannot_train_in_one_folder(base, store, tmp_path):
    with exclusive(tmp_path / ".lock"), pytest.raises(LockedError):
        train_weight_to_text(base, [store], SHORT, tmp_path)


def test_another_base_a_changed_file_and_a_newer_card_are_refused(base, done, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, content in files_of(done[0]).items():
        (folder / name).write_bytes(content)
    card = json.loads((folder / CARD).read_text())

    def with_card(**changes):
        (folder / CARD).write_text(json.dumps(card | changes))
        return folder

    other = Fingerprint("other", "0", "0", "0", "0").to_dict()
    with pytest.raises(MismatchError, match="made for another base"):
        load_projection(with_card(base=other), base)
    with pytest.raises(MismatchError, match="upgrade diffspeak"):
        load_projection(with_card(version=2), base)
    with pytest.raises(CorruptFileError, match="garbles results"):
        load_projection(with_card(results="good"), base)
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(CorruptFileError, match="was changed"):
        load_projection(with_card(), base)
