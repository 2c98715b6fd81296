"""The calibration is what the likelihood says it is, and measured on truths it has not seen."""

import csv
import random

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from benchmarks.judged import judge_at, read_judged, run, table
from benchmarks.judged_fit import FOLDS, PENALTY, auc, cross_validated, fit, folds, interval
from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.io.files import read_json
from diffspeak.scoring import LocalJudge
from diffspeak.scoring.judges import read_calibration

NAMES = "amber basalt cedar delta ember fjord gorge heath islet jetty knoll ledge"
WORDS = NAMES.split()


@pytest.fixture
def path(tmp_path):
    """Judged pairs of twelve topics and twelve sentences, scored by the words they share."""
    draw = random.Random(0)
    with (tmp_path / "judged.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["kind", "truth", "guess", "score", "n"])
        for kind, size in (("topic", 2), ("news", 8)):
            for at in range(12):
                truth = [WORDS[at], *draw.sample([w for w in WORDS if w != WORDS[at]], size - 1)]
                for shared in range(5):
                    kept = round(size * shared / 4)
                    guess = [*truth[:kept], *(f"other{n}" for n in range(size - kept))]
                    score = min(5, max(1, shared + draw.choice([0, 1, 1, 2])))
                    writer.writerow([kind, " ".join(truth), " ".join(guess), score, 1])
    return tmp_path / "judged.csv"


def drawn(n=400):
    """Features, and scores that follow cumulative logits."""
    random_ = np.random.default_rng(0)
    x = random_.normal(size=(n, 2)) * [1, 3] + [0, 5]
    logits = (x[:, 0] - (x[:, 1] - 5) / 3)[:, None] - np.array([-1, 0, 1, 2])
    return x, 1.0 + (random_.random((n, 1)) < 1 / (1 + np.exp(-logits))).sum(1)


def test_the_fit_finds_what_the_scores_were_drawn_from():
    x, scores = drawn(20_000)
    found = fit(x, scores)
    assert found.coefficients == pytest.approx([1, -1], abs=0.06)
    assert found.thresholds == pytest.approx([-1, 0, 1, 2], abs=0.06)


def test_the_fit_is_at_the_bottom():
    x, scores = drawn()
    found = fit(x, scores)

    def loss(tried):
        p = tried.above(x)
        above = np.clip(scores[:, None] - np.arange(1, 5), 0, 1)
        likelihood = above * np.log(p) + (1 - above) * np.log(1 - p)
        return PENALTY * (tried.coefficients**2).sum() / 2 - likelihood.sum()

    for name in ("coefficients", "thresholds"):
        for at in range(len(getattr(found, name))):
            for step in (-0.02, 0.02):
                moved = getattr(found, name).copy()
                moved[at] += step
                assert loss(found._replace(**{name: moved})) > loss(found)


def test_the_auc_is_that_of_mann_and_whitney():
    x, scores = drawn()
    values, hits = x[:, 0].round(1), scores >= 4
    found = mannwhitneyu(values[hits], values[~hits]).statistic / (hits.sum() * (~hits).sum())
    assert auc(values, hits) == pytest.approx(found)
    assert auc(hits.astype(float), hits) == 1
    assert auc(np.zeros(len(hits)), hits) == 0.5


def test_all_pairs_of_a_truth_share_a_fold():
    truths = [f"truth {n % 30}" if n % 2 else f"Truth {n % 30}!" for n in range(300)]
    fold = folds(truths, ["topic"] * 300)
    assert set(fold.tolist()) == set(range(FOLDS))
    by_number = {
        number: {int(fold[n]) for n in range(300) if n % 30 == number} for number in range(30)
    }
    assert all(len(each) == 1 for each in by_number.values())
    assert (folds(truths, ["topic"] * 300, seed=1) != fold).any()


def test_what_is_left_out_is_not_learned_from():
    x, scores = drawn(100)
    fold = np.arange(100) // 10
    changed = np.where(fold == 3, 6 - scores, scores)
    one, other = cross_validated(x, scores, fold), cross_validated(x, changed, fold)
    assert (one[fold == 3] == other[fold == 3]).all()
    assert (one[fold != 3] != other[fold != 3]).any()


def test_the_interval_is_over_truths_not_pairs():
    values = np.repeat(np.random.default_rng(0).normal(size=40), 25)
    truths = [str(at // 25) for at in range(1000)]
    low, high = interval(lambda at: float(values[at].mean()), truths)
    half = 1.96 * values.std() / 40**0.5
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_the_page_and_the_calibration_hold_no_text(path, tmp_path):
    judged = read_judged(path)
    rows = run(judged, None, None, tmp_path / "page.md", tmp_path / "calibration.json")
    rates = {row.name: row for row in rows if row.interval}
    assert set(rates) == {"news, spelling: AUC", "topic, spelling: AUC"}
    for row in rates.values():
        low, high = row.interval
        assert low <= row.value <= high
        assert row.value > 0.8
        assert row.n == 60
    assert {row.aim for row in rates.values()} == {0.87, 0.96}
    written = "".join(file.read_text() for file in tmp_path.iterdir() if file != path)
    assert not [word for word in WORDS if word in written]
    assert len(read_json(tmp_path / "page.json")["rows"]) == len(rows)


def test_the_judge_reads_scores_by_the_calibration(path, tmp_path):
    judged = read_judged(path)
    run(judged, None, None, None, tmp_path / "c.json")
    found = read_calibration(tmp_path / "c.json")
    assert found.pairs == {"news": 60, "topic": 60}
    scores = np.array([v.score for v in LocalJudge(calibration=found).score(judged.pairs)])
    _, expected = judge_at(judged, table(judged, found.features, None))
    assert np.abs(scores - judged.scores).mean() < np.abs(expected - judged.scores).mean() + 0.05
    assert np.corrcoef(scores, expected)[0, 1] > 0.97


@pytest.mark.parametrize(
    ("lines", "error", "why"),
    [
        (["truth,guess,score", "a,b,3"], CorruptFileError, "row 1: expected kind"),
        (["kind,truth,guess,score", "t,a,b,3", "t,a,b,six"], CorruptFileError, "row 2"),
        (["kind,truth,guess,score", "t,a,b,6"], CorruptFileError, "score from 1 to 5"),
        (["kind,truth,guess,score", "t,a, ,3"], CorruptFileError, "row 1"),
        (["kind,truth,guess,score", "t,a,b,3"], UsageError, "10 truths or more"),
        (["kind,truth,guess,score"], UsageError, "10 truths or more"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path, lines, error, why):
    (tmp_path / "judged.csv").write_text("\n".join(lines))
    with pytest.raises(error, match=why):
        read_judged(tmp_path / "judged.csv")
