"""The twin problem, the features of a row and the predictor, each beside its slow form."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import RobustScaler
from torch import nn

from expunge.data import MemoryRows, joined
from expunge.errors import ConfigError, NeedsError, ProblemError
from expunge.methods.twin_features import (
    Attack,
    Probe,
    attack_divergence,
    attack_within,
    attacked,
    curriculum_model,
    nearest,
    nearest_distance,
    penultimate,
)
from expunge.methods.twin_predictor import Fit, easy_probability, held_back, highest, scaled, taught
from expunge.methods.twin_problem import (
    auxiliary_counts,
    auxiliary_rows,
    draw_auxiliary,
    twin_model,
    twin_problem,
)
from expunge.problem import Problem
from expunge.seeds import generator
from expunge.tasks import Classification
from expunge.training import Recipe, Run, fit, predict
from tests.methods.regression import regression_problem
from tests.tiny import same_weights, tiny_problem, tiny_recipe, tiny_rows


def with_auxiliary(problem, *, scope="class", seed=0):
    counts = auxiliary_counts(problem, scope=scope)
    return auxiliary_rows(problem, draw_auxiliary(problem, counts, seed=seed), counts, seed=seed)[0]


def class_rows(sizes, *, prefix):
    """Rows of one number each, `sizes[c]` of class c."""
    y = np.repeat(np.arange(len(sizes)), sizes)
    return MemoryRows(np.linspace(0, 1, len(y))[:, None], y, ids=[f"{prefix}{i}" for i in range(len(y))])


def sized_problem(sizes, forget, *, holdout=(10, 10)):
    """A problem that nobody trained on, for counting."""
    recipe = Recipe(name="sized", model="linear", task=Classification(len(sizes)))
    return Problem(
        recipe=recipe,
        rows=class_rows(sizes, prefix="train"),
        forget=np.asarray(forget),
        holdout=class_rows(holdout, prefix="holdout"),
        test=class_rows((1, 1), prefix="test"),
        original=nn.Linear(1, len(sizes)),
    )


# ---------------------------------------------------------------------------------------------- the twin problem


def test_the_ratio_rule_at_the_papers_size():
    problem = sized_problem((5000,) * 10, np.arange(100))
    assert auxiliary_counts(problem, scope="class") == {0: 102}
    assert auxiliary_counts(problem, scope="global") == {0: 100}


def test_the_ratio_holds_in_each_class():
    problem = sized_problem((10, 20), [0, 1, 10, 11, 12, 13, 14])
    assert auxiliary_counts(problem, scope="class") == {0: round(10 * 2 / 8), 1: round(20 * 5 / 15)}
    assert auxiliary_counts(problem, scope="global") == {0: round(30 * 2 / 23), 1: round(30 * 5 / 23)}


def test_a_task_without_classes_is_one_group():
    problem = regression_problem()
    assert auxiliary_counts(problem, scope="class") == {0: round(60 * 12 / 48)}
    assert len(with_auxiliary(problem)) == 15


@pytest.mark.parametrize("scope", ["class", "global"])
def test_a_whole_class_is_refused(scope):
    problem = sized_problem((10, 20), [*range(10), 15])
    with pytest.raises(NeedsError, match=r"all 10 rows of class 0 are to be forgotten.*no gold") as error:
        auxiliary_counts(problem, scope=scope)
    assert "class:C:N" in error.value.hint


def test_an_unknown_scope_is_refused():
    with pytest.raises(ConfigError, match=r"scope: expected one of class, global, got 'row'"):
        auxiliary_counts(sized_problem((10, 20), [0]), scope="row")


def test_more_rows_than_needed_give_a_random_subset():
    problem = tiny_problem(seed=0)
    drawn = draw_auxiliary(problem, {0: 12}, seed=0)
    assert len(np.unique(drawn)) == 12
    assert (np.diff(drawn) > 0).all()
    assert set(problem.holdout.labels[drawn].tolist()) == {0}
    assert np.array_equal(drawn, draw_auxiliary(problem, {0: 12}, seed=0))
    assert not np.array_equal(drawn, draw_auxiliary(problem, {0: 12}, seed=1))


def test_a_second_draw_avoids_the_first():
    problem = tiny_problem(seed=0)  # 20 holdout rows a class
    first = draw_auxiliary(problem, {0: 12, 1: 3}, seed=0)
    second = draw_auxiliary(problem, {0: 12, 1: 3}, seed=1, avoid=first)
    assert not set(first) & set(second)
    assert len(second) == 8 + 3
    with pytest.raises(NeedsError, match="expected 2 holdout rows of class 0, got none beside the 60 that are taken"):
        draw_auxiliary(problem, {0: 2}, seed=2, avoid=np.arange(60))


def test_a_class_that_holdout_lacks_is_named():
    problem = sized_problem((10, 20), [0, 1], holdout=(0, 5))
    problem.rows.classes = ("cat", "dog")
    with pytest.raises(NeedsError, match="expected 2 holdout rows of class cat, got none\nhint: give the problem"):
        draw_auxiliary(problem, {0: 2}, seed=0)


def test_too_few_rows_are_filled_up_by_jittered_copies():
    problem = tiny_problem(seed=0)
    drawn = draw_auxiliary(problem, {0: 50, 1: 4}, seed=0)
    rows, copies = auxiliary_rows(problem, drawn, {0: 50, 1: 4}, seed=0)
    real = problem.holdout.take(drawn)
    assert copies == 30
    assert rows.labels.tolist().count(0) == 50
    assert rows.labels.tolist().count(1) == 4
    assert rows.ids[:24] == real.ids
    assert torch.equal(rows.x[:24], real.x)
    sources = [real.ids.index(row_id.partition("~")[0]) for row_id in rows.ids[24:]]
    assert set(np.bincount(sources, minlength=24)[(real.labels == 0).numpy()]) == {1, 2}  # each as often, up to one
    noise = (rows.x[24:] - real.x[sources]) / real.x.std(0, correction=0)
    assert float(noise.std()) == pytest.approx(0.05, rel=0.2)  # 180 draws: a standard error of 5 %
    again, _ = auxiliary_rows(problem, drawn, {0: 50, 1: 4}, seed=0)
    assert torch.equal(again.x, rows.x)
    other, _ = auxiliary_rows(problem, drawn, {0: 50, 1: 4}, seed=1)
    assert not torch.equal(other.x, rows.x)


def test_copies_go_through_the_recipes_augmentation():
    recipe = replace(tiny_recipe(model="cnn", widths=(2,), hidden=4, epochs=1), augmentation=("flip",))
    problem = tiny_problem(seed=0, shape=(1, 8, 8), recipe=recipe)
    rows, copies = auxiliary_rows(problem, np.array([0, 3, 6]), {0: 40}, seed=0)
    assert copies == 37
    flipped = 0
    for row_id, x in zip(rows.ids[3:], rows.x[3:], strict=True):
        source = rows.x[rows.ids.index(row_id.partition("~")[0])]
        assert torch.equal(x, source) or torch.equal(x, source.flip(-1))
        flipped += torch.equal(x, source.flip(-1))
    assert 8 < flipped < 29  # of 37 fair coins: three standard deviations


def test_copies_of_a_single_row_stay_as_they_are_under_ids_of_their_own():
    problem = sized_problem((10, 20), [0, 1, 2], holdout=(1, 5))
    rows, copies = auxiliary_rows(problem, np.array([0]), {0: 4}, seed=0)
    assert copies == 3
    assert len(set(rows.ids)) == 4
    assert len(rows.x.unique()) == 1


def test_copies_keep_the_subject_of_their_source():
    problem = sized_problem((10, 20), [0, 1, 2], holdout=(2, 5))
    subjects = [f"person {i % 2}" for i in range(7)]
    holdout = MemoryRows(problem.holdout.x, problem.holdout.labels, ids=problem.holdout.ids, subjects=subjects)
    rows, _ = auxiliary_rows(replace(problem, holdout=holdout), np.array([0, 1]), {0: 6}, seed=0)
    for row_id, subject in zip(rows.ids, rows.subjects, strict=True):
        assert subject == subjects[int(row_id.partition("~")[0].removeprefix("holdout"))]


def test_the_twin_learns_its_rows_and_stops_at_the_first_epoch_that_suffices():
    problem = tiny_problem(seed=2)  # the original gets one of these auxiliary rows wrong
    auxiliary, before = with_auxiliary(problem), deepcopy(problem.original)
    run = Run(seed=0, batch_size=32)
    twin, notes = twin_model(problem, auxiliary, run, epochs=90, lr=0.003)
    aim = float((predict(problem.original, problem.rows, problem.forget).argmax(-1) == 0).float().mean())
    reached = float((predict(twin, auxiliary).argmax(-1) == 0).float().mean())
    assert notes == {"twin_aim": aim, "twin_accuracy": reached, "twin_epochs": notes["twin_epochs"]}
    assert reached >= aim
    assert 1 < notes["twin_epochs"] < 90
    fewer = notes["twin_epochs"] - 1
    earlier, short = twin_model(problem, auxiliary, Run(seed=0, batch_size=32), epochs=fewer, lr=0.003)
    assert short["twin_accuracy"] < aim
    assert f"got {short['twin_accuracy']:.3f} after {fewer} epochs, so the analogy is poor" in short["warning"]
    assert not same_weights(earlier, twin)
    assert same_weights(problem.original, before)
    cost, size = run.meter.cost(), len(problem.rows) + len(auxiliary)
    assert cost.backward == {"twin": notes["twin_epochs"] * size}
    assert cost.forward == {"forget": 12, "auxiliary": notes["twin_epochs"] * len(auxiliary)}


def test_a_twin_trains_for_one_epoch_at_least():
    problem = tiny_problem(seed=0)  # the original gets every auxiliary row right
    twin, notes = twin_model(problem, with_auxiliary(problem), Run(seed=0, batch_size=32), epochs=5, lr=0.01)
    assert notes["twin_epochs"] == 1
    assert not same_weights(twin, problem.original)


def test_the_twin_is_the_original_trained_further():
    problem = tiny_problem(seed=0)
    auxiliary, plain = with_auxiliary(problem), {"optimizer": "sgd", "momentum": 0.0, "batch_size": 200}
    ours, _ = twin_model(problem, auxiliary, Run(seed=0), epochs=1, lr=0.1, **plain)
    model, (x, y) = deepcopy(problem.original), joined(problem.rows, auxiliary).batch(np.arange(137))
    nn.functional.cross_entropy(model(x), y).backward()
    for name, p in model.named_parameters():
        assert torch.allclose(ours.state_dict()[name], p - 0.1 * p.grad, atol=1e-6)


def test_the_twin_problem_asks_to_remove_what_the_twin_has_learnt():
    problem = tiny_problem(seed=0, kind="class")
    auxiliary = with_auxiliary(problem)
    twin, _ = twin_model(problem, auxiliary, Run(seed=0), epochs=1, lr=0.01)
    ours = twin_problem(problem, auxiliary, twin)
    assert [ours.rows.ids[i] for i in ours.forget] == list(auxiliary.ids)
    assert [ours.rows.ids[i] for i in ours.retain] == list(problem.rows.ids)
    assert set(ours.holdout.ids) == set(problem.holdout.ids) - set(auxiliary.ids)
    assert ours.test is problem.test
    assert ours.original is twin
    assert ours.kind == "class"
    parts = [set(ours.rows.ids), set(ours.holdout.ids), set(ours.test.ids)]
    assert len(set.union(*parts)) == sum(map(len, parts))  # pairwise disjoint


def test_copies_leave_no_row_of_their_class_in_holdout():
    problem = tiny_problem(seed=0, forget=30)
    auxiliary = with_auxiliary(problem)
    left = twin_problem(problem, auxiliary, problem.original).holdout
    assert len(auxiliary) == 120
    assert 0 not in left.labels
    assert len(left) == 40


def test_auxiliary_rows_that_were_trained_on_or_are_tested_on_are_refused():
    problem = tiny_problem(seed=0)
    with pytest.raises(ProblemError, match="twice"):
        twin_problem(problem, problem.rows.take(np.array([0])), problem.original)
    with pytest.raises(ProblemError, match="is in both training and test"):
        twin_problem(problem, problem.test.take(np.array([0])), problem.original)


def test_a_twin_problem_without_unseen_rows_is_refused():
    problem = tiny_problem(seed=0)
    with pytest.raises(NeedsError, match="all 60 holdout rows became auxiliary rows"):
        twin_problem(problem, problem.holdout, problem.original)


# ------------------------------------------------------------------------------------------------- the features


class Backwards(nn.Module):
    """Registers its classifier first, and runs it last, by keyword."""

    def __init__(self):
        super().__init__()
        self.classifier, self.body, self.spare = nn.Linear(4, 3), nn.Linear(6, 4), nn.Linear(6, 3)

    def forward(self, x):
        return self.classifier(input=self.body(x).relu())


def convolutional():
    """A classifier without any dense layer."""
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def features_of(model, rows, *, features="", batch_size=7):
    return penultimate(model, rows, np.arange(len(rows)), Run(0, batch_size), role="forget", features=features)


def test_features_go_into_the_last_dense_layer():
    rows = tiny_rows(20, seed=0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    assert torch.allclose(features_of(model, rows), model[:2](rows.x).detach(), atol=1e-6)
    assert torch.allclose(features_of(model, rows), features_of(model, rows, batch_size=20), atol=1e-6)


def test_the_last_dense_layer_is_the_last_that_runs():
    rows, model = tiny_rows(20, seed=0), Backwards()
    assert torch.allclose(features_of(model, rows), model.body(rows.x).relu().detach(), atol=1e-6)


def test_features_of_a_transformer():
    recipe = Recipe(name="tiny-vit", model="vit", arguments={"size": 8, "depth": 1, "heads": 2}, task=Classification(3))
    rows, model = tiny_rows(9, seed=0, shape=(1, 8, 8)), recipe.fresh((1, 8, 8), seed=0)
    assert torch.allclose(features_of(model, rows), model[:-1](rows.x).detach(), atol=1e-6)


def test_features_are_those_of_evaluation_mode_and_the_model_is_left_alone():
    rows = tiny_rows(20, seed=0)
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3)).train()
    model[1].eval()
    before, modes = deepcopy(model), [m.training for m in model.modules()]
    ours = features_of(model, rows)
    assert [m.training for m in model.modules()] == modes
    assert same_weights(model, before)
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert torch.allclose(ours, model.eval()[:3](rows.x).detach(), atol=1e-6)


def test_without_a_dense_layer_the_error_says_what_to_pass():
    rows, model = tiny_rows(9, seed=0, shape=(1, 8, 8)), convolutional().train()
    with pytest.raises(NeedsError, match=r"expected an nn\.Linear to run in Sequential, but none did") as error:
        features_of(model, rows)
    assert 'features="NAME" (--features NAME) takes the input of a submodule' in error.value.hint
    assert model.training
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert torch.allclose(features_of(model, rows, features="2"), model(rows.x).detach(), atol=1e-6)


def test_a_submodule_that_does_not_serve_is_refused():
    rows, model = tiny_rows(9, seed=0), Backwards()
    with pytest.raises(ConfigError, match="unknown submodule 'clasifier'\nhint: did you mean classifier"):
        features_of(model, rows, features="clasifier")
    with pytest.raises(NeedsError, match="expected the submodule 'spare' to run in Backwards, but none did"):
        features_of(model, rows, features="spare")
    tokens = nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (-1, 6)), nn.Unflatten(1, (2, 3)), nn.Flatten(0, 1))
    with pytest.raises(NeedsError, match=r"expected the input of an nn.Linear to be \[9, ...\], got \[18, 3\]"):
        features_of(nn.Sequential(tokens, nn.Linear(3, 3)), rows, batch_size=9)


def test_nearest_is_the_mean_of_the_smallest_distances():
    draw = torch.Generator().manual_seed(0)
    points, references = torch.randn(20, 4, generator=draw), torch.randn(13, 4, generator=draw)
    slow = []
    for point in points:
        gaps = sorted(float((point / point.norm() - other / other.norm()).norm()) for other in references)
        slow.append(sum(gaps[:5]) / 5)
    assert nearest(points, references, 5).tolist() == pytest.approx(slow, abs=1e-6)
    assert torch.allclose(nearest(points, references, 5), nearest(points, references, 5, chunk=3), atol=1e-6)
    few = [np.mean([float((p / p.norm() - o / o.norm()).norm()) for o in references[:2]]) for p in points]
    assert nearest(points, references[:2], 5).tolist() == pytest.approx(few, abs=1e-6)


def test_each_row_is_compared_with_retain_rows_of_its_class_under_the_same_model():
    problem = replace(tiny_problem(seed=0), forget=np.arange(30))
    model = fit(problem.recipe, problem.rows, seed=9).model
    gone, run = problem.rows.take(problem.forget), Run(0, 16)
    ours = nearest_distance(model, gone, problem, run, role="forget", neighbours=3)
    phi = nn.functional.normalize(model[:-1](problem.rows.x), dim=1).detach()
    for i in range(30):
        same = [j for j in problem.retain if problem.rows.labels[j] == problem.rows.labels[i]]
        gaps = sorted(float((phi[i] - phi[j]).norm()) for j in same)
        assert float(ours[i]) == pytest.approx(sum(gaps[:3]) / 3, abs=1e-5)
    assert run.meter.cost().forward == {"forget": 30, "retain": 90}


def test_the_range_is_that_of_each_channel_or_column():
    images = MemoryRows(torch.arange(48.0).reshape(3, 2, 2, 4), torch.zeros(3, dtype=torch.int64))
    found = attack_within(images, budget=0.1, steps=5, chunk=2)
    assert found.low.tolist() == [[[0]], [[8]]]
    assert found.high.tolist() == [[[39]], [[47]]]
    table = MemoryRows(torch.tensor([[0.0, 5.0], [1.0, 9.0]]), torch.zeros(2, dtype=torch.int64))
    found = attack_within(table, budget=0.1, steps=5)
    assert (found.low.tolist(), found.high.tolist()) == ([0, 5], [1, 9])


def test_the_attack_by_hand():
    draw, task = torch.Generator().manual_seed(1), Classification(3)
    model, x = nn.Linear(6, 3), torch.rand(5, 6, generator=draw)
    attack = Attack(torch.zeros(6), torch.ones(6), 0.2, 4)
    with torch.no_grad():
        weight, clean = model.weight, model(x)
        start = torch.rand(x.shape, generator=generator(0, "attack"))
        moved = torch.minimum(torch.maximum(x + 0.2 * (2 * start - 1), (x - 0.2).clamp(min=0)), (x + 0.2).clamp(max=1))
        for _ in range(4):
            slope = (model(moved).softmax(-1) - clean.softmax(-1)) @ weight  # of the cross-entropy, for a linear model
            moved = torch.minimum(
                torch.maximum(moved + 0.2 / 3 * slope.sign(), (x - 0.2).clamp(min=0)), (x + 0.2).clamp(max=1)
            )
    ours = attacked(model, x, clean, task, attack, generator(0, "attack"))
    assert torch.allclose(ours, moved, atol=1e-6)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("budget", [0.0, 0.05, 0.5])
def test_an_attack_keeps_to_its_budget_and_to_the_range(budget):
    problem = tiny_problem(seed=0)
    attack = attack_within(problem.rows, budget=budget, steps=5)
    x = problem.holdout.x.clone()
    x[0], x[1] = attack.high + 3.0, attack.low - 3.0  # outside the range already: may stay, but go no further out
    clean = problem.original(x).detach()
    moved = attacked(problem.original, x, clean, problem.recipe.task, attack, generator(0, "attack"))
    reach = budget * (attack.high - attack.low)
    assert bool(((moved - x).abs() <= reach + 1e-6).all())
    assert bool((moved <= torch.maximum(x, attack.high)).all())
    assert bool((moved >= torch.minimum(x, attack.low)).all())
    assert torch.equal(moved, x) is (budget == 0)
    assert budget == 0 or float(((moved[1] - x[1]) / reach).min()) < 0.9


def test_the_cross_entropy_is_at_least_the_entropy_and_grows_with_the_attack():
    problem, found = tiny_problem(seed=0), {}
    logs = predict(problem.original, problem.holdout).log_softmax(-1)
    entropy = -(logs.exp() * logs).sum(-1)
    for budget, steps in ((0.0, 5), (0.05, 0), (0.05, 5), (0.2, 5)):
        attack, run = attack_within(problem.rows, budget=budget, steps=steps), Run(0, 16)
        found[budget, steps] = attack_divergence(
            problem.original,
            problem.holdout,
            problem.recipe.task,
            attack,
            run,
            role="holdout",
            source=generator(0, "attack"),
        )
        cost = run.meter.cost()
        assert cost.forward == {"holdout": 120}
        assert cost.backward.get("holdout", 0) == steps * 60
        assert bool((found[budget, steps] >= entropy - 1e-5).all())
    assert torch.allclose(found[0.0, 5], entropy, atol=1e-5)
    gain = [float((value - entropy).mean()) for value in found.values()]
    assert gain == sorted(gain)
    assert gain[2] > 2 * gain[1] > 0  # the climb is more than its random start


def test_a_model_in_training_mode_is_attacked_in_evaluation_mode():
    problem = tiny_problem(seed=0, shape=(1, 8, 8), recipe=tiny_recipe(model="allcnn", channels=2, dropout=0.5))
    attack, scores = attack_within(problem.rows, budget=0.05, steps=2), []
    for training in (True, False):
        model = deepcopy(problem.original).train(training)
        scores.append(
            attack_divergence(
                model,
                problem.holdout,
                problem.recipe.task,
                attack,
                Run(0, 16),
                role="x",
                source=generator(0, "attack"),
            )
        )
        assert model.training is training
        assert same_weights(model, problem.original)
    assert torch.equal(*scores)


class Rounded(nn.Module):
    """A model that answers by rounded inputs."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x):
        with torch.no_grad():
            return self.linear(x.round())


