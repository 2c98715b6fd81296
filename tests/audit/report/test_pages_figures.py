"""Rates and norms to draw, against counts and norms that are known."""

import math

import pytest
from scipy.stats import norm

from diffspeak.audit.report.pages import Cell, bar, heat_map
from tests.audit.report.made import norms


@pytest.mark.parametrize(("hits", "n"), [(0, 24), (7, 24), (24, 24), (1, 1), (3, 500)])
def test_an_interval_is_wilsons(hits, n):
    z = norm.ppf(0.975)
    middle, share = (hits + z * z / 2) / (n + z * z), hits / n
    half = z / (n + z * z) * math.sqrt(n * share * (1 - share) + z * z / 4)
    drawn = bar("x", hits, n)
    assert (drawn.low, drawn.high) == pytest.approx((middle - half, middle + half), abs=1e-9)
    assert drawn.share == share and 0 <= drawn.low <= share <= drawn.high <= 1


def test_of_none_nothing_is_known():
    drawn = bar("x", 0, 0)
    assert (drawn.share, drawn.low, drawn.high) == (0.0, 0.0, 1.0)


def test_thirty_six_blocks_of_seven_linears():
    grid = norms(36)
    drawn = heat_map(grid)
    assert drawn.blocks == list(range(36)) and not drawn.outside
    assert [line.linear for line in drawn.lines] == list(grid)
    assert drawn.largest == ("mlp.down_proj", 18) and drawn.top == pytest.approx(0.7)
    assert drawn.lines[-1].cells[18] == Cell(drawn.top, 1.0)
    each = [n for row in grid.values() for n in row.values()]
    assert drawn.total == pytest.approx(math.sqrt(sum(n * n for n in each)))


def test_what_stands_in_no_block_is_apart_on_the_same_scale():
    drawn = heat_map({"q": {0: 1.0, 2: 2.0}, "k": {2: 0.5}, "lm_head": {-1: 4.0}})
    assert drawn.blocks == [0, 2]
    assert [(line.linear, line.cells) for line in drawn.lines] == [
        ("q", [Cell(1.0, 0.25), Cell(2.0, 0.5)]),
        ("k", [None, Cell(0.5, 0.125)]),
    ]
    assert [(line.linear, line.cells) for line in drawn.outside] == [("lm_head", [Cell(4.0, 1.0)])]
    assert drawn.largest == ("lm_head", -1)


def test_experts_are_drawn_as_one():
    drawn = heat_map({f"experts.{i}.up_proj": {0: 3.0 + i} for i in range(2)})
    assert [(line.linear, line.cells) for line in drawn.lines] == [
        ("experts.*.up_proj", [Cell(5.0, 1.0)])
    ]


def test_what_is_no_number_has_no_shade():
    drawn = heat_map({"q": {0: math.nan, 1: 2.0}, "lm_head": {-1: math.inf}})
    assert drawn.lines[0].cells == [Cell(None, None), Cell(2.0, 1.0)]
    assert drawn.outside[0].cells == [Cell(None, None)] and drawn.total == 2.0
    assert heat_map({"q": {0: math.nan}}).lines[0].cells == [Cell(None, None)]


@pytest.mark.parametrize("grid", [{}, {"q": {0: 0.0}, "lm_head": {-1: 0.0}}])
def test_of_no_change_there_is_no_picture(grid):
    assert heat_map(grid) is None
