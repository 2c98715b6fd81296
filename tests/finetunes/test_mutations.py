"""Damaged adapters come out as PEFT has them, or as an error of one line; the base stays."""

import pytest

from tests.finetunes.mutations import COUNT, judge_all


@pytest.mark.slow
def test_two_hundred_damaged_folders(tiny, tmp_path):
    found = judge_all(tiny, tmp_path)
    assert [one for one in found if not one.is_right] == []
    opened = [one for one in found if not one.ours]
    assert len(found) == COUNT and len(opened) > COUNT / 5
    # Where PEFT's logits were compared, they were those of a changed model.
    assert sum(not one.theirs for one in opened) > COUNT / 5