def test_outputs_without_a_gradient_in_the_inputs_are_refused():
    problem = tiny_problem(seed=0)
    attack, x = attack_within(problem.rows, budget=0.1, steps=1), problem.rows.x
    with pytest.raises(NeedsError, match="outputs with a gradient in the inputs, Rounded gives none\nhint: leave"):
        attacked(Rounded(), x, torch.zeros(120, 3), Classification(3), attack, generator(0, "attack"))


def fresh_network(problem, auxiliary, members="neither"):
    return curriculum_model(problem, auxiliary, Run(0, 32), epochs=2, share=0.3, members=members)


def test_the_fresh_network_sees_neither_forget_nor_auxiliary_rows():
    problem = tiny_problem(seed=0)
    auxiliary, x = with_auxiliary(problem), problem.rows.x.clone()
    x[problem.forget] += 5.0
    changed = replace(problem, rows=MemoryRows(x, problem.rows.labels, ids=problem.rows.ids))
    moved = MemoryRows(auxiliary.x + 5.0, auxiliary.labels, ids=auxiliary.ids)
    base = fresh_network(problem, auxiliary)
    assert same_weights(base, fresh_network(changed, auxiliary))
    assert same_weights(base, fresh_network(problem, moved))
    both = fresh_network(problem, auxiliary, "both")
    assert not same_weights(both, fresh_network(changed, auxiliary, "both"))
    assert not same_weights(both, fresh_network(problem, moved, "both"))


