"""A run's outcomes and warnings are counted as pytest reports them."""

import warnings
from types import SimpleNamespace

import pytest

from tests.compatibility.watch import Watch


def report(test, when, outcome):
    return SimpleNamespace(
        nodeid=test,
        when=when,
        passed=outcome == "passed",
        failed=outcome == "failed",
        skipped=outcome == "skipped",
    )


def recorded(message, file, category=UserWarning):
    return warnings.WarningMessage(category(message), category, str(file), 1)


def test_a_test_counts_once():
    watch = Watch()
    for test, outcomes in {
        "good": ("passed", "passed", "passed"),
        "bad": ("passed", "failed", "failed"),
        "left out": ("skipped", None, "passed"),
    }.items():
        for when, outcome in zip(("setup", "call", "teardown"), outcomes, strict=True):
            if outcome:
                watch.pytest_runtest_logreport(report(test, when, outcome))
    found = watch.outcome
    assert (found.passed, found.skipped, found.failed) == (1, 1, ["bad"])


def test_a_file_that_cannot_be_collected_has_failed():
    watch = Watch()
    for _ in range(2):
        watch.pytest_collectreport(report("tests/test_it.py", "collect", "failed"))
    assert watch.outcome.failed == ["tests/test_it.py"]


def test_warnings_are_counted_by_category_module_and_message():
    watch = Watch()
    for message in ("gone in 5.40\nsecond line", "gone in 5.40"):
        watch.pytest_warning_recorded(recorded(message, pytest.__file__, FutureWarning))
    watch.pytest_warning_recorded(recorded("gone in 5.40", __file__))
    assert watch.outcome.warnings == {
        ("FutureWarning", "pytest.__init__", "gone in 5.40"): 2,
        ("UserWarning", "tests.compatibility.test_watch", "gone in 5.40"): 1,
    }


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("file /home/me/x.json is open", "file PATH is open"),
        ("see https://example.org/a/b for more", "see URL for more"),
        ("process 12345 of 2026", "process N of N"),
        ("<object at 0x7f00ab>", "<object at N>"),
        ("", ""),
    ],
)
def test_a_message_names_no_machine(message, kept):
    watch = Watch()
    watch.pytest_warning_recorded(recorded(message, __file__))
    [(_, _, said)] = watch.outcome.warnings
    assert said == kept
