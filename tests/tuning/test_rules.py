"""Rules: what "auto" stands for, and what it says about it."""

import re

import pytest

from expunge.data import ForgetSet
from expunge.errors import ConfigError
from expunge.methods import FORGET_KINDS
from expunge.tuning.rules import RULES, way
from expunge.tuning.trial import OBJECTIVES
from expunge.tuning.twins import KINDS


def test_there_is_a_rule_for_every_kind_of_forget_set():
    assert RULES.keys() == FORGET_KINDS
    assert {
        ForgetSet(text).kind for text in ("random:3", "class:1:3", "subject:a", "ids:f", "indices:f")
    } <= RULES.keys()


@pytest.mark.parametrize("forget", RULES)
def test_a_rule_names_what_there_is_and_what_it_rests_on(forget):
    rule, found = RULES[forget], way("auto", "auto", forget)
    assert rule.objective in OBJECTIVES
    assert rule.kind in KINDS
    assert re.search(r"relative regret \d|not measured", rule.basis)
    assert (found.objective, found.kind) == (rule.objective, rule.kind)
    assert rule.basis in found.why
    assert f"objective {rule.objective} and kind {rule.kind}" in found.why


@pytest.mark.parametrize("forget", RULES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_is_named_is_taken_and_not_explained(objective, kind, forget):
    found = way(objective, kind, forget)
    assert (found.objective, found.kind, found.why) == (objective, kind, "")


def test_of_two_things_the_open_one_is_looked_up():
    assert way("auto", "rewind", "class").kind == "rewind"
    assert way("auto", "rewind", "class").why == "auto took objective twin"
    assert way("twin", "auto", "random").kind == "fresh"
    assert way("twin", "auto", "random").why.startswith("auto took kind fresh (random rows: ")
    assert way("close", "auto", "random").why == ""  # no twin is made


@pytest.mark.parametrize(
    ("objective", "kind", "words"),
    [
        ("gold", "auto", "objective: expected auto, twin, holdout, accuracy, close, got 'gold'"),
        ("auto", "old", "kind: expected auto, finetune, rewind, fresh, got 'old'"),
    ],
)
def test_what_there_is_not_is_refused(objective, kind, words):
    with pytest.raises(ConfigError, match=words):
        way(objective, kind, "random")