@pytest.mark.parametrize(("members", "rows"), [("neither", 32), ("both", 32 + 12 + 17)])
def test_the_fresh_network_sees_a_share_of_retain(members, rows):
    problem, run = tiny_problem(seed=0), Run(0, 32)
    curriculum_model(problem, with_auxiliary(problem), run, epochs=2, share=0.3, members=members)
    assert run.meter.cost().backward == {"curriculum": 2 * rows}


def test_only_the_features_that_are_used_are_computed():
    problem = tiny_problem(seed=0)
    auxiliary, gone = with_auxiliary(problem), problem.rows.take(problem.forget)
    settings = {
        "features": "",
        "neighbours": 5,
        "attack_budget": 0.05,
        "attack_steps": 3,
        "curriculum_epochs": 1,
        "curriculum_share": 0.5,
        "curriculum_members": "neither",
    }
    costs, tables = {}, {}
    for use in ("nearest", "attack", "curriculum", "all"):
        run, names = Run(0, 32), ("nearest", "attack", "curriculum") if use == "all" else (use,)
        probe = Probe(problem=problem, auxiliary=auxiliary, run=run, use=names, **settings)
        tables[use] = probe.table(problem.original, gone, "forget")
        costs[use] = run.meter.cost()
    assert torch.equal(torch.cat([tables[name] for name in ("nearest", "attack", "curriculum")], 1), tables["all"])
    assert tables["all"].shape == (12, 3)
    assert costs["nearest"].backward == {}
    assert costs["attack"].backward == {"forget": 36}
    assert costs["curriculum"].backward == {"curriculum": 54}
    assert costs["curriculum"].forward == {"forget": 12}


