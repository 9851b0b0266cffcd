"""Audits of stored outputs: the same numbers as from models, less from margins alone, and every wrong array named.

The arrays are synthetic: 24 forget, 60 retain, 60 test and 40 holdout rows, margins about 1 nat apart between models.
Seeds are fixed, so that every verdict below is one draw: gold passes with probability 0.95 or more.
"""

import copy
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from scipy.special import logsumexp

import expunge as ex
from expunge.audit.assemble import Candidate, Pool
from expunge.audit.foresight import foresee_method, foresee_model
from expunge.audit.policy import policy
from expunge.bench.fleets import Fleets, outputs
from expunge.bench.judged import judged_method, judged_model, method_reference
from expunge.bench.stored import BINARY, KNOWN, UNSEEN, audit_stored, foresee_stored, read_stored
from expunge.bench.suite import STANDARD
from expunge.bench.words import SEEN
from expunge.errors import NeedsError, ShapeError, StoreError
from expunge.report import render
from expunge.store import Store
from expunge.training import fit
from tests.tiny import tiny_problem, tiny_recipe

SPLIT = np.repeat(["forget", "retain", "test", "holdout"], [24, 60, 60, 40])
ROWS, CLASSES = len(SPLIT), 4
LABELS = np.arange(ROWS) % CLASSES
HARD = np.random.default_rng(9).normal(size=ROWS)  # nats; what all models find hard or easy
SCREEN = policy("screen")
SIDES = ("gold", "unlearned", "original", "heldout", "shadows")
WHOLE = {"accuracy_gap", "activation_distance", "jensen_shannon", "zrf", "average_gap", "tug_of_war", "aus"}
ATTACKS = {"population_attack", "population_entropy", "population_modified_entropy", "lira", "rmia"}


def models(count, seed, *, knows=0.0, spread=1.0):
    """[count, rows, classes] logits; `knows` nats more on forget rows, `spread` between models."""
    logits = spread * np.random.default_rng(seed).normal(size=(count, ROWS, CLASSES))
    logits[:, np.arange(ROWS), LABELS] += 2 + HARD + (SPLIT == "retain") + knows * (SPLIT == "forget")
    return logits.astype(np.float32)


def stored(count=1, **more):
    """Arrays of 24 gold models, and of as many originals as unlearned models."""
    known = {"gold": models(24, 0), "unlearned": models(count, 1), "original": models(count, 2, knows=4)}
    return known | {"labels": LABELS, "split": SPLIT} | more


def shadows(count=8):
    """Shadow models and their membership: every row but those of test in half of the models, known by 3 nats."""
    inside = np.random.default_rng(5).permuted(np.arange(count)[:, None] % 2 == np.zeros(ROWS, int), axis=0)
    inside &= SPLIT != "test"
    logits = models(count, 6)
    logits[:, np.arange(ROWS), LABELS] += np.where(inside, 3, 0)
    return {"shadows": logits, "membership": inside}


def by_hand(logits):
    """[..., rows] margins in the slow, plain form."""
    own = np.take_along_axis(logits, LABELS[None, :, None], axis=2)[..., 0].astype(np.float64)
    others = np.where(np.eye(CLASSES, dtype=bool)[LABELS], -np.inf, logits.astype(np.float64))
    return own - logsumexp(others, axis=-1)


def margins_of(arrays):
    """The same arrays with margins in place of logits, without labels."""
    return {
        name: by_hand(side).astype(np.float32) if name in SIDES else side
        for name, side in arrays.items()
        if name != "labels"
    }


def values(result, entry="unlearned"):
    """(measure, split) -> value, interval, null and start of one entry."""
    (found,) = [one for one in result.data["entries"] if one["name"] == entry]
    return {
        (name, split): [one["value"], *(one["interval"] or ()), one["null"], one["start"]]
        for name, splits in found["measures"].items()
        for split, one in splits.items()
    }


@pytest.fixture(scope="module")
def of_model():
    return audit_stored(stored(**shadows()))


@pytest.fixture(scope="module")
def of_method():
    return audit_stored(stored(24, heldout=models(24, 7)), policy=SCREEN)


# What comes out


def test_a_file_gives_what_the_arrays_give(of_model, tmp_path):
    np.savez(tmp_path / "outputs.npz", **stored(**shadows()))
    again = audit_stored(read_stored(tmp_path / "outputs.npz"), source="given arrays")
    assert json.dumps(again.data) == json.dumps(of_model.data)
    np.savez_compressed(tmp_path / "small.npz", **stored(**shadows()))
    assert read_stored(tmp_path / "small.npz").keys() == read_stored(tmp_path / "outputs.npz").keys()


