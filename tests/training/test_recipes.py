"""Named recipes, and a person's own."""

import numpy as np
import pytest
import torch

from expunge.data import load
from expunge.errors import ConfigError
from expunge.training import Recipe, fit, input_shape, predict
from expunge.training.recipes import MEASURED, RECIPES, recipe

SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "fashion-mnist": (1, 28, 28), "cifar10": (3, 32, 32)}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_builds_on_the_shape_of_its_data(name):
    named = recipe(name)
    model = named.fresh(SHAPES[named.data.partition("@")[0]], seed=0).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, *SHAPES[named.data.partition("@")[0]])).shape == (2, named.task.width)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_is_called_what_it_is_listed_as(name):
    assert recipe(name).name == name
    assert Recipe.from_dict(recipe(name).to_dict()) == recipe(name)


def test_no_two_recipes_are_the_same():
    assert len({(one.data, one.fingerprint()) for one in RECIPES.values()}) == len(RECIPES)


def test_measured_figures_belong_to_recipes():
    assert MEASURED.keys() <= RECIPES.keys()


def test_the_shape_of_digits_is_what_its_recipes_are_tried_on():
    splits = load("digits@70")
    assert input_shape(splits.train) == SHAPES["digits"]
    assert len(np.unique(splits.train.labels.numpy())) == recipe("digits-mlp").task.width


def test_digits_are_learned():
    splits = load("digits")
    model = fit(recipe("digits-mlp"), splits.train, seed=0).model
    assert float((predict(model, splits.test).argmax(-1) == splits.test.labels).float().mean()) > 0.94


def test_an_unknown_name_gets_close_matches():
    with pytest.raises(ConfigError, match=r"unknown recipe 'digits-mpl'\nhint: did you mean digits-mlp") as caught:
        recipe("digits-mpl")
    assert "`expunge recipes` lists every recipe" in str(caught.value)


MINE = """
from expunge import Classification, Recipe
mine = Recipe(name="mine", data="digits", task=Classification(10), epochs=3)
number = 3
"""


def test_a_persons_own_file_holds_a_recipe(tmp_path):
    (tmp_path / "my.py").write_text(MINE)
    assert recipe(f"{tmp_path}/my.py:mine").epochs == 3


@pytest.mark.parametrize(("name", "kind"), [("number", "int"), ("absent", "NoneType")])
def test_something_else_under_that_name_is_refused(tmp_path, name, kind):
    (tmp_path / "my.py").write_text(MINE)
    with pytest.raises(ConfigError, match=f"expected a Recipe called '{name}' in .*my.py, got {kind}\nhint: NAME = "):
        recipe(f"{tmp_path}/my.py:{name}")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        recipe(f"{tmp_path}/absent.py:mine")


def test_a_file_that_fails_says_with_what(tmp_path):
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(ConfigError, match="failed with ZeroDivisionError"):
        recipe(f"{tmp_path}/bad.py:mine")
