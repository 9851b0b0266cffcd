"""The ledger beside gradients of single rows, Shapley values by enumeration, explicit Hessians and plain training."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.func import functional_call, hessian, jvp
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from expunge.attribution import ESTIMATORS, Source
from expunge.attribution.in_run import InRun, in_run, largest_difference
from expunge.attribution.ledger import step_sizes
from expunge.data import MemoryRows
from expunge.errors import ConfigError, NeedsError, ProblemError, ShapeError
from expunge.problem import Problem
from expunge.seeds import generator, lent
from expunge.tasks import Classification, Regression
from expunge.training import Run, fit, predict
from expunge.training.optim import rate
from tests.tiny import same_weights, tiny_recipe, tiny_rows

MLP = replace(tiny_recipe(epochs=3, batch_size=16), momentum=0.0, weight_decay=0.01)
CNN = replace(tiny_recipe(epochs=2, batch_size=16, model="cnn", widths=[3, 4], hidden=6), momentum=0.0)
PICTURE = (1, 8, 8)
ROWS, PROBES = tiny_rows(50, seed=0), tiny_rows(5, seed=1)
PICTURES, SEEN = tiny_rows(40, seed=0, shape=PICTURE), tiny_rows(4, seed=1, shape=PICTURE)
CASES = [(MLP, ROWS, PROBES), (CNN, PICTURES, SEEN)]


def apart(ours, theirs):
    """Largest difference, relative to the largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def one_step(recipe, rows, **settings):
    """The recipe of a single step on all rows at once."""
    return replace(recipe, epochs=1, batch_size=len(rows), schedule="constant", **settings)


def measure(recipe, model, x, y, of="margin"):
    outputs = model(x)
    return recipe.task.margin(outputs, y) if of == "margin" else -recipe.task.loss(outputs, y)


def gradients(model, values):
    """`[rows, p]`, one backward pass a row."""
    parameters = list(model.parameters())
    return torch.stack(
        [parameters_to_vector(torch.autograd.grad(value, parameters, retain_graph=True)) for value in values]
    )


def walk(recipe, rows, indices, probes, seed, of="margin"):
    """Every step of training by gradients of single rows: positions, step size, theirs `[n, p]`, probes' `[v, p]`."""
    model = recipe.fresh(tuple(rows.x.shape[1:]), seed)
    run = Run(seed, recipe.batch_size)
    stream = run.epochs("train", rows, indices, count=recipe.epochs, batch_size=recipe.batch_size)
    speed = 0.0
    for step, (draw,) in enumerate(stream.steps):
        lr = recipe.lr * rate(recipe.schedule, step, len(stream))
        x, y = rows.batch(draw.indices)
        ours = gradients(model, recipe.task.loss(model(x), y) / len(y))
        theirs = gradients(model, measure(recipe, model, probes.x, probes.labels, of))
        yield draw.indices, lr, ours, theirs
        with torch.no_grad():
            weights = parameters_to_vector(model.parameters())
            speed = recipe.momentum * speed + ours.sum(0) + recipe.weight_decay * weights
            vector_to_parameters(weights - lr * speed, model.parameters())


def row_by_row(recipe, rows, indices, probes, seed, of="margin"):
    values = np.zeros((len(rows), len(probes)))
    for at, lr, ours, theirs in walk(recipe, rows, indices, probes, seed, of):
        values[at] -= lr * (ours.double() @ theirs.double().T).numpy()
    return values


@pytest.mark.parametrize("of", ["margin", "loss"])
@pytest.mark.parametrize(("recipe", "rows", "probes"), CASES, ids=["mlp", "cnn"])
def test_a_whole_training_equals_gradients_of_single_rows(recipe, rows, probes, of):
    chosen = np.arange(3, len(rows))
    ledger = in_run(recipe, rows, probes, seed=4, of=of, indices=chosen)
    assert apart(ledger.values, row_by_row(recipe, rows, chosen, probes, 4, of)) < 1e-5
    assert ledger.values.shape == (len(rows), len(probes))
    assert ledger.values.dtype == np.float32
    assert not ledger.values[:3].any(), "rows that are not trained on do nothing"
    assert ledger.values[3:].any(1).all()


