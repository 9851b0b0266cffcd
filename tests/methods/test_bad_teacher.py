"""Bad teacher beside its objective. What holds for every method: tests/properties/test_methods.py."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from expunge.data import MemoryRows
from expunge.errors import ConfigError
from expunge.methods.bad_teacher import BadTeacher, share_of
from expunge.seeds import derive
from expunge.training import Run, predict
from tests.methods.regression import regression_problem
from tests.tiny import same_weights, tiny_problem, tiny_recipe


def blank(problem, seed):
    """The network that knows nothing, as the method draws it."""
    return problem.recipe.fresh((6,), derive(seed, "bad teacher")).eval()


def kl(reference, outputs):
    theirs, ours = reference.log_softmax(-1), outputs.log_softmax(-1)
    return (theirs.exp() * (theirs - ours)).sum(-1)  # [rows]


@pytest.fixture
def teachers(monkeypatch):
    """Every model that gave reference outputs, beside what it was at its first call."""
    seen = {}
    outputs = Run.outputs

    def spy(self, model, batch):
        seen.setdefault(id(model), (model, deepcopy(model)))
        assert not any(module.training for module in model.modules())
        return outputs(self, model, batch)

    monkeypatch.setattr(Run, "outputs", spy)
    return seen


def test_teachers_stay_as_they_were_and_share_no_storage(teachers):
    problem = tiny_problem(seed=0, shape=(1, 8, 8), recipe=tiny_recipe(model="allcnn", channels=2, dropout=0.2))
    problem.original.train()  # the mode that the original happens to be in does not matter
    student = BadTeacher(lr=0.05, epochs=2).run(problem, seed=0).model
    assert len(teachers) == 2
    storages = [p.untyped_storage().data_ptr() for p in [*student.parameters(), *problem.original.parameters()]]
    for teacher, before in teachers.values():
        assert same_weights(teacher, before)
        assert not {p.untyped_storage().data_ptr() for p in teacher.parameters()} & set(storages)
    assert sum(same_weights(teacher, problem.original) for teacher, _ in teachers.values()) == 1
    assert not same_weights(student, problem.original)


def test_objective_by_hand():
    problem = tiny_problem(seed=0, batch_size=120)
    first = BadTeacher(retain_share=1.0).run(problem, seed=4).history[0]
    at = problem.forget
    far = kl(predict(blank(problem, 4), problem.rows, at), predict(problem.original, problem.rows, at))
    assert first == pytest.approx(float(far.sum()) / 120, rel=1e-5)  # retain rows begin at distance 0


def test_temperature_softens_both_sides():
    problem = tiny_problem(seed=0, batch_size=120)
    first = BadTeacher(retain_share=1.0, temperature=4.0).run(problem, seed=4).history[0]
    at = problem.forget
    reference = predict(blank(problem, 4), problem.rows, at) / 4
    far = kl(reference, predict(problem.original, problem.rows, at) / 4)
    assert first == pytest.approx(float(far.sum()) / 120, rel=1e-5)


def test_the_student_comes_near_its_teachers():
    problem = tiny_problem(seed=0, forget=40, kind="class")
    student = BadTeacher(lr=0.01, epochs=30, retain_share=1.0).run(problem, seed=0).model
    reference = predict(blank(problem, 0), problem.rows, problem.forget)
    start = kl(reference, predict(problem.original, problem.rows, problem.forget)).mean()
    end = kl(reference, predict(student, problem.rows, problem.forget)).mean()
    assert end < start / 10
    kept = predict(student, problem.rows, problem.retain).argmax(-1)
    assert torch.equal(kept, predict(problem.original, problem.rows, problem.retain).argmax(-1))


def test_cost_counts_both_teachers():
    cost = BadTeacher(epochs=2).run(tiny_problem(seed=0), seed=0).cost
    kept = round(0.3 * 108)
    assert cost.backward == {"mixed": 2 * (12 + kept)}
    assert cost.forward == {"forget": 2 * 12, "retain": 2 * kept}


def test_no_label_is_read():
    problem = tiny_problem(seed=0)
    shuffled = MemoryRows(problem.rows.x, problem.rows.labels.roll(1), ids=problem.rows.ids)
    ours = BadTeacher().run(problem, seed=0).model
    assert same_weights(ours, BadTeacher().run(replace(problem, rows=shuffled), seed=0).model)


def test_regression_follows_squared_distance():
    problem = regression_problem()
    problem = replace(problem, recipe=replace(problem.recipe, batch_size=60))
    first = BadTeacher(retain_share=1.0).run(problem, seed=1).history[0]
    gap = predict(blank(problem, 1), problem.rows) - predict(problem.original, problem.rows)
    assert first == pytest.approx(float(functional.mse_loss(gap[:12], torch.zeros(12, 1), reduction="sum")) / 60)


def test_a_share_is_drawn_without_repeats_and_never_empty():
    at = np.arange(10, 110)
    drawn = share_of(at, 0.3, seed=0)
    assert len(np.unique(drawn)) == 30
    assert set(drawn) <= set(at)
    assert not np.array_equal(drawn, share_of(at, 0.3, seed=1))
    assert len(share_of(at, 0.001, seed=0)) == 1
    assert np.array_equal(share_of(at, 1.0, seed=0), at)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"retain_share": 0.0}, r"retain_share: expected in \(0, 1\], got 0\.0"),
        ({"temperature": 0.0}, r"temperature: expected > 0, got 0\.0"),
        ({"epochs": 0}, r"epochs: expected >= 1, got 0"),
        ({"lr": 0.0}, r"lr: expected > 0, got 0\.0"),
        ({"optimizer": "rms"}, r"optimizer: expected one of sgd, adam, adamw, got 'rms'"),
        ({"weight_decay": -0.1}, r"weight_decay: expected >= 0, got -0\.1"),
    ],
)
def test_bad_values_name_the_range_and_the_value(wrong, text):
    with pytest.raises(ConfigError, match=text):
        BadTeacher(**wrong)
