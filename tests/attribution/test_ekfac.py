"""EK-FAC: factors and eigenvalues against their definitions row by row, answers against exact ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from expunge.attribution import Source
from expunge.attribution.curvature import Curvature
from expunge.attribution.ekfac import Ekfac
from expunge.attribution.gradients import Network
from expunge.attribution.influence import Influence
from expunge.attribution.kronecker import Block, Kronecker, Rest, squares
from expunge.data import MemoryRows
from expunge.errors import ConfigError, NeedsError
from expunge.models import build
from expunge.seeds import generator, lent
from expunge.tasks import Classification
from expunge.training import Run, fit, predict
from tests.attribution.linear import as_vector, columns, gold_step, relative, ridge_source, solved
from tests.tiny import tiny_recipe, tiny_rows

THREE = Classification(3)


def drawn(model, shape, **arguments):
    """A freshly initialised model."""
    with lent(generator(0, "init")):
        return build(model, shape=shape, width=3, **arguments).eval()


CASES = {
    "mlp": (drawn("mlp", (6,), hidden=(5,)), (6,)),
    "cnn": (drawn("cnn", (2, 4, 4), widths=(3,), hidden=4), (2, 4, 4)),
    "sequence": (nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(9, 3, bias=False)), (3, 4)),
}


def curved(model, rows, task=THREE):
    """The parts of a model's curvature in double precision, and the whole matrix by its Jacobians."""
    network, run = Network(model, dtype=torch.float64), Run(0)
    return network, Kronecker(network, rows, task, run).parts(), Curvature(network, rows, task, run).matrix()


def block_of(network, matrix, part):
    """The rows and columns of a whole matrix that belong to one part, ordered as (out, in with the bias last)."""
    at = network.named(torch.arange(network.size))
    where = at[part.weight].flatten(1)
    where = torch.cat([where, at[part.bias][:, None]], 1).flatten() if part.bias else where.flatten()
    return matrix[where][:, where]


@pytest.mark.parametrize("case", CASES)
def test_eigenvalues_are_the_diagonal_of_the_exact_curvature_in_the_basis(case):
    model, shape = CASES[case]
    network, found, matrix = curved(model, tiny_rows(20, seed=1, shape=shape))
    assert [type(part) for part in found] == [Block] * len([m for m in model.modules() if hasattr(m, "weight")])
    for part in found:
        basis = torch.kron(part.left, part.right)
        exact = torch.einsum("pa,pq,qa->a", basis, block_of(network, matrix, part), basis)
        torch.testing.assert_close(part.values.flatten(), exact)
        assert exact.max() > 1e-3


def test_basis_is_that_of_the_factors_row_by_row():
    """A = sum of a a', B = sum over classes of p_c (slope of logit c from its mean)^2, by autograd alone."""
    model, rows = CASES["mlp"][0], tiny_rows(12, seed=1)
    ours, theirs = torch.zeros(6, 6), torch.zeros(5, 5)  # in and out of the last and the first layer
    for x in rows.x:
        before = model[1](x[None]).detach().requires_grad_()
        hidden = model[2](before)
        inputs = torch.cat([hidden[0].detach(), torch.ones(1)])
        ours += torch.outer(inputs, inputs)
        logits = model[3](hidden)[0]
        p = logits.detach().softmax(-1)
        slopes = torch.stack([torch.autograd.grad(logit, before, retain_graph=True)[0][0] for logit in logits])
        centred = slopes - p @ slopes
        theirs += (p[:, None] * centred).T @ centred
    first, last = Kronecker(Network(model), rows, THREE, Run(0)).parts()
    for basis, factor in ((first.left, theirs), (last.right, ours)):
        turned = basis.float().T @ factor @ basis.float()
        torch.testing.assert_close(turned, torch.diag(torch.linalg.eigvalsh(factor)), rtol=1e-4, atol=1e-4)