# ------------------------------------------------------------------------------------------------ the predictor


def separable(rows, seed, *, hard=0.2):
    """Features of which the first two tell the hard rows, on scales far apart."""
    draw = torch.Generator().manual_seed(seed)
    easy = (torch.rand(rows, generator=draw) > hard).float()
    x = torch.randn(rows, 3, generator=draw)
    x[:, 0] = 1e3 * (x[:, 0] - 3 * easy)
    x[:, 1] = torch.exp(2 * x[:, 1] - 4 * easy)
    return x, easy


def probability(*, seed=0, scaler="transductive", rows=100, asked=300, **changes):
    known, easy = separable(rows, seed)
    unknown, answers = separable(asked, seed + 1000)
    return easy_probability(known, easy, unknown, scaler=scaler, fit=Fit(**changes), seed=seed), answers


@pytest.mark.parametrize("scaler", ["transductive", "shared"])
@pytest.mark.parametrize("seed", range(3))
def test_separable_rows_are_told_apart(seed, scaler):
    ours, answers = probability(seed=seed, scaler=scaler)
    assert roc_auc_score(answers, ours) > 0.95
    assert bool(((ours >= 0) & (ours <= 1)).all())


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_valued_labels_need_no_network(value):
    ours = easy_probability(
        torch.zeros(5, 3), torch.full((5,), value), torch.zeros(4, 3), scaler="shared", fit=Fit(), seed=0
    )
    assert ours.tolist() == [value] * 4


