"""Tasks beside closed forms in float64, over ordinary and extreme outputs."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional

from expunge.errors import ConfigError, ProblemError
from expunge.tasks import Classification, Regression, task_from_dict, task_to_dict

EXTREMES = torch.tensor(
    [
        [0.0, 0.0, 0.0],
        [1e4, -1e4, 0.0],
        [-1e4, 1e4, 1e4],
        [1e4, 1e4, 1e4],
        [-1e4, -1e4, -1e4],
        [30.0, -30.0, 5.0],
        [88.0, 89.0, -104.0],
        [1e-8, -1e-8, 0.0],
    ]
)


def grid():
    """Logits `[rows, 3]` of many sizes with every label."""
    draw = torch.Generator().manual_seed(0)
    random = torch.cat([scale * torch.randn(20, 3, generator=draw) for scale in (0.1, 1.0, 10.0, 100.0)])
    logits = torch.cat([random, EXTREMES]).repeat_interleave(3, 0)
    return logits, torch.arange(3).repeat(len(logits) // 3)


def exact_log_probabilities(logits):
    values = logits.double().numpy()
    top = values.max(-1, keepdims=True)
    return values - top - np.log(np.exp(values - top).sum(-1, keepdims=True))


logit_rows = arrays(np.float32, (4, 3), elements=st.floats(-1e4, 1e4, width=32))


class TestClassification:
    task = Classification(3)

    def test_loss_is_minus_log_p_of_the_label(self):
        logits, y = grid()
        exact = -exact_log_probabilities(logits)[np.arange(len(y)), y]
        assert np.allclose(self.task.loss(logits, y), exact, rtol=1e-6, atol=1e-6)

    def test_loss_is_per_row_and_is_torchs(self):
        logits, y = grid()
        assert self.task.loss(logits, y).shape == (len(y),)
        assert float(self.task.loss(logits, y).mean()) == pytest.approx(float(functional.cross_entropy(logits, y)))

    def test_margin_is_the_log_odds_of_the_label(self):
        draw = torch.Generator().manual_seed(1)
        logits, y = 3 * torch.randn(300, 3, generator=draw, dtype=torch.float64), torch.arange(300) % 3
        p = torch.softmax(logits, -1)[torch.arange(300), y]
        exact = p.log() - (1 - p).log()
        assert torch.allclose(self.task.margin(logits, y), exact.float(), rtol=1e-6, atol=1e-6)

    def test_margin_by_hand(self):
        value = float(self.task.margin(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0])))
        assert value == pytest.approx(2 - math.log(math.e + 1), abs=1e-6)

    def test_margin_stays_finite_where_probabilities_do_not(self):
        logits, y = grid()
        values = self.task.margin(logits, y)
        assert bool(values.isfinite().all())
        extreme = torch.tensor([[1e4, -1e4, -1e4], [1e4, -1e4, 1e4]])
        exact = [2e4 - math.log(2), -2e4 - math.log(2)]
        assert self.task.margin(extreme, torch.tensor([0, 1])).tolist() == pytest.approx(exact, abs=1e-2)

    def test_margin_is_float32_whatever_comes_in(self):
        for dtype in (torch.bfloat16, torch.float16, torch.float64):
            assert self.task.margin(torch.zeros(2, 3, dtype=dtype), torch.tensor([0, 1])).dtype == torch.float32

    def test_two_classes_have_the_difference_as_margin(self):
        logits = torch.tensor([[3.0, 1.0], [-1e4, 1e4]])
        assert Classification(2).margin(logits, torch.tensor([0, 0])).tolist() == [2.0, -2e4]

    def test_margin_has_the_right_gradient(self):
        logits = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).float()
        logits.requires_grad_(True)
        y = torch.tensor([0, 1, 2, 0, 1])
        (ours,) = torch.autograd.grad(self.task.margin(logits, y).sum(), logits)
        p = torch.log_softmax(logits, -1)[torch.arange(5), y]
        (exact,) = torch.autograd.grad((p - torch.log1p(-p.exp())).sum(), logits)
        assert torch.allclose(ours, exact, atol=1e-5)

    @settings(deadline=None, max_examples=50)
    @given(logit_rows, st.floats(-100, 100))
    def test_adding_a_number_to_all_logits_changes_nothing(self, values, shift):
        logits, y = torch.from_numpy(values), torch.tensor([0, 1, 2, 0])
        moved = logits + shift
        assert torch.allclose(self.task.margin(logits, y), self.task.margin(moved, y), atol=5e-3)
        assert torch.allclose(self.task.loss(logits, y), self.task.loss(moved, y), atol=5e-3)

    def test_a_margin_above_zero_is_an_answer_with_more_than_half_of_the_probability(self):
        logits, y = grid()
        p = np.exp(exact_log_probabilities(logits)[np.arange(len(y)), y])
        clear = np.abs(p - 0.5) > 1e-6
        assert ((self.task.margin(logits, y).numpy() > 0) == (p > 0.5))[clear].all()

    def test_correct_is_the_largest_logit(self):
        logits = torch.tensor([[1.0, 2.0, 0.0], [1e4, -1e4, 0.0]])
        assert self.task.correct(logits, torch.tensor([1, 2])).tolist() == [1.0, 0.0]

    def test_divergence_is_kl_from_the_reference(self):
        draw = torch.Generator().manual_seed(2)
        ours, theirs = (3 * torch.randn(50, 3, generator=draw) for _ in range(2))
        log_p, log_q = exact_log_probabilities(theirs), exact_log_probabilities(ours)
        exact = (np.exp(log_p) * (log_p - log_q)).sum(-1)
        assert np.allclose(self.task.divergence(ours, theirs), exact, atol=1e-5)
        backwards = (np.exp(log_q) * (log_q - log_p)).sum(-1)
        assert not np.allclose(exact, backwards, atol=0.1)

    def test_divergence_by_hand(self):
        reference, outputs = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.zeros(1, 3)
        exact = 0.5 * math.log(1.5) + 0.5 * math.log(0.75)
        assert float(self.task.divergence(outputs, reference)) == pytest.approx(exact, abs=1e-6)

    @pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
    def test_temperature_divides_both(self, temperature):
        logits, _ = grid()
        ours, theirs = logits[:120], logits[:120].flip(0)
        softened = self.task.divergence(ours / temperature, theirs / temperature)
        assert torch.allclose(self.task.divergence(ours, theirs, temperature), softened, rtol=1e-5, atol=1e-5)

    def test_higher_temperature_is_milder(self):
        ours, theirs = torch.tensor([[4.0, 0.0, 0.0]]), torch.tensor([[0.0, 4.0, 0.0]])
        cold, warm = (float(self.task.divergence(ours, theirs, temperature)) for temperature in (1.0, 4.0))
        assert 0 < warm < cold

    @settings(deadline=None, max_examples=50)
    @given(logit_rows, logit_rows)
    def test_divergence_is_finite_never_negative_and_zero_for_equals(self, one, other):
        ours, theirs = torch.from_numpy(one), torch.from_numpy(other)
        values = self.task.divergence(ours, theirs)
        assert bool((values.isfinite() & (values >= -1e-3)).all())
        assert self.task.divergence(ours, ours).tolist() == [0.0] * 4

    def test_no_rows_give_no_values(self):
        empty, y = torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)
        for values in (self.task.loss(empty, y), self.task.margin(empty, y), self.task.correct(empty, y)):
            assert values.shape == (0,)
        assert self.task.divergence(empty, empty).shape == (0,)

    @pytest.mark.parametrize("labels", [[0, 3], [-1, 2]])
    def test_labels_beyond_the_outputs_are_refused(self, labels):
        with pytest.raises(ProblemError, match=rf"expected 0\.\.2 for 3 outputs, got {min(labels)}\.\.{max(labels)}"):
            self.task.check_labels(torch.tensor(labels))

    @pytest.mark.parametrize("labels", [torch.tensor([0.0, 1.0]), torch.tensor([[0], [1]])])
    def test_labels_of_another_form_are_refused(self, labels):
        with pytest.raises(ProblemError, match=r"expected int64 \[rows\], got torch"):
            self.task.check_labels(labels)

    def test_sound_labels_pass(self):
        assert self.task.check_labels(torch.tensor([0, 2, 1])) is None
        assert self.task.check_labels(torch.zeros(0, dtype=torch.int64)) is None

    def test_one_class_is_no_choice(self):
        with pytest.raises(ConfigError, match="classes: expected >= 2, got 1"):
            Classification(1)

    def test_width_is_the_number_of_classes(self):
        assert (Classification(7).width, Classification(7).kind) == (7, "classification")


class TestRegression:
    two = Regression(2, tolerance=0.5)
    outputs = torch.tensor([[1.0, 2.0], [0.0, 0.0], [1.0, 1.4]])
    y = torch.tensor([[1.0, 2.0], [3.0, 1.0], [1.0, 1.0]])

    def test_loss_is_the_mean_square(self):
        assert self.two.loss(self.outputs, self.y).tolist() == pytest.approx([0.0, 5.0, 0.08])

    def test_margin_is_minus_the_loss_in_float32(self):
        values = self.two.margin(self.outputs.double(), self.y)
        assert values.dtype == torch.float32
        assert values.tolist() == pytest.approx([0.0, -5.0, -0.08])

    def test_correct_is_within_the_tolerance_in_every_target(self):
        assert self.two.correct(self.outputs, self.y).tolist() == [1.0, 0.0, 1.0]
        assert Regression(2, tolerance=0.3).correct(self.outputs, self.y).tolist() == [1.0, 0.0, 0.0]

    def test_one_target_takes_flat_labels(self):
        one = Regression()
        outputs, y = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([1.0, 2.5, 2.0])
        assert one.loss(outputs, y).tolist() == [0.0, 0.25, 4.0]
        assert one.correct(outputs, y).tolist() == [1.0, 1.0, 0.0]

    def test_divergence_is_the_squared_difference_over_the_squared_temperature(self):
        assert self.two.divergence(self.outputs, self.y).tolist() == pytest.approx([0.0, 5.0, 0.08])
        assert self.two.divergence(self.outputs, self.y, 2.0).tolist() == pytest.approx([0.0, 1.25, 0.02])

    def test_integer_labels_are_refused(self):
        with pytest.raises(ProblemError, match=r"expected floats \[rows, 2\], got torch.int64"):
            self.two.check_labels(torch.tensor([[1, 2]]))

    def test_labels_of_another_width_are_refused(self):
        with pytest.raises(ProblemError, match=r"expected floats \[rows, 2\], got torch.float32 \[4\]"):
            self.two.check_labels(torch.zeros(4))

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_labels_that_are_no_numbers_are_refused(self, bad):
        with pytest.raises(ProblemError, match="finite"):
            Regression().check_labels(torch.tensor([0.0, bad]))

    def test_sound_labels_pass(self):
        assert self.two.check_labels(self.y) is None
        assert Regression().check_labels(torch.zeros(5)) is None
        assert Regression().check_labels(torch.zeros(0)) is None

    @pytest.mark.parametrize(
        ("settings", "text"), [({"targets": 0}, "targets: .* got 0"), ({"tolerance": 0.0}, "tolerance: .* got 0")]
    )
    def test_bad_values_name_the_field(self, settings, text):
        with pytest.raises(ConfigError, match=text):
            Regression(**settings)


@pytest.mark.parametrize("task", [Classification(3), Regression(), Regression(4, tolerance=0.1)])
def test_a_task_survives_json(task):
    assert task_from_dict(json.loads(json.dumps(task_to_dict(task)))) == task


def test_an_unknown_kind_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"unknown task 'classificatio'\nhint: did you mean classification\?"):
        task_from_dict({"kind": "classificatio", "classes": 3})
