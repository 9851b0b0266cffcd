"""NegGrad+ beside its objective. What holds for every method: tests/properties/test_methods.py."""

import pytest
import torch

from expunge.errors import ConfigError
from expunge.methods.finetune import FineTune
from expunge.methods.neggrad_plus import NegGradPlus, weighted
from tests.tiny import same_weights, tiny_problem


def test_objective_by_hand():
    kept, gone = torch.tensor([1.0, 3.0]), torch.tensor([4.0])
    assert weighted(kept, gone, 0.75).item() == pytest.approx(0.75 * 2 - 0.25 * 4)


def test_full_weight_is_finetuning_bit_for_bit():
    problem = tiny_problem(seed=0)
    ours = NegGradPlus(retain_weight=1.0, epochs=2, lr=0.1).run(problem, seed=3)
    assert same_weights(ours.model, FineTune(epochs=2, lr=0.1).run(problem, seed=3).model)


@pytest.mark.parametrize("forget_rows", [1, 7])
def test_forget_set_smaller_than_a_batch(forget_rows):
    problem = tiny_problem(forget=forget_rows, batch_size=32, seed=0)
    cost = NegGradPlus(epochs=1).run(problem, seed=0).cost
    assert cost.backward["forget"] == cost.backward["retain"] == len(problem.retain)


def test_bad_weight_names_the_range_and_the_value():
    with pytest.raises(ConfigError, match=r"retain_weight: expected in \(0, 1\], got 1\.5"):
        NegGradPlus(retain_weight=1.5)
