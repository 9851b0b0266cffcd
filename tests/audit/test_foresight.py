"""Foresight: closed forms against simulated audits, sentences by hand, and what the audits then say."""

import json
import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from expunge.audit.detectable import detectable_row, detectable_shift, gold_needed, independent_spread, resolution
from expunge.audit.epsilon import ceiling
from expunge.audit.floors import METHOD_FLOORS, auc_half_width
from expunge.audit.foresight import FLOOR_WORDS, Item, common_shift, flagged_row, foresee_method, foresee_model
from expunge.audit.loo import centred, flag, loo_z, pooled_p
from expunge.audit.method_audit import permutation_p
from expunge.audit.model_audit import model_audit
from expunge.audit.policy import Policy, policies, policy
from expunge.errors import ConfigError

REPETITIONS = 300
ERROR = math.sqrt(0.8 * 0.2 / REPETITIONS)  # of a measured power; 2.5 of them raise a false alarm in 0.01
STANDARD, STRICT = policy("standard"), policy("strict")
PLAIN = Policy(name="plain")


def flags(golds, rows, shift, *, drift, seed, test=150):
    """Flags of the forget rows of one model, of which the first is shifted; the shift is in gold sd."""
    random = np.random.default_rng(seed)
    own = math.sqrt(1 - drift) * random.normal(size=(golds + 1, rows + test))
    models = own + math.sqrt(drift) * random.normal(size=(golds + 1, 1))
    models[0, 0] += shift
    z = centred(loo_z(models), np.arange(rows + test) >= rows)[0][:, :rows]
    return flag(pooled_p(z[0], z[1:]), 0.05)


@pytest.mark.parametrize(("golds", "rows"), [(40, 200), (64, 40), (100, 100)])
def test_a_row_of_that_shift_is_flagged(golds, rows):
    shift = flagged_row(golds, rows)
    seen = [flags(golds, rows, shift, drift=0.0, seed=seed)[0] for seed in range(REPETITIONS)]
    assert np.mean(seen) == pytest.approx(0.8, abs=2.5 * ERROR)


def test_a_shared_drift_is_taken_out_and_shows_more():
    seen = [flags(64, 40, flagged_row(64, 40), drift=0.2, seed=seed)[0] for seed in range(REPETITIONS)]
    assert np.mean(seen) > 0.8


def test_no_single_row_below_the_floor():
    assert flagged_row(39, 200) == math.inf > flagged_row(40, 200) > flagged_row(100, 200)
    assert flagged_row(20, 200, alpha=0.1) < math.inf == flagged_row(19, 200, alpha=0.1)
    assert not flags(39, 200, 99.0, drift=0.0, seed=0).any()
    assert flags(40, 200, 99.0, drift=0.0, seed=0).tolist() == [True] + [False] * 199
    assert flagged_row(64, 200) > flagged_row(64, 20)
    assert flagged_row(64, 200, chance=0.95) > flagged_row(64, 200) > flagged_row(64, 200, chance=0.5)


@pytest.mark.parametrize(("ours", "golds", "rows"), [(20, 40, 40), (32, 32, 5), (64, 64, 1)])
def test_a_common_shift_against_the_permutation_test(ours, golds, rows):
    random, shift = np.random.default_rng(ours), common_shift(ours, golds, rows)
    p = []
    for seed in range(REPETITIONS):
        models = random.normal(size=(ours + golds, rows))
        models[:ours] += shift
        p.append(permutation_p(models, ours, seed=seed))
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.8, abs=2.5 * ERROR)


def test_more_models_and_rows_see_a_smaller_common_shift():
    assert common_shift(3, 64, 10) == common_shift(64, 3, 10) == math.inf
    found = [common_shift(64, 64, rows) for rows in (1, 10, 1000, 100_000)]
    assert found == sorted(found, reverse=True)
    assert common_shift(32, 64, 10) == common_shift(64, 32, 10) > common_shift(64, 64, 10)
    assert common_shift(64, 64, 10, alpha=0.01) > common_shift(64, 64, 10)


def test_a_row_of_a_method_with_unequal_sides():
    random = np.random.default_rng(0)
    shift = numbers(foresee_method(PLAIN, unlearned=32, gold=96, forget=9))["row"].value
    ours, golds = random.normal(shift, 1, (32, 2000)), random.normal(size=(96, 2000))
    level = 0.05 / (3 * 9)  # three tests of each of nine rows: Bonferroni, the first step of the flags' correction
    assert (mannwhitneyu(ours, golds, axis=0).pvalue <= level).mean() == pytest.approx(0.8, abs=0.04)


def numbers(found):
    return {item.name: item for item in found.items}


