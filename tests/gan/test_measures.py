"""The measures of a pair, each against something counted otherwise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from torch import nn

from expunge.errors import ConfigError, NeedsError, ShapeError
from expunge.gan.judge import Judge
from expunge.gan.measure_table import MEASURES
from expunge.gan.measures import Settings, drawn_from, measure, quick, shown, yardstick
from expunge.gan.nets import Discriminator, Generator
from expunge.gan.pair import Pair, drawn, judged
from expunge.training.recipes import recipe
from tests.gan.tiny import CONDITIONAL, classifier, digits, original, problem

SETTINGS = Settings(pictures=200, searched=20, search_steps=30)


def stick(spec="class:3", *, judge=None, settings=SETTINGS, **parts):
    return yardstick(problem(spec, **parts), judge or Judge(classifier(), recipe("digits-mlp")), settings)


def test_class_measures_against_a_plain_count():
    one = stick("class:3")
    found = measure(one, original())
    assert set(found) == set(MEASURES) - {"reconstruction_auc"}
    z, _ = drawn_from(one, original())
    probability = classifier()(drawn(original().generator, z)).softmax(1).detach()
    assert len(z) == 200
    assert found["class_share"] == pytest.approx(float((probability.argmax(1) == 3).float().mean()))
    assert found["class_probability"] == pytest.approx(float(probability[:, 3].mean()), rel=1e-4)
    assert found["entropy"] == pytest.approx(
        float(torch.distributions.Categorical(probability).entropy().mean()), rel=1e-3
    )


def test_discriminator_attack_against_a_second_library():
    one = stick("class:3")
    found = measure(one, original())
    inside = judged(original().discriminator, one.problem.rows, one.problem.forget).numpy()
    labels = one.unseen.labels.numpy()
    everyone = judged(original().discriminator, one.unseen).numpy()
    test = judged(original().discriminator, digits().test, np.flatnonzero(digits().test.labels.numpy() == 3)).numpy()
    same = np.concatenate([everyone[labels == 3], test])
    for name, others in (("discriminator_auc", everyone), ("discriminator_auc_same_class", same)):
        expected = mannwhitneyu(inside, others).statistic / (len(inside) * len(others))
        assert found[name] == pytest.approx(expected)


def test_unseen_rows_are_the_audits_half_alone():
    one = stick("random:60")
    assert set(one.problem.rows.labels[torch.as_tensor(one.problem.forget)].tolist()) == set(range(10))
    assert set(one.unseen.ids) == {one.problem.holdout.ids[i] for i in one.problem.for_audit}
    assert one.same is None


def test_reference_rows_hold_no_forgotten_class():
    one = stick("class:3")
    assert not (digits().test.labels[torch.as_tensor(one.stays)] == 3).any()


def test_a_generator_that_keeps_a_row_is_found_by_reconstruction():
    one = stick("random:9", settings=replace(SETTINGS, search_steps=200, downstream=0))
    kept = digits().train.x[torch.as_tensor(one.problem.forget)]

    class Memory(Generator):
        """Draws one of the forget rows, whichever is nearest to where z points, and nothing else."""

        def forward(self, z, y=None):
            weights = (5 * z @ torch.eye(8, 9)).softmax(1)
            return (weights @ kept.flatten(1)).view(-1, 1, 8, 8)

    memory = Pair(Memory(nn.Linear(8, 64), (1, 8, 8), 8, 0), original().discriminator)
    again = measure(one, memory)["reconstruction_auc"]
    assert again > 0.9
    assert again > measure(one, original())["reconstruction_auc"]


def test_uniform_answers_have_the_entropy_of_ten_classes():
    silent = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    for p in silent[3].parameters():
        nn.init.zeros_(p)
    one = stick("class:3", judge=Judge(silent, recipe("digits-mlp")), settings=replace(SETTINGS, downstream=0))
    assert measure(one, original())["entropy"] == pytest.approx(np.log(10), rel=1e-5)


def test_quick_measures_are_the_same_numbers():
    one = stick("random:9")
    whole, part = measure(one, original()), quick(one, original())
    assert set(whole) - set(part) == {"reconstruction_auc", "downstream_accuracy"}
    assert {name: whole[name] for name in part} == part


def test_measures_are_the_same_twice_and_leave_the_pair_as_it_was():
    one, before = stick("random:9"), original().hash()
    assert measure(one, original()) == measure(one, original())
    assert original().hash() == before
    assert not original().generator.training


def test_a_conditional_pair_is_asked_for_every_label_and_downstream_for_those_that_stay():
    one = stick("class:3", of=CONDITIONAL)
    _, labels = drawn_from(one, original(CONDITIONAL))
    assert torch.bincount(labels).tolist() == [20] * 10
    assert 0.3 < measure(one, original(CONDITIONAL))["downstream_accuracy"] <= 1


def test_shown_pictures_are_the_first_of_the_audit():
    one = stick("class:3")
    z, _ = drawn_from(one, original())
    assert torch.equal(shown(one, original(), count=7), drawn(original().generator, z[:7]))


def test_items_of_one_class_are_held_against_unseen_rows_of_that_class():
    one = stick("class:3:5")
    assert set(one.unseen.labels.tolist()) == {3}
    assert one.same is None


def test_skill_of_a_constant_discriminator_is_exactly_one_half():
    class Silent(Discriminator):
        def forward(self, x, y=None):
            return 0 * super().forward(x, y) + 0.3

    silent = Pair(original().generator, Silent(nn.Linear(64, 1), (1, 8, 8), 0, flat=True))
    one = stick("random:9", settings=replace(SETTINGS, searched=0, downstream=0))
    assert measure(one, silent)["discriminator_skill"] == pytest.approx(0.5, abs=1e-12)
    assert abs(measure(one, original())["discriminator_skill"] - 0.5) > 1e-3


def test_share_of_a_constant_generator_is_none_or_all():
    class Constant(Generator):
        picture = torch.zeros(1, 8, 8)

        def forward(self, z, y=None):
            return self.picture.expand(len(z), 1, 8, 8)

    three, other = (digits().test.x[digits().test.labels == label][0] for label in (3, 5))
    one = stick("class:3", settings=replace(SETTINGS, downstream=0))
    constant = Pair(Constant(nn.Linear(8, 64), (1, 8, 8), 8, 0), original().discriminator)
    for picture, share in ((three, 1.0), (other, 0.0)):
        Constant.picture = picture
        assert measure(one, constant)["class_share"] == share


def test_a_judge_of_other_labels_is_refused():
    few = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(ShapeError, match="classifier: expected 10 outputs"):
        stick("class:3", judge=Judge(few, recipe("digits-mlp")))


def test_the_attack_does_not_start_where_a_method_searched():
    one, starts = stick("random:9"), []
    from expunge.gan import measures

    whole = measures.search

    def seen(*arguments, **named):
        starts.append(named["role"])
        return whole(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "search", seen)
        measure(one, original())
    assert starts == ["attack", "attack"]


def test_one_forget_row_can_be_measured():
    assert 0 <= measure(stick("random:1"), original())["discriminator_auc"] <= 1


def test_settings_out_of_range_and_too_few_rows_are_refused():
    with pytest.raises(ConfigError, match="pictures: expected >= 4, got 3"):
        Settings(pictures=3)
    with pytest.raises(NeedsError, match="at least 4 test rows of classes that stay, got 2"):
        stick("random:9", test=digits().test.take(np.arange(2)))
