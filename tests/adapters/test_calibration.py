"""From figures to a probability and a decision: fitted, counted, written down, read back."""

import json
import math
import random

import pytest

from diffspeak.adapters import Calibration, Counted, calibrate, check_enough
from diffspeak.adapters.calibration import FALSE_POSITIVES, FEWEST, _sigmoid, _threshold
from diffspeak.errors import UsageError


def drawn(mean, count, seed):
    """Figures around a mean; the second one tells nothing."""
    rng = random.Random(seed)
    return [{"lift": rng.gauss(mean, 1.0), "noise": rng.gauss(3.0, 1.0)} for _ in range(count)]


def apart(count=60):
    return drawn(9.0, count, 0), {"random": drawn(2.0, count, 1), "ordinary": drawn(2.5, count, 2)}


def lifts(values):
    return [{"lift": value} for value in values]


def made(**changed):
    parts = {
        "names": ("lift",),
        "means": (1.0,),
        "scales": (2.0,),
        "weights": (3.0,),
        "intercept": 0.5,
        "threshold": 0.8,
        "counted": (Counted("positive", 19, 20), Counted("random", 0, 20)),
    }
    return Calibration(**{**parts, **changed})


def test_what_was_taught_is_told_from_what_was_not():
    positives, negatives = apart()
    found = calibrate(positives, negatives)
    assert found.names == ("lift", "noise")
    assert found.counted == (
        Counted("positive", 60, 60),
        Counted("random", 0, 60),
        Counted("ordinary", 0, 60),
    )
    others, none = drawn(9.0, 60, 5), drawn(2.2, 60, 6)
    assert sum(found.found(found.probability(one)) for one in others) >= 58
    assert sum(found.found(found.probability(one)) for one in none) <= 1
    assert found.weights[0] > 5 * found.weights[1]


def test_the_probability_is_the_formulas():
    found = made()
    assert found.probability({"lift": 2.0, "other": 9.0}) == pytest.approx(
        1 / (1 + math.exp(-(0.5 + 3.0 * (2.0 - 1.0) / 2.0)))
    )
    assert found.found(0.8) and not found.found(math.nextafter(0.8, 0.0))


@pytest.mark.parametrize("value", [-4.0, math.nan, math.inf, -math.inf])
def test_no_figure_counts_less_than_none(value):
    found = made()
    assert found.probability({"lift": value}) == found.probability({"lift": 0.0})


@pytest.mark.parametrize("value", [1e6, -1e6, 1e300])
def test_huge_figures_stay_probabilities(value):
    for intercept in (-1e4, 1e4):
        assert 0 <= made(intercept=intercept).probability({"lift": value}) <= 1


def test_evidence_never_speaks_against_something():
    # What was taught something has less of the second figure, which gets no weight at all.
    positives = [{"lift": 5.0 + n % 3, "other": 0.0} for n in range(30)]
    negatives = [{"lift": 1.0 + n % 3, "other": 4.0} for n in range(30)]
    found = calibrate(positives, {"random": negatives})
    assert found.weights[0] > 0 and found.weights[1] == 0


def test_a_figure_that_never_varies_does_no_harm():
    positives = [{"lift": 5.0 + n, "shown": 0.0} for n in range(20)]
    negatives = [{"lift": 0.1 * n, "shown": 0.0} for n in range(20)]
    found = calibrate(positives, {"random": negatives})
    assert found.scales[1] == 1.0
    assert [one.found for one in found.counted] == [20, 0]


def test_each_kind_of_negative_weighs_the_same_however_many_there_are():
    few = {"random": drawn(2.0, 40, 1), "ordinary": drawn(3.0, 40, 2)}
    many = {"random": few["random"] * 10, "ordinary": few["ordinary"]}
    positives = drawn(6.0, 40, 0)
    one, other = calibrate(positives, few), calibrate(positives, many)
    for lift in (0.0, 3.0, 5.0):
        figures = {"lift": lift, "noise": 3.0}
        assert one.probability(figures) == pytest.approx(other.probability(figures), abs=1e-4)


@pytest.mark.parametrize("count, above", [(20, 0), (398, 0), (399, 1), (598, 1), (599, 2)])
def test_of_so_many_negatives_the_next_one_is_hardly_ever_above_the_threshold(count, above):
    negatives = [i / 1000 for i in range(count)]
    threshold = _threshold([0.9] * 100 + [0.0] * 10, [negatives])
    assert sum(one >= threshold for one in negatives) == above
    assert above == 0 or (above + 1) / (count + 1) <= FALSE_POSITIVES