def test_inverse_is_that_of_the_matrix_that_the_parts_stand_for():
    network, found, _ = curved(CASES["mlp"][0], tiny_rows(20, seed=1))
    columns = torch.randn(network.size, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for part in found:
        basis = torch.kron(part.left, part.right)
        matrix = basis @ torch.diag(part.values.flatten() + 0.3) @ basis.T
        named = network.named(columns.T)
        joint = torch.cat([named[part.weight], named[part.bias][..., None]], -1).flatten(1)
        solved = part.inverse(named, 0.3)
        together = torch.cat([solved[part.weight], solved[part.bias][..., None]], -1).flatten(1)
        torch.testing.assert_close(together, torch.linalg.solve(matrix, joint.T).T)


def test_many_positions_are_summed_before_they_are_squared():
    a, b = (torch.randn(4, 3, size, generator=torch.Generator().manual_seed(size)) for size in (5, 2))
    by_hand = sum((b[row].T @ a[row]).square() for row in range(4))
    torch.testing.assert_close(squares(b, a).float(), by_hand)
    torch.testing.assert_close(
        squares(b[:, :1], a[:, :1]).float(), sum(torch.outer(b[i, 0] ** 2, a[i, 0] ** 2) for i in range(4))
    )


class Odd(nn.Module):
    """Normalisation, a grouped convolution, a layer passed twice, two that share a weight, one never passed."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 4, 1, groups=2)
        self.twice = nn.Linear(4, 4)
        self.tied = nn.Linear(4, 4, bias=False)
        self.also = nn.Linear(4, 4, bias=False)
        self.also.weight = self.tied.weight
        self.unused = nn.Linear(2, 2)
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        x = self.grouped(self.norm(torch.relu_(self.first(x)))).mean((2, 3))  # in place, behind a layer
        x = self.twice(torch.tanh(self.twice(x)))
        return self.last(self.also(torch.tanh(self.tied(x))))


def test_other_parameters_have_the_exact_diagonal():
    with lent(generator(0, "init")):
        model = Odd().eval()
    network, found, matrix = curved(model, tiny_rows(20, seed=1, shape=(2, 4, 4)))
    assert [part.weight for part in found if isinstance(part, Block)] == ["first.weight", "last.weight"]
    exact = network.named(matrix.diagonal())
    rest = {part.name: part.values for part in found if isinstance(part, Rest)}
    assert set(rest) == set(exact) - {"first.weight", "first.bias", "last.weight", "last.bias"}
    for name, values in rest.items():
        torch.testing.assert_close(values, exact[name])
    assert not rest["unused.weight"].any()
    for part in found[:2]:  # the in-place activation has not changed what is measured
        basis = torch.kron(part.left, part.right)
        expected = torch.einsum("pa,pq,qa->a", basis, block_of(network, matrix, part), basis)
        torch.testing.assert_close(part.values.flatten(), expected)


def test_few_rows_at_once_give_the_same(monkeypatch):
    model, rows = CASES["cnn"][0], tiny_rows(11, seed=1, shape=(2, 4, 4))
    whole = Kronecker(Network(model, dtype=torch.float64), rows, THREE, Run(0)).parts()
    monkeypatch.setattr("expunge.attribution.passes.NUMBERS", 1500)
    pieces = Kronecker(Network(model, dtype=torch.float64), rows, THREE, Run(0)).parts()
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one.values, other.values)


def test_eigenvalues_of_some_rows_are_what_they_add():
    model, rows = CASES["mlp"][0], tiny_rows(12, seed=1)
    kronecker = Kronecker(Network(model, dtype=torch.float64), rows, THREE, Run(0))
    some, others, whole = (kronecker.parts(at) for at in (np.array([2, 7]), np.setdiff1d(np.arange(12), [2, 7]), None))
    for one, other, total in zip(some, others, whole, strict=True):
        torch.testing.assert_close(one.values + other.values, total.values)
        assert 0 < one.values.sum() < total.values.sum()


def test_drawn_slopes_have_the_exact_curvature_as_their_mean():
    model, rows = CASES["cnn"][0], tiny_rows(12, seed=1, shape=(2, 4, 4))
    network = Network(model, dtype=torch.float64)
    exact = Kronecker(network, rows, THREE, Run(0))
    drawn = [Kronecker(network, rows, THREE, Run(seed), draws=2) for seed in range(50)]
    for one in drawn:  # in the basis of the exact factors, or every draw would have axes of its own
        one.bases = exact.bases
    runs = [one.parts() for one in drawn]
    for index, part in enumerate(exact.parts()):
        values = torch.stack([run[index].values for run in runs])
        error = values.std(0) / len(runs) ** 0.5
        assert ((values.mean(0) - part.values).abs() < 5 * error + 1e-12).all()
        assert (values[0] != part.values).any()


def test_a_row_has_the_same_slopes_whenever_it_is_asked_about():
    model, rows = CASES["mlp"][0], tiny_rows(12, seed=1)
    run = Run(3)
    kronecker = Kronecker(Network(model, dtype=torch.float64), rows, THREE, run, draws=1)
    assert run.meter.cost().visits == pytest.approx(12)  # one pass for the factors so far
    some, others, whole = (kronecker.parts(at) for at in (np.array([7, 2]), np.setdiff1d(np.arange(12), [2, 7]), None))
    for one, other, total in zip(some, others, whole, strict=True):
        torch.testing.assert_close(one.values + other.values, total.values)


class Heads(nn.Module):
    """A frozen part under no_grad, the head that counts, and one whose output goes nowhere."""

    def __init__(self):
        super().__init__()
        self.frozen, self.head, self.other = nn.Linear(6, 5), nn.Linear(5, 3), nn.Linear(5, 2)

    def forward(self, x):
        with torch.no_grad():
            found = torch.tanh(self.frozen(x))
        self.other(found)
        return self.head(found)


def test_layers_that_no_output_hangs_on_are_in_no_block():
    rows = tiny_rows(12, seed=1)
    kronecker = Kronecker(Network(Heads(), dtype=torch.float64), rows, THREE, Run(0), draws=1)
    blocks = [part for part in kronecker.parts() if isinstance(part, Block)]
    assert [block.weight for block in blocks] == ["head.weight"]
    assert kronecker.other == ["frozen.weight", "frozen.bias", "other.weight", "other.bias"]


# --- answers ---------------------------------------------------------------------------------------------------------

PLAIN = Ekfac(share=0.0, early=False, draws=0)


def test_one_linear_layer_with_squared_loss_is_exact_to_first_order():
    """Its curvature is a Kronecker product: nothing is lost."""
    source = ridge_source(60, 8, penalty=3.0, seed=0, targets=2)
    gone = np.array([3, 8, 21, 40])
    x, decay = columns(source.rows), source.recipe.weight_decay
    theta = solved(source.rows, decay)
    curvature = x.T @ x + 60 * decay * np.eye(9)  # 2 / targets = 1
    pulls = x[gone].T @ (x[gone] @ theta - source.rows.labels.double().numpy()[gone]) + 4 * decay * theta
    expected = as_vector(np.linalg.solve(curvature, pulls))
    fitted = replace(PLAIN, correction="none").fit(source)
    assert relative(fitted.step(gone).numpy(), expected) < 1e-4  # derivatives are float32
    scores = fitted.scores(source.rows, gone)
    exact = Influence(solver="explicit", correction="none").fit(source).scores(source.rows, gone)
    np.testing.assert_allclose(scores, exact, rtol=1e-3, atol=1e-5)


def test_whitened_inputs_make_it_a_step_along_the_gradient():
    """Inputs with sum of a a' = n: H = n (2 / targets + decay), so that a first-order step is the slope over it."""
    source = ridge_source(60, 8, penalty=3.0, seed=0, targets=2)
    x = source.rows.x.double().numpy()
    centred = x - x.mean(0)
    white = np.linalg.solve(np.linalg.cholesky(centred.T @ centred / 60), centred.T).T
    source = replace(source, rows=MemoryRows(white, source.rows.labels))
    gone, decay = np.array([3, 8]), source.recipe.weight_decay
    network = Network(source.model)
    slope = network.gradients(*source.rows.batch(gone), source.recipe.task).sum(0) + 2 * decay * network.weights
    found = replace(PLAIN, correction="none").fit(source).step(gone).float()
    torch.testing.assert_close(found, slope / (60 * (1 + decay)), rtol=1e-4, atol=1e-6)


def test_rows_bent_like_all_others_come_off_exactly():
    """A class of rows that stands twice in the data: the retain rows' curvature is a Kronecker product too."""
    once = ridge_source(30, 8, penalty=3.0, seed=0, targets=2)
    twice = MemoryRows(torch.cat([once.rows.x] * 2), torch.cat([once.rows.labels] * 2))
    source, gone = replace(once, rows=twice), np.arange(30)
    theta = solved(twice, source.recipe.weight_decay)
    model = source.recipe.fresh((8,), seed=0)
    torch.nn.utils.vector_to_parameters(torch.from_numpy(as_vector(theta)).float(), model.parameters())
    source = replace(source, model=model, rows=twice)
    with torch.no_grad():  # what the copies say differs: their labels are moved, so that something changes
        twice.labels[:30] += twice.x[:30, :2]
    moved = as_vector(solved(twice, source.recipe.weight_decay))
    torch.nn.utils.vector_to_parameters(torch.from_numpy(moved).float(), model.parameters())
    found = PLAIN.fit(source).step(gone).numpy()
    assert relative(found, gold_step(source, gone)) < 1e-3
    first = replace(PLAIN, correction="none").fit(source).step(gone).numpy()
    assert relative(first, gold_step(source, gone)) > 0.3


def trained(decay=0.01, rows=120):
    recipe, data = replace(tiny_recipe(epochs=30), weight_decay=decay), tiny_rows(rows, seed=0)
    return Source(recipe=recipe, rows=data, model=fit(recipe, data, seed=0).model)


@pytest.mark.parametrize("correction", ["group", "none"])
def test_a_network_goes_the_way_of_the_whole_curvature(correction):
    """Blocks are an approximation; what they predict points where the exact Newton step does, at a like length.

    One of the rows bends a layer more than the blocks say there is: solved as `group` does, the answer changes sign.
    """
    source, gone = trained(), np.arange(0, 30, 3)
    targets = tiny_rows(40, seed=9)
    exact = Influence(solver="explicit", correction=correction).fit(source).removal(gone, targets).change.ravel()
    ours = replace(PLAIN, correction=correction).fit(source).removal(gone, targets).change.ravel()
    assert ours @ exact / np.linalg.norm(ours) / np.linalg.norm(exact) > 0.85
    assert 0.5 < ours @ exact / (exact @ exact) < 2


def test_drawn_slopes_answer_nearly_as_all_of_them():
    source, gone, targets = trained(), np.arange(0, 30, 3), tiny_rows(40, seed=9)
    exact, one, many = (
        replace(PLAIN, share=0.1, draws=draws).fit(source).removal(gone, targets).change.ravel() for draws in (0, 1, 16)
    )
    for drawn, scale in ((one, 1.5), (many, 1.1)):  # of 120 rows; what is missing of a curvature makes a step longer
        assert drawn @ exact / np.linalg.norm(drawn) / np.linalg.norm(exact) > 0.95
        assert 1 / scale < drawn @ exact / (exact @ exact) < scale


def test_damping_shortens_the_step():
    source, gone = trained(), np.arange(5)
    plain = PLAIN.fit(source).step(gone).norm()
    for more in (replace(PLAIN, share=0.5), replace(PLAIN, damping=0.05), replace(PLAIN, early=True)):
        assert more.fit(source).step(gone).norm() < 0.95 * plain


def test_answers_agree_with_each_other():
    source, targets, gone = trained(), tiny_rows(7, seed=1), np.array([4, 9])
    fitted = Ekfac().fit(source)
    assert fitted.cost.backward["attribution"] == 2 * 120  # two passes
    assert Ekfac(draws=0).fit(source).cost.backward["attribution"] == 2 * 120 * 2  # two roots of three classes
    found = fitted.removal(gone, targets)
    np.testing.assert_allclose(found.original, predict(source.model, targets), rtol=1e-6)
    np.testing.assert_allclose(fitted.counterfactual(gone)(targets.x).detach(), found.logits, atol=1e-5)
    streamed = np.concatenate([values for _, values in fitted.stream(targets, chunk=17)])
    np.testing.assert_allclose(streamed, fitted.scores(targets, np.arange(120)), rtol=1e-4, atol=1e-6)
    assert fitted.notes["layers"] == 2
    assert fitted.notes["diagonal"] == []
    assert 1 < fitted.notes["condition"] < 1e7


def test_what_cannot_be_inverted_is_named():
    recipe = replace(tiny_recipe(), weight_decay=0.0)
    source = Source(recipe=recipe, rows=tiny_rows(9, seed=0), model=drawn("mlp", (6,), hidden=(16,)))
    with pytest.raises(NeedsError, match=r"no row bends the loss along a direction of .*\nhint: damping above 0"):
        PLAIN.fit(source)


@pytest.mark.parametrize(
    ("field", "value", "range_"),
    [
        ("share", -1.0, ">= 0"),
        ("damping", -1.0, ">= 0"),
        ("draws", -1, ">= 0"),
        ("correction", "single", "one of group, none"),
    ],
)
def test_bad_values_name_the_range(field, value, range_):
    with pytest.raises(ConfigError, match=rf"{field}: expected {range_}, got {value!r}"):
        Ekfac(**{field: value})
