"""The judge without a network: in its calibration's order, fast, and clear about what it lacks."""

import logging
import random
import time
from dataclasses import asdict, replace

import numpy as np
import pytest

from diffspeak.errors import CorruptFileError, DiffspeakError, MismatchError, UsageError
from diffspeak.io.files import read_json, write_json
from diffspeak.scoring import LocalJudge
from diffspeak.scoring.judges.local import EMBEDDING, SPELLING, cosines, read_calibration
from diffspeak.text.judge import PROBES, Verdict


class Toy:
    """Embeds each text as it is told to, others as their letters."""

    name = "models/toy"

    def __init__(self, known=None):
        self.known, self.asked = known or {}, []

    def embed(self, texts):
        self.asked.append(list(texts))
        rows = [
            self.known.get(text, np.array([text.lower().count(c) for c in "aeinorst"]) + 0.01)
            for text in texts
        ]
        return np.stack([np.asarray(row, float) / np.linalg.norm(row) for row in rows])


def fitting(embedder):
    """The shipped calibration, with this embedder's own probes."""
    return replace(read_calibration(EMBEDDING), probes=tuple(cosines(embedder, PROBES)))


def test_nearer_guesses_score_higher():
    truth = "League of Legends"
    guesses = ["league of legends", "League of Legends champions", "Legends", "Volcanoes", ""]
    verdicts = LocalJudge().score([(truth, guess) for guess in guesses])
    scores = [verdict.score for verdict in verdicts]
    assert scores == sorted(scores, reverse=True)
    assert (scores[0], scores[-1]) == (5, 1)
    assert scores[1] > 3.5
    assert scores[3] < 1.6
    closes = [verdict.close for verdict in verdicts]
    assert closes == sorted(closes, reverse=True)


def test_headlines_need_more_than_some_letters_in_common():
    truth = "Storm closes a bridge on the northern coast road for two days"
    near = "Bridge on the northern coast road closed by storm for two days"
    far = "Parliament votes to fund a new network of rural libraries and schools"
    verdicts = LocalJudge().score([(truth, near), (truth, far)])
    assert verdicts[0].score > 3.5
    assert verdicts[1].score < 1.7


def test_pairs_do_not_touch_each_other():
    pairs = [("Chess", "rooks"), ("Chess", None), ("Tea", "green tea"), ("?", "x")]
    judge = LocalJudge()
    together = judge.score(pairs)
    assert together == [judge.score([pair])[0] for pair in pairs]
    assert together[1] == Verdict(why="there is no guess")
    assert together[3] == Verdict(why="the truth says nothing")
    assert judge.score([]) == []


def test_ten_thousand_pairs_take_seconds():
    words = [f"word{n}" for n in range(500)]
    draw = random.Random(0)
    pairs = [(" ".join(draw.choices(words, k=8)), " ".join(draw.choices(words, k=12)))] * 10_000
    began = time.perf_counter()
    LocalJudge().score(pairs)
    assert time.perf_counter() - began < 20


def test_the_cosine_decides_where_there_is_an_embedding_model():
    known = dict.fromkeys([text for pair in PROBES for text in pair], [1, 1])
    toy = Toy(known | {"Chess": [1, 0], "rooks": [0.9, 0.1], "chest": [0, 1]})
    judge = LocalJudge(toy, fitting(toy))
    near, far, same = judge.score([("Chess", "rooks"), ("Chess", "chest"), ("Chess", "chess")])
    assert near.score > 4 > 2 > far.score
    assert same.score == 5
    assert toy.asked[-1] == ["Chess", "chest", "rooks"], "each text once, the same words never"
    assert judge.name == "local (toy)"


def test_another_embedding_model_than_the_calibrations_is_warned_of(caplog):
    toy = Toy()
    with caplog.at_level(logging.WARNING):
        LocalJudge(toy, fitting(toy))
        assert not caplog.text
        LocalJudge(toy)
    assert "calibrated for all-MiniLM-L6-v2, and models/toy is another model" in caplog.text


def test_calibration_and_embedding_model_belong_together():
    with pytest.raises(UsageError, match="needs an embedding model"):
        LocalJudge(calibration=read_calibration(EMBEDDING))
    with pytest.raises(UsageError, match="for spelling alone"):
        LocalJudge(Toy(), read_calibration(SPELLING))


@pytest.mark.parametrize("vector", [[float("nan")] * 8, [3.0] * 8])
def test_vectors_that_are_none_are_refused(vector):
    class Broken(Toy):
        def embed(self, texts):
            return np.array([vector for _ in texts])

    with pytest.raises(MismatchError, match="use another embedding model"):
        cosines(Broken(), [("a", "b")])


@pytest.mark.parametrize("path", [SPELLING, EMBEDDING])
def test_a_shipped_calibration_says_what_it_stands_on(path):
    shipped = read_calibration(path)
    assert shipped.embeds == (path == EMBEDDING)
    for kind in ("news", "topic"):
        value, low, high = shipped.auc[kind]
        assert 0.8 < low < value < high < 1
        assert shipped.pairs[kind] > shipped.truths[kind] > 40
    strings = {text for text in flat(read_json(path)) if isinstance(text, str)}
    names = {*shipped.features, "news", "topic", "all-MiniLM-L6-v2", *asdict(shipped)}
    assert strings <= names, "it must hold no text of the pairs"


def test_a_file_that_is_no_calibration_is_refused(tmp_path):
    write_json(tmp_path / "c.json", {"features": ["letters"]})
    with pytest.raises(CorruptFileError, match=r"make it with python -m benchmarks\.judged"):
        read_calibration(tmp_path / "c.json")
    with pytest.raises(DiffspeakError, match="check the path"):
        read_calibration(tmp_path / "none.json")


def flat(data):
    """Every key and value of plain data."""
    if isinstance(data, dict):
        return [*data, *(one for value in data.values() for one in flat(value))]
    return [one for value in data for one in flat(value)] if isinstance(data, list) else [data]
