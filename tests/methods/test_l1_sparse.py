"""l1-sparse fine-tuning beside its objective. For every method: tests/properties/test_methods.py."""

import pytest
import torch
from torch import nn

from expunge.errors import ConfigError
from expunge.methods import l1_sparse
from expunge.methods.finetune import FineTune
from expunge.methods.l1_sparse import L1Sparse, sparsity
from tests.tiny import same_weights, tiny_problem


@pytest.mark.parametrize("without", [{"alpha": 0.0}, {"alpha": 0.1, "no_l1_epochs": 2}])
def test_without_a_penalty_it_is_finetuning_bit_for_bit(without):
    problem = tiny_problem(seed=0)
    ours = L1Sparse(epochs=2, lr=0.1, **without).run(problem, seed=3).model
    assert same_weights(ours, FineTune(epochs=2, lr=0.1).run(problem, seed=3).model)


def test_the_penalty_falls_linearly_and_ends_where_declared():
    method = L1Sparse(alpha=0.8, epochs=6, no_l1_epochs=2)
    assert [method.penalty(epoch) for epoch in range(6)] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0, 0])


def test_one_step_by_hand():
    problem = tiny_problem(seed=0, batch_size=120)
    plain = {"epochs": 1, "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}
    ours = L1Sparse(alpha=0.02, **plain).run(problem, seed=0).model
    tuned = FineTune(**plain).run(problem, seed=0).model.state_dict()
    for name, p in problem.original.named_parameters():
        assert torch.allclose(ours.state_dict()[name], tuned[name] - 0.1 * 0.02 * p.sign(), atol=1e-7)


def test_each_epoch_has_its_own_penalty(monkeypatch):
    problem = tiny_problem(seed=0)  # 108 retain rows: four steps an epoch
    monkeypatch.setattr(l1_sparse, "l1", lambda model: torch.ones(()))  # a constant: shows in the loss alone
    plain = FineTune(epochs=4).run(problem, seed=0).history
    ours = L1Sparse(alpha=3.0, epochs=4, no_l1_epochs=1, lr=0.02).run(problem, seed=0).history
    gaps = [a - b for a, b in zip(ours, plain, strict=True)]
    assert gaps == pytest.approx([3.0] * 4 + [2.0] * 4 + [1.0] * 4 + [0.0] * 4, abs=1e-5)


def test_sparsity_by_hand():
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, -0.05], [0.2, -3.0]]))
        model.bias.copy_(torch.tensor([0.01, 1.0]))
    assert sparsity(model, 0.1) == pytest.approx(3 / 6)


def test_a_penalty_makes_the_model_sparser_and_says_so():
    problem = tiny_problem(seed=0)
    notes = L1Sparse(alpha=0.02, lr=0.02, epochs=10, threshold=0.01).run(problem, seed=0).notes
    assert notes["sparsity_original"] == pytest.approx(sparsity(problem.original, 0.01))
    assert notes["sparsity"] > notes["sparsity_original"] + 0.05


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"alpha": -1.0}, r"alpha: expected >= 0, got -1\.0"),
        ({"epochs": 0}, r"epochs: expected >= 1, got 0"),
        ({"epochs": 3, "no_l1_epochs": 4}, r"no_l1_epochs: expected in \[0, 3\], got 4"),
        ({"lr": 0.0}, r"lr: expected > 0, got 0\.0"),
        ({"momentum": 1.0}, r"momentum: expected in \[0, 1\), got 1\.0"),
        ({"weight_decay": -0.1}, r"weight_decay: expected >= 0, got -0\.1"),
        ({"threshold": 0.0}, r"threshold: expected > 0, got 0\.0"),
    ],
)
def test_bad_values_name_the_range_and_the_value(wrong, text):
    with pytest.raises(ConfigError, match=text):
        L1Sparse(**wrong)
