"""The repulsions beside their formulas, and that the two stages do what they are for."""

import math

import pytest
import torch

from expunge.errors import ConfigError
from expunge.gan.fisher import output_fisher, weights_of
from expunge.gan.methods import AdaptThenUnlearn, FineTune
from expunge.gan.methods.adapt_then_unlearn import REPULSIONS, STRONGEST, repel
from expunge.gan.run import GanRun
from tests.gan.tiny import original, problem, same_pair

START = {"w": torch.zeros(3)}
COPY = {"w": torch.tensor([1.0, 2.0, 2.0])}  # squared distance 9


@pytest.mark.parametrize(
    ("form", "expected"), [("exp", 100 * math.exp(-0.5 / 2)), ("l2", -0.5 / 2), ("reciprocal", 1 / (2 * 0.5))]
)
def test_repulsions_by_hand(form, expected):
    now = {"w": COPY["w"] + math.sqrt(4.5) * torch.tensor([1.0, 0.0, 0.0])}  # half of the original's distance
    assert float(repel(now, START, COPY, form, scale=2.0, most=4.0)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("form", REPULSIONS)
def test_a_small_step_against_the_gradient_leads_away(form):
    now = {"w": torch.tensor([0.5, 0.5, -0.5], requires_grad=True)}
    repel(now, START, COPY, form, scale=1.0, most=100.0).backward()
    moved = now["w"].detach() - 1e-3 * now["w"].grad
    assert (moved - COPY["w"]).norm() > (now["w"].detach() - COPY["w"]).norm()


@pytest.mark.parametrize("form", REPULSIONS)
def test_gradients_agree_with_finite_differences(form):
    def value(w):
        return repel({"w": w}, {"w": START["w"].double()}, {"w": COPY["w"].double()}, form, scale=1.5, most=100.0)

    w = torch.tensor([0.3, -0.2, 0.9], dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(value, (w,))


def test_the_exponential_form_is_bounded_and_l2_stops():
    assert float(repel(COPY, START, COPY, "exp", scale=1.0, most=4.0)) == STRONGEST
    far = {"w": torch.tensor([100.0, 0.0, 0.0], requires_grad=True)}
    repel(far, START, COPY, "l2", scale=1.0, most=4.0).backward()
    assert torch.equal(far["w"].grad, torch.zeros(3))


def test_without_repulsion_the_second_stage_is_fine_tuning():
    one = problem("random:20")
    ours = AdaptThenUnlearn(copies=1, adapt_steps=2, steps=8, gamma=0.0, fisher_rows=4).run(one, seed=1)
    assert same_pair(ours.pair, FineTune(steps=8).run(one, seed=1).pair)


def test_repulsion_ends_farther_from_the_adapted_weights():
    one = problem("random:20")
    settings = {"copies": 1, "adapt_steps": 20, "steps": 30, "fisher_rows": 8}
    start = weights_of(original().generator)
    ends = {}
    for gamma in (0.0, 20.0):
        method = AdaptThenUnlearn(gamma=gamma, **settings)
        run = GanRun(3, 32)
        fisher = output_fisher(one.original.generator, run, count=8)
        copy = method._adapted(one, run, start, fisher, 0)
        made = weights_of(method.run(one, seed=3).pair.generator)
        ends[gamma] = sum(float((made[k] - copy[k]).square().sum()) for k in copy)
    assert ends[20.0] > ends[0.0]


def test_values_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="repulsion: expected one of exp, l2, reciprocal, got 'push'"):
        AdaptThenUnlearn(repulsion="push")
    with pytest.raises(ConfigError, match="copies: expected >= 1, got 0"):
        AdaptThenUnlearn(copies=0)