DROPOUT = """
from torch import nn
def build(shape, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(8, width))
"""


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9, "schedule": "triangle"},
        {"augmentation": ("flip", "crop")},
        {"precision": "bf16"},
        {"channels_last": True, "momentum": 0.5},
        {"model": "dropout"},
    ],
    ids=lambda settings: ",".join(settings) or "plain",
)
def test_the_model_is_the_one_of_fit(settings, tmp_path):
    if settings.get("model") == "dropout":
        (tmp_path / "own.py").write_text(DROPOUT)
        settings = {"model": f"{tmp_path / 'own.py'}:build", "arguments": {}}
    recipe = replace(CNN, **settings)
    ledger, alone = in_run(recipe, PICTURES, SEEN, seed=2), fit(recipe, PICTURES, seed=2)
    bound = 1e-6 if recipe.precision == "float32" else 1e-2  # a matrix product may sum in another order beside probes
    assert largest_difference(ledger.model, alone.model) <= bound
    assert largest_difference(ledger.model, fit(recipe, PICTURES, seed=3).model) > 0.05
    assert not ledger.model.training
    assert not any(module._forward_hooks for module in ledger.model.modules())


def test_dropout_falls_on_rows_and_not_on_probes(tmp_path):
    (tmp_path / "own.py").write_text(DROPOUT)
    recipe = replace(one_step(CNN, PICTURES), model=f"{tmp_path / 'own.py'}:build", arguments={}, lr=1e-3)
    ledger = in_run(recipe, PICTURES, SEEN, seed=2)
    assert same_weights(ledger.model, fit(recipe, PICTURES, seed=2).model), "probes draw nothing"
    start = recipe.fresh(PICTURE, 2).eval()
    moved = {n: p.detach() - dict(start.named_parameters())[n].detach() for n, p in ledger.model.named_parameters()}
    assert apart(ledger.values.sum(0), linearised(recipe, start, moved, SEEN)) < 0.02  # less weight decay
    assert apart(ledger.values.sum(0), linearised(recipe, start.train(), moved, SEEN)) > 0.05


def linearised(recipe, model, moved, probes):
    """`[probes]` change of the margins along a step of the weights, to first order, in forward mode."""
    named = {name: p.detach() for name, p in model.named_parameters()}

    def margins(weights):
        with lent(generator(0, "dropout")):
            return recipe.task.margin(functional_call(model, weights, (probes.x,)), probes.labels)

    return jvp(margins, (named,), (moved,))[1].numpy()


@pytest.mark.parametrize(("recipe", "rows", "probes"), CASES, ids=["mlp", "cnn"])
def test_values_of_a_step_sum_to_the_linearised_change(recipe, rows, probes):
    recipe = one_step(recipe, rows, weight_decay=0.0)
    ledger = in_run(recipe, rows, probes, seed=1)
    start = recipe.fresh(tuple(rows.x.shape[1:]), 1)
    before = dict(start.named_parameters())
    moved = {name: (p - before[name]).detach() for name, p in ledger.model.named_parameters()}
    assert apart(ledger.values.sum(0), linearised(recipe, start, moved, probes)) < 1e-4


def test_values_of_many_small_steps_sum_to_what_happened():
    recipe = replace(MLP, lr=1e-3, weight_decay=0.0, epochs=5)
    ledger = in_run(recipe, ROWS, PROBES, seed=1)
    before, after = (
        recipe.task.margin(predict(model, PROBES), PROBES.labels).numpy()
        for model in (recipe.fresh((6,), 1), ledger.model)
    )
    assert apart(ledger.values.sum(0), after - before) < 0.01


def shapley(rows, utility):
    """`[rows, probes]` by enumeration of all coalitions."""
    worth = {
        coalition: utility(list(coalition))
        for size in range(rows + 1)
        for coalition in itertools.combinations(range(rows), size)
    }
    values = []
    for row in range(rows):
        shares = [
            math.factorial(len(rest)) * math.factorial(rows - 1 - len(rest)) / math.factorial(rows) * (gained - before)
            for rest, before in worth.items()
            if row not in rest
            for gained in [worth[tuple(sorted((*rest, row)))]]
        ]
        values.append(sum(shares))
    return np.stack(values)