def test_one_unlearned_model_is_a_model_audit_and_several_are_a_method_audit(of_model, of_method):
    assert (of_model.data["kind"], of_method.data["kind"]) == ("model", "method")
    assert [entry["name"] for entry in of_model.data["entries"]] == ["original", "unlearned", "gold"]
    assert of_model.data["models"] == {"unlearned": 1, "gold": 24, "heldout": 0, "original": 1, "shadow": 8}
    assert of_method.data["models"] == {"unlearned": 24, "gold": 24, "heldout": 24, "original": 24, "shadow": 0}
    assert of_model.data["problem"]["rows"] == {"forget": 24, "retain": 60, "test": 60, "holdout": 40}
    assert of_model.data["problem"]["forget"] == "24 given rows"
    assert of_model.data["retraining"] is None, "nobody knows what a training elsewhere costs"


def test_it_claims_nothing_about_masks_that_it_never_saw(of_model, of_method):
    for result in (of_model, of_method):
        names = [control["name"] for control in result.data["verdict"]["controls"]]
        assert names == ["held-out gold passes", "the original fails"]
        assert SEEN["name"] not in json.dumps(result.data)
        assert UNSEEN in result.data["limits"]
        assert BINARY not in result.data["limits"]


@pytest.mark.parametrize("result", ["of_model", "of_method"])
def test_the_page_renders(result, request):
    found = request.getfixturevalue(result)
    page = render(found.data)
    assert "audit of stored outputs" in page
    assert UNSEEN in page


def test_ids_are_what_the_report_calls_the_rows(of_model):
    assert of_model.data["per_row"]["forget"]["ids"] == [str(at) for at in range(24)]
    assert of_model.data["per_row"]["test"]["ids"] == [str(at) for at in range(84, 144)]
    for ids in (np.char.add("person ", np.arange(ROWS).astype(str)), 1000 + np.arange(ROWS)):
        found = audit_stored(stored(ids=ids)).data["per_row"]["test"]
        assert found["ids"] == [str(row_id) for row_id in ids[84:144]]
        assert found["labels"] == LABELS[84:144].tolist()


def test_the_arrays_stay_as_they_are():
    arrays = stored(**shadows())
    before = copy.deepcopy(arrays)
    audit_stored(arrays)
    assert arrays.keys() == before.keys()
    assert all(np.array_equal(arrays[name], before[name]) for name in arrays)


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_any_floating_point_will_do(kind, of_model):
    arrays = {name: side.astype(kind) if name in SIDES else side for name, side in stored(**shadows()).items()}
    found = audit_stored(arrays)
    assert found.verdict == of_model.verdict
    assert found.measure("row_z")["value"] == pytest.approx(of_model.measure("row_z")["value"], rel=2e-3)


def test_the_order_of_rows_does_not_matter(of_model):
    """All measures but the efficacies, which by their definition train on the first rows."""
    order = np.random.default_rng(3).permutation(ROWS)
    order[np.sort(np.flatnonzero(SPLIT[order] == "holdout"))] = np.flatnonzero(SPLIT == "holdout")  # RMIA halves them
    arrays = {
        name: side[:, order] if name in (*SIDES, "membership") else side[order]
        for name, side in stored(**shadows()).items()
    }
    ours, theirs = values(audit_stored(arrays)), values(of_model)
    assert ours.keys() == theirs.keys()
    for key in ours:
        if not key[0].startswith("efficacy"):
            assert ours[key] == pytest.approx(theirs[key], abs=1e-6), key


