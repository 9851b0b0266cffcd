"""GanProblem: what it refuses, what it derives, and how it halves the holdout."""

import numpy as np
import pytest
import torch
from torch import nn

from expunge.data import MemoryRows, forget
from expunge.errors import NeedsError, ProblemError, ShapeError
from expunge.gan.problem import called, half, private
from tests.gan.tiny import RECIPE, digits, original, problem, rows


def test_a_whole_class_is_told_from_items():
    whole, part, items = problem("class:3"), problem("class:3:5"), problem("random:9")
    assert (whole.kind, whole.forgotten) == ("class", (3,))
    assert (part.kind, part.forgotten) == ("item", ())
    assert (items.kind, len(items.forget)) == ("item", 9)
    assert set(whole.rows.labels[torch.as_tensor(whole.retain)].tolist()) == set(range(10)) - {3}


def test_several_whole_classes_may_go():
    labels = digits().train.labels.numpy()
    both = problem(forget=np.flatnonzero(np.isin(labels, (2, 7))))
    assert both.forgotten == (2, 7)


def test_targets_are_no_classes():
    splits = digits()
    train = MemoryRows(splits.train.x, splits.train.labels.float() / 7, ids=splits.train.ids)
    assert problem(rows=train, forget=np.arange(9), classifier=None).kind == "item"


def test_a_method_gets_nets_of_its_own():
    one = problem("class:3")
    own = private(one)
    assert own.original.hash() == one.original.hash()
    assert own.forgotten == one.forgotten
    ours, theirs = (
        {p.data_ptr() for net in (part.original.generator, part.classifier) for p in net.parameters()}
        for part in (one, own)
    )
    assert not ours & theirs


def test_all_classes_cannot_go():
    with pytest.raises(ProblemError, match="all 300 training rows"):
        problem(forget=np.arange(300))


def test_the_halves_of_the_holdout_share_no_row_and_lose_none():
    one = problem()
    both = np.concatenate([one.for_label, one.for_audit])
    assert sorted(both.tolist()) == list(range(len(one.holdout)))
    assert 0.4 < len(one.for_label) / len(one.holdout) < 0.6


def test_a_row_stays_in_its_half_whatever_stands_beside_it():
    one = problem()
    few = one.holdout.take(np.arange(0, 100))
    ids = {one.holdout.ids[i] for i in one.for_audit}
    smaller = problem(holdout=few)
    assert {few.ids[i] for i in smaller.for_audit} == ids & set(few.ids)


def test_a_holdout_that_cannot_be_halved_is_refused():
    with pytest.raises(ProblemError, match="expected rows for two halves"):
        problem(holdout=digits().holdout.take(np.arange(1)))


def test_shared_rows_are_refused():
    with pytest.raises(ProblemError, match="is in both training and test"):
        problem(test=digits().train.take(np.arange(3)))


def test_a_pair_of_other_pictures_is_refused():
    other = RECIPE.fresh((1, 4, 4), seed=0)
    with pytest.raises(ShapeError, match=r"expected a generator of rows \[1, 8, 8\], got \[1, 4, 4\]"):
        problem(original=other)


def test_a_classifier_of_other_labels_is_refused():
    with pytest.raises(ShapeError, match="expected 10 outputs, one for each label of the rows, got 4"):
        problem(classifier=nn.Sequential(nn.Flatten(), nn.Linear(64, 4)))


def test_without_a_classifier_it_says_who_needs_one():
    with pytest.raises(NeedsError, match="cascade needs a classifier"):
        problem(classifier=None).need_classifier("cascade")


def test_called_gives_probabilities_whatever_the_batch():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    x = torch.randn(7, 1, 8, 8)
    found = called(net, x, batch=3)
    assert torch.allclose(found, net(x).softmax(1).detach(), atol=1e-6)
    assert torch.allclose(found.sum(1), torch.ones(7))


def test_halves_are_even():
    share = np.mean([half(str(i)) for i in range(2000)])
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(2000)


def test_pictures_need_not_be_square():
    train, holdout, test = (rows(24, (1, 3, 5), seed=seed) for seed in (1, 2, 3))
    pair = RECIPE.fresh((1, 3, 5), seed=0)
    one = problem(rows=train, holdout=holdout, test=test, original=pair, forget=forget("class:1"), classifier=None)
    assert one.kind == "class"
    assert isinstance(one.rows, MemoryRows)
    assert original() is not pair