def game(recipe, rows, probes, seed, of):
    """The utility of a coalition: what its part of one step does to the probes, weight decay apart."""
    model = recipe.fresh(tuple(rows.x.shape[1:]), seed).double()
    x, y = rows.x.double(), rows.labels
    y = y.double() if y.is_floating_point() else y
    target = probes.labels.double() if probes.labels.is_floating_point() else probes.labels
    ours = gradients(model, recipe.task.loss(model(x), y) / len(rows))
    start = parameters_to_vector(model.parameters()).detach()

    def utility(coalition):
        with torch.no_grad():
            weights = start * (1 - recipe.lr * recipe.weight_decay) - recipe.lr * ours[coalition].sum(0)
            vector_to_parameters(weights, model.parameters())
            outputs = model(probes.x.double())
            if of == "loss":
                return -recipe.task.loss(outputs, target).numpy()
            right = outputs.gather(1, target[:, None])[:, 0]
            return (2 * right - outputs.sum(1)).numpy()  # of two classes, in float64

    return utility


def test_first_order_is_shapley_where_the_margin_is_linear():
    rows, probes = tiny_rows(6, seed=0, classes=2), tiny_rows(3, seed=1, classes=2)
    recipe = one_step(replace(MLP, model="linear", arguments={}, task=Classification(2)), rows, weight_decay=0.1)
    ledger = in_run(recipe, rows, probes, seed=0)
    assert apart(ledger.values, shapley(6, game(recipe, rows, probes, 0, "margin"))) < 1e-5


def targets(rows, seed):
    draw = torch.Generator().manual_seed(seed)
    return MemoryRows(rows.x, torch.randn(len(rows), 2, generator=draw))


def test_second_order_is_shapley_where_the_loss_is_quadratic():
    rows, probes = targets(tiny_rows(6, seed=0), 0), targets(tiny_rows(3, seed=1), 1)
    recipe = one_step(replace(MLP, model="linear", arguments={}, task=Regression(2)), rows, weight_decay=0.2)
    exact = shapley(6, game(recipe, rows, probes, 0, "loss"))
    assert apart(in_run(recipe, rows, probes, seed=0, order=2, of="loss").values, exact) < 1e-5
    assert apart(in_run(recipe, rows, probes, seed=0, order=2).values, exact) < 1e-5, "its margin is minus the loss"
    assert apart(in_run(recipe, rows, probes, seed=0, of="loss").values, exact) > 0.01


@pytest.mark.parametrize(
    ("recipe", "rows", "probes"),
    [
        (replace(MLP, arguments={"hidden": [5, 4]}), ROWS, PROBES),
        (replace(CNN, arguments={"widths": [2], "hidden": 3}), PICTURES, SEEN),
    ],
    ids=["mlp", "cnn"],
)
@pytest.mark.parametrize("of", ["margin", "loss"])
def test_second_order_equals_an_explicit_hessian(recipe, rows, probes, of):
    recipe = one_step(recipe, rows, weight_decay=0.3, lr=0.2)
    model = recipe.fresh(tuple(rows.x.shape[1:]), 5)
    ours = gradients(model, recipe.task.loss(model(rows.x), rows.labels) / len(rows)).double()
    theirs = gradients(model, measure(recipe, model, probes.x, probes.labels, of)).double()
    weights = parameters_to_vector(model.parameters()).detach()

    def measured(vector):
        named, at = {}, 0
        for name, parameter in model.named_parameters():
            named[name] = vector[at : at + parameter.numel()].view_as(parameter)
            at += parameter.numel()
        return measure(recipe, lambda x: functional_call(model, named, (x,)), probes.x, probes.labels, of)

    bend = hessian(measured)(weights).double()  # [probes, p, p]
    ground = ours.sum(0) + 2 * recipe.weight_decay * weights.double()
    expected = -recipe.lr * ours @ theirs.T + recipe.lr**2 / 2 * ours @ (bend @ ground).T
    ledger = in_run(recipe, rows, probes, seed=5, order=2, of=of)
    assert apart(ledger.values, expected.numpy()) < 1e-5
    assert apart(in_run(recipe, rows, probes, seed=5, of=of).values, expected.numpy()) > 1e-3


