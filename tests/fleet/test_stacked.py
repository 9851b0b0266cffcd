"""A stack of models against the same models trained one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.errors import DivergedError
from expunge.fleet import stackable, train_stack
from expunge.training import fit, predict
from tests.tiny import tiny_recipe, tiny_rows

NEAR = 1e-4
"""Largest difference of a logit that rounding may explain."""
SHAPES = {"linear": (6,), "mlp": (6,), "cnn": (1, 8, 8)}
ARGUMENTS = {"cnn": {"widths": (3,), "hidden": 8}}


def recipe_of(model="mlp", **settings):
    return replace(tiny_recipe(epochs=3, batch_size=16, model=model, **ARGUMENTS.get(model, {})), **settings)


def largest_difference(recipe, rows, chosen, seeds):
    """Between the stack's logits and those of `fit` with the same rows and seeds."""
    together = train_stack(recipe, rows, chosen, seeds).outputs(rows)
    alone = torch.stack(
        [predict(fit(recipe, rows, part, seed=seed).model, rows) for part, seed in zip(chosen, seeds, strict=True)]
    )
    assert (alone[0] - alone[1]).abs().max() > 100 * NEAR, "the models differ, so the comparison means something"
    return float((together - alone).abs().max())


def subsets(rows, *sizes):
    draw = np.random.default_rng(0)
    return [np.sort(draw.choice(rows, size, replace=False)) for size in sizes]


@pytest.mark.parametrize("model", ["linear", "mlp", "cnn"])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "weight_decay": 0.0},
        {"optimizer": "sgd", "weight_decay": 0.05, "momentum": 0.5},
        {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.0},
        {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.05},
        {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.05},
    ],
    ids=lambda settings: f"{settings['optimizer']}-{settings['weight_decay']}",
)
def test_stacked_equals_one_by_one(model, settings):
    rows = tiny_rows(64, seed=1, shape=SHAPES[model])
    chosen = subsets(64, 40, 40, 40)
    assert largest_difference(recipe_of(model, **settings), rows, chosen, [5, 6, 7]) < NEAR


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "triangle"])
def test_every_schedule_is_followed(schedule):
    chosen = subsets(64, 40, 40)
    assert largest_difference(recipe_of(schedule=schedule), tiny_rows(64, seed=2), chosen, [1, 2]) < NEAR


@pytest.mark.parametrize("model", ["linear", "mlp", "cnn"])
@pytest.mark.parametrize("sizes", [(34, 40, 48, 49), (1, 16, 7, 17)], ids=["three batches", "one batch"])
def test_unequal_sizes_with_equally_many_batches(model, sizes):
    rows = tiny_rows(64, seed=3, shape=SHAPES[model])
    assert largest_difference(recipe_of(model), rows, subsets(64, *sizes), [1, 2, 3, 4]) < NEAR


def test_weights_of_one_model_load_into_a_fresh_one():
    recipe, rows = recipe_of("cnn"), tiny_rows(48, seed=4, shape=SHAPES["cnn"])
    stack = train_stack(recipe, rows, subsets(48, 20, 20), [1, 2])
    model = recipe.fresh(SHAPES["cnn"], seed=99)
    model.load_state_dict(stack.weights(1))
    assert (predict(model, rows) - stack.outputs(rows)[1]).abs().max() < NEAR


def test_outputs_do_not_depend_on_the_batch_size():
    rows = tiny_rows(50, seed=5)
    stack = train_stack(recipe_of(), rows, subsets(50, 20, 20), [1, 2])
    assert torch.allclose(stack.outputs(rows, batch_size=7), stack.outputs(rows), atol=1e-6)


def test_divergence_names_the_model():
    rows = tiny_rows(32, seed=6)
    rows.x[3] = 1e30  # only the second model is trained on this row
    without = np.delete(np.arange(32), 3)
    with pytest.raises(DivergedError, match=r"loss of model 1 of the stack is not finite at step \d+") as error:
        train_stack(recipe_of(lr=1e10), rows, [without[:30], np.arange(30)], [1, 2])
    assert error.value.hint == "lower lr from 1e+10"


@pytest.mark.parametrize("model", ["linear", "mlp", "cnn"])
def test_plain_models_can_be_stacked(model):
    assert stackable(recipe_of(model), tiny_rows(8, seed=0, shape=SHAPES[model]))


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("resnet18", {"arguments": {}}),  # batch statistics
        ("vit", {"arguments": {"patch": 4, "size": 16, "depth": 1, "heads": 2, "dropout": 0.1}}),
        ("cnn", {"augmentation": ("flip",)}),
        ("cnn", {"precision": "bf16"}),
    ],
    ids=["batch norm", "dropout", "augmentation", "bf16"],
)
def test_what_stacking_would_change_is_not_stacked(model, settings):
    shape = (3, 8, 8)
    assert not stackable(recipe_of(model, **settings), tiny_rows(8, seed=0, shape=shape))
