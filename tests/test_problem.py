"""Problem: what it refuses, and what it derives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

from expunge.data import DatasetRows, ForgetSet, MemoryRows
from expunge.errors import ConfigError, ProblemError, ShapeError
from expunge.problem import Problem, checked_forget
from tests.tiny import tiny_recipe, tiny_rows

RECIPE = tiny_recipe()
TRAIN, HOLDOUT, TEST = tiny_rows(30, seed=0), tiny_rows(12, seed=1), tiny_rows(12, seed=2)


def problem(**changes):
    parts = {
        "recipe": RECIPE,
        "rows": TRAIN,
        "forget": np.array([4, 1, 9]),
        "holdout": HOLDOUT,
        "test": TEST,
        "original": RECIPE.fresh((6,), seed=0),
    }
    return Problem(**{**parts, **changes})


def test_retain_is_the_complement():
    some = problem()
    assert some.forget.tolist() == [1, 4, 9]
    assert sorted([*some.forget, *some.retain]) == list(range(30))
    assert some.forget.dtype == some.retain.dtype == np.int64


@settings(deadline=None, max_examples=40)
@given(st.sets(st.integers(0, 29), min_size=1, max_size=29), st.randoms(use_true_random=False))
def test_any_proper_subset_in_any_order_is_sorted_and_split(chosen, random):
    listed = list(chosen)
    random.shuffle(listed)
    assert checked_forget(np.array(listed), 30).tolist() == sorted(chosen)


@pytest.mark.parametrize(
    ("forget", "text"),
    [
        (np.array([], dtype=np.int64), "at least one row, got none"),
        ([], "at least one row, got none"),
        ([30], r"expected positions 0\.\.29, got 30\.\.30"),
        ([-1, 3], r"expected positions 0\.\.29, got -1\.\.3"),
        ([3, 3, 5, 5, 5], "3 rows are named more than once"),
        (np.arange(30), "all 30 training rows"),
        ([0.0, 1.0], r"expected integer positions \[forget\], got float64 \[2\]"),
        (np.ones(30, dtype=bool), r"expected integer positions \[forget\], got bool"),
        ([[1], [2]], r"expected integer positions \[forget\], got int64 \[2, 1\]"),
        (["1"], "expected integer positions"),
    ],
)
def test_a_forget_set_that_makes_no_sense_is_refused(forget, text):
    with pytest.raises(ProblemError, match=text):
        problem(forget=forget)


def test_the_callers_array_is_neither_kept_nor_changed():
    mine = np.array([4, 1, 9])
    some = problem(forget=mine)
    mine[0] = 20
    assert mine.tolist() == [20, 1, 9]
    assert some.forget.tolist() == [1, 4, 9]


def test_a_forget_set_in_text_form_is_resolved_with_its_kind():
    some = problem(forget=ForgetSet("class:2"))
    assert some.forget.tolist() == list(range(2, 30, 3))
    assert some.kind == "class"


def test_a_forget_set_that_names_every_row_is_refused_after_it_is_resolved():
    with pytest.raises(ProblemError, match="all 30 training rows"):
        problem(forget=ForgetSet("random:30"))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"holdout": TRAIN.take(np.array([7]))}, "both training and holdout"),
        ({"test": TRAIN.take(np.array([7]))}, "both training and test"),
        ({"test": HOLDOUT.take(np.array([3]))}, "both holdout and test"),
    ],
)
def test_a_row_in_two_sets_is_refused_with_its_id_and_both_names(changes, names):
    (rows,) = changes.values()
    with pytest.raises(ProblemError, match=f"'{rows.ids[0]}' is in {names}"):
        problem(**changes)


def test_equal_content_counts_as_the_same_row():
    copied = MemoryRows(TRAIN.x[:1].clone(), TRAIN.labels[:1].clone())
    with pytest.raises(ProblemError, match="both training and holdout"):
        problem(holdout=copied)


@pytest.mark.parametrize("part", ["rows", "holdout", "test"])
def test_labels_beyond_the_outputs_are_refused_in_every_set(part):
    rows = {"rows": TRAIN, "holdout": HOLDOUT, "test": TEST}[part]
    with pytest.raises(ProblemError, match=r"expected 0\.\.2 for 3 outputs, got 0\.\.3"):
        problem(**{part: MemoryRows(rows.x, rows.labels + (rows.labels == 2).long(), ids=rows.ids)})


def test_an_original_of_another_width_is_refused():
    with pytest.raises(ShapeError, match="expected 3 outputs, got 5"):
        problem(original=nn.Sequential(nn.Flatten(), nn.Linear(6, 5)))


def test_the_model_of_half_the_way_is_held_and_is_none_by_default():
    halfway = RECIPE.fresh((6,), seed=1)
    assert problem(halfway=halfway).halfway is halfway
    assert problem().halfway is None


@pytest.mark.parametrize(
    ("halfway", "words"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(6, 5)), "halfway: expected 3 outputs, got 5"),
        (
            tiny_recipe(hidden=(8,)).fresh((6,), seed=0),
            r"expected \S+ \[16, 6\] as in the original, got \[8, 6\]",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), r"halfway: expected \S+ \[16, 6\] as in the original, got "),
    ],
)
def test_a_model_of_half_the_way_that_is_of_another_kind_is_refused(halfway, words):
    with pytest.raises(ShapeError, match=words):
        problem(halfway=halfway)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["rows", "holdout", "test"])
def test_a_row_that_is_not_finite_is_refused_even_from_a_dataset(part, bad):
    rows = {"rows": TRAIN, "holdout": HOLDOUT, "test": TEST}[part]
    x = rows.x.clone()
    x[5, 2] = bad
    with pytest.raises(ProblemError, match="row 5: expected finite inputs"):
        problem(**{part: DatasetRows(TensorDataset(x, rows.labels), ids=rows.ids)})


def test_the_original_is_looked_at_but_not_changed():
    original = RECIPE.fresh((6,), seed=0).train()
    before = {name: value.clone() for name, value in original.state_dict().items()}
    some = problem(original=original)
    assert some.original is original
    assert original.training
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())


def test_a_problem_is_frozen():
    with pytest.raises(AttributeError):
        problem().kind = "class"


def test_a_forget_text_of_no_known_form_is_a_bad_value():
    with pytest.raises(ConfigError, match="forget set: expected one of"):
        problem(forget=ForgetSet("rows:3"))
