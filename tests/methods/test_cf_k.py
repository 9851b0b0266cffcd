"""CF-k: what moves, what is held. What holds for every method: tests/properties/test_methods.py."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from expunge.errors import ConfigError
from expunge.methods.cf_k import CfK
from expunge.methods.finetune import FineTune
from expunge.methods.layers import last_layers, layers
from tests.tiny import same_weights, tiny_problem, tiny_recipe

IMAGES = {"recipe": tiny_recipe(model="allcnn", channels=4, epochs=1), "shape": (1, 8, 8), "rows": 60}


def moved(model, original):
    """Names of parameters and buffers that differ by a bit."""
    ours, theirs = model.state_dict(), original.state_dict()
    return {name for name in ours if not torch.equal(ours[name], theirs[name])}


@pytest.mark.parametrize("recipe", [None, tiny_recipe(model="mlp", epochs=2, hidden=(8, 8))])
def test_all_layers_is_finetuning_bit_for_bit(recipe):
    problem = tiny_problem(seed=0, recipe=recipe)
    ours = CfK(k=len(layers(problem.original)), epochs=2, lr=0.1).run(problem, seed=3)
    assert same_weights(ours.model, FineTune(epochs=2, lr=0.1).run(problem, seed=3).model)


def test_all_layers_is_finetuning_with_dropout_before_the_first_layer(tmp_path):
    source = tmp_path / "dropping.py"
    source.write_text(
        "from torch import nn\n"
        "def build(shape, width):\n"
        "    dense = [nn.Linear(shape[0], 8), nn.Linear(8, width)]\n"
        "    return nn.Sequential(nn.Dropout(0.5), dense[0], nn.Dropout(0.5), dense[1])\n"
    )
    problem = tiny_problem(seed=0, recipe=tiny_recipe(model=f"{source}:build", epochs=1))
    ours = CfK(k=2, epochs=1).run(problem, seed=3)
    assert same_weights(ours.model, FineTune(epochs=1, lr=0.01).run(problem, seed=3).model)


def test_held_layers_and_all_statistics_stay_to_the_bit():
    problem = tiny_problem(seed=0, forget=5, **IMAGES)
    done = CfK(k=3, epochs=2, lr=0.1, momentum=0.9, weight_decay=0.1).run(problem, seed=0)
    names = list(layers(problem.original))[-3:]  # convolution, normalisation, classifier
    trained = {f"{name}.{key}" for name in names for key in ("weight", "bias")} - {f"{names[0]}.bias"}
    assert moved(done.model, problem.original) == trained
    assert all(p.grad is None for name, p in done.model.named_parameters() if name not in trained)
    assert all(p.requires_grad for p in done.model.parameters())  # as it came


def test_k_counts_from_the_output_and_the_layers_are_noted():
    problem = tiny_problem(seed=0)  # Flatten, Linear, ReLU, Linear
    done = CfK(epochs=1).run(problem, seed=0)
    assert done.notes["layers"] == ["3"]
    assert moved(done.model, problem.original) == {"3.weight", "3.bias"}
    assert CfK(k=2, epochs=1).run(problem, seed=0).notes["layers"] == ["1", "3"]


def test_part_holds_dropout_behind_its_first_layer_but_not_before():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 2))
    assert list(last_layers(model, 2).modules) == ["2", "3", "4"]
    assert list(last_layers(model, 3).modules) == ["", "0", "1", "2", "3", "4"]


def test_weights_of_a_module_that_has_children_count_as_a_layer():
    attention = nn.MultiheadAttention(4, 1)
    assert list(layers(nn.Sequential(attention, nn.ReLU()))) == ["0", "0.out_proj"]


def test_shared_weights_are_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    with pytest.raises(ConfigError, match="layer '0' shares weights with the last 1 layers"):
        last_layers(model, 1)


def test_original_is_not_touched():
    problem = tiny_problem(seed=0)
    before = deepcopy(problem.original)
    CfK(epochs=1).run(problem, seed=0)
    assert same_weights(problem.original, before)


def test_bad_values_name_the_range_and_the_value():
    with pytest.raises(ConfigError, match="k: expected >= 1, got 0"):
        CfK(k=0)
    with pytest.raises(ConfigError, match="epochs: expected >= 1, got 0"):
        CfK(epochs=0)
    with pytest.raises(ConfigError, match=r"k: expected in 1\.\.2, the number of layers, got 3"):
        CfK(k=3).run(tiny_problem(seed=0), seed=0)
