"""Twin machine unlearning as a whole. Its parts: test_twin_parts.py. For every method: tests/properties."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from expunge.cli.flags import configured
from expunge.data import MemoryRows
from expunge.errors import ConfigError, NeedsError, ProblemError
from expunge.methods import twin as module
from expunge.methods.random_label import RandomLabel
from expunge.methods.relabel import relabelled
from expunge.methods.twin import PREDICTORS, Twin
from expunge.methods.twin_features import Probe
from expunge.problem import Problem
from expunge.seeds import generator, lent
from expunge.training import Run, descend, fit, predict
from tests.methods.regression import regression_problem
from tests.tiny import same_weights, tiny_problem, tiny_recipe, tiny_rows

QUICK = {"twin_epochs": 2, "predictor_epochs": 5, "epochs": 1}
EASY, HARD = {**QUICK, "threshold": 1e-9}, {**QUICK, "threshold": 1 - 1e-9}


def wide_rows(count, *, seed, shape):
    """Three classes that overlap so much that a net knows its own rows by heart and a part of the others."""
    rows = tiny_rows(count, seed=seed, shape=shape)
    noise = torch.randn(rows.x.shape, generator=torch.Generator().manual_seed(seed + 1))
    return MemoryRows(rows.x + 1.3 * noise, rows.labels)


@cache
def problem_of(*, forget=30, dropout=False, kind="class"):
    """`forget` of 60 rows of class 0 are to go; 40 holdout rows a class."""
    shape = (1, 8, 8) if dropout else (6,)
    recipe = tiny_recipe(epochs=60, hidden=(64,))
    if dropout:
        recipe = tiny_recipe(model="allcnn", channels=2, dropout=0.2, epochs=3)
    rows = wide_rows(180, seed=0, shape=shape)
    return Problem(
        recipe=recipe,
        rows=rows,
        forget=np.arange(0, 3 * forget, 3),
        holdout=wide_rows(120, seed=100, shape=shape),
        test=wide_rows(60, seed=200, shape=shape),
        original=fit(recipe, rows, seed=0).model,
        kind=kind,
    )


def right(model, rows, at=None):
    labels = rows.labels if at is None else rows.labels[torch.as_tensor(at)]
    return predict(model, rows, at).argmax(-1) == labels


# ----------------------------------------------------------------------------------------------- as a whole


def test_hard_rows_are_unlearned_and_the_others_kept():
    problem = problem_of()
    unlearned = Twin(twin_lr=0.003, lr=0.1, epochs=10).run(problem, seed=0)
    notes, hard = unlearned.notes, unlearned.notes["hard_rows"]
    assert 0 < len(hard) < 30
    assert notes["easy_share"] == pytest.approx(1 - len(hard) / 30)
    correct = right(unlearned.model, problem.rows, problem.forget)
    easy = np.setdiff1d(np.arange(30), hard)
    assert float(correct[hard].float().mean()) < 0.5 < 0.8 < float(correct[easy].float().mean())
    assert float(right(problem.original, problem.rows, problem.forget)[hard].float().mean()) > 0.8
    assert notes["warning"].endswith(f"{len(easy)} of 30 forget rows were called easy and stay trained on: their "
                                     "membership is kept")  # fmt: skip


def test_notes_say_what_was_found_out():
    problem = problem_of()
    notes = Twin(twin_lr=0.01, twin_epochs=30).run(problem, seed=0).notes
    assert notes["auxiliary_rows"] == 60  # 60 * 30 / 30
    assert notes["augmented"] == 20
    assert 0.5 < notes["auxiliary_accuracy"] < 1
    assert notes["twin_aim"] == pytest.approx(29 / 30)
    assert notes["twin_accuracy"] >= notes["twin_aim"]
    assert 1 <= notes["twin_epochs"] <= 30
    assert notes["scaler"] == "transductive"
    assert "holdout_rows_trained_on" not in notes
    assert "the twin did not learn" not in notes["warning"]


def test_the_defaults_are_those_of_the_paper_and_its_code():
    settings = Twin().settings()
    assert settings["use"] == ("nearest", "attack", "curriculum")
    assert settings["attack_budget"] == 4 / 255
    assert {name: settings[name] for name in ("neighbours", "attack_steps", "curriculum_epochs")} == {
        "neighbours": 5,
        "attack_steps": 5,
        "curriculum_epochs": 2,
    }
    assert [settings[f"predictor_{name}"] for name in ("epochs", "lr", "weight_decay")] == [100, 0.01, 5e-4]
    assert [settings[f"twin_{name}"] for name in ("epochs", "lr", "optimizer")] == [10, 1e-4, "adam"]
    assert [settings[name] for name in ("epochs", "lr", "momentum", "weight_decay", "batch_size")] == [
        5,
        0.01,
        0.9,
        5e-4,
        64,
    ]
    assert [settings[name] for name in ("threshold", "curriculum_share", "retain_share")] == [0.5, 0.2, 1.0]


def test_features_come_from_the_model_that_was_trained_on_the_rows(monkeypatch):
    problem, seen, twins = problem_of(), {}, []
    table, train_twin = Probe.table, module.twin_model

    def spy_table(self, model, rows, role):
        seen[role] = deepcopy(model), rows, self.problem
        return table(self, model, rows, role)

    def spy_twin(*args, **settings):
        twins.append(train_twin(*args, **settings))
        return twins[-1]

    monkeypatch.setattr(Probe, "table", spy_table)
    monkeypatch.setattr(module, "twin_model", spy_twin)
    Twin(twin_epochs=3, twin_lr=0.003, epochs=1).run(problem, seed=0)
    ((twin, _),) = twins
    assert seen.keys() == {"auxiliary", "forget"}
    assert same_weights(seen["auxiliary"][0], twin)
    assert same_weights(seen["forget"][0], problem.original)
    assert not same_weights(twin, problem.original)
    assert set(seen["forget"][1].ids) == {problem.rows.ids[i] for i in problem.forget}
    assert {row_id.partition("~")[0] for row_id in seen["auxiliary"][1].ids} <= set(problem.holdout.ids)
    assert all(under is problem for _, _, under in seen.values())  # the retain rows of both are those of D


@pytest.mark.parametrize("start", ["original", "twin"])
def test_original_and_twin_stay_as_they_were(start, monkeypatch):
    problem, twins, train_twin = problem_of(dropout=True), [], module.twin_model

    def spy(*args, **settings):
        twins.append(train_twin(*args, **settings))
        twins.append(deepcopy(twins[-1]))
        return twins[-2]

    monkeypatch.setattr(module, "twin_model", spy)
    before = deepcopy(problem.original)
    first = Twin(**QUICK, start=start).run(problem, seed=0).model
    assert same_weights(problem.original, before)
    assert same_weights(twins[0][0], twins[1][0])
    assert same_weights(first, Twin(**QUICK, start=start).run(problem, seed=0).model)


# ------------------------------------------------------------------------------------------- the last step


@pytest.mark.parametrize("dropout", [False, True])
def test_all_easy_is_finetuning_on_all_rows_bit_for_bit(dropout):
    problem = problem_of(dropout=dropout)
    settings = {"lr": 0.05, "momentum": 0.8, "weight_decay": 1e-3}
    ours = Twin(**{**EASY, "epochs": 2, "batch_size": 32}, **settings).run(problem, seed=3)
    assert ours.notes["hard_rows"] == []
    assert ours.notes["easy_share"] == 1
    assert "no forget row was called hard" in ours.notes["warning"]
    model, run = deepcopy(problem.original), Run(seed=3, batch_size=32)
    everything = np.concatenate([problem.retain, problem.forget])
    descend(
        model,
        run.epochs("mixed", problem.rows, everything, count=2),
        lambda batch: functional.cross_entropy(model(batch.x), batch.y),
        run=run,
        **settings,
    )
    assert same_weights(ours.model, model)
    control = Twin(predictor="all_easy", epochs=2, batch_size=32, **settings).run(problem, seed=3)
    assert same_weights(control.model, model)


@pytest.mark.parametrize("dropout", [False, True])
def test_all_hard_is_random_labelling_bit_for_bit(dropout):
    problem = problem_of(dropout=dropout)
    settings = {"epochs": 2, "optimizer": "adam", "lr": 0.003, "weight_decay": 1e-3}
    ours = Twin(**{**HARD, **settings}, batch_size=0).run(problem, seed=3)
    assert ours.notes["hard_rows"] == list(range(30))
    assert ours.notes["easy_share"] == 0
    assert "every forget row was called hard" in ours.notes["warning"]
    assert "membership" not in ours.notes["warning"]
    assert same_weights(ours.model, RandomLabel(**settings, exclude_true=True).run(problem, seed=3).model)


def one_step(problem, hard, sign, labels):
    """The original after one step of 0.1 on all rows."""
    model, x = deepcopy(problem.original), problem.rows.x
    losses = functional.cross_entropy(model(x), labels, reduction="none")
    weight = torch.ones(len(x))
    weight[problem.forget[hard]] = sign
    (losses * weight).mean().backward()
    return {name: p - 0.1 * p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("loss", ["random_label", "neg_grad"])
def test_one_step_by_hand(loss):
    problem = problem_of()
    plain = {"epochs": 1, "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "batch_size": 180}
    ours = Twin(predictor="quota", loss=loss, **plain).run(problem, seed=0)
    hard, labels = np.array(ours.notes["hard_rows"]), problem.rows.labels.clone()
    assert 0 < len(hard) < 30
    if loss == "random_label":
        wrong = relabelled(problem, 0, 0, exclude_true=True).labels
        labels[problem.forget[hard]] = wrong[problem.forget[hard]]
    expected = one_step(problem, hard, -1.0 if loss == "neg_grad" else 1.0, labels)
    for name, value in ours.model.named_parameters():
        assert torch.allclose(value, expected[name], atol=1e-6)


def test_it_may_begin_at_the_twin():
    problem = problem_of()
    still = {**QUICK, "lr": 1e-9, "weight_decay": 0.0, "twin_lr": 0.01}
    ours = Twin(**still, start="twin").run(problem, seed=0)
    theirs = Twin(**still).run(problem, seed=0)
    assert torch.allclose(next(theirs.model.parameters()), next(problem.original.parameters()), atol=1e-6)
    assert not torch.allclose(next(ours.model.parameters()), next(problem.original.parameters()), atol=1e-3)
    assert ours.notes["holdout_rows_trained_on"] == 40
    assert ours.notes["hard_rows"] == theirs.notes["hard_rows"]


def test_a_share_of_retain():
    problem = problem_of()
    cost = Twin(predictor="all_easy", retain_share=0.2, epochs=3).run(problem, seed=0).cost
    assert cost.backward == {"mixed": 3 * (30 + 30)}


# -------------------------------------------------------------------------------------------- who is hard


def test_scores_are_kept_of_every_predictor():
    problem = problem_of()
    gold = fit(problem.recipe, problem.rows, problem.retain, seed=1).model
    for predictor in PREDICTORS:
        settings = {**QUICK, "twin_lr": 0.003, "predictor": predictor}
        notes = Twin(**settings).run(replace(problem, gold=(gold,)), seed=0).notes
        scores, called = np.array(notes["easy_scores"]), np.ones(30, dtype=bool)
        called[notes["hard_rows"]] = False
        assert len(scores) == 30
        assert called.all() or not called.any() or scores[called].min() >= scores[~called].max(), predictor
        if predictor in ("mlp", "all_easy", "gold"):
            assert called.tolist() == (scores >= 0.5).tolist(), predictor


def test_the_upper_bound_asks_gold():
    problem = problem_of()
    golds = [fit(problem.recipe, problem.rows, problem.retain, seed=seed).model for seed in (1, 2, 3)]
    rights = torch.stack([right(gold, problem.rows, problem.forget) for gold in golds]).float().mean(0)
    notes = Twin(predictor="gold", epochs=1).run(replace(problem, gold=tuple(golds)), seed=0).notes
    assert notes["easy_scores"] == pytest.approx(rights.tolist())
    assert notes["hard_rows"] == torch.where(rights < 0.5)[0].tolist()
    assert 0 < len(notes["hard_rows"]) < 30
    assert notes["gold_models"] == 3
    assert "twin_accuracy" not in notes
    with pytest.raises(NeedsError, match="twin is an upper bound and needs gold models, got none"):
        Twin(predictor="gold").run(problem, seed=0)
    assert "gold" not in Twin.needs | Twin().needs


@pytest.mark.parametrize("predictor", ["quota", "quota_margin", "quota_random"])
def test_a_quota_is_what_the_original_gets_wrong_in_holdout_rounded_up(predictor):
    problem = replace(problem_of(), forget=np.arange(50))  # of all classes
    notes = Twin(predictor=predictor, epochs=1).run(problem, seed=0).notes
    of = problem.rows.labels[:50]
    for group in range(3):
        there = np.flatnonzero((problem.holdout.labels == group).numpy())
        wrong = int((~right(problem.original, problem.holdout, there)).sum())
        expected = -(-wrong * int((of == group).sum()) // len(there))
        assert sum(int(of[i]) == group for i in notes["hard_rows"]) == expected
    assert "twin_epochs" not in notes


def test_a_quota_takes_the_rows_with_the_highest_curriculum_loss(monkeypatch):
    problem, scores, measure = problem_of(), [], Probe.loss

    def spy(self, rows, role):
        scores.append(measure(self, rows, role))
        return scores[-1]

    monkeypatch.setattr(Probe, "loss", spy)
    by_loss = Twin(predictor="quota", epochs=1).run(problem, seed=0).notes["hard_rows"]
    ((losses),) = scores
    assert set(by_loss) == set(losses.argsort(descending=True)[: len(by_loss)].tolist())
    at_random = [Twin(predictor="quota_random", epochs=1).run(problem, seed=s).notes["hard_rows"] for s in (0, 1)]
    assert len(by_loss) == len(at_random[0]) == len(at_random[1])
    assert len({tuple(by_loss), *map(tuple, at_random)}) == 3


def test_a_quota_by_margin_takes_the_rows_that_the_original_holds_least_firmly():
    problem = problem_of()
    found = Twin(predictor="quota_margin", epochs=1).run(problem, seed=0).notes["hard_rows"]
    gone = problem.rows.take(problem.forget)
    margins = problem.recipe.task.margin(predict(problem.original, gone), gone.labels)
    assert set(found) == set(margins.argsort()[: len(found)].tolist())
    assert len(found) > 0


def test_the_rate_of_the_auxiliary_rows_may_stand_in_for_the_threshold():
    notes = Twin(**HARD, calibrate="match_rate").run(problem_of(), seed=0).notes
    assert len(notes["hard_rows"]) == 30 - round(notes["auxiliary_accuracy"] * 30)
    assert 0 < len(notes["hard_rows"]) < 30


def test_where_the_original_gets_every_auxiliary_row_right_no_twin_is_trained():
    unlearned = Twin(epochs=1).run(tiny_problem(seed=0), seed=0)
    assert unlearned.notes["auxiliary_accuracy"] == 1
    assert unlearned.notes["easy_share"] == 1
    assert unlearned.cost.backward == {"mixed": 120}
    assert "twin_accuracy" not in unlearned.notes


def test_where_it_gets_every_auxiliary_row_wrong_every_row_is_hard():
    problem = tiny_problem(seed=0)
    flipped = MemoryRows(-problem.holdout.x, problem.holdout.labels)
    at = np.flatnonzero(((problem.holdout.labels != 0) | ~right(problem.original, flipped)).numpy())
    unlearned = Twin(epochs=1).run(replace(problem, holdout=flipped.take(at)), seed=0)
    assert unlearned.notes["auxiliary_accuracy"] == 0
    assert unlearned.notes["hard_rows"] == list(range(12))


def test_every_visit_is_counted():
    problem = problem_of()
    unlearned = Twin(twin_epochs=2, twin_lr=1e-5, curriculum_epochs=2, attack_steps=3, epochs=4).run(problem, seed=0)
    share = round(0.2 * 150)
    assert unlearned.cost.backward == {
        "twin": 2 * (180 + 60),
        "curriculum": 2 * share,
        "auxiliary": 3 * 60,  # steps of the attack
        "forget": 3 * 30,
        "mixed": 4 * 180,
    }
    assert unlearned.cost.forward == {
        "auxiliary": 60 + 2 * 60 + (1 + 2 + 1) * 60,  # labels, a look an epoch, and three features
        "forget": 30 + (1 + 2 + 1) * 30,  # the twin's aim, and three features
        "retain": 2 * 30,  # the class's retain rows under either model
    }
    assert unlearned.notes["share_of_retraining"] == pytest.approx(unlearned.cost.visits / (60 * 150))


@pytest.mark.parametrize(
    "settings",
    [
        {"twin_epochs": 2, "twin_lr": 1e-5, "curriculum_epochs": 2, "attack_steps": 3, "epochs": 4},
        {"twin_epochs": 3, "twin_lr": 1e-5, "use": ("nearest",), "epochs": 1, "retain_share": 0.5},
        {"twin_epochs": 1, "twin_lr": 1e-5, "curriculum_members": "both", "attack_steps": 0, "epochs": 1},
    ],
)
def test_the_most_visits_are_those_of_a_run_whose_twin_never_stops(settings):
    method, problem = Twin(**settings), problem_of()
    assert method.most_visits(problem) == pytest.approx(method.run(problem, seed=0).cost.visits)


@pytest.mark.parametrize("settings", [{"predictor": "quota", "start": "twin"}, {"predictor": "all_easy"}, {}])
def test_no_run_takes_more_than_the_most_visits(settings):
    method, problem = Twin(**QUICK, **settings), problem_of()
    assert method.run(problem, seed=0).cost.visits <= method.most_visits(problem)


def test_a_cost_beyond_one_retraining_is_warned_about():
    problem = problem_of(dropout=True)  # a recipe of three epochs
    warning = Twin(epochs=4, predictor="all_easy").run(problem, seed=0).notes["warning"]
    assert "of one retraining; lower epochs and twin_epochs" in warning


def test_features_can_be_left_out():
    problem = problem_of()
    cost = Twin(**QUICK, use=("nearest",)).run(problem, seed=0).cost
    assert cost.backward.keys() == {"twin", "mixed"}
    hard = {use: tuple(Twin(twin_lr=0.003, epochs=1, use=use).run(problem, seed=0).notes["hard_rows"])
            for use in (("nearest",), ("curriculum",), ("nearest", "attack", "curriculum"))}  # fmt: skip
    assert len(set(hard.values())) > 1


@pytest.mark.parametrize("setting", [{"use": ("nearest", "curriculum")}, {"scaler": "shared"}, {"balanced": True}])
def test_settings_of_the_predictor_reach_it(setting, monkeypatch):
    seen, ask = [], module.easy_probability

    def spy(*tables, **settings):
        seen.append((tables[0].shape, settings["scaler"], settings["fit"]))
        return ask(*tables, **settings)

    monkeypatch.setattr(module, "easy_probability", spy)
    Twin(**QUICK, **setting, predictor_lr=0.02, predictor_weight_decay=0.1).run(problem_of(), seed=0)
    ((shape, scaler, chosen),) = seen
    assert shape == (60, len(setting.get("use", "abc")))
    assert scaler == setting.get("scaler", "transductive")
    assert (chosen.epochs, chosen.lr, chosen.weight_decay) == (5, 0.02, 0.1)
    assert chosen.balanced is setting.get("balanced", False)


# -------------------------------------------------------------------------------------------------- faults


def test_a_whole_class_is_refused():
    with pytest.raises(NeedsError, match="all 60 rows of class 0 are to be forgotten"):
        Twin().run(problem_of(forget=60), seed=0)


def test_a_class_of_one_row_is_refused_whole_and_served_as_a_neighbour():
    problem = problem_of()
    of = problem.rows.labels.numpy()
    only = np.flatnonzero(of == 2)[:1]
    at = np.sort(np.concatenate([np.flatnonzero(of != 2), only]))
    small = replace(problem, rows=problem.rows.take(at), forget=np.array([0, 1]), kind="random")
    with pytest.raises(NeedsError, match="all 1 rows of class 2 are to be forgotten"):
        Twin().run(replace(small, forget=np.flatnonzero(small.rows.labels.numpy() == 2)), seed=0)
    zeros = np.flatnonzero(small.rows.labels.numpy() == 0)
    unlearned = Twin(**QUICK).run(replace(small, forget=zeros[:-1]), seed=0)  # one retain row of the class is left
    assert predict(unlearned.model, problem.test).isfinite().all()


def test_too_few_auxiliary_rows_are_filled_up_and_said():
    problem = problem_of()
    few = np.flatnonzero(problem.holdout.labels.numpy() == 0)[:7]
    others = np.flatnonzero(problem.holdout.labels.numpy() != 0)
    small = replace(problem, holdout=problem.holdout.take(np.concatenate([few, others])))
    notes = Twin(**QUICK).run(small, seed=0).notes
    assert (notes["auxiliary_rows"], notes["augmented"]) == (60, 53)
    assert "expected 20 or more holdout rows of each class of the forget rows, got 7 of class 0" in notes["warning"]
    assert "53 of 60 auxiliary rows are changed copies of the other 7" in notes["warning"]


def test_no_auxiliary_row_of_the_class():
    problem = problem_of()
    others = np.flatnonzero(problem.holdout.labels.numpy() != 0)
    with pytest.raises(NeedsError, match="expected 60 holdout rows of class 0, got none\nhint: give the problem"):
        Twin().run(replace(problem, holdout=problem.holdout.take(others)), seed=0)


def test_holdout_rows_that_were_trained_on_are_refused():
    problem = problem_of()
    with pytest.raises(ProblemError, match="is in both training and holdout"):
        replace(problem, holdout=problem.rows.take(np.array([0, 1])))


def test_a_twin_that_does_not_learn_is_warned_about():
    notes = Twin(**QUICK, twin_lr=1e-8).run(problem_of(), seed=0).notes
    assert notes["twin_accuracy"] == notes["auxiliary_accuracy"] < notes["twin_aim"]
    assert "the twin did not learn its rows" in notes["warning"]
    assert "raise the twin's epochs or lr" in notes["warning"]


def test_few_forget_rows_are_scaled_as_the_auxiliary_rows():
    problem = problem_of(forget=10)
    assert Twin(**QUICK, ratio_scope="global").run(problem, seed=0).notes["scaler"] == "shared"


class AllConvolutional(nn.Module):
    """No dense layer at all."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.head(self.body(x)).mean((2, 3))


