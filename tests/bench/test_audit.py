"""`expunge.audit`: one model against gold, and a method by many of its models."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

import expunge as ex
from expunge.audit.estimate import Estimate
from expunge.audit.method_audit import MethodAudit
from expunge.audit.policy import Policy, policy
from expunge.bench.fleets import Fleets
from expunge.bench.words import SEEN, entry_verdict, method_verdict, not_measured, statements
from expunge.errors import ConfigError, NeedsError, ProblemError, ShapeError, StoreError
from expunge.fleet import role_seeds
from expunge.report import render
from expunge.store import Store
from expunge.training import fit
from tests.bench.problem import without_times
from tests.tiny import same_weights, tiny_problem, tiny_recipe

GOLD = 20
SCREEN = policy("screen")


@pytest.fixture(scope="module")
def problem():
    recipe = tiny_recipe(epochs=30, batch_size=16)
    return tiny_problem(seed=0, rows=90, forget=28, recipe=recipe, kind="class")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def of_original(problem, store):
    return ex.audit(problem, problem.original, gold=GOLD, store=store)


@pytest.fixture(scope="module")
def of_gold(problem, store):
    (seed,) = role_seeds(99, "unlearned", 1)
    retrained = fit(problem.recipe, problem.rows, problem.retain, seed=seed).model
    return ex.audit(problem, retrained, gold=GOLD, store=store)


def omnibus(result):
    return result.data["audit"]["joint"]["forget"]["omnibus"]


def distance(result, split="forget"):
    found = [entry for entry in result.data["entries"] if entry["name"] == "unlearned"]
    return found[0]["measures"]["row_z"][split]["value"]


def test_gold_looks_like_gold_and_the_original_does_not(of_gold, of_original):
    """20 gold models: p of the original is the least possible, 1 / 21; false alarms on gold: 1 in 20."""
    assert omnibus(of_original) <= 1 / 20
    assert omnibus(of_gold) > 1 / 20
    assert distance(of_gold) < distance(of_original) / 1.5
    assert of_gold.data["audit"]["controls"]["original_verdict"] == "fail"
    assert (of_gold.verdict, of_original.verdict) == ("pass", "fail")


def test_the_result_is_whole_and_the_report_accepts_it(of_gold):
    data = of_gold.data
    assert (data["schema"], data["kind"]) == (1, "model")
    assert [entry["name"] for entry in data["entries"]] == ["original", "unlearned", "gold"]
    assert data["models"] == {"unlearned": 1, "gold": GOLD, "heldout": 0, "original": 1, "shadow": 0}
    assert data["verdict"]["controls"][-1] == SEEN
    assert data["policy"]["name"] == "standard"
    assert data["problem"]["rows"] == {"forget": 28, "retain": 62, "holdout": 60, "test": 60}
    assert "audit of model" in render(data)


def test_too_few_gold_models_are_inconclusive(problem, store):
    result = ex.audit(problem, problem.original, gold=6, store=store)
    assert result.verdict == "inconclusive"
    assert "at least 19 are needed" in " ".join(result.data["verdict"]["reasons"])


@pytest.mark.parametrize("gold", [-1, 0, 3])
def test_fewer_gold_models_than_can_be_compared_are_refused_at_once(problem, tmp_path, gold):
    with pytest.raises(ConfigError, match=f"gold: expected 4 to 100,000 models, got {gold}"):
        ex.audit(problem, problem.original, gold=gold, store=Store(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_the_table_and_the_page(of_gold, tmp_path):
    lines = of_gold.table().splitlines()
    assert lines[0].startswith("audit of model")
    assert "\x1b" not in of_gold.table()
    page = of_gold.to_html(tmp_path / "deep" / "page.html")
    assert page.read_text().startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_is_a_sentence(of_gold, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="could not write"):
        of_gold.to_html(tmp_path / "file" / "page.html")


def test_the_original_stays_as_it_is(problem, store):
    before, training = copy.deepcopy(problem.original), problem.original.training
    ex.audit(problem, problem.original, gold=4, store=store)
    assert same_weights(before, problem.original)
    assert problem.original.training == training


def test_gold_is_found_again(problem, store, of_gold):
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    again = ex.audit(problem, problem.original, gold=GOLD, store=store)
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before
    assert without_times(again.data["entries"][2]) == without_times(of_gold.data["entries"][2])


def test_what_a_method_returned_brings_its_name_settings_and_cost(problem, store):
    unlearned = ex.methods.METHODS["finetune"](epochs=3).run(problem, seed=0)
    entry = ex.audit(problem, unlearned, gold=4, store=store).data["entries"][1]
    assert (entry["label"], entry["settings"]["epochs"]) == ("finetune", 3)
    assert entry["cost"]["fraction"] == pytest.approx(3 / 30)
    assert "population_attack" in entry["measures"]


def test_no_attack_uses_holdout_rows_that_the_method_trained_on(problem, store):
    unlearned = ex.methods.METHODS["reset_finetune"](preset="kde").run(problem, seed=0)
    result = ex.audit(problem, unlearned, gold=4, store=store)
    original, changed, _ = result.data["entries"]
    assert "population_attack" not in changed["measures"]
    assert "population_attack" in original["measures"]
    assert result.data["audit"]["attack"] == {}


def test_another_seed_is_another_gold_fleet(problem, store, of_gold):
    other = ex.audit(problem, problem.original, gold=4, seed=1, store=store)
    same = ex.audit(problem, problem.original, gold=4, seed=0, store=store)
    ours, theirs = (result.data["per_row"]["forget"]["values"]["original"] for result in (other, same))
    assert not np.allclose(ours, theirs)


# Shadows


@pytest.fixture(scope="module")
def with_shadows(problem, store):
    return ex.audit(problem, problem.original, gold=GOLD, shadows=8, store=store)


def test_shadow_models_bring_their_attacks_and_leave_the_rest_alone(with_shadows, of_original):
    ours, plain = with_shadows.data, of_original.data
    more = {"lira", "rmia"}
    for one, other in zip(ours["entries"][:2], plain["entries"][:2], strict=True):
        assert one["measures"].keys() - other["measures"].keys() == more
        assert {name: one["measures"][name] for name in other["measures"]} == other["measures"]
    assert ours["models"] == plain["models"] | {"shadow": 8}
    assert (ours["audit"], ours["verdict"]) == (plain["audit"], plain["verdict"])
    assert (ours["strata"]["shadows"], plain["strata"]) == (8, None)
    assert "not measured: lira, rmia (no shadow models)" in plain["limits"]
    assert not any("lira" in line for line in ours["limits"])


def test_shadows_tell_the_original_from_gold(with_shadows):
    """LiRA on 28 forget and 60 holdout rows: an AUC of two random halves of 88 has a standard error of about 0.07."""
    found = with_shadows.measure("lira", entry="original")
    assert found["extra"]["auc_unlearned"] > found["extra"]["auc_gold"] + 0.15


@pytest.mark.parametrize("count", [-2, 1, 2, 5])
def test_shadows_that_leave_a_row_without_two_a_side_are_refused_at_once(problem, tmp_path, count):
    with pytest.raises(ConfigError, match=f"shadows: expected 0, or an even number >= 4, got {count}"):
        ex.audit(problem, problem.original, gold=GOLD, shadows=count, store=Store(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


# One measure of a result


def test_a_measure_by_name_split_and_entry(of_gold):
    data = of_gold.data["entries"]
    assert of_gold.measure("row_z") == data[1]["measures"]["row_z"]["forget"]
    assert of_gold.measure("row_z", "test", entry="original") == data[0]["measures"]["row_z"]["test"]
    assert of_gold.measure("average_gap", "all") == data[1]["measures"]["average_gap"]["all"]
    assert of_gold.measure("row_z").keys() == {"value", "interval", "null", "start", "stats", "extra"}


@pytest.mark.parametrize(
    ("name", "split", "entry"),
    [
        ("klom", "forget", ""),
        ("average_gap", "forget", ""),
        ("row_z", "holdout", ""),
        ("row_z", "forget", "gold"),
        ("row_z", "forget", "scrub"),
    ],
)
def test_what_was_not_measured_is_told(of_gold, name, split, entry):
    with pytest.raises(NeedsError, match=f"{name} on {split} rows was not measured") as error:
        of_gold.measure(name, split, entry=entry)
    assert error.value.hint == "the result's limits say why"


# A method by many of its models

MANY = 20


@pytest.fixture(scope="module")
def originals(problem, store):
    fleets = Fleets(problem.recipe, problem.rows, problem.holdout, problem.test, store)
    seeds = role_seeds(0, "original", MANY)
    fleet = fleets.same(np.arange(len(problem.rows)), seeds, "train originals", weights=True)
    return [fleet.model(at) for at in range(MANY)]


def unlearn(problem, originals, name, **settings):
    kind = ex.methods.METHODS[name](**settings)
    return [kind.run(replace(problem, original=model), seed=seed) for seed, model in enumerate(originals)]


@pytest.fixture(scope="module")
def retrained(problem, originals):
    return unlearn(problem, originals, "retrain")


@pytest.fixture(scope="module")
def of_retraining(problem, originals, retrained, store):
    return ex.audit(problem, retrained, originals=originals, gold=GOLD, policy=SCREEN, store=store)


@pytest.fixture(scope="module")
def of_hardly_anything(problem, originals, store):
    made = unlearn(problem, originals, "finetune", epochs=1, lr=1e-4)
    return ex.audit(problem, made, originals=originals, gold=GOLD, policy=SCREEN, store=store)


def test_retraining_passes_and_doing_next_to_nothing_fails(of_retraining, of_hardly_anything):
    """20 + 20 + 20 models: the exact test rejects a perfect method once in 20 draws of seeds; this is one draw."""
    assert (of_retraining.verdict, of_hardly_anything.verdict) == ("pass", "fail")
    assert of_retraining.data["audit"]["retrain"]["p"] > 0.05
    assert of_hardly_anything.data["audit"]["finetune"]["p"] == 0.001
    assert (
        of_retraining.measure("method_distance")["value"] < of_hardly_anything.measure("method_distance")["value"] / 9
    )


@pytest.mark.parametrize("name", ["retrain", "finetune"])
def test_every_entry_of_a_method_audit_has_a_verdict(name, of_retraining, of_hardly_anything):
    result = {"retrain": of_retraining, "finetune": of_hardly_anything}[name]
    assert result.data["kind"] == "method"
    found = {entry["name"]: entry["verdict"] for entry in result.data["entries"]}
    assert list(found) == ["original", name, "gold"]
    assert found["original"] == {"state": "fail", "reasons": ["Control, exact p 0.001."]}
    assert found["gold"]["state"] == "pass"
    assert found["gold"]["reasons"] == ["Control, 93% of the choices of held-out gold pass."]
    assert found[name] == {key: result.data["verdict"][key] for key in ("state", "reasons")}
    controls = result.data["verdict"]["controls"]
    assert [control["holds"] for control in controls] == [True, True, True]
    assert controls[0]["detail"] == "93% of the choices of 20 gold models against 20 others; 82% are needed"
    assert controls[-1] == SEEN


def test_a_method_audit_is_whole_and_the_report_accepts_it(of_retraining):
    data = of_retraining.data
    assert data["models"] == {"unlearned": MANY, "gold": GOLD, "heldout": MANY, "original": MANY, "shadow": 0}
    assert data["title"] == "audit of retrain"
    assert data["command"] == "expunge.audit(problem, [20 models], gold=20, shadows=0, seed=0)"
    assert data["entries"][1]["cost"]["fraction"] == pytest.approx(1.0)
    assert data["per_row"]["measure"] == "method_distance", "KLoM takes 50 models"
    assert data["power"]["text"]
    assert "audit of retrain" in render(data)
    page = render(of_retraining.strip_rows().data)
    assert not [row_id for row_id in data["per_row"]["forget"]["ids"] if row_id in page]


def test_as_many_gold_models_as_originals_are_held_out(problem, originals, retrained, tmp_path):
    store = Store(tmp_path)
    result = ex.audit(problem, retrained[:6], originals=originals[:3] * 2, gold=8, store=store)
    assert result.data["models"] == {"unlearned": 6, "gold": 8, "heldout": 3, "original": 3, "shadow": 0}
    assert len(list((tmp_path / "model").glob("[!.]*"))) == 8 + 3
    more = ex.audit(problem, retrained[:6], originals=originals[:3] * 2, gold=8, heldout=4, store=store)
    assert more.data["models"]["heldout"] == 4
    assert len(list((tmp_path / "model").glob("[!.]*"))) == 8 + 4
    none = ex.audit(problem, retrained[:6], originals=originals[:3] * 2, gold=8, heldout=0, store=store)
    assert none.data["models"]["heldout"] == 0
    assert none.data["entries"][2]["measures"] == {}, "gold against itself says nothing"
    assert "held-out gold models: the null is" in " ".join(none.data["limits"])


def test_models_of_one_original_are_grouped(problem, originals, retrained, store):
    result = ex.audit(problem, retrained, originals=originals[:10] * 2, gold=GOLD, policy=SCREEN, store=store)
    assert result.data["audit"]["retrain"]["models"] == {
        "unlearned": 20,
        "originals": 10,
        "gold": 20,
        "ours": 10,
        "golds": 20,
    }
    assert result.data["models"]["original"] == result.data["models"]["heldout"] == 10
    assert result.verdict == "inconclusive"
    assert result.data["verdict"]["reasons"] == [
        "The unlearned models come from 10 originals; the policy asks for at least 20."
    ]


def test_a_copy_of_an_original_is_no_other_original(problem, originals, retrained, store):
    twins = [originals[0], copy.deepcopy(originals[0]), originals[1], originals[1]]
    result = ex.audit(problem, retrained[:4], originals=twins, gold=GOLD, store=store)
    assert result.data["audit"]["retrain"]["models"]["originals"] == 2
    assert result.data["models"]["original"] == result.data["models"]["heldout"] == 2


def test_the_order_of_originals_says_whose_model_is_whose(problem, originals, retrained, store):
    """The two runs of each original are its retraining and itself, so that between them lies all that was forgotten."""
    made = [*(one.model for one in retrained[:4]), *originals[:4]]
    apart = ex.audit(problem, made, originals=originals[:4] * 2, gold=GOLD, store=store)
    beside = ex.audit(problem, made, originals=[originals[at // 2] for at in range(8)], gold=GOLD, store=store)
    runs = [result.data["audit"]["model"]["components"]["runs"] for result in (apart, beside)]
    assert runs[0] > 3 * runs[1]


def test_all_from_one_original_is_inconclusive_and_flagged(problem, store):
    made = [ex.methods.METHODS["finetune"](epochs=2).run(problem, seed=seed) for seed in range(MANY)]
    for more in ({}, {"originals": [problem.original] * MANY}):
        result = ex.audit(problem, made, gold=GOLD, policy=SCREEN, store=store, **more)
        assert result.verdict == "inconclusive"
        assert result.data["verdict"]["reasons"] == [
            "The unlearned models come from one original; the policy asks for at least 20."
        ]
        assert (
            "All unlearned models come from one original: the spread over trainings is not covered."
            in result.data["limits"]
        )
        assert (result.data["models"]["original"], result.data["models"]["heldout"]) == (1, 0)
        assert result.data["entries"][0]["verdict"]["state"] == "inconclusive"
        assert "audit of finetune" in render(result.data)


def test_not_one_original_for_each_model_is_refused_at_once(problem, originals, retrained, tmp_path):
    for given in (1, 4):
        with pytest.raises(ShapeError, match=rf"originals: expected one for each unlearned model \(3\), got {given}"):
            ex.audit(problem, retrained[:3], originals=originals[:given], store=Store(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_models_than_two_are_no_method_and_refused_at_once(problem, retrained, tmp_path, count):
    with pytest.raises(NeedsError, match=f"a method audit needs at least 2 unlearned models, got {count}") as error:
        ex.audit(problem, retrained[:count], store=Store(tmp_path / "store"))
    assert error.value.hint == "give the model itself, not a list, for an audit of one model"
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("other", "shown"),
    [({"name": "gradient_ascent", "epochs": 1}, "gradient_ascent"), ({"name": "finetune", "epochs": 2}, "'epochs': 2")],
    ids=["method", "setting"],
)
def test_models_of_two_methods_or_settings_are_refused(problem, originals, store, other, shown):
    first = unlearn(problem, originals[:2], "finetune", epochs=1)
    second = unlearn(problem, originals[2:3], **other)
    with pytest.raises(ProblemError, match="expected unlearned models of one method and setting, got") as error:
        ex.audit(problem, [*first, *second], originals=originals[:3], gold=4, store=store)
    assert "'finetune'" in error.value.message
    assert shown in error.value.message
    with pytest.raises(ProblemError, match="expected unlearned models of one method and setting"):
        ex.audit(problem, [first[0], originals[1]], originals=originals[:2], gold=4, store=store)


@pytest.mark.parametrize(("several", "heldout"), [(False, 2), (False, 1), (True, 1), (True, -1)])
def test_a_wrong_number_of_held_out_models_is_refused_at_once(problem, retrained, tmp_path, several, heldout):
    made = retrained[:3] if several else retrained[0]
    with pytest.raises(ConfigError, match=f"heldout: expected 0, or >= 2 in a method audit, got {heldout}"):
        ex.audit(problem, made, heldout=heldout, store=Store(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_one_model_may_come_with_its_original(problem, originals, retrained, store):
    ours = ex.audit(problem, retrained[1], originals=[originals[1]], gold=GOLD, store=store)
    assert ours.data["kind"] == "model"
    theirs = ex.audit(replace(problem, original=originals[1]), retrained[1], gold=GOLD, store=store)
    assert json.dumps(without_times(ours.data)) == json.dumps(without_times(theirs.data))


def test_no_attack_uses_rows_that_one_of_the_models_was_trained_on(problem, originals, store):
    made = unlearn(problem, originals[:3], "reset_finetune", preset="kde")
    plain = [replace(made[at], notes={}) for at in (0, 2)]
    result = ex.audit(problem, [plain[0], made[1], plain[1]], originals=originals[:3], gold=4, store=store)
    original, changed, _ = result.data["entries"]
    assert "population_attack" in original["measures"]
    assert "population_attack" not in changed["measures"]
    assert set(result.data["roc"]["entries"]) == {"original", "gold"}
    assert any("trained on holdout rows" in line for line in result.data["limits"])


# Words


def verdict_of(state, *, judged=True, **controls):
    """A method audit of which only the words matter."""
    held = {"gold_passed": 0.95, "gold_needed": 0.9, "original_verdict": "fail", "original_p": 0.001} | controls
    numbers = {"unlearned": 6, "originals": 6, "gold": 8, "ours": 6, "golds": 8}
    return MethodAudit(state, judged, (f"because {state}",), (), {}, 0.5, held, numbers, {}, {})


def test_the_verdict_of_one_method_is_its_own():
    found = method_verdict({"ours": verdict_of("fail")}, Policy(name="mine"))
    assert (found["state"], found["reasons"]) == ("fail", ["because fail"])
    assert found["policy"].startswith("mine, sha256 ")
    assert found["policy"].endswith(Policy(name="other").fingerprint()[:12])


def test_several_methods_have_verdicts_of_their_own():
    states = ("pass", "fail", "fail", "inconclusive")
    audits = {str(at): verdict_of(state) for at, state in enumerate(states)}
    found = method_verdict(audits, SCREEN)
    assert found["state"] == "measured"
    assert found["reasons"] == ["Each method has a verdict of its own: 1 pass, 2 fail, 1 inconclusive."]
    assert [entry_verdict(label, audits)["state"] for label in audits] == list(states)


def test_what_keeps_every_method_from_a_verdict_is_told_once():
    audits = {name: verdict_of("inconclusive", judged=False) for name in "ab"}
    found = method_verdict(audits, SCREEN)
    assert (found["state"], found["reasons"]) == ("inconclusive", ["because inconclusive"])
    one = audits | {"c": verdict_of("pass")}
    assert method_verdict(one, SCREEN)["state"] == "measured"


def test_controls_that_do_not_hold_are_told():
    audits = {"ours": verdict_of("inconclusive", gold_passed=0.8, original_verdict="pass", original_p=None)}
    found = method_verdict(audits, SCREEN)["controls"]
    assert [control["holds"] for control in found] == [False, False, True]
    assert found[0]["detail"] == "80% of the choices of 6 gold models against 8 others; 90% are needed"
    assert found[1]["detail"] == "verdict on the original: pass, too few originals for an exact test"
    assert entry_verdict("gold", audits)["state"] == "inconclusive"
    original = {"state": "pass", "reasons": ["Control, too few originals for an exact test."]}
    assert entry_verdict("original", audits) == original
    unsure = method_verdict({"ours": verdict_of("inconclusive", original_verdict="inconclusive")}, SCREEN)
    assert [control["holds"] for control in unsure["controls"]] == [True, False, True]
    exactly = {"ours": verdict_of("pass", gold_passed=0.9)}
    assert entry_verdict("gold", exactly)["state"] == "pass"


def estimated(value, null, **extra):
    return Estimate("any", value, None, null, None, np.zeros(1), {}, extra)


@pytest.mark.parametrize(("value", "holds"), [(5.0, True), (4.99, False)])
def test_there_was_something_to_forget_from_five_times_the_null_on(value, holds):
    gap = estimated(0.0, 0.0, unlearned_mean=0.892, gold_mean=0.9)
    tables = {"original": {"klom": {"forget": estimated(value, 1.0)}, "accuracy_gap": {"test": gap}}}
    something, fine = statements(tables, "klom")
    assert something["holds"] is holds
    assert something["value"] == value
    assert something["text"].startswith("there was something to forget: original against gold, KLoM P95 on forget")
    assert something["text"].endswith(f"is {value:.2f}, its null 1.00, {value:.1f} times as much")
    assert fine["holds"]
    assert fine["value"] == pytest.approx(-0.008)
    worse = {"original": {"accuracy_gap": {"test": estimated(0.0, 0.0, unlearned_mean=0.88, gold_mean=0.9)}}}
    (fine,) = statements(worse, "klom")
    assert not fine["holds"], "two points of accuracy are not fine"


def test_no_statement_rests_on_what_was_not_measured():
    assert statements({"original": {}}, "method_distance") == []
    assert statements({"original": {"klom": {"forget": estimated(1.0, 0.0)}}}, "klom") == []


def test_what_was_not_measured_is_told_once_for_all_who_share_it():
    skipped = {"a": {"lira": "no models", "rmia": "no models", "zrf": "no net"}, "b": {"lira": "no models"}}
    assert not_measured(skipped) == [
        "not measured: lira (no models)",
        "not measured for a: rmia (no models)",
        "not measured for a: zrf (no net)",
    ]
    assert not_measured({"a": {}, "b": {}}) == []
