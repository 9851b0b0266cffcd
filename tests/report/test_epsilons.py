"""The figure of epsilon row by row: sorted bounds under their ceiling."""

import pytest

from expunge.report import render
from expunge.report.epsilons import epsilon_figures
from tests.report.fixture import make_result
from tests.report.parsed import Page


def small(values=(0.5, 0.0, 1.5), **changes):
    own = {"ids": ["a", "b", "c"], "values": {"scrub": list(values)}, "null": [0.0, 0.0, 0.2], "ceiling": 2.5}
    entries = [{"name": "scrub", "label": "SCRUB"}, {"name": "gold"}]
    result = {"schema": 1, "kind": "method", "verdict": {"state": "measured"}, "entries": entries}
    return result | {"epsilon": own | {"models": 64} | changes}


def drawn(result):
    (figure,) = epsilon_figures(result)
    return figure


def test_rows_are_sorted_and_named():
    null, line = drawn(small()).spec["data"]
    assert line["y"] == [0.0, 0.5, 1.5]
    assert line["text"] == ["row b", "row a", "row c"]
    assert "epsilon %{y:.2f}" in line["hovertemplate"]
    assert null["y"] == [0.0, 0.0, 0.0, 0.2]


def test_ceiling_is_a_dashed_line_with_its_name():
    layout = drawn(small()).spec["layout"]
    assert layout["shapes"][0]["y0"] == layout["shapes"][0]["y1"] == 2.5
    assert layout["shapes"][0]["line"]["dash"] != "solid"
    assert "ceiling 2.50" in layout["annotations"][0]["text"]
    assert layout["yaxis"]["range"][1] > 2.5


def test_text_warns_of_zero_and_of_the_ceiling():
    text = Page(render(small())).text
    assert "Lower bounds at 95%" in text
    assert "0 is no evidence of forgetting" in text
    assert "No row can show more than 2.5 nats with 64 models" in text


def test_without_a_ceiling_nothing_is_said_of_it():
    result = small(ceiling=None)
    assert "shapes" not in drawn(result).spec["layout"]
    assert "No row can show more" not in Page(render(result)).text


@pytest.mark.parametrize("ceiling", [0.0, None, 2.5])
def test_all_zero(ceiling):
    figure = drawn(small([0.0, 0.0, 0.0], null=[0.0] * 3, ceiling=ceiling))
    assert figure.spec["data"][1]["y"] == [0.0, 0.0, 0.0]
    low, high = figure.spec["layout"]["yaxis"]["range"]
    assert low < 0 < high
    assert "half of the rows below 0.00, largest 0.00" in figure.alt


def test_one_row_still_has_a_band():
    null, line = drawn(small([0.7], ids=["a"], null=[0.3])).spec["data"]
    assert (line["x"], line["y"]) == ([100.0], [0.7])
    assert (null["x"], null["y"]) == ([0.0, 100.0], [0.3, 0.3])


def test_rows_without_ids_have_no_name():
    (_, line) = drawn(small(ids=None)).spec["data"]
    assert line["text"] == ["", "", ""]
    assert "%{text}" not in line["hovertemplate"]
    assert Page(render(small(ids=None))).open == []


def test_nothing_known_of_an_entry():
    assert drawn(small([None, None, None])).spec["data"][1]["y"] == []


@pytest.mark.parametrize("values", [None, {}, {"nobody": [1.0, 2.0, 3.0]}])
def test_no_values_no_figure(values):
    assert epsilon_figures(small() | {"epsilon": {"ids": ["a", "b", "c"], "values": values}}) == []


def test_one_model_has_no_epsilon():
    parsed = Page(render(make_result("model")))
    assert "epsilon" not in parsed.values("id")
