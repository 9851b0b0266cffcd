"""SalUn beside its mask. What holds for every method: tests/properties/test_methods.py."""

from copy import deepcopy

import pytest
import torch
from torch.nn import functional

from expunge.errors import ConfigError
from expunge.methods.random_label import RandomLabel
from expunge.methods.saliency import forget_saliency, top_share
from expunge.methods.salun import Salun
from expunge.training import Run
from tests.tiny import same_weights, tiny_problem, tiny_recipe


def convolutional():
    return tiny_problem(seed=0, shape=(1, 8, 8), recipe=tiny_recipe(model="allcnn", channels=2, dropout=0.2))


def scores(problem, batch_size=32):
    return forget_saliency(deepcopy(problem.original), problem, Run(seed=0, batch_size=batch_size))


@pytest.mark.parametrize("problem", [tiny_problem(seed=0), convolutional()], ids=["mlp", "allcnn"])
def test_saliency_is_the_summed_gradient_in_evaluation_mode(problem):
    total = {name: torch.zeros_like(p) for name, p in problem.original.named_parameters()}
    for row in problem.forget:
        model = deepcopy(problem.original).eval()
        x, y = problem.rows.batch(row[None])
        functional.cross_entropy(model(x), y).backward()
        for name, p in model.named_parameters():
            total[name] += p.grad
    ours = scores(problem, batch_size=5)
    assert ours.keys() == total.keys()
    for name, value in total.items():
        assert torch.allclose(ours[name], value.abs(), atol=1e-5)


def test_saliency_leaves_the_model_alone_and_is_counted():
    problem = convolutional()
    model, run = deepcopy(problem.original).train(), Run(seed=0, batch_size=5)
    forget_saliency(model, problem, run)
    assert same_weights(model, problem.original)  # running statistics too
    assert all(module.training for module in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert run.meter.cost().backward == {"forget": 12}


def test_the_rank_is_global():
    masks = top_share({"a": torch.tensor([[9.0, 8.0], [7.0, 6.0]]), "b": torch.tensor([1.0, 2.0])}, 4 / 6)
    assert masks["a"].all()
    assert not masks["b"].any()


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_share_of_ones_is_the_setting(share):
    found = scores(tiny_problem(seed=0))
    masks = top_share(found, share)
    total = sum(mask.numel() for mask in masks.values())
    assert sum(int(mask.sum()) for mask in masks.values()) == round(share * total)
    least = min(float(found[name][mask].min()) for name, mask in masks.items() if mask.any())
    assert all(bool((found[name][~mask] <= least).all()) for name, mask in masks.items())


def test_weights_outside_the_mask_stay_bit_identical():
    problem = tiny_problem(seed=0)
    settings = {"share": 0.3, "epochs": 3, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    unlearned = Salun(**settings).run(problem, seed=0)
    masks = top_share(scores(problem), 0.3)
    after = unlearned.model.state_dict()
    for name, before in problem.original.named_parameters():
        assert torch.equal(after[name][~masks[name]], before[~masks[name]])
        assert bool((after[name][masks[name]] != before[masks[name]]).all())
    selected = unlearned.notes["share_selected"]
    assert selected == {name: pytest.approx(float(mask.float().mean())) for name, mask in masks.items()}


@pytest.mark.parametrize("redraw", ["once", "epoch"])
def test_the_whole_model_is_random_labelling_bit_for_bit(redraw):
    problem = tiny_problem(seed=0)
    same = {"epochs": 2, "lr": 0.05, "exclude_true": True, "redraw": redraw, "weight_decay": 0.01}
    ours = Salun(share=1.0, **same).run(problem, seed=3).model
    theirs = RandomLabel(order="alternate", optimizer="sgd", **same).run(problem, seed=3).model
    assert same_weights(ours, theirs)


def test_cost_is_one_pass_for_the_mask_and_then_the_epochs():
    cost = Salun(epochs=2).run(tiny_problem(seed=0), seed=0).cost
    assert cost.backward == {"forget": 12 + 2 * 12, "retain": 2 * 108}
    assert cost.forward == {}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"share": 0.0}, r"share: expected in \(0, 1\], got 0\.0"),
        ({"epochs": 0}, r"epochs: expected >= 1, got 0"),
        ({"lr": 0.0}, r"lr: expected > 0, got 0\.0"),
        ({"momentum": 1.0}, r"momentum: expected in \[0, 1\), got 1\.0"),
        ({"weight_decay": -0.1}, r"weight_decay: expected >= 0, got -0\.1"),
        ({"exclude_true": "no"}, r"exclude_true: expected true or false, got 'no'"),
        ({"redraw": "batch"}, r"redraw: expected one of once, epoch, got 'batch'"),
    ],
)
def test_bad_values_name_the_range_and_the_value(wrong, text):
    with pytest.raises(ConfigError, match=text):
        Salun(**wrong)