def test_the_same_seed_gives_the_same_answers():
    assert torch.equal(probability(seed=3)[0], probability(seed=3)[0])
    known, easy = separable(100, 0)
    first, second = (easy_probability(known, easy, known, scaler="shared", fit=Fit(), seed=s) for s in (0, 1))
    assert not torch.equal(first, second)


def test_the_network_is_that_of_the_best_epoch_on_the_rows_held_back():
    known, easy = separable(100, 0, hard=0.4)
    blurred = known + 1e3 * torch.randn(known.shape, generator=torch.Generator().manual_seed(5))
    known = scaled(blurred, known, "shared")[0]
    aside = held_back(easy, 0)
    losses = []
    for epochs in (1, 5, 20, 60, 200):
        network = taught(known, easy, Fit(epochs=epochs, lr=0.1), 0)
        with torch.no_grad():
            outputs = network(known[aside]).squeeze(1)
        losses.append(float(nn.functional.binary_cross_entropy_with_logits(outputs, easy[aside])))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == losses[-2] < losses[0]  # later epochs fit the others alone, and are not taken


def test_a_fifth_of_either_label_is_held_back_and_none_of_few_rows():
    easy = torch.tensor([1.0] * 20 + [0.0] * 10)
    for seed in range(5):
        assert sorted(easy[held_back(easy, seed)].tolist()) == [0.0] * 2 + [1.0] * 4
    assert len(held_back(easy[5:24], 0)) == 0
    assert 29 not in held_back(torch.tensor([1.0] * 29 + [0.0]), 0)  # the only hard row is learnt from


