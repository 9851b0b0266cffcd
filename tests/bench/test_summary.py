"""The table over forget sets, by hand."""

import pytest

from expunge.bench.summary import APART, FLOOR, HEADINGS, by_size, known, summary


def entry(name, forget, test, distance, null, cost=None, gap=0.0):
    return {
        "name": name,
        "label": name.upper(),
        "accuracy": {"forget": {"mean": forget}, "test": {"mean": test}},
        "measures": {
            "activation_distance": {"forget": {"value": distance, "null": null}},
            "accuracy_gap": {"forget": {"value": gap, "null": 0.02}, "test": {"value": 0.0, "null": 0.01}},
        },
        "cost": cost,
    }


def result(gold, scrub, forget="class:3:10"):
    return {
        "problem": {"forget": forget, "rows": {"forget": int(forget.rpartition(":")[2])}},
        "entries": [
            entry("original", 1.0, 0.9, 0.5, 0.1),
            entry("scrub", scrub, 0.8, 0.3, 0.1, {"fraction": 0.25}, gap=abs(scrub - gold)),
            entry("gold", gold, 0.85, 0.1, 0.1),
        ],
    }


def line(lines, method):
    return next(one for one in lines if one["method"] == method)


def test_means_and_errors_over_forget_sets():
    """Gaps are absolute for each forget set before they are averaged: one above and one below do not cancel."""
    lines = summary([result(0.6, 0.7), result(0.6, 0.5, "class:4:10")])
    scrub = line(lines, "SCRUB")
    assert scrub["forget"]["mean"] == pytest.approx(0.6)
    assert scrub["gap"]["mean"] == pytest.approx(0.1)
    assert scrub["gap"]["error"] == pytest.approx(0)
    assert scrub["forget"]["error"] == pytest.approx(0.1)
    assert scrub["cost"]["mean"] == 0.25
    assert line(lines, "ORIGINAL")["cost"] is None


def test_the_floor_is_what_one_gold_model_shows():
    floor = summary([result(0.6, 0.7), result(0.8, 0.5, "class:4:10")])[-1]
    assert floor["method"] == FLOOR
    assert floor["forget"]["mean"] == pytest.approx(0.7)
    assert floor["gap"]["mean"] == pytest.approx(0.02)
    assert floor["activation distance"]["mean"] == pytest.approx(0.1)


def test_what_was_not_measured_everywhere_is_left_out():
    lines = summary([result(0.6, 0.7)])
    assert line(lines, "SCRUB")["disagreement"] is None
    assert line(lines, "SCRUB")["gap"]["error"] is None  # one forget set has no spread
    short = result(0.6, 0.7, "class:4:10")
    short["entries"].pop(1)
    assert [one["method"] for one in summary([result(0.6, 0.7), short])] == ["ORIGINAL", FLOOR]


def test_draws_of_one_forget_set_count_once():
    """Two draws of one set at 0.5 and 0.7, one of another at 0.9: means 0.6 and 0.9."""
    drawn = [result(0.6, scrub, forget) for scrub, forget in ((0.5, "class:3:10"), (0.7, "class:3:10"))]
    found = line(summary([*drawn, result(0.6, 0.9, "class:4:10")]), "SCRUB")["forget"]
    assert found["mean"] == pytest.approx(0.75)
    assert found["error"] == pytest.approx(0.15)  # sd of 0.6 and 0.9 over the root of 2
    alone = line(summary(drawn), "SCRUB")["forget"]  # of a single set, the draws spread
    assert (alone["mean"], alone["error"]) == (pytest.approx(0.6), pytest.approx(0.1))


def test_results_of_one_size_stand_together():
    results = [result(0.6, 0.7, forget) for forget in ("class:3:30", "class:3:10", "class:4:30")]
    found = by_size(results)
    assert list(found) == [10, 30]
    assert [one["problem"]["forget"] for one in found[30]] == ["class:3:30", "class:4:30"]


def apart(scrub, easy, hard, forget):
    """A result with a prediction of `scrub`, whose rows lie that far from gold."""
    made = result(0.6, 0.7, forget)
    for entry, auroc in zip(made["entries"], (None, scrub, 0.95), strict=True):
        extra = {"auroc": auroc, "balanced_accuracy": 0.6, "gain": 0.02}
        entry["measures"]["foretold"] = {"forget": {"value": 0.1, "extra": extra}}
    own = {"scrub": {"easy": easy, "hard": hard}, "gold": {"easy": 0.1, "hard": 0.2}}
    return made | {"ease": {"rows": {"easy": 8, "hard": 2}, "values": {"method_distance": own}}}


def test_easy_and_hard_rows_stand_apart():
    lines = summary([apart(0.7, 0.5, None, "class:3:10"), apart(0.8, 0.7, 4.0, "class:4:10")])
    scrub, floor = line(lines, "SCRUB"), lines[-1]
    assert scrub["AUROC"]["mean"] == pytest.approx(0.75)
    assert scrub["gain over all easy"]["mean"] == pytest.approx(0.02)
    assert scrub["easy: distance"]["mean"] == pytest.approx(0.6)
    assert scrub["hard: distance"] == {"mean": 4.0, "error": None}, "one of the sets has no hard row"
    assert (floor["AUROC"]["mean"], floor["hard: distance"]["mean"]) == (pytest.approx(0.95), pytest.approx(0.2))
    assert line(lines, "ORIGINAL")["AUROC"] is line(lines, "ORIGINAL")["easy: distance"] is None
    assert known(lines, APART) == [*APART[:4], "easy: distance", "hard: distance"]
    assert lines[0].keys() == {*HEADINGS, *APART}


def test_klom_is_taken_where_there_are_models_enough_for_it():
    made = apart(0.7, 0.5, 0.9, "class:3:10")
    made["ease"]["values"]["klom"] = {"scrub": {"easy": 3.0, "hard": 6.0}}
    assert line(summary([made]), "SCRUB")["easy: distance"]["mean"] == 3.0


def test_without_such_a_method_there_is_nothing_to_set_apart():
    assert known(summary([result(0.6, 0.7)]), APART) == ["method"]
