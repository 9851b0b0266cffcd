"""Lengths and shapes that do not fit are refused with the name of their part."""

import math

import pytest

from expunge.errors import ConfigError
from expunge.report.result import checked
from tests.report.fixture import make_result


def cut(path):
    """The fixture with the last number of the list at `path` taken away."""
    result = make_result()
    place = result
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = list(place[path[-1]])[:-1]
    return result


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("epsilon", "ids"), "epsilon: 79 ids, 80 values of original"),
        (("epsilon", "values", "scrub"), "epsilon: 80 ids, 79 values of scrub"),
        (("epsilon", "null"), "epsilon: 80 ids, 79 values of the null"),
        (("per_row", "test", "null"), "per_row test: 120 ids, 119 values of the null"),
        (("roc", "fpr"), "roc: 39 fpr, 40 tpr of original"),
        (("roc", "entries", "scrub", "tpr"), "roc: 40 fpr, 39 tpr of scrub"),
        (("roc", "entries", "gold", "low"), "roc: 40 fpr, 39 low of gold"),
        (("roc", "entries", "gold", "high"), "roc: 40 fpr, 39 high of gold"),
        (("strata", "scores", "low"), "strata: expected least and most score of low rows, got 1 numbers"),
    ],
)
def test_lists_that_do_not_fit_are_named(path, message):
    with pytest.raises(ConfigError, match=message):
        checked(cut(path))


@pytest.mark.parametrize("fpr", [[0.0, 1.0], [0.5, 0.5], [1.0, 0.5], [0.5, 1.5], [math.nan, 1.0], [None, 1.0]])
def test_rates_rise_above_zero(fpr):
    result = make_result()
    result["roc"] |= {"fpr": fpr, "entries": {"gold": {"tpr": [0.1, 1.0]}}}
    with pytest.raises(ConfigError, match="roc: expected fpr that rises from above 0 to at most 1"):
        checked(result)


@pytest.mark.parametrize("key", ["members", "nonmembers"])
@pytest.mark.parametrize("number", [0, None])
def test_an_attack_needs_rows(key, number):
    result = make_result()
    result["roc"][key] = number
    with pytest.raises(ConfigError, match=f"roc: expected {key} of at least 1, got {number}"):
        checked(result)


@pytest.mark.parametrize("key", ["rows", "scores", "null"])
def test_unknown_stratum(key):
    result = make_result()
    result["strata"][key]["easy"] = 1
    with pytest.raises(ConfigError, match=f"strata: expected low, medium, high in {key}, got easy"):
        checked(result)
    del result["strata"][key]["easy"]
    result["strata"]["values"]["scrub"]["easy"] = 1
    with pytest.raises(ConfigError, match="in values of scrub, got easy"):
        checked(result)


@pytest.mark.parametrize("state", ["measured", "ok", None])
def test_verdict_of_an_entry_is_one_of_three(state):
    result = make_result()
    result["entries"][2]["verdict"]["state"] = state
    with pytest.raises(ConfigError, match=f"verdict of neggrad_plus: expected pass, fail, inconclusive, got {state!r}"):
        checked(result)


def test_rows_without_ids_are_compared_with_each_other():
    result = make_result()
    result["epsilon"]["ids"] = None
    assert checked(result)["epsilon"]["ids"] is None
    result["epsilon"]["values"]["scrub"].pop()
    with pytest.raises(ConfigError, match="epsilon: 80 rows, 79 values of scrub"):
        checked(result)