# The same from models


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A real problem, its fleets, and 6 unlearned models of 3 originals, as models and as arrays."""
    recipe = tiny_recipe(epochs=10, batch_size=16)
    problem = tiny_problem(seed=0, rows=60, forget=15, recipe=recipe, kind="class")
    store = Store(tmp_path_factory.mktemp("store"))
    fleets = Fleets(recipe, problem.rows, problem.holdout, problem.test, store)
    originals = [problem.original, *(fit(recipe, problem.rows, seed=seed).model for seed in (31, 32))]
    unlearned = [fit(recipe, problem.rows, problem.retain, seed=seed).model for seed in range(70, 76)]
    logits = fleets.gold(problem.forget, 24 + 3, seed=0).logits()
    split = np.array(["retain"] * 60 + ["holdout"] * 60 + ["test"] * 60)
    split[problem.forget] = "forget"
    made = fleets.shadows(4, seed=0)
    arrays = {
        "gold": logits[:24],
        "heldout": logits[24:],
        "original": np.stack([outputs(model, fleets.watch) for model in originals]),
        "unlearned": np.stack([outputs(model, fleets.watch) for model in unlearned]),
        "labels": np.concatenate([rows.labels.numpy() for rows in fleets.watch]),
        "split": split,
        "ids": np.array([row_id for rows in fleets.watch for row_id in rows.ids]),
        "groups": np.array(["a", "b", "c", "a", "b", "c"]),
        "shadows": made.logits,
        "membership": made.membership,
    }
    return problem, store, originals, unlearned, arrays


def same_but_for_zrf(ours, theirs):
    """Verdict, measures, figures and power agree; ZRF alone takes models that nobody stored."""
    assert ours.verdict == theirs.verdict
    for part in ("audit", "densities", "roc", "epsilon", "strata", "per_row", "power", "models", "policy"):
        mine, other = (json.dumps(result.data[part]) for result in (ours, theirs))
        assert mine.replace('"unlearned"', '"model"') == other.replace('"unlearned"', '"model"'), part
    assert ours.data["verdict"]["reasons"] == theirs.data["verdict"]["reasons"]
    assert [*ours.data["verdict"]["controls"], SEEN] == theirs.data["verdict"]["controls"]
    for mine, other in zip(ours.data["entries"], theirs.data["entries"], strict=True):
        assert mine["accuracy"] == other["accuracy"]
        measured = {name: found for name, found in other["measures"].items() if name != "zrf"}
        assert mine["measures"] == measured, mine["name"]
    assert "not measured: zrf (no untrained models to compare with)" in ours.data["limits"]


def test_a_model_audit_of_an_npz_is_that_of_the_models(tiny, tmp_path):
    problem, store, _, unlearned, arrays = tiny
    sides = {"unlearned": arrays["unlearned"][:1], "original": arrays["original"][:1]}
    lone = {name: side for name, side in arrays.items() if name not in ("heldout", "groups")} | sides
    np.savez(tmp_path / "lone.npz", **lone)
    theirs = ex.audit(problem, unlearned[0], gold=24, shadows=4, store=store)
    same_but_for_zrf(ex.audit_stored(read_stored(tmp_path / "lone.npz")), theirs)


def test_a_method_audit_of_an_npz_is_that_of_the_models(tiny, tmp_path):
    problem, store, originals, unlearned, arrays = tiny
    np.savez(tmp_path / "all.npz", **arrays)
    theirs = ex.audit(problem, unlearned, originals=originals * 2, gold=24, heldout=3, shadows=4, store=store)
    same_but_for_zrf(ex.audit_stored(read_stored(tmp_path / "all.npz")), theirs)


# Margins alone


def test_margins_give_the_same_klom_and_every_other_measure_on_margins(of_method):
    found = audit_stored(margins_of(stored(24, heldout=models(24, 7))), policy=SCREEN)
    assert found.verdict == of_method.verdict
    ours, theirs = values(found), values(of_method)
    on_margins = {"klom", "gaussian_kl", "rank_auc", "rank_ks", "rank_variance", "u_lira", "epsilon", "method_distance"}
    assert {name for name, _ in ours} == on_margins | {"population_attack", "efficacy_starting_kit", "efficacy_svc"}
    for key in theirs:
        if key[0] in on_margins:
            assert ours[key] == pytest.approx(theirs[key], abs=1e-4), key
    for part in ("densities", "epsilon", "per_row"):
        assert (found.data[part] is None) == (of_method.data[part] is None)
    assert found.data["per_row"]["forget"]["null"] == pytest.approx(of_method.data["per_row"]["forget"]["null"])


def test_margins_give_the_same_verdict_on_one_model(of_model):
    found = audit_stored(margins_of(stored(**shadows())))
    assert found.verdict == of_model.verdict == "pass"
    assert found.measure("row_z") == of_model.measure("row_z")
    assert found.measure("lira") == of_model.measure("lira")
    assert found.measure("rmia")["value"] == pytest.approx(of_model.measure("rmia")["value"])
    assert found.data["audit"]["joint"] == of_model.data["audit"]["joint"]


def test_margins_say_what_they_cannot_say(of_method):
    found = audit_stored(margins_of(stored()))
    assert BINARY in found.data["limits"]
    assert not WHOLE & found.data["entries"][1]["measures"].keys()
    said = [line for line in found.data["limits"] if "only margins are there" in line]
    assert said == [
        "not measured: accuracy_gap, activation_distance, jensen_shannon, disagreement, zrf, together, "
        "population_entropy, population_modified_entropy (only margins are there, not the outputs of all classes)"
    ]
    assert "more than even odds" in render(found.data)
    forget = by_hand(stored()["unlearned"])[0, SPLIT == "forget"]
    assert found.data["entries"][1]["accuracy"]["forget"]["mean"] == pytest.approx((forget > 0).mean())


def test_labels_beside_margins_are_looked_at_for_their_number_alone():
    arrays = margins_of(stored())
    assert audit_stored(arrays | {"labels": LABELS}).data == audit_stored(arrays).data
    with pytest.raises(ShapeError, match=rf"labels: expected \({ROWS},\), got \(3,\)"):
        audit_stored(arrays | {"labels": LABELS[:3]})


def test_margins_of_a_model_without_a_single_error_do_depend_on_the_row():
    easy = np.where(SPLIT == "test", 4.0, 0.0)
    arrays = margins_of(stored())
    arrays |= {role: np.where(SPLIT == "test", np.abs(arrays[role]), arrays[role]) + easy for role in SIDES[:3]}
    at = np.flatnonzero(SPLIT == "test")[:24]
    arrays["gold"][np.arange(24), at] = -0.1  # each gold model errs on one test row, another one each
    said = audit_stored(arrays).data["verdict"]["reasons"]
    assert "The outputs do not depend on the row." not in said


# Verdicts


def pool_of(arrays):
    splits = {name: np.flatnonzero(name == SPLIT) for name in ("forget", "retain", "test", "holdout")}
    heldout = arrays.get("heldout")
    return Pool(arrays["gold"], heldout, arrays["original"], LABELS, splits)


@pytest.fixture(scope="module")
def judge():
    """Verdict of one or of 24 models against 24 gold models, and 24 more in a method audit."""
    pool = pool_of(stored(24, heldout=models(24, 7)))
    reference = method_reference(pool, SCREEN, seed=0)

    def verdict(logits, **more):
        candidate = Candidate(pool, logits, 0, **more)
        return judged_model(candidate, SCREEN) if len(logits) == 1 else judged_method(candidate, reference, SCREEN)

    return verdict


def _lifted(logits, on, by):
    """Logits of the label's class `by` nats higher on rows of some splits."""
    out = logits.copy()
    out[:, np.arange(ROWS), LABELS] += np.where(np.isin(SPLIT, on), by, 0.0)
    return out


