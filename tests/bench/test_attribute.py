"""What attribution is asked and what comes of it: sentences with sign, unit and error, targets, ranks, costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.attribution.effect import effect
from expunge.attribution.ekfac import Ekfac
from expunge.attribution.estimator import Removal
from expunge.attribution.influence import Influence
from expunge.attribution.named import configured
from expunge.attribution.subsets import MOST, removal_masks
from expunge.bench import attribute as asking
from expunge.bench.attribute import Part, Question, alike, attribute, cheap_estimator, held_out, quick_models
from expunge.bench.attributed import attribution_result, sentence
from expunge.data import ForgetSet, MemoryRows
from expunge.errors import ConfigError, NeedsError, ProblemError
from expunge.methods.prediction import REQUESTS
from expunge.problem import Problem
from expunge.runs import keep_subsets, latest_subsets
from expunge.store import Store
from expunge.tasks import Regression
from expunge.training import Recipe, fit
from tests.attribution.known import LOST, Known, Ranking, expected_scores
from tests.fleet.test_fleet import RECIPE, ROWS, fleet_in, store_in
from tests.tiny import tiny_problem, tiny_recipe

PROBLEM = tiny_problem(seed=0)
SET = ForgetSet("random:12")


def asked(store, problem=PROBLEM, estimator=None, **question):
    question, estimator = Question(**question), estimator or Known()
    answer = attribute(problem, estimator, question, store=store)
    return answer, attribution_result(answer, problem, estimator, question, forget=SET, command="expunge attribute x")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return asked(Store(tmp_path_factory.mktemp("plain")))


@pytest.fixture(scope="module")
def sure(tmp_path_factory):
    return asked(Store(tmp_path_factory.mktemp("sure")), calibrate=3, of="retain", targets="random:4", top=6)


def part_of(change, error, count, problem=PROBLEM):
    rows = problem.rows.take(np.arange(count))
    before = np.zeros((count, problem.recipe.task.width))
    one = effect(_removal(before, change, error), rows.labels, problem.recipe.task)
    return Part(rows, None, one, None)


def _removal(before, change, error):
    return Removal(before + change, before, np.full_like(before, error))


def test_the_sentence_has_sign_unit_and_error():
    text = sentence("forget", part_of(-0.8, 0.3, 12), PROBLEM)
    assert text.startswith(
        "+0.80 logits of the true class would be lost on average if these 12 rows were removed, ±0.30; margin "
    )
    text = sentence("test", part_of(0.8, np.nan, 30), PROBLEM)
    assert text.startswith(
        "+0.80 logits of the true class would be gained on the 30 test rows, on average, if these 12 rows were "
        "removed, ± not known; margin 0.000 nats, ± not known"
    )


def test_the_sentence_of_a_single_row():
    one = replace(PROBLEM, forget=np.array([4]))
    assert sentence("forget", part_of(-2.0, 0.1, 1), one).startswith(
        "+2.00 logits of the true class would be lost if this row were removed, ±0.10; "
    )


def test_what_is_said_is_what_was_predicted(plain):
    _, result = plain
    forget = result["parts"]["forget"]
    assert forget["change"] == pytest.approx(-LOST)
    assert forget["sentence"].startswith(
        f"+{LOST:.2f} logits of the true class would be lost on average if these 12 rows were removed, ± not known"
    )
    assert (forget["rows"], forget["error"], forget["calibration"]) == (12, None, None)
    assert set(result["parts"]) == {"forget", "test"}
    lines = result["affected"]["forget"]
    sizes = [abs(line["margin_after"] - line["margin_before"]) for line in lines]
    assert sizes == sorted(sizes, reverse=True)
    assert all(line["after"] == pytest.approx(line["before"] - LOST) for line in lines)
    assert "--calibrate 20" in result["limits"][-1]


def test_targets_are_the_test_rows_that_change_most(plain):
    answer, result = plain
    effects = answer.parts["test"].effect
    expected = np.argsort(-np.abs(effects.margin_change), kind="stable")[:5]
    assert [one["id"] for one in result["targets"]["items"]] == [PROBLEM.test.ids[at] for at in expected]
    assert (result["targets"]["of"], result["targets"]["chosen"]) == ("test", "the most affected")


def test_ranks_are_those_of_the_scores(plain):
    answer, result = plain
    scores = expected_scores(PROBLEM.test.take(answer.targets), np.arange(len(PROBLEM.rows)))
    gone = set(PROBLEM.forget.tolist())
    for column, item in enumerate(result["targets"]["items"]):
        order = np.argsort(-scores[:, column], kind="stable")[:10]
        assert [one["id"] for one in item["raises"]] == [PROBLEM.rows.ids[at] for at in order]
        assert [one["role"] for one in item["raises"]] == ["forget" if at in gone else "retain" for at in order]
        assert [one["score"] for one in item["raises"]] == pytest.approx(scores[order, column])
        worst = np.argsort(scores[:, column], kind="stable")[:10]
        assert [one["id"] for one in item["lowers"]] == [PROBLEM.rows.ids[at] for at in worst]
    mean = scores.mean(axis=1)
    first = result["targets"]["together"]["raises"][0]
    assert first["score"] == pytest.approx(mean.max())


def test_a_training_row_that_is_its_own_target_is_called_itself(sure):
    answer, result = sure
    assert {one["role"] for item in result["targets"]["items"] for one in item["raises"]} <= {
        "itself",
        "retain",
        "forget",
    }
    positions = [answer.parts["retain"].at[at] for at in answer.targets]
    for item, own in zip(result["targets"]["items"], positions, strict=True):
        assert item["id"] == PROBLEM.rows.ids[own]
        for one in item["raises"] + item["lowers"]:
            assert (one["role"] == "itself") == (one["id"] == item["id"])


def test_no_row_raises_by_a_negative_score(sure):
    for item in sure[1]["targets"]["items"]:
        assert all(one["score"] > 0 for one in item["raises"])
        assert all(one["score"] < 0 for one in item["lowers"])
        assert len(item["raises"]) <= 6


def test_held_out_models_give_every_part_its_error(sure):
    answer, result = sure
    assert set(result["parts"]) == {"forget", "test", "retain"}
    for name, part in result["parts"].items():
        found = answer.parts[name].sure
        assert (part["error"], part["margin_error"]) == (found.output.mean_error, found.margin.mean_error)
        assert part["calibration"] == {
            "output": found.output.line.to_dict(),
            "margin": found.margin.line.to_dict(),
        }
        assert part["calibration"]["margin"]["models"] == 3
        assert f"±{part['error']:.2f}" in part["sentence"] or f"±{part['error']:.3f}" in part["sentence"]
    assert result["targets"]["chosen"] == "random:4"
    assert len(result["targets"]["items"]) == 4
    assert "sets of as many rows of one class" in result["limits"][-1]


def test_held_out_sets_are_as_much_alike_as_the_rows_that_go():
    labels = PROBLEM.rows.labels.numpy()
    groups = alike(PROBLEM)  # 12 rows of class 0
    assert [sorted(set(labels[group])) for group in groups] == [[0], [1], [2]]
    assert all(len(group) == (labels == label).sum() for label, group in enumerate(groups))
    assert alike(replace(PROBLEM, forget=np.arange(4))) == []  # of three classes
    assert alike(replace(PROBLEM, forget=np.array([0]))) == []
    assert alike(_line_problem()) == []
    masks = removal_masks(5, len(labels), size=12, groups=groups, seed=0)
    assert [set(labels[~mask]) for mask in masks] == [{0}, {1}, {2}, {0}, {1}]
    few = PROBLEM.rows.take(np.flatnonzero((labels == 0) | (np.arange(len(labels)) < 9)))
    rare = replace(PROBLEM, rows=few, forget=np.flatnonzero(few.labels.numpy() == 0)[:5])
    assert alike(rare) == []  # the other classes have 3 rows each


def test_a_fleet_for_one_class_is_another_than_for_random_rows(tmp_path):
    store = Store(tmp_path)
    one = held_out(PROBLEM, Question(calibrate=3), seed=0, store=store)
    other = held_out(replace(PROBLEM, forget=np.arange(12)), Question(calibrate=3), seed=0, store=store)
    assert len({folder.path.name for fleet in (one, other) for folder in fleet.folders}) == 6
    labels = PROBLEM.rows.labels.numpy()
    assert [len(set(labels[~mask])) for mask in one.masks] == [1, 1, 1]
    assert [int((~mask).sum()) for mask in other.masks] == [12, 12, 12]


def test_the_cost_adds_up(sure):
    _, result = sure
    cost, retraining = result["cost"], PROBLEM.recipe.epochs * len(PROBLEM.retain)
    looks = 30 / 3  # of KnownFit: 30 forward visits a prediction
    assert cost["retraining"] == retraining
    assert cost["fit"] == 100
    held = 3 * PROBLEM.recipe.epochs * len(PROBLEM.retain)
    assert cost["calibration"] == pytest.approx(held + 3 * looks)  # of three sets
    assert cost["prediction"] == pytest.approx(looks)
    every = cost["fit"] + cost["calibration"]
    assert cost["fraction"] == pytest.approx((every + cost["prediction"]) / retraining)
    assert cost["amortised"] == pytest.approx((every / REQUESTS + cost["prediction"]) / retraining)


def test_notes_keep_numbers_and_words_alone(plain):
    assert plain[1]["estimator"] == {
        "name": "known",
        "paper": "folklore",
        "settings": {"strength": 1.0},
        "why": "",
        "notes": {"damping": 0.25},
    }


def test_rows_that_are_no_pictures_have_none(plain):
    assert plain[1]["images"] == {}


def test_pictures_of_every_row_that_is_shown(tmp_path):
    recipe = tiny_recipe(epochs=1)
    problem = tiny_problem(seed=0, recipe=recipe, shape=(1, 3, 3))
    _, result = asked(Store(tmp_path), problem=problem, targets="2", top=3)
    shown = {line["id"] for lines in result["affected"].values() for line in lines}
    shown |= {one["id"] for one in result["targets"]["items"]}
    for item in [*result["targets"]["items"], result["targets"]["together"]]:
        shown |= {one["id"] for way in ("raises", "lowers") for one in item[way]}
    assert shown <= set(result["images"])
    assert all(one.startswith("data:image/png;base64,") for one in result["images"].values())


def test_targets_in_text_form_are_found_or_the_error_names_them(tmp_path):
    store = Store(tmp_path)
    _, result = asked(store, targets="class:1:3")
    assert {one["label"] for one in result["targets"]["items"]} == {"1"}
    (tmp_path / "ids").write_text("stranger\n")
    for targets, message in (
        ("class:7", "targets class:7: no test row matches"),
        (f"ids:{tmp_path / 'ids'}", "1 of 1 ids are not among the test rows: stranger"),
        ("random:9999", "targets random:9999: expected at least 9999 such rows, got 60"),
    ):
        with pytest.raises(ProblemError, match=message):
            asked(store, targets=targets)


def test_what_only_ranks_is_asked_for_no_prediction(tmp_path):
    store = Store(tmp_path)
    answer, result = asked(store, estimator=Ranking(), calibrate=3, targets="4")
    assert (result["parts"], result["affected"]) == ({}, {})
    assert not (store.root / "model").exists()  # nothing was held out
    margins = np.abs(answer.parts["test"].effect.margin_before)
    expected = [PROBLEM.test.ids[at] for at in np.argsort(margins, kind="stable")[:4]]
    assert [one["id"] for one in result["targets"]["items"]] == expected
    assert result["targets"]["chosen"] == "those whose margin is nearest to 0"
    assert "change" not in result["targets"]["items"][0]
    assert result["targets"]["items"][0]["raises"]
    assert result["limits"][-1].startswith("this estimator ranks training rows")
    assert (result["unit"]["margin"], result["unit"]["score"]) == ("nats", "units of its own")
    assert (result["cost"]["calibration"], result["cost"]["prediction"]) == (0, 0)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"of": "holdout"}, "of: expected one of test, forget, retain, got 'holdout'"),
        ({"targets": "0"}, "targets: expected >= 1, got 0"),
        ({"targets": "-3"}, "targets: expected >= 1, got -3"),
        ({"targets": "row 7"}, "targets: expected one of random:N"),
        ({"targets": ""}, "targets: expected one of random:N"),
        ({"top": 0}, "top: expected >= 1, got 0"),
        ({"calibrate": 2}, "calibrate: expected 0, or 3..20, got 2"),
        ({"calibrate": MOST + 1}, "calibrate: expected 0, or 3..20, got 21"),
        ({"subsets": 3}, "subsets: expected 0, or >= 4, got 3"),
    ],
)
def test_a_question_out_of_range_is_refused(question, message):
    with pytest.raises(ConfigError) as found:
        Question(**question)
    assert message in found.value.message


def test_regression_speaks_of_its_output(tmp_path):
    _, result = asked(Store(tmp_path), problem=_line_problem())
    assert result["parts"]["forget"]["sentence"].startswith(
        f"+{LOST:.2f} units of the output would be taken off on average if these 5 rows were removed, ± not known"
    )
    assert result["unit"]["margin"] == result["unit"]["score"] == "squared units"
    assert result["affected"]["test"][0]["label"].replace(".", "").replace("-", "").isdecimal()


def _line_problem():
    rows = [_targets(count, seed) for count, seed in ((40, 1), (10, 2), (10, 3))]
    recipe = Recipe(name="line", model="linear", task=Regression(1), epochs=2, lr=0.01)
    model = fit(recipe, rows[0], np.arange(40), seed=0).model
    return Problem(recipe=recipe, rows=rows[0], forget=np.arange(5), holdout=rows[1], test=rows[2], original=model)


def _targets(count, seed):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=draw)
    return MemoryRows(x, x.sum(1, keepdim=True))


def test_a_small_model_takes_influence_and_a_large_one_goes_layer_by_layer(monkeypatch):
    text, why = cheap_estimator(PROBLEM)
    assert configured(text) == Influence(solver="explicit")
    assert why == "the model has 163 parameters; up to 2,000 all of them are taken"
    monkeypatch.setattr(asking, "WHOLE", 100)
    text, why = cheap_estimator(PROBLEM)
    assert configured(text) == Ekfac()
    assert why == "the model has 163 parameters; beyond 100 the curvature is taken layer by layer"


def test_models_are_held_out_unasked_only_where_they_are_quick(tmp_path):
    store = store_in(tmp_path, recipe=PROBLEM.recipe, rows=PROBLEM.rows)
    visits = MOST * PROBLEM.recipe.epochs * len(PROBLEM.retain)  # at the 1,000 a second that the store says
    assert visits / 1000 < asking.QUICK
    assert quick_models(PROBLEM, store) == MOST
    slow = replace(PROBLEM, recipe=replace(PROBLEM.recipe, epochs=200))
    assert quick_models(slow, store) == 0


def test_subset_models_are_needed_trained_once_and_found_again(tmp_path):
    class Needing(Known):
        needs = frozenset({"subsets"})

    store = Store(tmp_path)
    with pytest.raises(NeedsError, match="holds none") as found:
        attribute(PROBLEM, Needing(), Question(), store=store)
    assert found.value.hint == "--subsets 200 trains them once for all requests"
    first = attribute(PROBLEM, Needing(), Question(subsets=4), store=store)
    again = attribute(PROBLEM, Needing(), Question(), store=store)
    for answer in (first, again):
        assert len(answer.fitted.source.subsets) == 4
    assert len(list((store.root / "model").iterdir())) == 4
    problem = replace(PROBLEM, subsets=latest_subsets(PROBLEM.recipe, PROBLEM.rows, store))
    own = attribute(problem, Needing(), Question(), store=Store(tmp_path / "other"))
    assert len(own.fitted.source.subsets) == 4


def test_the_largest_noted_fleet_is_found_for_its_recipe_and_rows_alone(tmp_path):
    store = store_in(tmp_path)
    assert latest_subsets(RECIPE, ROWS, store) is None
    small, large = (fleet_in(store, models=count, indices=np.arange(40)) for count in (2, 3))
    for fleet, expected in ((small, 2), (large, 3), (small, 3)):
        keep_subsets(fleet, store)
        found = latest_subsets(RECIPE, ROWS, store)
        assert len(found) == expected
    assert [one.path for one in found.folders] == [one.path for one in large.folders]
    np.testing.assert_array_equal(found.masks, large.masks)
    assert latest_subsets(replace(RECIPE, epochs=3), ROWS, store) is None
    assert latest_subsets(RECIPE, ROWS.take(np.arange(47)), store) is None