@pytest.mark.parametrize("order", [1, 2])
def test_duplicates_receive_equal_values(order):
    half = tiny_rows(20, seed=0)
    rows = MemoryRows(half.x.repeat(2, 1), half.labels.repeat(2))
    recipe = replace(MLP, batch_size=len(rows))
    values = in_run(recipe, rows, PROBES, seed=0, order=order).values
    assert apart(values[:20], values[20:]) < 1e-5


def test_a_row_raises_its_own_margin():
    ledger = in_run(MLP, ROWS, ROWS.take(np.arange(10)), seed=0)
    assert (np.diag(ledger.values[:10]) > 0).all(), "positive = the row helps"
    other = np.array([[a != b for b in ROWS.labels[:10]] for a in ROWS.labels[:10]])
    assert ledger.values[:10][other].mean() < 0, "rows of other classes do not"


def test_step_sizes_are_what_a_gradient_moves_in_all():
    recipe, steps = replace(MLP, momentum=0.8, schedule="triangle"), 7
    sizes = step_sizes(recipe, steps)
    for at in range(steps):
        weight = torch.zeros(1, requires_grad=True)
        sgd = torch.optim.SGD([weight], lr=1.0, momentum=recipe.momentum)
        for step in range(steps):
            sgd.param_groups[0]["lr"] = recipe.lr * rate(recipe.schedule, step, steps)
            weight.grad = torch.tensor([float(step == at)])
            sgd.step()
        assert sizes[at] == pytest.approx(-float(weight.detach()), rel=1e-5)
    plain = [recipe.lr * rate("triangle", step, steps) for step in range(steps)]
    assert step_sizes(replace(recipe, momentum=0.0), steps) == pytest.approx(plain)


def test_with_momentum_rows_rank_as_when_every_later_part_is_booked():
    recipe = replace(MLP, momentum=0.9, lr=0.02, epochs=8)
    steps = list(walk(recipe, ROWS, np.arange(len(ROWS)), PROBES, 0))
    exact, later = np.zeros((len(ROWS), len(PROBES))), 0.0
    for at, lr, ours, theirs in reversed(steps):  # the gradient of a step also moves the weights of every later one
        later = lr * theirs + recipe.momentum * later
        exact[at] -= (ours @ later.T).numpy()
    values = in_run(recipe, ROWS, PROBES, seed=0).values
    ranks = [spearmanr(values[:, probe], exact[:, probe])[0] for probe in range(len(PROBES))]
    assert min(ranks) > 0.9
    assert apart(values, exact) > 0.01, "an approximation, as it says"


def test_visits_are_counted_by_role():
    for order, passes in ((1, 1), (2, 3)):
        cost = in_run(MLP, ROWS, PROBES, seed=0, order=order).cost
        steps = MLP.epochs * math.ceil(len(ROWS) / MLP.batch_size)
        assert cost.backward == {"train": MLP.epochs * len(ROWS), "attribution": steps * passes * len(PROBES)}


