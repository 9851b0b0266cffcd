"""fit beside a loop written by hand, and what it never looks at."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import TensorDataset

from expunge.data import DatasetRows, MemoryRows, Rows
from expunge.errors import DivergedError, ProblemError
from expunge.seeds import derive
from expunge.tasks import Regression
from expunge.training import Run, fit, train_on
from tests.tiny import same_weights, tiny_recipe, tiny_rows

RECIPE = replace(tiny_recipe(epochs=3, batch_size=16), weight_decay=0.01)
ROWS = tiny_rows(60, seed=0)
CHOSEN = np.arange(5, 60)


def by_hand(recipe, rows, indices, seed):
    """SGD with momentum, weight decay and a cosine curve, on weights drawn as torch does."""
    before = torch.get_rng_state()
    torch.manual_seed(derive(seed, "init"))
    first, last = torch.nn.Linear(6, 16), torch.nn.Linear(16, 3)
    torch.set_rng_state(before)
    weights = [p.detach().clone() for p in (first.weight, first.bias, last.weight, last.bias)]
    speeds = [torch.zeros_like(w) for w in weights]
    steps, step = recipe.epochs * math.ceil(len(indices) / recipe.batch_size), 0
    for epoch in range(recipe.epochs):
        draw = torch.Generator().manual_seed(derive(seed, "order/train", epoch))
        order = indices[torch.randperm(len(indices), generator=draw).numpy()]
        for cut in range(0, len(order), recipe.batch_size):
            at = order[cut : cut + recipe.batch_size]
            x, y = rows.x[at], rows.labels[at]
            for w in weights:
                w.requires_grad_(True)
            logits = torch.relu(x @ weights[0].T + weights[1]) @ weights[2].T + weights[3]
            loss = -torch.log_softmax(logits, -1)[torch.arange(len(at)), y].mean()
            gradients = torch.autograd.grad(loss, weights)
            lr = recipe.lr * 0.5 * (1 + math.cos(math.pi * (step + 0.5) / steps))
            with torch.no_grad():
                speeds = [
                    recipe.momentum * v + g + recipe.weight_decay * w
                    for v, g, w in zip(speeds, gradients, weights, strict=True)
                ]
                weights = [(w - lr * v).detach() for w, v in zip(weights, speeds, strict=True)]
            step += 1
    return weights


@pytest.mark.parametrize("seed", [0, 7])
def test_it_equals_a_loop_written_by_hand(seed):
    ours = list(fit(RECIPE, ROWS, CHOSEN, seed=seed).model.parameters())
    for one, other in zip(ours, by_hand(RECIPE, ROWS, CHOSEN, seed), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-6)


def test_the_same_seed_gives_the_same_bits():
    one = fit(RECIPE, ROWS, CHOSEN, seed=3)
    torch.rand(5)
    other = fit(RECIPE, ROWS, CHOSEN, seed=3)
    assert same_weights(one.model, other.model)
    assert one.history == other.history


def test_seeds_differ_from_the_first_weight_on():
    starts = [RECIPE.fresh((6,), seed) for seed in (0, 1)]
    models = [fit(RECIPE, ROWS, CHOSEN, seed=seed).model for seed in (0, 1)]
    for one, other in (starts, models):
        assert all(not torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def test_the_global_generator_is_neither_used_nor_moved():
    before = torch.get_rng_state()
    fit(RECIPE, ROWS, CHOSEN, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


class Spy(Rows):
    """Rows that remember which inputs were read."""

    def __init__(self, rows):
        self.inner, self.ids, self.subjects, self.labels, self.read = rows, rows.ids, None, rows.labels, []

    def batch(self, indices, device="cpu"):
        self.read += [int(i) for i in indices]
        return self.inner.batch(indices, device)

    def take(self, indices):
        raise AssertionError("rows are read by position")


def test_no_other_row_is_read():
    spy = Spy(ROWS)
    fit(RECIPE, spy, CHOSEN, seed=0)
    assert set(spy.read) == set(CHOSEN.tolist())


def test_rows_that_are_left_out_leave_no_trace():
    x, y = ROWS.x.clone(), ROWS.labels.clone()
    x[:5], y[:5] = 1e6, 2
    assert same_weights(fit(RECIPE, ROWS, CHOSEN, seed=0).model, fit(RECIPE, MemoryRows(x, y), CHOSEN, seed=0).model)


def test_every_row_counts():
    assert not same_weights(fit(RECIPE, ROWS, CHOSEN, seed=0).model, fit(RECIPE, ROWS, CHOSEN[1:], seed=0).model)


def test_all_rows_are_the_default():
    assert same_weights(fit(RECIPE, ROWS, seed=0).model, fit(RECIPE, ROWS, np.arange(60), seed=0).model)


def test_two_fits_share_no_tensor():
    models = [fit(RECIPE, ROWS, CHOSEN, seed=0).model for _ in range(2)]
    places = [{value.data_ptr() for value in model.state_dict().values()} for model in models]
    assert not places[0] & places[1]
    with torch.no_grad():
        models[0][1].weight.zero_()
    assert bool(models[1][1].weight.any())


def test_a_dataset_trains_as_rows_in_memory_do_bit_for_bit():
    dataset = DatasetRows(TensorDataset(ROWS.x, ROWS.labels), ids=ROWS.ids)
    assert same_weights(fit(RECIPE, dataset, CHOSEN, seed=2).model, fit(RECIPE, ROWS, CHOSEN, seed=2).model)


@pytest.mark.parametrize(("epochs", "half"), [(4, 2), (5, 2), (2, 1)])
def test_halfway_is_a_training_of_half_the_epochs_where_the_step_size_is_constant(epochs, half):
    recipe = replace(RECIPE, schedule="constant", epochs=epochs)
    found = fit(recipe, ROWS, CHOSEN, seed=0, halfway=True)
    assert same_weights(found.halfway, fit(replace(recipe, epochs=half), ROWS, CHOSEN, seed=0).model)
    assert not found.halfway.training


def test_half_of_one_epoch_is_none():
    recipe = replace(RECIPE, epochs=1)
    assert same_weights(fit(recipe, ROWS, seed=4, halfway=True).halfway, recipe.fresh((6,), seed=4))


def test_to_be_kept_halfway_changes_nothing_and_is_not_the_default():
    kept, plain = fit(RECIPE, ROWS, seed=0, halfway=True), fit(RECIPE, ROWS, seed=0)
    assert same_weights(kept.model, plain.model)
    assert plain.halfway is None
    assert not same_weights(kept.halfway, kept.model)
    assert (kept.cost.backward, kept.cost.forward) == (plain.cost.backward, plain.cost.forward)


@pytest.mark.parametrize(("model", "arguments"), [("mlp", {}), ("resnet9", {"channels": 2})])
def test_the_rest_of_a_training_is_what_follows_from_halfway(model, arguments):
    shape = (6,) if model == "mlp" else (1, 8, 8)
    rows = tiny_rows(60, seed=0, shape=shape)
    recipe = replace(tiny_recipe(epochs=3, batch_size=16, model=model, **arguments), momentum=0.0, lr=0.01)
    whole = fit(recipe, rows, CHOSEN, seed=2, halfway=True)
    rest = train_on(recipe, whole.halfway, rows, CHOSEN, Run(2, 16), first=1)
    assert same_weights(rest.model, whole.model)  # bit for bit, statistics of normalisation too
    assert rest.history == whole.history[len(whole.history) // 3 :]
    assert rest.cost.backward == {"train": 2 * 55}


def test_momentum_starts_anew_in_the_rest_of_a_training():
    whole = fit(RECIPE, ROWS, seed=2, halfway=True)
    rest = train_on(RECIPE, whole.halfway, ROWS, np.arange(60), Run(2, 16), first=1)
    assert not same_weights(rest.model, whole.model)
    assert rest.history[0] == whole.history[len(whole.history) // 3]  # the first loss comes before any step


def test_no_rows_are_refused():
    with pytest.raises(ProblemError, match="at least one row to train on, got none"):
        fit(RECIPE, ROWS, np.array([], dtype=np.int64), seed=0)


def test_labels_beyond_the_outputs_are_refused_where_they_are_trained_on():
    labels = ROWS.labels.clone()
    labels[0] = 3
    rows = MemoryRows(ROWS.x, labels)
    with pytest.raises(ProblemError, match=r"expected 0\.\.2 for 3 outputs, got 0\.\.3"):
        fit(RECIPE, rows, np.arange(60), seed=0)
    assert fit(replace(RECIPE, epochs=1), rows, CHOSEN, seed=0).history


def test_the_model_comes_back_in_evaluation_mode_with_its_cost():
    trained = fit(RECIPE, ROWS, CHOSEN, seed=0)
    assert not any(module.training for module in trained.model.modules())
    assert trained.cost.backward == {"train": 3 * 55}
    assert trained.cost.forward == {}
    assert len(trained.history) == 3 * 4


def test_progress_counts_to_the_end():
    heard = []
    fit(RECIPE, ROWS, CHOSEN, seed=0, progress=lambda what, done, total: heard.append((what, done, total)))
    assert heard == [("train tiny-mlp", step, 12) for step in range(1, 13)]


def test_a_run_that_explodes_says_so():
    with pytest.raises(DivergedError, match="lower lr from 1e\\+30"):
        fit(replace(RECIPE, lr=1e30), ROWS, CHOSEN, seed=0)


def test_running_statistics_are_learned():
    recipe = tiny_recipe(epochs=1, batch_size=16, model="allcnn", channels=2)
    model = fit(recipe, tiny_rows(32, seed=0, shape=(1, 8, 8)), seed=0).model
    assert int(model[1].num_batches_tracked) == 2
    assert bool(model[1].running_mean.any())


@pytest.mark.parametrize(("model", "arguments"), [("cnn", {"widths": [2], "hidden": 4}), ("allcnn", {"channels": 2})])
def test_memory_layout_does_not_change_the_result(model, arguments):
    recipe, rows = tiny_recipe(epochs=1, model=model, **arguments), tiny_rows(32, seed=0, shape=(1, 8, 8))
    plain, last = (fit(replace(recipe, channels_last=flag), rows, seed=0).model for flag in (False, True))
    for one, other in itertools.zip_longest(plain.parameters(), last.parameters()):
        assert torch.allclose(one, other, atol=1e-5)


def test_regression_reaches_least_squares():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(64, 4, generator=draw)
    y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 3 + 0.1 * torch.randn(64, generator=draw)
    recipe = replace(RECIPE, model="linear", arguments={}, task=Regression(), epochs=200, weight_decay=0.0)
    model = fit(recipe, MemoryRows(x, y), seed=0).model
    exact = torch.linalg.lstsq(torch.cat([x, torch.ones(64, 1)], 1), y[:, None]).solution[:, 0]
    assert torch.allclose(torch.cat([model[1].weight[0], model[1].bias]), exact, atol=1e-3)


def test_the_loss_is_the_mean_over_the_batch():
    recipe = replace(RECIPE, epochs=1, batch_size=60)
    trained = fit(recipe, ROWS, seed=0)
    first = float(functional.cross_entropy(recipe.fresh((6,), 0)(ROWS.x), ROWS.labels).detach())
    assert trained.history[0] == pytest.approx(first, abs=1e-5)
