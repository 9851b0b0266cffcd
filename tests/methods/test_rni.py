"""RNI: reset, noisy parts, all of it. What holds for every method: tests/properties/test_methods.py."""

from dataclasses import replace

import pytest
import torch

from expunge.errors import ConfigError
from expunge.methods import Rni
from expunge.methods.layers import newborn
from expunge.methods.rni import normalisation
from expunge.models import build
from expunge.training import Run, descend, predict
from tests.methods.regression import regression_problem
from tests.tiny import same_weights, tiny_problem, tiny_recipe

STILL = {"lr": 1e-30, "momentum": 0.0, "weight_decay": 0.0}
"""Steps too small to change a float32 weight: what changes is reset or noise."""


@pytest.fixture(scope="module")
def dense():
    return tiny_problem(seed=0)


@pytest.fixture(scope="module")
def images():
    recipe = tiny_recipe(model="allcnn", channels=4, epochs=2)
    return tiny_problem(seed=0, forget=5, rows=60, recipe=recipe, shape=(1, 8, 8))


def after(problem, epochs, **settings):
    """The state after so many epochs with noise and none of the last ones, and the notes."""
    done = Rni(epochs=epochs, last_rates=(), **settings).run(problem, seed=0)
    return done.model.state_dict(), done.notes


def differing(one, other):
    return {name for name in one if not torch.equal(one[name], other[name])}


# the reset


def test_last_layer_is_newborn_and_all_else_stays(images):
    settings = {**STILL, "noise": 0.0}
    model = Rni(epochs=1, last_rates=(), **settings).run(images, seed=0).model
    fresh = newborn(images, Run(seed=0)).state_dict()
    theirs, names = images.original.state_dict(), dict(images.original.named_parameters())
    head = list(names)[-2:]
    assert [name.rpartition(".")[2] for name in head] == ["weight", "bias"]
    for name in names:
        expected = fresh[name] if name in head else theirs[name]
        assert torch.equal(model.state_dict()[name], expected), name
    assert not torch.equal(fresh[head[0]], theirs[head[0]])


# one epoch: which tensors, how much noise


def test_tensors_that_are_not_chosen_stay_to_the_bit_with_momentum_and_decay(images):
    """Each epoch draws for itself, so that a run of n epochs is the beginning of a run of n + 1."""
    settings = {"tensors": 3, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}
    normal, names = set(normalisation(images.original)), set(dict(images.original.named_parameters()))
    states = [after(images, epochs, **settings) for epochs in (1, 2, 3, 4)]
    for epoch in (1, 2, 3):
        before, (now, notes) = states[epoch - 1][0], states[epoch]
        chosen = notes["trained"][epoch]
        assert len(chosen) == 3
        assert not set(chosen) & normal
        assert differing(before, now) & names == set(chosen) | normal  # in two steps all of them moved
    assert len({tuple(chosen) for chosen in states[-1][1]["trained"]}) > 1, "a new choice every epoch"
    assert [notes["trained"] for _, notes in states] == [states[-1][1]["trained"][:n] for n in (1, 2, 3, 4)]


def test_chosen_tensors_are_trained_and_not_only_disturbed(images):
    still, _ = after(images, 1, tensors=3, noise=0.04, **STILL)
    moved, notes = after(images, 1, tensors=3, noise=0.04, lr=0.05)
    names = set(dict(images.original.named_parameters()))
    assert differing(still, moved) & names == set(notes["trained"][0]) | set(normalisation(images.original))


def test_noise_falls_on_the_share_of_entries_of_chosen_tensors_and_on_no_other(images):
    before, _ = after(images, 1, tensors=4, noise=0.0, **STILL)
    for share in (0.7, 0.25):
        now, notes = after(images, 1, tensors=4, share=share, noise=0.04, **STILL)
        chosen, names = notes["trained"][0], dict(images.original.named_parameters())
        assert differing(before, now) & set(names) == set(chosen)
        noisy = {name: int((before[name] != now[name]).sum()) for name in chosen}
        assert noisy == {name: round(share * names[name].numel()) for name in chosen}
        assert notes["noisy"] == [sum(noisy.values()) / sum(p.numel() for p in names.values())]


def test_noise_has_the_given_size_and_a_new_draw_every_epoch(dense):
    states = [after(dense, epochs, noise=0.2, share=1.0, **STILL)[0] for epochs in (1, 2)]
    clean = after(dense, 1, noise=0.0, **STILL)[0]
    first, second = (
        torch.cat([(now[name] - before[name]).flatten() for name in clean])
        for before, now in ((clean, states[0]), (states[0], states[1]))
    )
    for added in (first, second):  # 163 draws: the standard error of a deviation is 0.011, of a mean 0.016
        assert abs(added.std() - 0.2) < 0.05
        assert abs(added.mean()) < 0.06
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.3


def test_of_a_model_with_fewer_tensors_all_are_taken(dense):
    _, notes = after(dense, 2)
    assert notes["trained"] == 2 * [["1.weight", "1.bias", "3.weight", "3.bias"]]
    assert notes["reset"] == "3"
    assert after(dense, 1, tensors=1)[1]["trained"][0] in [[name] for name in notes["trained"][0]]