def test_the_global_generator_is_neither_used_nor_moved():
    before = torch.get_rng_state()
    one = in_run(CNN, PICTURES, SEEN, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert np.array_equal(in_run(CNN, PICTURES, SEEN, seed=3).values, one.values)


@pytest.mark.parametrize(
    ("change", "settings", "error", "says"),
    [
        ({"optimizer": "adam"}, {}, NeedsError, r"steps along the gradient \(sgd\), got adam"),
        ({"momentum": 0.9}, {"order": 2}, NeedsError, "momentum 0 at second order, got 0.9"),
        ({}, {"order": 3}, ConfigError, "order: expected 1 or 2, got 3"),
        ({}, {"of": "logit"}, ConfigError, "of: expected one of margin, loss, got 'logit'"),
        ({}, {"indices": np.array([50])}, ProblemError, "different positions in 0..49"),
        ({}, {"indices": np.array([], dtype=int)}, ProblemError, "at least one row to train on"),
        ({"model": "vit", "arguments": {"size": 8, "depth": 1, "heads": 2}}, {}, NeedsError, "layer 2 .Tokens."),
        ({"model": "resnet9"}, {}, NeedsError, "BatchNorm2d. mixes the rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_watched_is_told_before_training(change, settings, error, says):
    pictures = "model" in change
    rows, probes = (tiny_rows(50, seed=0, shape=(1, 16, 16)),) * 2 if pictures else (ROWS, PROBES)
    recipe = replace(MLP, **({"arguments": {}} | change if pictures else change))
    with pytest.raises(error, match=says):
        in_run(recipe, rows, probes, seed=0, **settings)


def test_probes_fit_the_rows():
    with pytest.raises(ProblemError, match="probes: expected at least one row"):
        in_run(MLP, ROWS, MemoryRows(torch.zeros(0, 6), torch.zeros(0, dtype=torch.long)), seed=0)
    with pytest.raises(ShapeError, match=r"probes: expected inputs \(6,\) as in training, got \(4,\)"):
        in_run(MLP, ROWS, tiny_rows(3, seed=0, shape=(4,)), seed=0)
    with pytest.raises(ProblemError, match=r"labels: expected 0\.\.2"):
        in_run(MLP, ROWS, tiny_rows(9, seed=0, classes=5), seed=0)


@pytest.fixture(scope="module")
def problem():
    recipe = replace(MLP, momentum=0.9)
    return Problem(
        recipe=recipe,
        rows=ROWS,
        forget=np.arange(4),
        holdout=tiny_rows(9, seed=8),
        test=tiny_rows(9, seed=9),
        original=fit(recipe, ROWS, seed=6).model,
    )


def test_the_estimator_keeps_the_ledger_of_the_model_itself(problem):
    assert ESTIMATORS["in_run"] is InRun
    fitted = InRun(probes="class:1:3").fit(problem, seed=6)
    fitted.check(problem)
    apart_by = fitted.notes.pop("weights_apart")
    assert 0 <= apart_by < 1e-6
    assert fitted.notes == {"probes": 3, "order": 1, "momentum": 0.9}
    at = fitted.source.rows.position(fitted.probes.ids)
    assert (ROWS.labels[at] == 1).all()
    expected = in_run(problem.recipe, ROWS, ROWS.take(at[::-1].copy()), seed=6)
    train = np.array([7, 0])
    assert np.array_equal(fitted.scores(ROWS.take(at[::-1].copy()), train), expected.values[train])
    chunks = list(fitted.stream(fitted.probes, chunk=30))
    assert np.array_equal(np.concatenate([scores for _, scores in chunks]), fitted.ledger.values)
    assert fitted.cost.backward["attribution"] > 0


def test_another_seed_is_another_run_and_says_so(problem):
    notes = InRun(probes="random:2").fit(problem, seed=7).notes
    assert notes["weights_apart"] > 0.05
    assert "another training run" in notes["warning"]


def test_any_rows_may_be_probes(problem):
    source = replace(Source.of(problem), probes=problem.test)
    found = InRun().fit(source, seed=6).scores(problem.test, np.arange(50))
    assert np.array_equal(found, in_run(problem.recipe, ROWS, problem.test, seed=6).values)
    named = InRun(probes="class:1:3").fit(source, seed=6).probes
    assert (ROWS.labels[ROWS.position(named.ids)] == 1).all(), "what is named goes before"


def test_it_does_not_answer_for_what_it_does_not_know(problem):
    fitted = InRun(probes="random:2").fit(problem, seed=6)
    with pytest.raises(NeedsError, match="in_run: 9 of 9 rows were not watched"):
        fitted.scores(problem.test, np.arange(2))
    for wrong in (np.array([50]), np.array([-1])):
        with pytest.raises(ProblemError, match=r"train: expected positions 0\.\.49"):
            fitted.scores(fitted.probes, wrong)
    with pytest.raises(NeedsError, match="not what a training without them would"):
        fitted.removal(problem.forget, fitted.probes)
    with pytest.raises(NeedsError, match="not what a training without them would"):
        fitted.counterfactual(problem.forget)


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="order: expected 1 or 2, got 0"):
        InRun(order=0)
    with pytest.raises(ConfigError, match="expected one of random:N"):
        InRun(probes="all")
