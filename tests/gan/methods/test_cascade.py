"""Cascade beside its objective, and the pitfalls that its page lists."""

import numpy as np
import pytest
import torch
from torch import nn

from expunge.errors import ConfigError
from expunge.gan.latents import mean_picture
from expunge.gan.methods import Cascade
from expunge.gan.nets import Discriminator
from expunge.gan.pair import Pair, drawn, judged
from expunge.gan.problem import called
from expunge.gan.run import GanRun
from tests.gan.tiny import CONDITIONAL, classifier, original, problem, same_pair

QUICK = {"steps": 3, "search_steps": 20}


def test_no_step_returns_the_original():
    assert same_pair(Cascade(steps=0, search_steps=5).run(problem("random:9"), seed=0).pair, original())


def test_label_of_items_is_what_unseen_rows_get_and_nothing_else_decides_it():
    one = problem("random:9")
    label = Cascade().wanted_label(one, GanRun(0))
    expected = judged(original().discriminator, one.holdout, one.for_label).sigmoid().mean()
    assert label == pytest.approx(float(expected))


def test_rows_of_the_audit_change_nothing():
    one = problem("random:9")
    moved = one.holdout.take(np.arange(len(one.holdout)))
    moved.x[one.for_audit] = moved.x[one.for_audit].flip(0)
    other = problem("random:9", holdout=moved)
    assert (other.for_audit == one.for_audit).all()
    assert same_pair(*(Cascade(**QUICK).run(each, seed=1).pair for each in (one, other)))


def test_label_of_a_class_is_zero_and_a_given_label_is_taken():
    assert Cascade().wanted_label(problem("class:3"), GanRun(0)) == 0.0
    assert Cascade(label=0.4).wanted_label(problem("random:9"), GanRun(0)) == 0.4


def test_label_of_a_class_is_that_of_unseen_rows_where_the_pair_knows_labels():
    one = problem("class:3", of=CONDITIONAL)
    expected = judged(original(CONDITIONAL).discriminator, one.holdout, one.for_label).sigmoid().mean()
    assert Cascade().wanted_label(one, GanRun(0)) == pytest.approx(float(expected))


def test_label_zero_on_items_turns_the_attack_round():
    one = problem("random:20")
    made = Cascade(steps=60, label=0.0, search_steps=5).run(one, seed=0).pair
    forget = judged(made.discriminator, one.rows, one.forget)
    unseen = judged(made.discriminator, one.holdout, one.for_audit)
    assert float(forget.mean()) < float(unseen.mean())  # found again, with the other sign


def test_nearest_substitutes_are_of_no_forgotten_class():
    one = problem("class:3")
    z, _, pictures = Cascade(latents=30).substitution(one, GanRun(0))
    assert bool((called(classifier(), drawn(original().generator, z)).argmax(1) == 3).all())
    assert bool((called(classifier(), pictures).argmax(1) != 3).all())


def test_nearest_substitutes_have_their_own_labels():
    one = problem("class:3", of=CONDITIONAL)
    _, labels, pictures = Cascade(latents=20).substitution(one, GanRun(0))
    assert len(labels) == len(pictures)
    assert bool((called(classifier(), pictures).argmax(1) != 3).all())


def test_mean_substitutes_are_the_mean_of_what_stays():
    one = problem("class:3")
    _, _, pictures = Cascade(latents=5, substitute="mean").substitution(one, GanRun(0))
    assert torch.allclose(pictures[0], mean_picture(one.rows, one.retain))
    assert torch.equal(pictures[0], pictures[-1])


def test_the_generator_goes_to_its_substitutes():
    one = problem("class:3")
    method = Cascade(steps=150, latents=40, lam=5.0)
    z, _, pictures = method.substitution(one, GanRun(0))
    after = method.run(one, seed=0).pair
    gaps = [(drawn(pair.generator, z) - pictures).square().mean() for pair in (original(), after)]
    assert gaps[1] < 0.5 * gaps[0]
    shares = [
        (called(classifier(), drawn(pair.generator, z)).argmax(1) == 3).float().mean() for pair in (original(), after)
    ]
    assert shares[0] == 1.0
    assert shares[1] < 0.3


def test_rows_that_the_search_misses_are_left_out_and_counted():
    one = problem("random:9")
    made = Cascade(steps=2, search_steps=1, most_error=1e-6).run(one, seed=0)
    assert made.notes["rows_not_found"] == 9
    assert "only the discriminator unlearns" in made.notes["warning"]
    assert "generator/substitute" not in made.cost.backward
    assert made.cost.backward["discriminator/forget"] > 0


def test_a_search_that_misses_some_rows_skips_those_alone():
    one = problem("random:30")
    run = GanRun(0)
    z, _, pictures = Cascade(search_steps=60, most_error=0.5).substitution(one, run)
    assert 0 < run.notes["rows_not_found"] < 30
    assert len(z) == len(pictures) == 30 - run.notes["rows_not_found"]
    assert "warning" not in run.notes


def test_a_frozen_original_and_any_mode_are_left_as_they_were():
    frozen = original().copy()
    for net in (frozen.generator, frozen.discriminator):
        net.requires_grad_(False).train()
    Cascade(**QUICK).run(problem("random:9", original=frozen), seed=0)
    assert not any(p.requires_grad for p in frozen.generator.parameters())
    assert frozen.generator.training
    assert frozen.discriminator.training


def test_where_the_generator_draws_its_substitutes_already_nothing_pulls():
    one = problem("class:3")
    z, _, _ = Cascade(latents=10).substitution(one, GanRun(0))
    net = original().copy().generator
    (net(z) - drawn(net, z)).square().mean().backward()
    assert all(float(p.grad.abs().max()) == 0 for p in net.parameters())


def test_substitutes_are_kept_to_be_shown():
    z, y, pictures = Cascade(**QUICK, most_error=9.0).run(problem("random:9"), seed=0).swaps
    assert y is None
    assert len(z) == len(pictures) > 0


def test_one_forget_row_is_enough():
    assert Cascade(**QUICK).run(problem("random:1"), seed=0).cost.backward["discriminator/forget"] == 3 * 32


def test_a_collapsed_discriminator_is_noted():
    class Silent(Discriminator):
        def forward(self, x, y=None):
            return 0 * super().forward(x, y) + 0.3

    silent = Silent(nn.Linear(64, 1), (1, 8, 8), 0, flat=True)
    one = problem("random:9", original=Pair(original().generator, silent))
    assert "collapsed" in Cascade(**QUICK).run(one, seed=0).notes["warning"]


def test_perceptual_pulls_features_together_and_leaves_the_classifier_alone():
    one = problem("class:3")
    before = [p.clone() for p in classifier().parameters()]
    made = Cascade(steps=2, perceptual=1.0, latents=10).run(one, seed=0)
    plain = Cascade(steps=2, latents=10).run(one, seed=0)
    assert not same_pair(made.pair, plain.pair)
    assert made.cost.backward["classifier/perceptual"] == 64
    assert all(torch.equal(a, b) for a, b in zip(before, classifier().parameters(), strict=True))
    assert all(p.requires_grad for p in classifier().parameters())


def test_it_looks_through_a_classifier_only_where_it_must():
    assert Cascade().looks("class")
    assert not Cascade().looks("item")
    assert Cascade(perceptual=0.1).looks("item")


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", -1), ("substitute", "blur"), ("label", 1.5), ("lam", -1), ("noise", 0), ("latents", 0), ("lr", 0)],
)
def test_values_out_of_range_are_refused(field, value):
    with pytest.raises(ConfigError, match=f"{field}: expected"):
        Cascade(**{field: value})
