"""Streams: which rows each step sees."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.training import Run, Stream, member_mask
from expunge.training.stream import beside, cut, epochs, order
from tests.tiny import tiny_rows

ROWS = tiny_rows(50, seed=0)
RETAIN, FORGET = np.arange(8, 50), np.arange(8)


def passes(stream, per_pass, at=0):
    """The positions of each pass, one array a pass."""
    seen = np.concatenate([step[at].indices for step in stream.steps])
    return seen.reshape(-1, per_pass)


@given(
    st.lists(st.integers(0, 49), min_size=1, max_size=50, unique=True),
    st.integers(1, 60),
    st.integers(0, 3),
    st.integers(-5, 5),
)
def test_each_pass_is_a_permutation_in_full_batches_but_for_the_last(positions, batch_size, count, seed):
    indices = np.array(positions)
    stream = epochs("train", ROWS, indices, seed=seed, count=count, batch_size=batch_size)
    per_pass = len(cut(indices, batch_size))
    assert len(stream) == count * per_pass
    for at in range(count):
        cuts = [step[0].indices for step in stream.steps[at * per_pass : (at + 1) * per_pass]]
        assert sorted(np.concatenate(cuts)) == sorted(positions)
        assert all(len(part) == batch_size for part in cuts[:-1])
        assert 1 <= len(cuts[-1]) <= batch_size + 1


def test_passes_are_shuffled_each_anew():
    seen = passes(epochs("train", ROWS, RETAIN, seed=0, count=3, batch_size=16), len(RETAIN))
    assert len({tuple(one) for one in [RETAIN, *seen]}) == 4


def test_seed_and_role_decide_the_order():
    one = order(RETAIN, 0, "retain", 0)
    assert np.array_equal(one, order(RETAIN, 0, "retain", 0))
    others = [order(RETAIN, 1, "retain", 0), order(RETAIN, 0, "forget", 0), order(RETAIN, 0, "retain", 1)]
    assert not any(np.array_equal(one, other) for other in others)


def test_later_passes_go_on_where_earlier_ones_stopped():
    whole = epochs("train", ROWS, RETAIN, seed=0, count=5, batch_size=16)
    parts = epochs("train", ROWS, RETAIN, seed=0, count=2, batch_size=16) + epochs(
        "train", ROWS, RETAIN, seed=0, count=3, batch_size=16, first=2
    )
    assert np.array_equal(passes(whole, 42), passes(parts, 42))


def test_the_order_of_retain_rows_does_not_depend_on_forget_rows_being_drawn():
    alone = Run(seed=4, batch_size=16).epochs("retain", ROWS, RETAIN, count=3)
    paired = Run(seed=4, batch_size=16).pairs(ROWS, RETAIN, FORGET, epochs=3)
    after = Run(seed=4, batch_size=16)
    after.epochs("forget", ROWS, FORGET, count=7)
    again = after.epochs("retain", ROWS, RETAIN, count=3)
    assert np.array_equal(passes(alone, 42), passes(paired, 42))
    assert np.array_equal(passes(alone, 42), passes(again, 42))


def test_beside_fills_each_batch_from_the_second_set():
    pairs = Run(seed=4, batch_size=16).pairs(ROWS, RETAIN, FORGET, epochs=40)
    assert [len(step[1].indices) for step in pairs.steps] == [16, 16, 10] * 40
    drawn = np.concatenate([step[1].indices for step in pairs.steps])
    counts = np.bincount(drawn, minlength=8)
    assert len(counts) == 8, "nothing but forget rows"
    assert (np.abs(counts - 210) < 5 * np.sqrt(210)).all(), "each as often as the others"


def test_beside_draws_from_its_own_stream():
    def drawn(seed, batch_size):
        stream = epochs("retain", ROWS, RETAIN, seed=seed, count=1, batch_size=batch_size)
        return np.concatenate([step[1].indices for step in beside(stream, "forget", ROWS, FORGET, seed=seed).steps])

    assert np.array_equal(drawn(0, 16), drawn(0, 16))
    assert not np.array_equal(drawn(0, 16), drawn(1, 16))


def test_beside_leaves_the_first_stream_as_it_is():
    stream = epochs("retain", ROWS, RETAIN, seed=0, count=1, batch_size=16)
    beside(stream, "forget", ROWS, FORGET, seed=0)
    assert all(len(step) == 1 for step in stream.steps)


def test_added_streams_follow_one_another():
    one = epochs("forget", ROWS, FORGET, seed=0, count=1, batch_size=4)
    two = epochs("retain", ROWS, RETAIN, seed=0, count=1, batch_size=40)
    assert [step[0].role for step in (one + two).steps] == ["forget", "forget", "retain", "retain"]
    assert len(one) == 2, "the parts stay as they were"
    assert len(one + Stream(())) == 2


def test_mixed_is_one_shuffled_mixture():
    mixed = Run(seed=0, batch_size=10).mixed(ROWS, RETAIN, FORGET, epochs=1)
    assert {step[0].role for step in mixed.steps} == {"mixed"}
    (seen,) = passes(mixed, 50)
    assert sorted(seen) == list(range(50))
    assert set(seen[-8:]) != set(FORGET.tolist())


def test_loading_gives_the_planned_rows():
    steps = list(Run(seed=0, batch_size=16).pairs(ROWS, RETAIN, FORGET, epochs=1).load("cpu"))
    assert len(steps) == 3
    for retain, forget in steps:
        assert (retain.role, forget.role) == ("retain", "forget")
        for batch in (retain, forget):
            assert torch.equal(batch.x, ROWS.x[batch.indices])
            assert torch.equal(batch.y, ROWS.labels[batch.indices])
            assert len(batch) == len(batch.indices) == len(batch.y)


def test_a_runs_own_batch_size_holds_unless_another_is_given():
    run = Run(seed=0, batch_size=16)
    assert len(run.epochs("retain", ROWS, RETAIN, count=1).steps[0][0].indices) == 16
    assert len(run.epochs("retain", ROWS, RETAIN, count=1, batch_size=5).steps[0][0].indices) == 5


@pytest.mark.parametrize("chosen", [[], [3], [49, 0]])
def test_member_mask_is_true_at_the_indices(chosen):
    mask = member_mask(ROWS, np.array(chosen, dtype=np.int64))
    assert np.flatnonzero(mask).tolist() == sorted(chosen)
    assert (mask.dtype, len(mask)) == (np.dtype(bool), 50)


@pytest.mark.parametrize(("rows", "sizes"), [(9, [4, 5]), (8, [4, 4]), (10, [4, 4, 2]), (1, [1]), (5, [5])])
def test_no_batch_of_one_row_but_a_pass_of_one(rows, sizes):
    parts = cut(np.arange(rows), 4)
    assert [len(part) for part in parts] == sizes
    assert np.array_equal(np.concatenate(parts), np.arange(rows))
