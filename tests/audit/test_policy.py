"""Policies: parsed, hashed, and refused where they cannot be meant."""

import numpy as np
import pytest

from expunge.audit.method_distance import method_distances
from expunge.audit.policy import Policy, parse_policy, policies, policy
from expunge.errors import ConfigError, NeedsError


@pytest.mark.parametrize("name", ["screen", "standard", "strict"])
def test_those_that_ship_say_why(name):
    assert policy(name).name == name
    assert policies()[name].endswith((".", "?"))


def test_the_three_differ_in_what_they_demand():
    assert len({policy(name).fingerprint() for name in policies()}) == 3


def test_the_fingerprint_is_of_the_demands_alone():
    assert parse_policy("a", "alpha = 0.01").fingerprint() == parse_policy("b", "alpha = 0.01 # same").fingerprint()
    assert parse_policy("a", "alpha = 0.01").fingerprint() != parse_policy("a", "alpha = 0.02").fingerprint()


def test_gold_stands_for_golds_own_margin():
    assert parse_policy("a", 'shift_margin = "gold"').shift_margin is None
    assert parse_policy("a", "shift_margin = 0.25").shift_margin == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alfa = 0.05", "unknown key 'alfa'"),
        ('alpha = "five"', "alpha: expected a number, got 'five'"),
        ("alpha = 0.7", r"alpha: expected in \(0, 0.5\), got 0.7"),
        ("gold = 18", "gold: expected a whole number >= 19, got 18"),
        ("gold = 32.5", "gold: expected a whole number >= 19, got 32.5"),
        ("unlearned = 9", "unlearned: expected a whole number >= 10, got 9"),
        ("unlearned = 20.5", "unlearned: expected a whole number >= 10, got 20.5"),
        ('unlearned = "gold"', "unlearned: expected a number, got .gold."),
        ("unlearned = true", "unlearned: expected a number, got True"),
        ("shift_margin = 0", "shift_margin: expected > 0"),
        ("utility_alpha = 1", r"utility_alpha: expected in \(0, 0.5\), got 1"),
        ("alpha = = 1", "not TOML"),
    ],
)
def test_a_policy_that_cannot_be_meant(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_policy("mine", text)


@pytest.mark.parametrize("text", ['alpha = "gold"', 'utility_alpha = "gold"', "alpha = 2024-01-01"])
def test_what_is_no_number_is_refused_where_gold_gives_none(text):
    with pytest.raises(ConfigError, match="alpha: expected"):
        parse_policy("mine", text)


def test_the_number_of_unlearned_models_is_a_demand():
    assert [policy(name).unlearned for name in ("screen", "standard", "strict")] == [20, 32, 64]
    assert [policy(name).gold for name in ("screen", "standard", "strict")] == [19, 20, 64]
    assert Policy(name="any").unlearned == 20
    assert parse_policy("a", "unlearned = 10").unlearned == 10
    assert parse_policy("a", "unlearned = 21").fingerprint() != parse_policy("a", "unlearned = 20").fingerprint()
    assert parse_policy("a", "unlearned = 20").fingerprint() == Policy(name="b").fingerprint()
    assert parse_policy("a", "unlearned = 40").to_json()["unlearned"] == 40


def test_a_methods_margin_is_the_distance_of_a_shift_by_the_policys():
    assert policy("standard").method_margin is None
    assert policy("screen").method_margin is None  # one standard deviation would let half of gold's spread pass
    assert policy("strict").method_margin == 0.03125
    gold = np.array([-1.5, -0.5, 0.5, 1.5])[:, None]
    for shift in (0.1, 0.25, 0.5):
        moved = np.concatenate([gold + shift * gold.std(ddof=1), gold])
        ours = np.arange(8)[None] < 4
        distance = method_distances(moved, ours, ~ours)[0]
        assert parse_policy("a", f"shift_margin = {shift}").method_margin == pytest.approx(distance)


def test_a_file_of_ones_own(tmp_path):
    file = tmp_path / "ours.toml"
    file.write_text("alpha = 0.01\ngold = 100\n")
    assert policy(str(file)) == Policy(name="ours", alpha=0.01, gold=100)
    with pytest.raises(NeedsError, match="no file"):
        policy(str(tmp_path / "absent.toml"))
    with pytest.raises(ConfigError, match="unknown policy 'standrad'"):
        policy("standrad")
