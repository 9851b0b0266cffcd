"""EU-k: fresh layers, held layers, and retraining as its limit."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from expunge.errors import ConfigError, ShapeError
from expunge.methods.eu_k import EuK
from expunge.methods.layers import last_layers, layers, newborn, reset
from expunge.seeds import derive
from expunge.training import Batch, Run, descend
from tests.tiny import same_weights, tiny_problem, tiny_recipe

IMAGES = {"recipe": tiny_recipe(model="allcnn", channels=4, epochs=1), "shape": (1, 8, 8), "rows": 60}


def moved(model, original):
    """Names of parameters and buffers that differ by a bit."""
    ours, theirs = model.state_dict(), original.state_dict()
    return {name for name in ours if not torch.equal(ours[name], theirs[name])}


@pytest.mark.parametrize("settings", [{}, {"forget": 5, **IMAGES}], ids=["mlp", "allcnn"])
def test_all_layers_is_retraining_from_a_fresh_initialisation(settings):
    problem = tiny_problem(seed=0, **settings)
    recipe, run = problem.recipe, Run(seed=3, batch_size=problem.recipe.batch_size)
    model = recipe.fresh(settings.get("shape", (6,)), derive(3, "reset"))

    def objective(batch: Batch) -> torch.Tensor:
        return recipe.task.loss(model(batch.x), batch.y).mean()

    descend(
        model,
        run.epochs("retain", problem.rows, problem.retain, count=recipe.epochs),
        objective,
        run=run,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        schedule=recipe.schedule,
        statistics="running",
    )
    ours = EuK(k=len(layers(problem.original))).run(problem, seed=3).model
    assert same_weights(ours, model)


def test_all_layers_leave_nothing_of_the_original():
    problem = tiny_problem(seed=0)
    other = replace(problem, original=tiny_problem(seed=5).original)
    ours, theirs = (EuK(k=2, share=0.1).run(one, seed=0).model for one in (problem, other))
    assert same_weights(ours, theirs)


def test_held_layers_and_their_statistics_stay_to_the_bit():
    recipe = replace(IMAGES["recipe"], epochs=2, momentum=0.9, weight_decay=0.1)
    problem = tiny_problem(seed=0, forget=5, **IMAGES | {"recipe": recipe})
    done = EuK(k=3).run(problem, seed=0)
    before, norm, head = list(layers(problem.original))[-3:]
    statistics = {f"{norm}.running_mean", f"{norm}.running_var", f"{norm}.num_batches_tracked"}
    weights = {f"{before}.weight", f"{norm}.weight", f"{norm}.bias", f"{head}.weight", f"{head}.bias"}
    # counters of batches agree because both models saw as many: 4 = 2 epochs of 2; hence <=
    assert weights <= moved(done.model, problem.original) <= weights | statistics
    assert f"{norm}.running_mean" in moved(done.model, problem.original)
    assert done.notes["layers"] == [before, norm, head]


def test_reset_takes_every_weight_of_the_part_from_the_fresh_model():
    problem = tiny_problem(seed=0, forget=5, **IMAGES)
    model, fresh = deepcopy(problem.original), newborn(problem, Run(seed=0))
    part = last_layers(model, 2)  # normalisation and classifier
    reset(part, fresh)
    changed = moved(model, problem.original)
    assert {name.rpartition(".")[0] for name in changed} == set(part.layers)
    assert {f"{name}.weight" for name in part.layers} <= changed
    assert all(torch.equal(model.state_dict()[name], fresh.state_dict()[name]) for name in changed)
    assert model.get_submodule(part.layers[0]).running_mean.abs().max() == 0


def test_fresh_weights_are_not_those_from_which_the_original_started():
    problem = tiny_problem(seed=0)
    ours = newborn(problem, Run(seed=0))  # the original's own seed
    assert not same_weights(ours, problem.recipe.fresh((6,), 0))
    assert same_weights(ours, newborn(problem, Run(seed=0)))
    assert not same_weights(ours, newborn(problem, Run(seed=0), index=1))


def test_cost_is_the_share_of_one_retraining():
    problem = tiny_problem(seed=0)  # 8 epochs
    assert EuK().run(problem, seed=0).cost.visits == 8 * len(problem.retain)
    cost = EuK(share=0.25).run(problem, seed=0).cost
    assert cost.backward == {"retain": 2 * len(problem.retain)}


def test_original_of_another_architecture_is_refused():
    problem = tiny_problem(seed=0)
    other = replace(problem, recipe=tiny_recipe(hidden=(5,)))
    with pytest.raises(ShapeError, match=r"the recipe builds \(5,\) for '1\.bias', the original has \(16,\)"):
        EuK().run(other, seed=0)


def test_bad_values_name_the_range_and_the_value():
    with pytest.raises(ConfigError, match=r"share: expected in \(0, 1\], got 0"):
        EuK(share=0)
    with pytest.raises(ConfigError, match="k: expected >= 1, got 0"):
        EuK(k=0)
