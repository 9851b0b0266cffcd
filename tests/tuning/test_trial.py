"""Trials beside numbers worked out by hand, and beside the method run without a store."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from expunge.bench.cell import KIND
from expunge.fleet import Here
from expunge.methods import FineTune, Ssd
from expunge.seeds import derive
from expunge.store import Contents, Store
from expunge.training import predict
from expunge.tuning.trial import FAILED, Scene, cell, compare, numbers, of_truth, of_twin, run, unchanged
from expunge.tuning.twins import Seen, build, divide
from tests.tiny import tiny_problem
from tests.tuning import Counting, tunable


def showing(*margins):
    """What a model of two classes shows: a row is right where its margin is positive."""
    return Seen(np.array(margins), np.array(margins) > 0)


REFERENCE = showing(1.0, 2.0, 0.0, 1.0, -1.0)
START = showing(3.0, 3.0, 0.5, 1.0, -1.5)
FOUND = showing(1.5, 2.5, 0.25, 1.0, 1.0)
"""Two forget rows, then three check rows."""


@pytest.fixture(scope="module")
def two():
    """A problem of two forget rows, for scenes whose margins are made by hand."""
    return tiny_problem(seed=0, forget=2)


@pytest.fixture
def by_hand(two):
    return Scene(two, "", REFERENCE, START, 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("trials"))


@pytest.fixture(scope="module")
def scene(store):
    problem = tunable()
    parts, counts = divide(problem, 1, seed=0)
    return of_twin(build(problem, parts, counts, 0, kind="finetune", seed=0, store=store))


def plain_margins(model, rows):
    """Margins by the definition, row by row."""
    logits = predict(model, rows).double()
    return np.array(
        [
            float(z[y] - torch.logsumexp(torch.cat([z[:y], z[y + 1 :]]), 0))
            for z, y in zip(logits, rows.labels.tolist(), strict=True)
        ]
    )


def test_the_twin_objective_by_hand(by_hand):
    found = compare(by_hand, FOUND, 7.0, objective="twin")
    assert found.forget == pytest.approx((0.5 + 0.5) / 2)
    assert found.check == pytest.approx((0.25 + 0 + 2) / 3)
    assert found.value == pytest.approx((0.5 + 0.75) / 1.5)
    assert found.lost == pytest.approx(1 / 3 - 3 / 3)
    assert found.visits == 7.0


def test_gold_has_an_objective_of_nought_and_no_change_of_one_and_more(by_hand):
    assert compare(by_hand, REFERENCE, 1, objective="twin").value == 0
    nothing = unchanged(by_hand, objective="twin")
    assert nothing.value == pytest.approx(1 + (1 / 3) / 1.5)
    assert (nothing.visits, nothing.forget) == (0, 1.5)


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        ("holdout", 1.0 + 0.75),  # quantiles 0, 4 against 1, 1, 4: 1 up to a half, 3 up to two thirds, then 0
        ("accuracy", 1 - 0.5),
        ("close", 0.75),
    ],
)
def test_the_rivals_by_hand(two, objective, value):
    #                  forget       check       unseen rows of their classes
    original = showing(5.0, 6.0, 0.5, 2.0, 9.0, 9.0, 9.0)
    margins = showing(0.0, 4.0, 1.0, -1.0 + 2.0, 1.0, 4.0, 1.0)
    found = compare(Scene(two, "", original, original, 3), margins, 2.0, objective=objective)
    assert wasserstein_distance(margins.margins[:2], margins.margins[4:]) == pytest.approx(1.0)
    assert found.value == pytest.approx(value)
    assert found.forget == pytest.approx((5 + 2) / 2)
    assert found.check == pytest.approx((0.5 + 1) / 2)
    assert found.lost == 0


def test_unseen_rows_of_the_classes_count_neither_as_check_rows_nor_as_utility(two):
    original = showing(5.0, 6.0, 0.5, 2.0, 9.0, 9.0)
    scene = Scene(two, "", original, original, 2)
    one = compare(scene, showing(1.0, 1.0, 0.5, -2.0, 9.0, 9.0), 0, objective="close")
    other = compare(scene, showing(1.0, 1.0, 0.5, -2.0, -50.0, -50.0), 0, objective="close")
    assert one == other
    assert one.lost == 0.5


def test_the_rivals_take_no_change_as_the_start(two):
    original = showing(5.0, 6.0, 0.5, 2.0, 3.0, 4.0)
    scene = Scene(two, "", original, original, 2)
    assert unchanged(scene, objective="close").value == 0
    assert unchanged(scene, objective="holdout").value == pytest.approx(2.0)
    assert unchanged(scene, objective="accuracy").value == 0


def test_a_finished_cell_comes_to_what_the_method_itself_does(scene, store):
    method, problem = FineTune(lr=0.01, epochs=2), scene.problem
    one = cell(scene, FineTune, {"lr": 0.01, "epochs": 2}, 5, store)
    run([one], store, Here())
    unlearned = method.run(problem, seed=5)
    forget, check = problem.rows.take(problem.forget), problem.test
    margins = [plain_margins(unlearned.model, rows) for rows in (forget, check)]
    gold = [plain_margins(tunable().original, rows) for rows in (forget, check)]
    begun = [plain_margins(problem.original, rows) for rows in (forget, check)]
    away = [np.abs(ours - theirs).mean() for ours, theirs in zip(margins, gold, strict=True)]
    found = numbers(scene, one, store, objective="twin")
    assert found.forget == pytest.approx(away[0], rel=1e-3)
    assert found.check == pytest.approx(away[1], rel=1e-3)
    assert found.value == pytest.approx(sum(away) / np.abs(begun[0] - gold[0]).mean(), rel=1e-2)
    assert found.lost == pytest.approx((gold[1] > 0).mean() - (margins[1] > 0).mean())
    assert found.visits == unlearned.cost.visits


def test_settings_that_are_not_searched_keep_their_default(scene, store):
    one = cell(scene, FineTune, {"lr": 0.01}, 5, store)
    assert one.settings == FineTune(lr=0.01).settings()
    assert (
        one.id != cell(scene, FineTune, {"lr": 0.01}, 6, store).id != cell(scene, FineTune, {"lr": 0.02}, 6, store).id
    )


def test_what_is_finished_is_not_run_again(scene, store):
    ours = [cell(scene, Ssd, {"selection": value}, 0, store) for value in (3.0, 30.0)]
    executor = Counting()
    run(ours[:1], store, executor)
    run(ours, store, executor)
    run(ours, store, executor)
    assert [job["cells"][0]["settings"]["selection"] for job in executor.jobs] == [3.0, 30.0]


def test_a_setting_that_diverges_is_recorded_and_not_tried_again(scene, store):
    one = cell(scene, FineTune, {"lr": 1e9, "epochs": 2}, 0, store)
    executor = Counting()
    run([one], store, executor)
    assert store.has(FAILED, one.id)
    assert not store.has(KIND, one.id)
    assert "the loss became" in store.get(FAILED, one.id).facts["message"]
    assert numbers(scene, one, store, objective="twin") is None
    run([one], store, executor)
    assert len(executor.jobs) == 1


def test_outputs_that_are_not_finite_count_as_diverged(scene, store):
    one = cell(scene, FineTune, {"lr": 0.012}, 0, store)
    problem = scene.problem
    logits = np.zeros((len(problem.rows) + len(problem.holdout) + len(problem.test), 3), dtype=np.float32)
    logits[0, 1] = np.inf
    store.put(one.id, Contents(KIND, {"cost": {}}, arrays={"logits": logits}))
    assert numbers(scene, one, store, objective="twin") is None


def test_the_true_scene_compares_with_the_original(tmp_path):
    problem, store = tunable(), Store(tmp_path)
    parts, _ = divide(problem, 1, seed=3)
    scene = of_truth(problem, parts.guide, parts.check, parts.auxiliary[0], store)
    rows = [problem.rows.take(problem.forget), *(problem.holdout.take(at) for at in (parts.check, parts.auxiliary[0]))]
    expected = np.concatenate([plain_margins(problem.original, part) for part in rows])
    np.testing.assert_allclose(scene.start.margins, expected, atol=1e-4)
    assert scene.start is scene.reference
    assert scene.matched == len(parts.auxiliary[0])
    assert scene.problem.holdout.ids == problem.holdout.take(parts.guide).ids
    assert store.has("model", scene.model)
    other = replace(problem, original=problem.recipe.fresh((6,), seed=derive(9, "other")))
    assert of_truth(other, parts.guide, parts.check, parts.auxiliary[0], store).model != scene.model
