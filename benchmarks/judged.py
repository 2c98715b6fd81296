"""`python -m benchmarks.judged PATH`: the local judge beside an LLM judge, on judged pairs.

Takes a CSV with the columns kind, truth, guess and score (1 to 5), gives a page of results with
its JSON and, with `--calibration`, what the judge reads scores by. No text of the file enters
either. With `--embedding` the judge goes by that model's cosine; spelling is measured beside it.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.judged_fit import (
    DRAWS,
    FOLDS,
    PENALTY,
    Floats,
    auc,
    cross_validated,
    fit,
    folds,
    interval,
)
from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.io.files import make_folder, read_bytes, write_json
from diffspeak.scoring import Row, write_table
from diffspeak.scoring.judges import Embedder, SentenceEmbedder
from diffspeak.scoring.judges.local import cosines
from diffspeak.text.judge import COSINE, FEATURES, PROBES, Calibration, features, trivial

CLOSE = 4.0
AIMS = {"topic": (0.87, 0.955), "news": (0.96, 0.975)}
"""By kind: what the AUC should reach by spelling, and by an embedding model's cosine."""

ABOUT = (
    "How well the local judge foretells an LLM judge's scores of guesses, 1 to 5: an AUC of 100% "
    "puts every pair that the LLM gave at least 4 above every other one. *Spelling* needs nothing "
    "but the two texts, *cosine* an embedding model. The judged pairs are the published ones of "
    "arXiv 2510.05092."
)


@dataclass(frozen=True)
class Judgments:
    """Judged pairs, column by column."""

    kinds: list[str]
    pairs: list[tuple[str, str]]
    scores: Floats

    @property
    def truths(self) -> list[str]:
        """Of each pair."""
        return [truth for truth, _ in self.pairs]

    def of(self, kind: str) -> np.ndarray:
        """Indices of a kind's pairs."""
        return np.flatnonzero(np.array(self.kinds) == kind)


def read_judged(path: Path) -> Judgments:
    """Read the CSV.

    Raises:
        DiffspeakError: There is no such file.
        CorruptFileError: A column is missing, a text is empty or a score is not from 1 to 5.
        UsageError: A kind has fewer truths than there are folds, or no close or no other pair.
    """
    rows = list(csv.DictReader(read_bytes(path).decode("utf-8-sig").splitlines(keepends=True)))
    kinds, pairs, scores = [], [], []
    for number, row in enumerate(rows, 1):
        try:
            kind, pair, score = row["kind"], (row["truth"], row["guess"]), float(row["score"])
            good = kind and all(text and text.strip() for text in pair) and 1 <= score <= 5
        except (KeyError, TypeError, ValueError):
            good = False
        if not good:
            raise CorruptFileError(
                f"{path}, row {number}: expected kind, truth, guess and a score from 1 to 5"
            )
        kinds.append(kind)
        pairs.append(pair)
        scores.append(score)
    judged = Judgments(kinds, pairs, np.array(scores))
    for kind in sorted(set(kinds)) or [""]:
        part = judged.of(kind)
        close = judged.scores[part] >= CLOSE
        if len({pairs[at][0] for at in part}) < FOLDS or close.all() or not close.any():
            raise UsageError(
                f"{path}: {kind or 'it'} needs {FOLDS} truths or more, with scores below "
                f"{CLOSE:g} and from there on"
            )
    return judged


def table(judged: Judgments, names: Sequence[str], cosine: Sequence[float] | None) -> Floats:
    """Features `[pair, feature]`."""
    columns = [features(*pair) for pair in judged.pairs]
    for at, each in enumerate(columns):
        each[COSINE] = cosine[at] if cosine is not None else 0.0
    return np.array([[each[name] for name in names] for each in columns])


def unknown(judged: Judgments) -> np.ndarray:
    """Which pairs are judged by a calibration, and not known without one."""
    return np.array([trivial(*pair) is None for pair in judged.pairs])


def judge_at(judged: Judgments, x: Floats, seed: int = 0) -> tuple[Floats, Floats]:
    """P(at least 4) and the expected score of each pair, by fits without its truth's fold."""
    left, fold = unknown(judged), folds(judged.truths, judged.kinds, seed)
    above = np.empty((len(left), 4))
    above[left] = cross_validated(x[left], judged.scores[left], fold[left])
    for at in np.flatnonzero(~left):
        known = trivial(*judged.pairs[at])
        assert known is not None and known.score is not None, "no texts are missing"
        above[at] = (known.score - 1) / 4
    return above[:, 2], 1 + above.sum(1)


def rows_of(
    judged: Judgments, close: Floats, expected: Floats, name: str, *, embeds: bool
) -> list[Row]:
    """The page's rows of one way to judge."""
    rows = []
    for kind in sorted(set(judged.kinds)):
        at = judged.of(kind)
        hits, truths = judged.scores[at] >= CLOSE, [judged.truths[i] for i in at]
        p, e, s = close[at], expected[at], judged.scores[at]

        def of_pairs(i: np.ndarray, p: Floats = p, hits: np.ndarray = hits) -> float:
            return auc(p[i], hits[i]) if 0 < hits[i].sum() < len(i) else float("nan")

        aim = AIMS[kind][embeds] if kind in AIMS else None
        all_of_them = np.arange(len(at))
        found = interval(of_pairs, truths)
        rows.append(Row(f"{kind}, {name}: AUC", of_pairs(all_of_them), len(at), found, aim))
        gap = float(p.mean() - hits.mean())
        rows.append(Row(f"{kind}, {name}: mean P(at least 4), less its rate", gap, len(at)))
        rows.append(
            Row(f"{kind}, {name}: mean score, less the LLM's", float((e - s).mean()), len(at))
        )
        distance = float(np.abs(e - s).mean())
        rows.append(Row(f"{kind}, {name}: mean distance from the LLM's score", distance, len(at)))
        correlation = float(np.corrcoef(e, s)[0, 1])
        rows.append(Row(f"{kind}, {name}: correlation with the LLM's score", correlation, len(at)))
    return rows


