"""Easy and hard rows: the figure's dots and the table's numbers."""

import pytest

from expunge.report import Column, render
from expunge.report.strata import strata_columns, strata_figures, strata_lines
from tests.report.fixture import make_result
from tests.report.parsed import Page


def small(values=None, **changes):
    found = {"scrub": {"low": 0.1, "medium": 0.5, "high": 2.0}} if values is None else values
    own = {"measure": "klom", "unit": "nats", "shadows": 16, "values": found, "null": {"low": 0.2, "high": 0.3}}
    own |= {"rows": {"low": 9, "medium": 9, "high": 1200}, "scores": {"low": [-0.1, 0.0], "high": [0.5, 1.0]}}
    entries = [{"name": "scrub", "label": "SCRUB"}, {"name": "gold"}]
    result = {"schema": 1, "kind": "method", "verdict": {"state": "measured"}, "entries": entries}
    return result | {"strata": own | changes}


def drawn(result):
    (figure,) = strata_figures(result)
    return figure


def test_dots_stand_in_their_strata():
    (dots,) = drawn(small()).spec["data"]
    assert (dots["x"], dots["y"]) == ([0.0, 1.0, 2.0], [0.1, 0.5, 2.0])


def test_strata_are_named_with_their_rows_and_scores():
    ticks = drawn(small()).spec["layout"]["xaxis"]["ticktext"]
    assert ticks == [
        "low<br>9 rows<br>\N{MINUS SIGN}0.10 to 0.00",
        "medium<br>9 rows",
        "high<br>1,200 rows<br>0.50 to 1.00",
    ]


def test_null_is_an_area_where_it_is_known():
    areas = [shape for shape in drawn(small()).spec["layout"]["shapes"] if shape["type"] == "rect"]
    assert [(area["y0"], area["y1"]) for area in areas] == [(0, 0.2), (0, 0.3)]
    assert [(area["x0"] + area["x1"]) / 2 for area in areas] == pytest.approx([0, 2])


def test_entries_stand_side_by_side():
    dots = drawn(make_result()).spec["data"]
    assert len({trace["x"][0] for trace in dots}) == len(dots) == 10
    assert max(trace["x"][0] for trace in dots) < 0.5 < min(trace["x"][1] for trace in dots)
    assert len({trace["marker"]["symbol"] for trace in dots}) == len(dots)


def test_table_by_hand():
    assert strata_columns(small())[0] == Column("", "low", ("9 rows", "-0.10 to 0.00", "null 0.20"))
    (line,) = strata_lines(small())
    assert (line.label, line.cells) == ("SCRUB", ["0.10", "0.50", "2.00"])


def test_page_says_what_difficulty_is():
    text = Page(render(small())).text
    assert "Difficulty is memorisation" in text
    assert "estimated from 16 half-sampled models" in text
    assert "SCRUB 0.10 0.50 2.00" in text


def test_missing_numbers_are_dashes():
    result = small({"scrub": {"low": 0.1, "medium": None}}, rows=None, scores=None, null=None, shadows=None)
    assert strata_lines(result)[0].cells == ["0.10", "-", "-"]
    assert drawn(result).spec["layout"]["xaxis"]["ticktext"] == ["low", "medium", "high"]
    assert "estimated from half-sampled models" in Page(render(result)).text


def test_all_zero():
    result = small({"scrub": dict.fromkeys(("low", "medium", "high"), 0.0)}, null={"low": 0.0})
    assert drawn(result).spec["data"][0]["y"] == [0.0, 0.0, 0.0]
    assert strata_lines(result)[0].cells == ["0.00", "0.00", "0.00"]


@pytest.mark.parametrize("values", [{}, {"scrub": None}, {"scrub": {}}, {"nobody": {"low": 1.0}}])
def test_no_values_no_figure(values):
    assert strata_figures(small(values)) == []
    assert "strata" not in Page(render(small(values))).values("id")


def test_hostile_unit_is_plain_text():
    title = drawn(small(unit="<script>")).spec["layout"]["yaxis"]["title"]["text"]
    assert "<script>" not in title