def test_the_threshold_lies_in_the_middle_of_the_gap():
    found = calibrate(lifts([4.0] * 20), {"random": lifts([2.0] * 20)})
    low, high = (found.probability({"lift": lift}) for lift in (2.0, 4.0))
    assert low < found.threshold < high
    # The lift has one weight, so the middle of the log-odds is that of the lifts.
    assert found.threshold == pytest.approx(found.probability({"lift": 3.0}), abs=1e-6)


def test_without_a_gap_the_threshold_lies_above_all_but_a_few_negatives_of_the_worst_kind():
    positives = lifts([0.5] * 5 + [9.0] * 45)
    worst = lifts([1.0] * 396 + [2.0, 3.0, 7.0, 8.0])
    found = calibrate(positives, {"random": lifts([0.5] * 30), "ordinary": worst})
    assert found.counted == (
        Counted("positive", 45, 50),
        Counted("random", 0, 30),
        Counted("ordinary", 1, 400),
    )
    assert found.found(found.probability({"lift": 8.0}))
    assert not found.found(found.probability({"lift": 7.0}))


def test_one_negative_that_is_as_certain_as_can_be_keeps_all_from_being_found():
    found = made(threshold=_threshold([1.0] * 20, [[0.1] * 19 + [1.0]]))
    assert not found.found(1.0)
    assert Calibration.from_dict(found.to_dict()) == found


def test_one_negative_beyond_all_measure_ends_in_nothing_found_not_in_false_alarms():
    found = calibrate(lifts([5.0] * 20), {"random": lifts([0.0] * 19 + [1e9])})
    assert [one.found for one in found.counted] == [0, 0]


@pytest.mark.parametrize(("low", "high"), [(38.0, 60.0), (24.0, 30.0), (-60.0, -30.0)])
def test_where_probabilities_can_hardly_be_told_apart_the_threshold_lies_between_them(low, high):
    negative, positive = _sigmoid(low), _sigmoid(high)
    threshold = _threshold([positive] * 20, [[negative] * 20])
    assert threshold > negative
    assert threshold <= positive or negative == positive


@pytest.mark.parametrize(
    ("positives", "negatives", "said"),
    [
        (3, {"random": 40, "ordinary": 7}, "there are 3 of positive, 7 of ordinary; give more"),
        (FEWEST - 1, {"random": FEWEST}, f"at least {FEWEST} finetunes of each kind"),
        (40, {}, "there are no negatives; give more"),
        (0, {}, "there are 0 of positive; give more"),
        (40, {"random": 0}, "there are 0 of random; give more"),
    ],
)
def test_too_few_are_refused_with_how_many_of_what(positives, negatives, said):
    figures = {kind: lifts([1.0] * count) for kind, count in negatives.items()}
    with pytest.raises(UsageError, match=said):
        calibrate(lifts([2.0] * positives), figures)
    with pytest.raises(UsageError, match=said):
        check_enough(range(positives), figures)


def test_as_many_as_needed_are_enough():
    check_enough(range(FEWEST), {"random": range(FEWEST)})
    assert (
        calibrate(lifts([2.0] * FEWEST), {"random": lifts([1.0] * FEWEST)}).counted[0].n == FEWEST
    )


def test_it_is_read_as_it_was_written():
    found = calibrate(*apart())
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert Calibration.from_dict(json.loads(text)) == found


def faulty(key, value):
    content = made().to_dict()
    if value is KeyError:
        del content[key]
    else:
        content[key] = value
    return content


@pytest.mark.parametrize(
    "content",
    [
        *(faulty(key, KeyError) for key in made().to_dict()),
        faulty("names", "lift"),
        faulty("names", ["lift", "said"]),
        faulty("means", [math.nan]),
        faulty("means", [10**400]),
        faulty("means", ["much"]),
        faulty("scales", [0.0]),
        faulty("scales", [-1.0]),
        faulty("weights", [-0.5]),
        faulty("weights", 3.0),
        faulty("intercept", None),
        faulty("threshold", math.inf),
        faulty("counted", [["positive", 1, 2]]),
        faulty("counted", [{"kind": "positive", "found": 3, "n": 2}]),
        faulty("counted", [{"kind": "positive", "found": math.inf, "n": 2}]),
        [],
        "text",
        3,
    ],
)
def test_what_is_no_calibration_is_refused(content):
    with pytest.raises(ValueError):
        Calibration.from_dict(content)
