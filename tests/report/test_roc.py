"""The ROC figure: what is drawn where, and what a log axis cannot show."""

import math

import pytest

from expunge.report import render
from expunge.report.roc import roc_figures
from tests.report.fixture import make_result
from tests.report.parsed import Page


def small(tpr, low=None, high=None, **changes):
    """Gold and one method at two false-positive rates, 20 forget and 100 holdout rows."""
    curves = {"gold": {"tpr": [0.1, 1.0], "low": [0.05, 0.9], "high": [0.2, 1.0]}}
    curves["scrub"] = {"tpr": tpr, "low": low, "high": high}
    roc = {"attack": "loss", "members": 20, "nonmembers": 100, "fpr": [0.1, 1.0], "entries": curves} | changes
    entries = [{"name": "scrub", "label": "SCRUB"}, {"name": "gold"}]
    return {"schema": 1, "kind": "method", "verdict": {"state": "measured"}, "entries": entries, "roc": roc}


def drawn(result):
    (figure,) = roc_figures(result)
    return figure


def lines(result, name):
    return [trace for trace in drawn(result).spec["data"] if trace.get("meta") == name]


def test_curves_by_hand():
    (line,) = lines(small([0.4, 1.0]), "scrub")
    assert (line["x"], line["y"]) == ([0.1, 1.0], [0.4, 1.0])
    assert line["text"][0] == "10% of holdout rows, 40% of forget rows"


def test_bands_go_there_and_back_and_gold_is_grey():
    (band, _) = lines(small([0.4, 1.0]), "gold")
    assert band["x"] == [0.1, 1.0, 1.0, 0.1]
    assert band["y"] == [0.05, 0.9, 1.0, 0.2]
    (other, _) = lines(small([0.4, 1.0], [0.3, 1.0], [0.5, 1.0]), "scrub")
    assert band["fillcolor"].startswith("rgba(128,132,140")
    assert other["fillcolor"] != band["fillcolor"]


def test_axes_are_logarithmic_and_one_holdout_row_is_marked():
    layout = drawn(small([0.4, 1.0])).spec["layout"]
    assert layout["xaxis"]["type"] == layout["yaxis"]["type"] == "log"
    assert layout["shapes"][0]["x0"] == 0.01
    assert layout["annotations"][0]["x"] == math.log10(0.01)
    assert layout["xaxis"]["range"][0] < math.log10(0.01)


def test_diagonal_is_equal_shares():
    diagonal = drawn(small([0.4, 1.0])).spec["data"][0]
    assert diagonal["x"] == diagonal["y"]
    assert diagonal["line"]["dash"] != "solid"


def test_share_of_zero_is_drawn_at_half_a_row_and_said():
    figure = drawn(small([0.0, 1.0]))
    (line,) = lines(small([0.0, 1.0]), "scrub")
    assert line["y"] == [0.025, 1.0]
    assert line["text"][0].endswith("0% of forget rows")
    assert figure.spec["layout"]["yaxis"]["ticktext"][0] == "0"
    assert "drawn at 2.5%, half of one forget row out of 20" in figure.note
    assert figure.note in Page(render(small([0.0, 1.0]))).text


def test_nothing_is_said_where_nothing_is_clipped():
    figure = drawn(small([0.4, 1.0]))
    assert figure.note == ""
    assert "0" not in figure.spec["layout"]["yaxis"]["ticktext"]


def test_zero_at_a_bands_end_is_clipped_too():
    (band, _) = lines(small([0.4, 1.0], [0.0, 1.0], [0.5, 1.0]), "scrub")
    assert band["y"][0] == 0.025
    assert drawn(small([0.4, 1.0], [0.0, 1.0], [0.5, 1.0])).note


def test_all_zero_and_one_forget_row():
    result = small([0.0, 0.0], members=1)
    result["roc"]["entries"]["gold"] = {"tpr": [0.0, 0.0]}
    assert [line["y"] for line in lines(result, "gold")] == [[0.5, 0.5]]
    assert "the 1 forget row called" in Page(render(result)).text


def test_one_rate_and_one_holdout_row():
    result = small([0.4], fpr=[1.0], nonmembers=1)
    result["roc"]["entries"]["gold"] = {"tpr": [1.0]}
    assert drawn(result).spec["layout"]["xaxis"]["range"][0] < 0


def test_values_that_are_not_known_leave_a_gap():
    (line,) = lines(small([None, 1.0]), "scrub")
    assert line["y"] == [None, 1.0]
    assert line["text"][0].endswith("- of forget rows")


@pytest.mark.parametrize(
    "entries", [None, {}, {"scrub": None}, {"scrub": {"tpr": None}}, {"nobody": {"tpr": [0.1, 1]}}]
)
def test_no_curve_no_figure(entries):
    assert roc_figures(small([0.4, 1.0], entries=entries)) == []


def test_target_is_gold_and_the_attack_is_named():
    text = Page(render(make_result())).text
    assert "Membership attack: ROC" in text
    assert "The target is gold's curve, not the diagonal" in text
    assert "An attacker (likelihood ratio, 64 shadow models)" in text


def test_description_says_what_the_lines_say():
    assert "SCRUB: 40% at 10%." in drawn(small([0.4, 1.0])).alt


def test_entries_differ_without_colour():
    looks = [
        (trace["line"]["dash"], trace["marker"]["symbol"])
        for trace in drawn(make_result()).spec["data"]
        if "marker" in trace
    ]
    assert len(set(looks)) == len(looks) == 11