def test_features_are_scaled_by_median_and_quartiles():
    draw = torch.Generator().manual_seed(0)
    known, asked = torch.randn(50, 2, generator=draw), 3 * torch.randn(40, 2, generator=draw) + 7
    known[:, 1] = 4.0  # tells nothing, and divides by nothing
    known[0, 0] = 1e6

    def by_library(table, by):
        return RobustScaler().fit(by.numpy()).transform(table.numpy()).clip(-5, 5)

    ours, theirs = scaled(known, asked, "transductive")
    assert ours.numpy() == pytest.approx(by_library(known, known), abs=1e-5)
    assert theirs.numpy() == pytest.approx(by_library(asked, asked), abs=1e-5)
    assert float(ours[0, 0]) == 5
    shared = by_library(asked, known)
    assert scaled(known, asked, "shared")[1].numpy() == pytest.approx(shared, abs=1e-5)
    assert scaled(known, asked[:19], "transductive")[1].numpy() == pytest.approx(shared[:19], abs=1e-5)


def test_balanced_weights_bring_out_the_hard_rows():
    draw = torch.Generator().manual_seed(0)
    easy = (torch.rand(200, generator=draw) > 0.1).float()
    features = torch.randn(200, 1, generator=draw) + easy[:, None]
    plain, balanced = (
        easy_probability(features, easy, features, scaler="shared", fit=Fit(balanced=balanced), seed=0)
        for balanced in (False, True)
    )
    assert float((plain < 0.5).float().mean()) < 0.05
    assert float((balanced < 0.5).float().mean()) > 0.2


def test_the_highest_scores_ties_to_the_earlier():
    assert highest(torch.tensor([1.0, 3.0, 3.0, 3.0]), 2).tolist() == [False, True, True, False]
    assert highest(torch.tensor([1.0, 3.0]), 0).tolist() == [False, False]
    assert highest(torch.tensor([1.0, 3.0]), 2).tolist() == [True, True]