CHANGED = {
    "gold": (lambda logits: logits, "pass"),
    "original": (lambda logits: _lifted(logits, ["forget"], 4), "fail"),
    "over-forgetting": (lambda logits: _lifted(logits, ["forget"], -4), "fail"),
    "constant": (lambda logits: 0 * logits, "fail"),
    "utility destroyed": (lambda logits: _lifted(logits, ["retain", "test"], -4), "fail"),
    "retain rows alone": (lambda logits: _lifted(logits, ["retain"], -2), "fail"),
}


@pytest.mark.parametrize("name", CHANGED)
@pytest.mark.parametrize("count", [1, 24], ids=["model", "method"])
def test_traps(judge, name, count):
    """One draw each: gold passes with probability 0.95 or more, the others lie far off."""
    change, verdict = CHANGED[name]
    found = judge(change(models(count, 1)))
    assert found.verdict == verdict, found.reasons


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_the_right_mean_with_the_wrong_spread_fails_a_method(judge, spread):
    ours = models(24, 1)
    middle = ours.mean(axis=0)
    assert judge(middle + spread * (ours - middle)).verdict == "fail"


@pytest.mark.parametrize("count", [1, 24], ids=["model", "method"])
def test_what_is_no_use_fails_whatever_its_margins_say(judge, count):
    """Every second test row that is called right by less than 1.5 nats is now called wrong by a hair."""
    ours = models(count, 1)
    at = np.flatnonzero(SPLIT == "test")[::2]
    best = np.where(np.eye(CLASSES, dtype=bool)[LABELS[at]], -np.inf, ours[:, at]).max(axis=-1)
    own = ours[:, at, LABELS[at]]
    ours[:, at, LABELS[at]] = np.where((own > best) & (own < best + 1.5), best - 0.01, own)
    found = judge(ours)
    assert found.verdict == "fail"
    assert found.reasons[0].startswith("test accuracy is worse than gold's by 0.")