def test_numbers_of_one_model():
    found = numbers(foresee_model(STRICT, gold=64, forget=200, test=400))
    spread = independent_spread(200, 400)
    assert {name: item.value for name, item in found.items()} == {
        "spread": spread,
        "shift": detectable_shift(64, spread=spread),
        "row": flagged_row(64, 200),
        "resolution": resolution(64, spread=spread),
        "threshold": 0.25,
        "gold_needed": 64,
        "auc_half_width": auc_half_width(200),
    }
    assert gold_needed(0.25, spread=spread) < 64  # the policy's own number is the larger one
    assert found["spread"].detail == "rows taken as independent"
    measured = numbers(foresee_model(STRICT, gold=64, forget=200, test=400, spread=0.1))
    assert measured["shift"] == Item(
        "shift",
        detectable_shift(64, spread=0.1),
        "gold sd",
        "common to all forget rows, seen with probability 0.8; rows depend on each other as measured on gold",
    )
    assert numbers(foresee_model(STANDARD, gold=64, forget=200, test=400))["threshold"].value is None


def test_sentences_of_one_model():
    assert foresee_model(STANDARD, gold=64, forget=200, test=400).text == (
        "A shift of all 200 forget rows together is seen with probability 0.8 from 0.25 times gold's spread on "
        "(rows taken as independent).",
        "A single row is flagged with probability 0.8 from 5.1 times gold's spread on.",
        "One gold model in 20 itself shows a shift beyond 0.17 times gold's spread; policy standard takes its "
        "threshold from that.",
        "An attack's AUC on 200 forget rows is known to ±0.057.",
    )
    assert foresee_model(STANDARD, gold=12, forget=50, test=400).text == (
        "The verdict will be inconclusive: policy standard needs 20 gold models, not 12.",
        "No single row can be flagged: that takes 40 gold models.",
        "One gold model in 20 itself shows a shift beyond 0.31 times gold's spread; policy standard takes its "
        "threshold from that.",
    )
    fine = foresee_model(Policy(name="fine", alpha=0.01), gold=64, forget=200, test=400).text
    assert fine[0] == "The verdict will be inconclusive: policy fine needs 99 gold models, not 64."
    few = foresee_model(STRICT, gold=70, forget=95, test=400).text
    needed = gold_needed(0.25, spread=independent_spread(95, 400))
    assert few[0] == f"The verdict may well be inconclusive: policy strict needs {needed} gold models, not 70."
    assert few[3].endswith(f"policy strict sets the threshold at 0.25, which takes {needed} gold models.")
    assert (
        "depend on each other as measured on gold"
        in foresee_model(STANDARD, gold=64, forget=20, test=40, spread=0.5).text[0]
    )


def test_where_no_number_of_gold_is_enough():
    enough = "and no number of gold models is enough: more forget or test rows are needed."
    found = foresee_model(STRICT, gold=64, forget=20, test=100)
    assert found.text[0].startswith("The verdict will most likely be inconclusive: one gold model in 20 itself")
    assert found.text[0].endswith(enough)
    assert numbers(found)["gold_needed"] == Item("gold_needed", None, "models", "no number is enough")
    both = foresee_model(STRICT, gold=12, forget=20, test=100).text[0]
    assert both.startswith("The verdict will be inconclusive: policy strict needs 64 gold models, not 12; one gold")
    assert both.endswith(enough)


@pytest.mark.parametrize("name", policies())
@pytest.mark.parametrize("sizes", [(2, 1, 1), (19, 50, 400), (64, 20, 100), (70, 95, 400), (512, 5000, 10_000)])
def test_one_to_four_sentences_and_strict_json(name, sizes):
    gold, forget, test = sizes
    both = (
        foresee_model(policy(name), gold=gold, forget=forget, test=test),
        foresee_method(policy(name), unlearned=gold, gold=gold, forget=forget),
    )
    for found in both:
        assert 1 <= len(found.text) <= 4
        assert all(sentence.endswith(".") and "inf" not in sentence.split() for sentence in found.text)
        plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
        assert plain["text"] == list(found.text)
        assert [item.keys() for item in plain["items"]] == [{"name", "value", "unit", "detail"}] * len(found.items)
        inconclusive = "inconclusive" in found.text[0]
        assert inconclusive or gold >= policy(name).gold


def test_infinite_values_are_none_in_json():
    assert Item("shift", math.inf, "gold sd", "").to_json()["value"] is None
    assert Item("shift", math.nan, "gold sd", "").to_json()["value"] is None
    assert Item("shift", 0.0, "gold sd", "").to_json() == {
        "name": "shift",
        "value": 0.0,
        "unit": "gold sd",
        "detail": "",
    }
    found = foresee_model(PLAIN, gold=12, forget=9, test=9).to_json()["items"]
    assert [item["name"] for item in found if item["value"] is None] == ["shift", "row", "threshold"]