def test_an_architecture_without_a_dense_layer_is_told_what_to_pass(monkeypatch):
    problem, run = problem_of(dropout=True), Run(seed=0, batch_size=32)
    with lent(generator(0, "init")):
        model = AllConvolutional()
    trained = descend(
        model,
        run.epochs("train", problem.rows, np.arange(180), count=5),
        lambda batch: functional.cross_entropy(model(batch.x), batch.y),
        run=run,
        lr=0.1,
    )
    problem, twins, train_twin = replace(problem, original=trained), [], module.twin_model

    def spy(*args, **settings):
        twins.append(train_twin(*args, **settings))
        return twins[-1]

    monkeypatch.setattr(module, "twin_model", spy)
    with pytest.raises(NeedsError, match=r"expected an nn\.Linear to run in AllConvolutional, but none did") as error:
        Twin(**QUICK).run(problem, seed=0)
    assert "--features NAME" in error.value.hint
    assert twins == []  # said before the long work
    unlearned = Twin(**QUICK, features="head").run(problem, seed=0)
    assert len(twins) == 1
    assert predict(unlearned.model, problem.test).isfinite().all()


def test_a_task_without_classes_is_refused():
    with pytest.raises(NeedsError, match="twin: expected a classification task, got regression\nhint: `bad_teacher`"):
        Twin().run(regression_problem(), seed=0)