def calibration(
    judged: Judgments,
    names: Sequence[str],
    x: Floats,
    rows: Sequence[Row],
    model: tuple[str, Sequence[float]] | None,
) -> Calibration:
    """A calibration fitted on all pairs; of the texts, only counts are in it."""
    left = unknown(judged)
    found = fit(x[left], judged.scores[left])

    def plain(values: Floats | Sequence[float]) -> tuple[float, ...]:
        return tuple(round(float(value), 6) for value in values)

    kinds = sorted(set(judged.kinds))
    measured = {row.name.partition(",")[0]: row for row in rows if row.name.endswith(": AUC")}
    return Calibration(
        features=tuple(names),
        means=plain(found.means),
        scales=plain(found.scales),
        coefficients=plain(found.coefficients),
        thresholds=plain(found.thresholds),
        pairs={kind: len(judged.of(kind)) for kind in kinds},
        truths={kind: len({judged.truths[at] for at in judged.of(kind)}) for kind in kinds},
        auc={kind: plain((row.value, *(row.interval or ()))) for kind, row in measured.items()},
        embedding=model[0] if model else None,
        probes=plain(model[1]) if model else (),
    )


def spread(judged: Judgments, x: Floats, name: str) -> list[str]:
    """How far the AUC depends on which truths share a fold."""
    lines = []
    for kind in sorted(set(judged.kinds)):
        at = judged.of(kind)
        found = [
            auc(judge_at(judged, x, seed)[0][at], judged.scores[at] >= CLOSE) for seed in range(5)
        ]
        lines.append(
            f"{kind}, {name}: AUC {min(found):.2%} to {max(found):.2%} over five divisions"
        )
    return lines


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judged", description=__doc__)
    parser.add_argument("path", type=Path, help="CSV: kind, truth, guess, score")
    parser.add_argument("--page", type=Path, help="Markdown, with JSON beside it")
    parser.add_argument("--embedding", help="sentence-transformers model, hub id or folder")
    parser.add_argument("--name", help="what to call that model; by default as it was given")
    parser.add_argument("--calibration", type=Path, help="write what the judge reads scores by")
    given = parser.parse_args()
    judged = read_judged(given.path)
    embedder = SentenceEmbedder(given.embedding) if given.embedding else None
    run(judged, embedder, given.name or given.embedding, given.page, given.calibration)


def run(
    judged: Judgments,
    embedder: Embedder | None,
    name: str | None,
    page: Path | None,
    target: Path | None,
) -> list[Row]:
    """Measure, and write what was asked for."""
    spelling = [feature for feature in FEATURES if feature != COSINE]
    ways: list[tuple[str, list[str], Floats]] = [
        ("spelling", spelling, table(judged, spelling, None))
    ]
    model = None
    if embedder is not None:
        model = (str(name), cosines(embedder, PROBES))
        x = table(judged, [COSINE], cosines(embedder, judged.pairs))
        ways.append((f"cosine ({name})", [COSINE], x))
    rows: list[Row] = []
    notes: list[str] = []
    for way, names, x in ways:
        found = rows_of(judged, *judge_at(judged, x), way, embeds=names == [COSINE])
        rows += found
        notes += spread(judged, x, way)
    if target is not None:
        make_folder(target.parent)
        write_json(target, asdict(calibration(judged, names, x, found, model)))
    if page is not None:
        make_folder(page.parent)
        write_table(page, "The local judge beside an LLM judge", rows, _about(judged, notes))
    for row in rows:
        low_high = "" if row.interval is None else "  {:.4f} to {:.4f}".format(*row.interval)
        print(f"{row.value:9.4f}  {row.name}{low_high}")  # noqa: T201
    return rows


def _about(judged: Judgments, notes: Sequence[str]) -> dict[str, object]:
    sizes = [
        f"{kind}: {len(at)} pairs of {len({judged.truths[i] for i in at})} truths, "
        f"{np.mean(judged.scores[at] >= CLOSE):.1%} with a score of at least 4"
        for kind in sorted(set(judged.kinds))
        for at in [judged.of(kind)]
    ]
    return {
        "What it shows": ABOUT,
        "The pairs": sizes,
        "How it was measured": [
            f"{FOLDS}-fold cross-validation over all kinds together, all pairs of one truth in "
            f"one fold; L2 penalty {PENALTY:g}",
            f"intervals: percentiles of {DRAWS} bootstrap draws of truths, not of pairs",
            "the features were chosen on the same pairs, so the figures flatter a little",
            "the same words are 5 without a fit",
        ],
        "Another division into folds": list(notes),
    }


if __name__ == "__main__":
    main()