def test_utility_decides_nothing_where_the_audit_has_no_power():
    pool = pool_of(stored(gold=models(16, 0)))
    found = judged_model(Candidate(pool, 0 * models(1, 1), 0), SCREEN)
    assert found.verdict == "inconclusive"
    assert found.reasons == ("16 gold models cannot reach level 0.05: at least 19 are needed.",)


def test_holdout_rows_that_a_method_trained_on_are_not_looked_at(judge):
    ours = models(1, 1)
    known = _lifted(ours, ["holdout"], 5)
    assert judge(known).distances["holdout.shift"]["value"] > 2
    unseen = judge(known, holdout_is_unseen=False)
    assert "holdout.shift" not in unseen.distances
    assert unseen.attack == {}
    assert unseen.verdict == judge(ours).verdict == "pass"


@pytest.mark.parametrize("count", [1, 24], ids=["model", "method"])
def test_nothing_to_forget_is_inconclusive(count):
    result = audit_stored(stored(count, original=models(count, 8)), policy=SCREEN)
    assert result.verdict == "inconclusive"
    assert "othing to forget" in result.data["verdict"]["reasons"][0]


def test_sixteen_gold_models_are_inconclusive():
    result = audit_stored(stored(gold=models(16, 0)))
    assert result.verdict == "inconclusive"
    assert result.data["verdict"]["reasons"] == ["16 gold models cannot reach level 0.05: at least 19 are needed."]


@pytest.mark.parametrize(("ours", "golds"), [(6, 13), (13, 9)])
def test_numbers_of_models_may_differ(ours, golds):
    result = audit_stored(stored(ours, gold=models(golds, 0), original=models(5, 2, knows=4)), policy=SCREEN)
    assert result.data["models"] == {"unlearned": ours, "gold": golds, "heldout": 0, "original": 5, "shadow": 0}
    assert result.data["audit"]["unlearned"]["models"]["unlearned"] == ours
    assert result.measure("klom")["value"] >= 0


