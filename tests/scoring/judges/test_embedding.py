"""Embeddings through sentence-transformers, and what is said where it or the model is missing."""

import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from diffspeak.errors import UsageError
from diffspeak.io.files import read_json, write_json
from diffspeak.scoring import SentenceEmbedder


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'diffspeak\[judge\]'"):
        SentenceEmbedder("some/model")


def test_a_model_that_cannot_be_loaded_is_named(monkeypatch):
    def missing(source, **_):
        raise OSError(f"no {source}\n  here")

    fake = SimpleNamespace(SentenceTransformer=missing)
    monkeypatch.setitem(sys.modules, "sentence_transformers", fake)
    with pytest.raises(UsageError, match=r"embedding model some/model \(no some/model here\)"):
        SentenceEmbedder("some/model")


def test_texts_are_asked_for_normalized_and_whole(monkeypatch):
    asked = {}

    class Model:
        def __init__(self, source, **options):
            asked.update(options, source=source)

        def encode(self, texts, **options):
            asked.update(options, texts=texts)
            return [[1, 0]] * len(texts)

    fake = SimpleNamespace(SentenceTransformer=Model)
    monkeypatch.setitem(sys.modules, "sentence_transformers", fake)
    found = SentenceEmbedder("some/model", device="cpu").embed(["tea", "so \ud83d"])
    assert (found.shape, found.dtype) == ((2, 2), np.float32)
    assert (asked["source"], asked["device"]) == ("some/model", "cpu")
    assert asked["model_kwargs"] == {"use_safetensors": True}
    assert asked["normalize_embeddings"]
    assert asked["texts"] == ["tea", "so ?"]


def test_a_real_folder_gives_vectors_of_length_1(tmp_path, tiny):
    pytest.importorskip("sentence_transformers")
    shutil.copytree(tiny, tmp_path / "m")
    width = read_json(tiny / "config.json")["hidden_size"]
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "p", "type": "sentence_transformers.models.Pooling"},
    ]
    write_json(tmp_path / "m" / "modules.json", modules)
    (tmp_path / "m" / "p").mkdir()
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
    write_json(tmp_path / "m" / "p" / "config.json", pooling)
    found = SentenceEmbedder(tmp_path / "m", device="cpu").embed(["tea", "green tea", "tea"])
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    assert found[0] == pytest.approx(found[2], abs=1e-5)
    with pytest.raises(UsageError, match="cannot load the embedding model"):
        SentenceEmbedder(tmp_path / "none")