def test_features_are_chosen_on_the_command_line():
    made = configured(Twin, ["--use", "nearest", "--use", "attack", "--features", "6", "--start", "twin"])
    assert (made.use, made.features, made.start) == (("nearest", "attack"), "6", "twin")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"predictor": "svm"}, r"predictor: expected one of mlp, all_easy, quota, quota_margin, .*, gold, got 'svm'"),
        ({"loss": "kl"}, r"loss: expected one of random_label, neg_grad, got 'kl'"),
        ({"start": "gold"}, r"start: expected one of original, twin, got 'gold'"),
        ({"optimizer": "rms"}, r"optimizer: expected one of sgd, adam, adamw, got 'rms'"),
        ({"twin_optimizer": "rms"}, r"twin_optimizer: expected one of sgd, adam, adamw, got 'rms'"),
        ({"ratio_scope": "row"}, r"ratio_scope: expected one of class, global, got 'row'"),
        ({"curriculum_members": "all"}, r"curriculum_members: expected one of neither, both, got 'all'"),
        ({"scaler": "none"}, r"scaler: expected one of transductive, shared, got 'none'"),
        ({"calibrate": "platt"}, r"calibrate: expected one of none, match_rate, got 'platt'"),
        ({"use": ()}, r"use: expected one or more of nearest, attack, curriculum, none twice, got \(\)"),
        ({"use": ("depth",)}, r"use: expected one or more of .* got \('depth',\)"),
        ({"use": ("attack", "attack")}, r"use: expected one or more of .*, none twice, got \('attack', 'attack'\)"),
        ({"epochs": 0}, r"epochs: expected >= 1, got 0"),
        ({"twin_epochs": 0}, r"twin_epochs: expected >= 1, got 0"),
        ({"neighbours": 0}, r"neighbours: expected >= 1, got 0"),
        ({"curriculum_epochs": 0}, r"curriculum_epochs: expected >= 1, got 0"),
        ({"predictor_epochs": 0}, r"predictor_epochs: expected >= 1, got 0"),
        ({"lr": 0.0}, r"lr: expected > 0, got 0\.0"),
        ({"twin_lr": -1.0}, r"twin_lr: expected > 0, got -1\.0"),
        ({"predictor_lr": 0.0}, r"predictor_lr: expected > 0, got 0\.0"),
        ({"weight_decay": -0.1}, r"weight_decay: expected >= 0, got -0\.1"),
        ({"predictor_weight_decay": -0.1}, r"predictor_weight_decay: expected >= 0, got -0\.1"),
        ({"attack_budget": -0.1}, r"attack_budget: expected >= 0, got -0\.1"),
        ({"attack_steps": -1}, r"attack_steps: expected >= 0, got -1"),
        ({"batch_size": -1}, r"batch_size: expected >= 0, got -1"),
        ({"retain_share": 0.0}, r"retain_share: expected in \(0, 1\], got 0\.0"),
        ({"curriculum_share": 1.5}, r"curriculum_share: expected in \(0, 1\], got 1\.5"),
        ({"momentum": 1.0}, r"momentum: expected in \[0, 1\), got 1\.0"),
        ({"threshold": 1.0}, r"threshold: expected in \(0, 1\), got 1\.0"),
        ({"balanced": 1}, r"balanced: expected true or false, got 1"),
    ],
)
def test_bad_values_name_the_range_and_the_value(wrong, text):
    with pytest.raises(ConfigError, match=text):
        Twin(**wrong)
