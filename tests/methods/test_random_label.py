"""Random labelling beside its objective. What holds for every method: tests/properties/test_methods.py."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.nn import functional

from expunge.errors import ConfigError, NeedsError
from expunge.methods.random_label import RandomLabel
from expunge.methods.relabel import draw, label_stream, relabelled
from expunge.seeds import generator
from expunge.training import Run, predict
from tests.methods.regression import regression_problem
from tests.tiny import tiny_problem


def planned(problem, **changes):
    settings = {"epochs": 2, "order": "mixed", "redraw": "once", "exclude_true": True, **changes}
    return label_stream(problem, Run(seed=5, batch_size=32), **settings)


def labels_by_epoch(problem, **changes):
    """The labels of the forget rows in each of two forget-only epochs, by position."""
    stream = planned(problem, order="forget", **changes)
    epochs = [{}, {}]
    for step, (batch,) in enumerate(stream.load("cpu")):
        epochs[step * 2 // len(stream)] |= dict(zip(batch.indices.tolist(), batch.y.tolist(), strict=True))
    return epochs


def test_the_true_label_is_never_drawn_and_every_other_one_is_as_often():
    y = torch.arange(4000) % 4
    drawn = draw(y, 4, generator(0, "test"), exclude_true=True)
    assert not bool((drawn == y).any())
    share = ((drawn - y) % 4).bincount(minlength=4) / 4000
    assert share[1:].tolist() == pytest.approx([1 / 3] * 3, abs=0.04)  # four standard deviations: 0.03


def test_the_true_label_may_be_drawn_where_allowed():
    y = torch.arange(4000) % 4
    drawn = draw(y, 4, generator(0, "test"), exclude_true=False)
    assert float((drawn == y).float().mean()) == pytest.approx(1 / 4, abs=0.03)


def test_labels_of_retain_and_the_rows_themselves_are_untouched():
    problem = tiny_problem(seed=0)
    before = problem.rows.labels.clone()
    rows = relabelled(problem, 0, 0, exclude_true=True)
    assert torch.equal(problem.rows.labels, before)
    x, y = rows.batch(np.arange(len(rows)))
    assert torch.equal(x, problem.rows.batch(np.arange(len(rows)))[0])
    assert np.flatnonzero((y != before).numpy()).tolist() == problem.forget.tolist()
    kept = rows.take(problem.forget)
    assert torch.equal(kept.labels, y[torch.as_tensor(problem.forget)])


def test_redraw_as_declared():
    problem = tiny_problem(seed=0, forget=40)
    first, second = labels_by_epoch(problem, redraw="once")
    assert first == second
    first, second = labels_by_epoch(problem, redraw="epoch")
    assert first.keys() == second.keys()
    assert first != second


def test_mixed_meets_every_row_once_an_epoch():
    problem = tiny_problem(seed=0)
    stream = planned(problem, epochs=1)
    met = np.concatenate([draw.indices for (draw,) in stream.steps])
    assert {draw.role for (draw,) in stream.steps} == {"mixed"}
    assert np.sort(met).tolist() == list(range(120))


def test_alternate_is_a_forget_epoch_and_then_a_retain_epoch():
    problem = tiny_problem(seed=0)
    roles = [draw.role for (draw,) in planned(problem, order="alternate").steps]
    assert roles == (["forget"] + ["retain"] * 4) * 2


@pytest.mark.parametrize("order", ["mixed", "alternate", "forget"])
def test_each_epoch_has_its_own_order(order):
    steps = planned(tiny_problem(seed=0), order=order).steps
    first, second = steps[: len(steps) // 2], steps[len(steps) // 2 :]
    for (one,), (other,) in zip(first, second, strict=True):
        assert not np.array_equal(one.indices, other.indices)


def test_forget_alone_never_visits_retain():
    problem = tiny_problem(seed=0)
    cost = RandomLabel(order="forget", epochs=3).run(problem, seed=0).cost
    assert cost.backward == {"forget": 3 * 12}


def test_one_step_by_hand():
    problem = tiny_problem(seed=0)
    method = RandomLabel(order="forget", epochs=1, optimizer="sgd", lr=0.1, momentum=0.0)
    ours = method.run(problem, seed=3).model
    rows = relabelled(problem, 3, 0, exclude_true=True)
    model = deepcopy(problem.original)
    x, y = rows.batch(problem.forget)
    functional.cross_entropy(model(x), y).backward()
    for name, p in model.named_parameters():
        assert torch.allclose(ours.state_dict()[name], p - 0.1 * p.grad, atol=1e-7)


def test_it_teaches_the_wrong_labels():
    problem = tiny_problem(seed=0, forget=40, kind="class")
    model = RandomLabel(optimizer="sgd", lr=0.1, epochs=5).run(problem, seed=0).model
    gone = predict(model, problem.rows, problem.forget).argmax(-1)
    kept = predict(model, problem.rows, problem.retain).argmax(-1)
    assert float((gone == 0).float().mean()) < 0.1
    assert float((kept == problem.rows.labels[torch.as_tensor(problem.retain)]).float().mean()) > 0.9


def test_a_task_without_classes_is_refused():
    with pytest.raises(NeedsError, match="random labels: expected a classification task, got regression\nhint"):
        RandomLabel().run(regression_problem(), seed=0)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"order": "random"}, r"order: expected one of mixed, alternate, forget, got 'random'"),
        ({"redraw": "batch"}, r"redraw: expected one of once, epoch, got 'batch'"),
        ({"exclude_true": 2}, r"exclude_true: expected true or false, got 2"),
        ({"epochs": 0}, r"epochs: expected >= 1, got 0"),
        ({"lr": -1.0}, r"lr: expected > 0, got -1\.0"),
        ({"optimizer": "rms"}, r"optimizer: expected one of sgd, adam, adamw, got 'rms'"),
        ({"momentum": 1.5}, r"momentum: expected in \[0, 1\), got 1\.5"),
        ({"weight_decay": -0.1}, r"weight_decay: expected >= 0, got -0\.1"),
    ],
)
def test_bad_values_name_the_range_and_the_value(wrong, text):
    with pytest.raises(ConfigError, match=text):
        RandomLabel(**wrong)
