"""Recipe: a value that survives json, and a fingerprint that changes with what matters."""

import json
from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch

from expunge.errors import ConfigError, StoreError
from expunge.tasks import Classification, Regression
from expunge.training import Recipe
from tests.tiny import same_weights, tiny_recipe

FULL = Recipe(
    name="full",
    data="digits",
    model="cnn",
    arguments={"widths": [4, 8], "hidden": 6, "dropout": 0.1},
    task=Classification(10),
    optimizer="adamw",
    lr=0.01,
    momentum=0.5,
    weight_decay=0.1,
    schedule="triangle",
    epochs=7,
    batch_size=33,
    augmentation=("crop", "flip"),
    precision="bf16",
    channels_last=True,
)
OTHERWISE = {
    "model": "mlp",
    "arguments": {"widths": [4, 9], "hidden": 6, "dropout": 0.1},
    "task": Classification(11),
    "optimizer": "adam",
    "lr": 0.02,
    "momentum": 0.6,
    "weight_decay": 0.2,
    "schedule": "cosine",
    "epochs": 8,
    "batch_size": 34,
    "augmentation": ("flip", "crop"),
    "precision": "float32",
    "channels_last": False,
}


@pytest.mark.parametrize("recipe", [FULL, tiny_recipe(), replace(FULL, task=Regression(2, tolerance=0.1))])
def test_a_recipe_survives_json(recipe):
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert again.fingerprint() == recipe.fingerprint()


@pytest.mark.parametrize("field", ["name", "data"])
def test_the_fingerprint_ignores(field):
    assert replace(FULL, **{field: "other"}).fingerprint() == FULL.fingerprint()


@pytest.mark.parametrize("field", [f.name for f in fields(Recipe) if f.name not in ("name", "data")])
def test_the_fingerprint_changes_with(field):
    assert replace(FULL, **{field: OTHERWISE[field]}).fingerprint() != FULL.fingerprint()


def test_the_fingerprint_does_not_depend_on_the_order_of_arguments():
    backwards = dict(reversed(FULL.arguments.items()))
    assert replace(FULL, arguments=backwards).fingerprint() == FULL.fingerprint()


def test_the_fingerprint_stays_what_it_was_in_earlier_versions():
    assert FULL.fingerprint() == "3d8dc7200e4ffaf0a293e6026db056f6e38f1645c8a8fac1d2686fa2d1a570cd"


def test_the_fingerprint_changes_with_the_code_of_a_persons_own_model(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from torch import nn\ndef net(shape, width):\n    return nn.Linear(shape[0], width)\n")
    recipe = tiny_recipe(epochs=1)
    mine = replace(recipe, model=f"{file}:net", arguments={})
    before = mine.fingerprint()
    assert mine.fingerprint() == before
    file.write_text(file.read_text().replace("nn.Linear(shape[0], width)", "nn.Linear(shape[0], width, bias=False)"))
    assert mine.fingerprint() != before
    file.unlink()
    with pytest.raises(ConfigError, match="model: expected an existing file, got"):
        mine.fingerprint()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"lr": 0.0}, "lr: expected finite and > 0, got 0.0"),
        ({"lr": float("nan")}, "lr: expected finite and > 0, got nan"),
        ({"momentum": 1.0}, r"momentum: expected in \[0, 1\), got 1.0"),
        ({"momentum": -0.1}, r"momentum: expected in \[0, 1\), got -0.1"),
        ({"weight_decay": -1e-9}, "weight_decay: expected >= 0, got -1e-09"),
        ({"epochs": 0}, "epochs: expected a whole number >= 1, got 0"),
        ({"batch_size": 0}, "batch_size: expected a whole number >= 1, got 0"),
        ({"optimizer": "sdg"}, "optimizer: expected one of sgd, adam, adamw, got 'sdg'"),
        ({"schedule": "step"}, "schedule: expected one of .*, got 'step'"),
        ({"precision": "fp16"}, "precision: expected float32 or bf16, got 'fp16'"),
        ({"augmentation": ("flip", "rotate")}, "augmentation: expected one of flip, crop, got 'rotate'"),
        ({"arguments": {"act": torch.relu}}, "arguments: expected names with plain"),
    ],
)
def test_a_bad_value_names_the_field(settings, text):
    tiny = tiny_recipe()
    with pytest.raises(ConfigError, match=text):
        replace(tiny, **settings)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda data: data | {"warmup": 3}, "recipe: not one of this version .*warmup"),
        (lambda data: {k: v for k, v in data.items() if k != "task"}, "recipe: not one of this version .*task"),
        (lambda data: {k: v for k, v in data.items() if k != "name"}, "recipe: not one of this version .*name"),
        (lambda data: data | {"task": {"kind": "classification", "labels": 3}}, "recipe: not one of this version"),
    ],
)
def test_a_recipe_of_another_version_is_refused(change, text):
    with pytest.raises(StoreError, match=text):
        Recipe.from_dict(change(FULL.to_dict()))


def test_a_recipe_is_frozen_and_does_not_share_its_arguments():
    arguments = {"hidden": [4]}
    recipe = Recipe(name="mine", task=Classification(3), arguments=arguments)
    arguments["hidden"].append(5)
    assert recipe.arguments == {"hidden": [4]}
    with pytest.raises(FrozenInstanceError):
        recipe.lr = 1.0


def test_a_fresh_model_repeats_with_its_seed():
    recipe = tiny_recipe()
    assert same_weights(recipe.fresh((6,), 0), recipe.fresh((6,), 0))
    assert not same_weights(recipe.fresh((6,), 0), recipe.fresh((6,), 1))


def test_building_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    tiny_recipe().fresh((6,), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_fresh_model_has_the_memory_layout_of_the_recipe():
    recipe = tiny_recipe(model="cnn", widths=[4], hidden=4)
    weights = [replace(recipe, channels_last=flag).fresh((3, 8, 8), seed=0)[0].weight for flag in (False, True)]
    assert [weight.is_contiguous(memory_format=torch.channels_last) for weight in weights] == [False, True]
    assert torch.equal(*weights)
