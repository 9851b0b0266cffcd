"""The table over forget sets, by hand."""

import pytest

from expunge.bench.summary import FLOOR, summary


def entry(name, forget, test, distance, null, cost=None):
    return {
        "name": name,
        "label": name.upper(),
        "accuracy": {"forget": {"mean": forget}, "test": {"mean": test}},
        "measures": {
            "activation_distance": {"forget": {"value": distance, "null": null}},
            "accuracy_gap": {"forget": {"null": 0.02}, "test": {"null": 0.01}},
        },
        "cost": cost,
    }


def result(gold, scrub):
    return {
        "entries": [
            entry("original", 1.0, 0.9, 0.5, 0.1),
            entry("scrub", scrub, 0.8, 0.3, 0.1, {"fraction": 0.25}),
            entry("gold", gold, 0.85, 0.1, 0.1),
        ]
    }


def line(lines, method):
    return next(one for one in lines if one["method"] == method)


def test_means_and_errors_over_forget_sets():
    """Gaps are absolute for each forget set before they are averaged: one above and one below do not cancel."""
    lines = summary([result(0.6, 0.7), result(0.6, 0.5)])
    scrub = line(lines, "SCRUB")
    assert scrub["forget"]["mean"] == pytest.approx(0.6)
    assert scrub["gap"]["mean"] == pytest.approx(0.1)
    assert scrub["gap"]["error"] == pytest.approx(0)
    assert scrub["forget"]["error"] == pytest.approx(0.1)
    assert scrub["cost"]["mean"] == 0.25
    assert line(lines, "ORIGINAL")["cost"] is None


def test_the_floor_is_what_one_gold_model_shows():
    floor = summary([result(0.6, 0.7), result(0.8, 0.5)])[-1]
    assert floor["method"] == FLOOR
    assert floor["forget"]["mean"] == pytest.approx(0.7)
    assert floor["gap"]["mean"] == pytest.approx(0.02)
    assert floor["activation distance"]["mean"] == pytest.approx(0.1)


def test_what_was_not_measured_everywhere_is_left_out():
    lines = summary([result(0.6, 0.7)])
    assert line(lines, "SCRUB")["disagreement"] is None
    assert line(lines, "SCRUB")["gap"]["error"] is None  # one forget set has no spread
    short = result(0.6, 0.7)
    short["entries"].pop(1)
    assert [one["method"] for one in summary([result(0.6, 0.7), short])] == ["ORIGINAL", FLOOR]