def test_numbers_and_sentences_of_a_method():
    found = foresee_method(STANDARD, unlearned=64, gold=128, forget=100)
    known = numbers(found)
    row = detectable_row(64, 128, alpha=0.05 / 300)
    assert known["row"].value == row
    assert known["shift"].value == common_shift(64, 128, 100)
    assert known["epsilon_ceiling"].value == ceiling(32, 0.025, golds=64)
    assert known["threshold"].value is None
    assert numbers(foresee_method(STRICT, unlearned=64, gold=64, forget=1))["threshold"].value == 0.25**2 / 2
    assert (known["unlearned_needed"].value, known["gold_needed"].value) == (STANDARD.unlearned, STANDARD.gold)
    reached = {name: known[f"floor_{name}"].detail for name in METHOD_FLOORS}
    assert [name for name, detail in reached.items() if detail == "reached"] == [
        "gaussian_kl",
        "klom",
        "auc_half_sd",
        "u_lira",
    ]
    assert found.text == (
        f"A shift of one row is flagged with probability 0.8 from {row:.2g} times gold's spread on, "
        f"one of all 100 forget rows together from {common_shift(64, 128, 100):.2g} times (rows taken as independent).",
        f"A perfect attack could show an epsilon of at most {ceiling(32, 0.025, golds=64):.2g}.",
        "Too few models a side for epsilon (128), rank tests of a quarter (256), the challenge's score (512).",
    )
    assert foresee_method(STANDARD, unlearned=512, gold=512, forget=9).text[2].startswith("Every measure has")


@pytest.mark.parametrize(("unlearned", "gold", "blocked"), [(31, 20, True), (32, 19, True), (32, 20, False)])
def test_a_method_needs_the_policys_numbers(unlearned, gold, blocked):
    text = foresee_method(STANDARD, unlearned=unlearned, gold=gold, forget=9).text
    said = (
        f"The verdict will be inconclusive: policy standard needs 32 unlearned and 20 gold models, not {unlearned} and"
    )
    assert text[0].startswith(said) == blocked


def test_a_rank_test_of_very_few_models_sees_nothing():
    few = foresee_method(PLAIN, unlearned=3, gold=3, forget=9)  # least p: 2 / 20
    assert numbers(few)["row"].value == numbers(few)["shift"].value == math.inf
    assert not any("one row" in sentence for sentence in few.text)
    assert numbers(foresee_method(PLAIN, unlearned=4, gold=4, forget=9))["row"].value < math.inf  # 2 / 70


def test_every_floor_has_words():
    assert FLOOR_WORDS.keys() == METHOD_FLOORS.keys()


def audited(golds, forget, test, chosen, seed):
    """A gold model judged under a policy; the original lies far off."""
    random = np.random.default_rng(seed)
    models = random.normal(size=(golds + 2, forget + test))
    models[0, :forget] += 3
    return model_audit(
        models[1:2],
        models[2:],
        models[:1],
        split=np.repeat(["forget", "test"], [forget, test]),
        alpha=chosen.alpha,
        shift_margin=chosen.shift_margin,
        excess_margin=chosen.excess_margin,
        least_gold=chosen.gold,
    )


def test_the_audit_says_what_was_foreseen():
    """Ten audits each, of rows that are independent; where a verdict was foreseen, two of them may lack one."""
    for golds, forget, test, chosen in ((64, 20, 100, STRICT), (48, 200, 400, STRICT), (19, 200, 400, STANDARD)):
        assert "inconclusive" in foresee_model(chosen, gold=golds, forget=forget, test=test).text[0]
        assert {audited(golds, forget, test, chosen, seed).judged for seed in range(10)} == {False}
    found = foresee_model(STRICT, gold=64, forget=400, test=800)
    assert "inconclusive" not in found.text[0]
    audits = [audited(64, 400, 800, STRICT, seed) for seed in range(10)]
    assert sum(audit.judged for audit in audits) >= 8
    seen = np.mean([audit.distances["forget.shift"]["resolution"] for audit in audits])
    assert seen == pytest.approx(numbers(found)["resolution"].value, rel=0.15)


def test_numbers_out_of_range():
    for bad in ({"gold": 1}, {"forget": 0}, {"test": 0}):
        with pytest.raises(ConfigError, match=rf"{next(iter(bad))}: expected >= \d, got"):
            foresee_model(PLAIN, **{"gold": 9, "forget": 9, "test": 9, **bad})
    for bad in ({"gold": 0}, {"forget": 0}, {"unlearned": 0}):
        with pytest.raises(ConfigError, match=rf"{next(iter(bad))}: expected >= \d, got"):
            foresee_method(PLAIN, **{"gold": 9, "forget": 9, "unlearned": 9, **bad})
    with pytest.raises(ConfigError, match="spread: expected >= 0 or None, got -1"):
        foresee_model(PLAIN, gold=19, forget=9, test=9, spread=-1)


def test_gold_models_that_agree_exactly_resolve_everything():
    found = numbers(foresee_model(STRICT, gold=64, forget=9, test=9, spread=0.0))
    assert found["shift"].value < 1e-9
    assert found["gold_needed"].value == 64


def test_models_of_one_original_are_foreseen_as_one():
    found = foresee_method(STANDARD, unlearned=1, gold=64, forget=9)
    assert found.text[0] == (
        "The verdict will be inconclusive: policy standard needs 32 unlearned and 20 gold models, not 1 and 64."
    )
    assert numbers(found)["epsilon_ceiling"].value == 0