@pytest.mark.parametrize(("name", "arguments"), [("vit", {"size": 8, "depth": 1, "heads": 2}), ("allcnn", {})])
def test_normalisation_is_found_by_type(name, arguments):
    model = build(name, shape=(1, 8, 8), width=3, **arguments)
    kinds = (torch.nn.LayerNorm, torch.nn.BatchNorm2d)
    found = [f"{at}.{one}" for at, m in model.named_modules() if isinstance(m, kinds) for one in ("weight", "bias")]
    assert normalisation(model) == found
    assert len(found) >= 4


# all epochs


def test_last_epochs_train_everything_without_noise_at_their_rates(dense, monkeypatch):
    seen = []

    def spy(model, stream, objective, *, lr, parameters, momentum, weight_decay, **settings):
        seen.append((lr, parameters is None, momentum, weight_decay, settings["statistics"]))
        passed = {"parameters": parameters, "momentum": momentum, "weight_decay": weight_decay}
        return descend(model, stream, objective, lr=lr, **passed, **settings)

    monkeypatch.setattr("expunge.methods.rni.descend", spy)
    done = Rni().run(dense, seed=0)
    rates = [2e-4] * 5 + [2e-4, 2e-4, 2e-4, 1e-3]
    assert seen == [(lr, epoch >= 5, 0.9, 5e-4, "running") for epoch, lr in enumerate(rates)]
    assert len(done.notes["noisy"]) == len(done.notes["trained"]) == 5


def test_last_epochs_move_every_parameter_and_add_no_noise(images):
    names = set(dict(images.original.named_parameters()))
    first, _ = after(images, 1, tensors=1)
    second = Rni(epochs=2, tensors=1, last_rates=(0.05,)).run(images, seed=0).model.state_dict()
    assert differing(first, second) & names == names
    before, _ = after(images, 1, tensors=1, **STILL)
    still = Rni(epochs=2, tensors=1, last_rates=(1e-30,), **STILL).run(images, seed=0).model.state_dict()
    assert not differing(before, still) & names


def test_every_epoch_sees_retain_in_a_new_order_and_running_statistics_follow(images):
    one, two = (after(images, epochs, **STILL)[0] for epochs in (1, 2))
    changed = differing(images.original.state_dict(), one) & differing(one, two)
    assert {name for name in one if name.endswith("running_mean")} <= changed
    full = replace(images, recipe=replace(images.recipe, batch_size=8))
    history = Rni(epochs=2, last_rates=(), noise=0.0, **STILL).run(full, seed=0).history
    assert history[:7] != pytest.approx(history[7:])  # equal rows in equal order would give equal losses


def test_cost_is_the_epochs_over_retain(dense):
    problem = replace(dense, recipe=tiny_recipe(epochs=30))
    done = Rni().run(problem, seed=0)
    assert done.cost.backward == {"retain": 9 * 108}
    assert done.cost.forward == {}
    assert done.notes["share_of_retraining"] == pytest.approx(9 / 30)
    assert "warning" not in done.notes
    assert "this cost 1.12 of one retraining; lower epochs" in Rni().run(dense, seed=0).notes["warning"]


def test_same_seed_same_weights_and_another_seed_others(images):
    first, again, other = (Rni(tensors=3).run(images, seed=seed).model for seed in (0, 0, 1))
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_rates_for_a_small_network_leave_it_useful(dense):
    task = dense.recipe.task
    model = Rni(lr=0.02, last_rates=(0.02, 0.02, 0.02, 0.1)).run(dense, seed=0).model
    before, now = (task.correct(predict(m, dense.test), dense.test.labels).mean() for m in (dense.original, model))
    assert now > before - 0.1


def test_regression_is_served():
    problem = regression_problem()
    quiet, done = (Rni(lr=lr, last_rates=(lr,)).run(problem, seed=0).model for lr in (1e-5, 0.02))
    error, trained = (
        problem.recipe.task.loss(predict(m, problem.test), problem.test.labels).mean() for m in (quiet, done)
    )
    assert trained < 0.5 * error


# refusals


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 3}, "epochs: expected >= 4, with 4 last_rates, got 3"),
        ({"epochs": 0, "last_rates": ()}, "epochs: expected >= 1, with 0 last_rates, got 0"),
        ({"tensors": 0}, "tensors: expected >= 1, got 0"),
        ({"share": 0.0}, r"share: expected in \(0, 1\], got 0\.0"),
        ({"noise": -0.1}, r"noise: expected >= 0, got -0\.1"),
        ({"lr": 0.0}, r"lr: expected > 0, got 0\.0"),
        ({"last_rates": (0.1, 0.0)}, r"last_rates: expected numbers > 0, got \(0\.1, 0\.0\)"),
        ({"momentum": 1.0}, r"momentum: expected in \[0, 1\), got 1\.0"),
        ({"weight_decay": -1.0}, r"weight_decay: expected >= 0, got -1\.0"),
    ],
)
def test_bad_values_name_the_range_and_the_value(settings, message):
    with pytest.raises(ConfigError, match=message):
        Rni(**settings)
