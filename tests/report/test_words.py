"""Every measure is said in plain words, with its target."""

import pytest

from expunge.audit import MEASURES as MEASURED
from expunge.report.words import MEASURES, STATES, measure_words, number_words

OTHERWISE = {
    "efficacy": "efficacy_svc",
    "rank_tests": "rank_auc",
}
"""Measures whose results go by other names than their own."""
NO_DISTANCE = {"model_audit", "method_audit", "utility", "one_run"}
"""Results of these are verdicts and bounds, no entry's measure."""


@pytest.mark.parametrize("name", [name for name in MEASURED if name not in NO_DISTANCE])
def test_every_measure_of_the_audit_has_words(name):
    assert OTHERWISE.get(name, name) in MEASURES


@pytest.mark.parametrize("name", MEASURES)
def test_words_name_the_target(name):
    words = measure_words(name)
    assert words.title
    assert "target" in words.meaning
    assert words.meaning.endswith(".")
    assert "higher is better" not in words.meaning


def test_challenge_says_what_a_perfect_method_gets():
    words = measure_words("challenge")
    assert "about 0.19, not 1" in words.meaning
    assert set(words.extras) == {"quality", "quality_null", "quality_ratio", "variance_ratio"}


def test_method_distance_is_in_nats():
    words = measure_words("method_distance")
    assert (words.unit, words.statistic) == ("nats", "mean")
    assert "0.031 nats is a shift of a quarter of gold's standard deviation" in words.meaning


def test_memorisation_is_no_distance():
    assert "no distance" in measure_words("memorisation").reading


def test_unknown_names_are_made_readable():
    assert measure_words("margin_shift").title == "Margin shift"
    assert number_words("my_number") == "my number"


def test_verdicts_differ_without_colour():
    assert len({state.shape for state in STATES.values()}) == len({state.icon for state in STATES.values()}) == 4