def test_models_of_one_original_are_not_independent(judge):
    found = judge(models(24, 1), groups=np.arange(24) // 2)
    assert found.models["originals"] == 12
    assert found.reasons == ("The unlearned models come from 12 originals; the policy asks for at least 20.",)
    assert judge(models(24, 1)).models["originals"] == 24
    alone = audit_stored(stored(6, groups=np.zeros(6, int)), policy=SCREEN)
    assert alone.verdict == "inconclusive"
    assert alone.data["audit"]["unlearned"]["models"]["originals"] == 1
    assert any("come from one original" in line for line in alone.data["limits"])


def test_the_distance_of_a_method_is_the_mean_of_its_rows(of_method):
    for split in ("forget", "retain", "test"):
        found = of_method.measure("method_distance", split)
        assert found["value"] == pytest.approx(found["stats"]["mean"])
        low, high = found["interval"]
        assert (low + high) / 2 == pytest.approx(found["value"])
        assert found["extra"]["null_low"] < found["null"] < found["extra"]["null_high"]
        assert found["extra"]["beyond"] == pytest.approx(found["value"] - found["null"])
        assert found["extra"].keys() == {"null_low", "null_high", "beyond", "margin", "resolution"} | (
            {"p"} if split == "forget" else set()
        )
        assert found["start"] == of_method.measure("method_distance", split, entry="original")["value"]
    assert of_method.measure("method_distance", entry="original")["extra"]["p"] == 0.001


def test_the_policy_and_the_seed_are_those_given(of_model):
    strict = audit_stored(stored(), policy=policy("strict"), seed=3)
    assert (strict.data["policy"]["name"], strict.data["seed"]) == ("strict", 3)
    assert strict.data["verdict"]["reasons"] == ["24 gold models; the policy asks for at least 64."]
    assert (of_model.data["policy"]["name"], of_model.data["seed"]) == ("standard", 0)


# What may be absent


@pytest.mark.parametrize("count", [1, 4], ids=["model", "method"])
def test_without_holdout_rows_attacks_are_skipped_with_a_reason(count):
    at = SPLIT != "holdout"
    arrays = {
        name: side[:, at] if name in (*SIDES, "membership") else side[at]
        for name, side in stored(count, **shadows()).items()
    }
    result = audit_stored(arrays)
    assert result.data["problem"]["rows"]["holdout"] == 0
    assert not ATTACKS & result.data["entries"][1]["measures"].keys()
    limits = "\n".join(result.data["limits"])
    assert (
        "not measured: population_attack, population_entropy, population_modified_entropy "
        "(a class of forget has no holdout row to compare with)" in limits
    )
    assert "not measured: lira" in limits
    assert "forget and holdout rows, got 24 and 0" in limits
    assert result.data["roc"] is None
    assert sum(result.data["strata"]["rows"].values()) == 24, "difficulty takes no holdout rows"
    assert "audit of stored outputs" in render(result.data)


def test_without_shadow_models_their_attacks_are_skipped_with_a_reason(of_model):
    result = audit_stored(stored())
    assert "not measured: lira, rmia (no shadow models)" in result.data["limits"]
    assert result.data["strata"] is None
    assert result.data["roc"]["attack"] == "loss threshold"
    assert {"lira", "rmia"} <= of_model.data["entries"][1]["measures"].keys()
    assert of_model.data["roc"]["attack"] == "LiRA, online, 8 shadow models"
    assert not any("shadow" in line for line in of_model.data["limits"])


# Wrong input


def changed(array, at, value):
    out = array.copy()
    out[at] = value
    return out


WRONG = {
    "integers": ({"gold": stored()["gold"].astype(int)}, "gold: expected floating-point numbers, got int64"),
    "gold of one model": (
        {"gold": np.zeros(ROWS)},
        rf"gold: expected \[models, rows\] margins or \[models, rows, classes\] logits, got \({ROWS},\)",
    ),
    "other classes": (
        {"unlearned": models(1, 1)[..., :3]},
        rf"unlearned: expected \(models, rows, classes\) with \({ROWS}, 4\) like gold, got \(1, {ROWS}, 3\)",
    ),
    "other rows": (
        {"original": models(1, 1)[:, 1:]},
        rf"original: expected \(models, rows, classes\) with \({ROWS}, 4\) like gold, got \(1, {ROWS - 1}, 4\)",
    ),
    "one model without its axis": (
        {"unlearned": models(1, 1)[0]},
        rf"unlearned: expected \(models, rows, classes\) with \({ROWS}, 4\) like gold, got \({ROWS}, 4\)",
    ),
    "heldout of margins": (
        {"heldout": by_hand(models(3, 1))},
        rf"heldout: expected \(models, rows, classes\) with .* like gold, got \(3, {ROWS}\)",
    ),
    "infinity": (
        {"gold": changed(models(24, 0), (3, 17, 2), np.inf)},
        "gold: expected finite values, got inf at model 3, row 17, class 2",
    ),
    "nan": (
        {"unlearned": changed(models(1, 0), (0, 5, 0), np.nan)},
        "unlearned: expected finite values, got nan at model 0, row 5, class 0",
    ),
    "infinity of a shadow": (
        shadows() | {"shadows": changed(models(8, 0), (7, 9, 1), -np.inf)},
        "shadows: expected finite values, got -inf at model 7, row 9, class 1",
    ),
    "label too large": (
        {"labels": changed(LABELS, 11, 4)},
        r"labels: expected whole numbers 0\.\.3, got 4 for row 11",
    ),
    "absent label": ({"labels": changed(LABELS, 50, -1)}, r"labels: expected whole numbers 0\.\.3, got -1 for row 50"),
    "labels that are no numbers": (
        {"labels": LABELS.astype(float)},
        r"labels: expected whole numbers 0\.\.3, got 0\.0 for row 0",
    ),
    "too few labels": ({"labels": LABELS[:-1]}, rf"labels: expected \({ROWS},\), got \({ROWS - 1},\)"),
    "split too long": ({"split": np.append(SPLIT, "test")}, rf"split: expected \({ROWS},\), got \({ROWS + 1},\)"),
    "ids of two columns": ({"ids": np.zeros((ROWS, 2))}, rf"ids: expected \({ROWS},\), got \({ROWS}, 2\)"),
    "groups": ({"groups": np.arange(2)}, r"groups: expected \(1,\), got \(2,\)"),
    "unknown split": (
        {"split": changed(SPLIT, 0, "train")},
        "split: expected forget, retain, test, holdout, got 'train'",
    ),
    "unknown array": ({"logits": np.zeros(3)}, "stored outputs: unknown array 'logits'"),
    "groups of fractions": ({"groups": np.zeros(1)}, "groups: expected whole numbers or text, got float64"),
    "split of numbers": ({"split": np.zeros(ROWS, dtype=int)}, "split: expected text, got int64"),
    "split of other bytes": (
        {"split": np.array([b"\xff"] * ROWS)},
        "split: expected forget, retain, test, holdout, got bytes that are no text",
    ),
    "membership of numbers": (
        shadows() | {"membership": shadows()["membership"].astype(int)},
        rf"membership: expected \(8, {ROWS}\) bool, got \(8, {ROWS}\) int64",
    ),
    "membership of other rows": (
        shadows() | {"membership": shadows()["membership"][:, 1:]},
        rf"membership: expected \(8, {ROWS}\) bool, got \(8, {ROWS - 1}\) bool",
    ),
    "membership of other models": (
        shadows() | {"membership": shadows()["membership"][1:]},
        rf"membership: expected \(8, {ROWS}\) bool, got \(7, {ROWS}\) bool",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_array_that_does_not_fit_is_refused_with_what_was_expected_and_what_came(name):
    more, message = WRONG[name]
    with pytest.raises(ShapeError, match=message):
        audit_stored(stored() | more)


def test_infinite_margins_name_the_model_and_the_row():
    arrays = margins_of(stored())
    arrays["original"][0, 42] = np.inf
    with pytest.raises(ShapeError, match="original: expected finite values, got inf at model 0, row 42") as error:
        audit_stored(arrays)
    assert "float32 logits" in error.value.hint


def test_margins_that_do_not_fit_are_told_as_margins():
    arrays = margins_of(stored())
    with pytest.raises(ShapeError, match=rf"unlearned: expected \(models, rows\) with \({ROWS},\) like gold, got"):
        audit_stored(arrays | {"unlearned": models(1, 1)})


@pytest.mark.parametrize("name", ["gold", "unlearned", "original", "split"])
def test_a_missing_array_is_named_beside_the_known_ones(name):
    arrays = {key: side for key, side in stored().items() if key != name}
    with pytest.raises(NeedsError, match=f"stored outputs: the array '{name}' is missing") as error:
        audit_stored(arrays)
    assert error.value.hint == f"known are {', '.join(KNOWN)}"


def test_logits_need_labels():
    arrays = {key: side for key, side in stored().items() if key != "labels"}
    with pytest.raises(NeedsError, match="logits need the array 'labels'") as error:
        audit_stored(arrays)
    assert error.value.hint == "or store margins [models, rows]"


@pytest.mark.parametrize("name", ["shadows", "membership"])
def test_shadows_and_membership_come_together(name):
    with pytest.raises(NeedsError, match="shadows and membership come together"):
        audit_stored(stored(**{name: shadows()[name]}))


@pytest.mark.parametrize("name", ["forget", "retain", "test"])
def test_a_split_without_rows_is_named(name):
    with pytest.raises(NeedsError, match=f"no {name} rows; an audit needs forget, retain and test rows"):
        audit_stored(stored(split=np.where(name == SPLIT, "holdout", SPLIT)))


@pytest.mark.parametrize("role", ["gold", "unlearned", "original"])
def test_a_role_without_models_is_told(role):
    with pytest.raises(NeedsError, match="models, got 0"):
        audit_stored(stored() | {role: models(0, 0)})


def test_one_held_out_model_is_none():
    with pytest.raises(NeedsError, match="heldout: needs at least 2 models, got 1") as error:
        audit_stored(stored(5, heldout=models(1, 7)))
    assert error.value.hint == "leave the array out"


def test_a_split_of_bytes_is_text(of_model):
    assert audit_stored(stored(split=SPLIT.astype("S"), **shadows())).data == of_model.data


def test_too_few_gold_models_are_told():
    for count in (1, 5):
        with pytest.raises(NeedsError, match="gold: needs at least 4 models, got 3"):
            audit_stored(stored(count, gold=models(3, 0)))


def test_one_class_is_told():
    arrays = {name: side[..., :1] if name in SIDES else side for name, side in stored().items()}
    with pytest.raises(ShapeError, match="classes >= 2"):
        audit_stored(arrays | {"labels": 0 * LABELS})


def test_shadows_that_were_all_trained_on_a_row_are_told():
    everywhere = shadows() | {"membership": np.ones((8, ROWS), dtype=bool)}
    found = audit_stored(stored(**everywhere)).data
    assert "lira" not in found["entries"][1]["measures"]
    assert "at least 2 shadow models with each row out, got 0 for row 0" in " ".join(found["limits"])
    assert (found["roc"], found["strata"]) == (None, None)


# Files


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NeedsError, match=r"no file .*gone\.npz") as error:
        read_stored(tmp_path / "gone.npz")
    assert "expunge audit --help" in error.value.hint
    with pytest.raises(NeedsError, match="no file"):
        read_stored(tmp_path)


class Trap:
    """Unpickling it leaves a file behind."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def test_nothing_is_unpickled(tmp_path):
    mark, file = tmp_path / "mark", tmp_path / "evil.npz"
    np.savez(file, **stored(ids=np.array([Trap(mark)] * ROWS, dtype=object)))
    with pytest.raises(StoreError, match=r"evil\.npz: not an \.npz of plain arrays \(Object arrays cannot be loaded"):
        read_stored(file)
    file.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(StoreError, match=r"evil\.npz: not an \.npz of plain arrays"):
        read_stored(file)
    assert not mark.exists()
    pickle.loads(file.read_bytes()).close()
    assert mark.exists(), "the trap would have worked"


def _plain(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _zip(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def _torn():
    """A zip of one array, one of whose bytes was changed."""
    whole = bytearray(_zip("gold.npy", _plain(np.arange(500.0))))
    whole[2000] ^= 1
    return bytes(whole)


def _squeezed():
    """A compressed zip of one array, damaged where the decompression fails."""
    file = io.BytesIO()
    np.savez_compressed(file, gold=np.random.default_rng(0).normal(size=2500))
    damaged = bytearray(file.getvalue())
    damaged[60] ^= 0xFF
    return bytes(damaged)


NO_NPZ = {
    "empty": b"",
    "text": b"not a zip",
    "cut array": _zip("gold.npy", b"\x93NUMPY\x01\x00"),
    "torn": _torn(),
    "damaged": _squeezed(),
    "one .npy": _plain(np.zeros(3)),
    "no array inside": _zip("gold", b"text"),
}


@pytest.mark.parametrize("content", NO_NPZ.values(), ids=NO_NPZ)
def test_what_is_no_npz_is_refused(content, tmp_path):
    file = tmp_path / "file.npz"
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"file\.npz: not an \.npz of plain arrays") as error:
        read_stored(file)
    assert error.value.hint == "write it with numpy.savez"


# What comes of few models, and of numbers that are not known


def test_more_held_out_gold_than_unlearned_models_gives_no_epsilon():
    result = audit_stored(stored(6, heldout=models(16, 7)))
    assert result.data["models"]["heldout"] == 16
    assert result.data["epsilon"] is None
    assert "epsilon" in result.data["entries"][2]["measures"], "held-out gold has one, and nobody to be compared with"
    assert "audit of stored outputs" in render(result.data)


def test_two_unlearned_models_are_inconclusive_without_a_warning():
    result = audit_stored(stored(2))
    assert (result.data["kind"], result.data["models"]["unlearned"]) == ("method", 2)
    assert result.verdict == "inconclusive"
    assert "audit of stored outputs" in render(result.data)


@pytest.mark.parametrize("kind", ["of_model", "of_method"])
def test_the_result_is_json_for_every_reader(kind, request):
    data = request.getfixturevalue(kind).data
    assert json.loads(json.dumps(data, allow_nan=False)) == data


# What could be seen


def test_the_foresight_is_that_of_the_numbers_of_models_and_rows():
    arrays = stored()
    assert foresee_stored(arrays) == foresee_model(STANDARD, gold=24, forget=24, test=60)
    several = stored(6, gold=models(9, 0))
    assert foresee_stored(several, SCREEN) == foresee_method(SCREEN, unlearned=6, gold=9, forget=24)
    grouped = several | {"groups": np.array(list("aabbcc"))}
    assert foresee_stored(grouped, SCREEN) == foresee_method(SCREEN, unlearned=3, gold=9, forget=24)
    with pytest.raises(ShapeError, match="unknown array 'golds'"):
        foresee_stored(arrays | {"golds": np.zeros(3)})


def test_the_result_says_what_could_be_seen(of_method):
    foreseen = foresee_stored(stored(24), SCREEN)
    assert of_method.data["power"] == foreseen.to_json()
