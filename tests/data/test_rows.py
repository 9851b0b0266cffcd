"""Rows in memory and rows of a torch Dataset."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from expunge.data import DatasetRows, MemoryRows, joined
from expunge.data.rows import byte_ids, content_ids
from expunge.errors import ProblemError, ShapeError


def rows(count=8, **arguments):
    x = torch.arange(count * 6, dtype=torch.float32).reshape(count, 2, 3)
    return MemoryRows(x, torch.arange(count) % 3, **arguments)


class Pairs(Dataset):
    """A map-style data set with the content of some rows."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, i):
        return self.source.x[i].numpy(), int(self.source.labels[i])


def test_batch_indexes_in_the_order_asked_for():
    some = rows()
    x, y = some.batch(np.array([5, 0]))
    assert torch.equal(x, some.x[[5, 0]])
    assert y.tolist() == [2, 0]


def test_dtypes_of_inputs_and_labels():
    classes = MemoryRows(np.zeros((2, 3), dtype=np.float64), np.array([0, 1], dtype=np.int32))
    targets = MemoryRows(np.zeros((2, 3)), np.array([0.5, 1.5]))
    assert (classes.x.dtype, classes.labels.dtype) == (torch.float32, torch.int64)
    assert targets.labels.dtype == torch.float32


def test_repeats_of_a_content_are_numbered():
    ids = content_ids(torch.tensor([[1.0], [2.0], [1.0], [1.0]]), torch.tensor([0, 0, 0, 0]))
    assert ids[2:] == (f"{ids[0]}#1", f"{ids[0]}#2")
    assert "#" not in ids[0] + ids[1]


def test_the_label_is_part_of_the_content():
    ids = content_ids(torch.ones(2, 4), torch.tensor([0, 1]))
    assert ids[0] != ids[1]


def test_no_rows_have_no_ids():
    assert content_ids(torch.zeros(0, 3), torch.zeros(0)) == byte_ids([]) == ()


def test_nan_is_refused_with_the_row():
    x = torch.zeros(5, 2, 2)
    x[3, 1, 0] = torch.nan
    with pytest.raises(ProblemError, match="row 3: expected finite inputs"):
        MemoryRows(x, torch.zeros(5))


def test_lengths_must_agree():
    with pytest.raises(ShapeError, match="3 inputs but 2 labels"):
        MemoryRows(torch.zeros(3, 1), torch.zeros(2))
    with pytest.raises(ShapeError, match="8 inputs but 7 ids"):
        rows(ids=list("abcdefg"))


def test_ids_must_be_unique():
    with pytest.raises(ProblemError, match="got 'a' twice"):
        rows(3, ids=["a", "b", "a"])


def test_take_keeps_ids_and_subjects():
    part = rows(subjects=list("stuvwxyz")).take(np.array([6, 1]))
    whole = rows()
    assert part.ids == (whole.ids[6], whole.ids[1])
    assert part.subjects == ("y", "t")


def test_position_of_ids_and_an_absent_one():
    some = rows()
    assert some.position([some.ids[4], some.ids[2]]).tolist() == [4, 2]
    with pytest.raises(ProblemError, match="1 of 2 ids are not among the training rows: nobody"):
        some.position([some.ids[0], "nobody"])


def test_fingerprint_follows_the_content():
    changed = rows()
    changed.x[0, 0, 0] += 1
    assert rows().fingerprint == rows().fingerprint
    assert MemoryRows(changed.x, changed.labels, ids=rows().ids).fingerprint != rows().fingerprint
    assert rows().take(np.array([1, 0])).fingerprint != rows().take(np.array([0, 1])).fingerprint


@pytest.mark.parametrize("indices", [[0], [7, 3, 3], list(range(8))])
def test_a_dataset_gives_the_same_batches_as_memory(indices):
    memory = rows()
    adapter = DatasetRows(Pairs(memory), ids=memory.ids)
    for ours, theirs in zip(adapter.batch(np.array(indices)), memory.batch(np.array(indices)), strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)
    assert adapter.fingerprint == memory.fingerprint


def test_a_dataset_can_be_taken_apart_twice():
    memory = rows(subjects=list("stuvwxyz"))
    adapter = DatasetRows(Pairs(memory), ids=memory.ids, subjects=memory.subjects)
    part = adapter.take(np.array([7, 2, 4])).take(np.array([2, 0]))
    assert part.ids == (memory.ids[4], memory.ids[7])
    assert part.subjects == ("w", "z")
    assert torch.equal(part.labels, memory.labels[[4, 7]])


def test_class_names_are_kept():
    memory = rows(classes=["a", "b", "c"])
    adapter = DatasetRows(Pairs(memory), ids=memory.ids, classes=memory.classes)
    for some in (memory, adapter):
        assert some.classes == some.take(np.array([1])).classes == ("a", "b", "c")
    assert rows().classes == ()


def test_reading_a_dataset_leaves_the_global_generator_alone():
    adapter, before = DatasetRows(Pairs(rows())), torch.get_rng_state()
    adapter.batch(np.array([1, 2]))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_dataset_has_the_ids_of_its_content():
    assert DatasetRows(Pairs(rows(300))).ids == rows(300).ids


def test_joined_rows_lie_end_to_end_with_their_ids_and_subjects():
    first = rows(3, ids=list("abc"), subjects=["anna", "ben", "anna"], classes=["x", "y", "z"])
    second = DatasetRows(Pairs(rows(2)), ids=["d", "e"], subjects=["cleo", "anna"])
    both = joined(first, second)
    assert isinstance(both, MemoryRows)
    assert both.ids == ("a", "b", "c", "d", "e")
    assert both.subjects == ("anna", "ben", "anna", "cleo", "anna")
    assert both.classes == ("x", "y", "z")
    assert torch.equal(both.x, torch.cat([first.x, rows(2).x]))
    assert both.labels.tolist() == [0, 1, 2, 0, 1]
    assert both.labels.dtype == torch.int64
    assert joined(second, first).ids == ("d", "e", "a", "b", "c")


def test_joined_rows_train_as_their_parts_would():
    whole = rows(8)
    parts = [whole.take(np.arange(0, 3)), whole.take(np.arange(3, 8))]
    assert joined(*parts).fingerprint == whole.fingerprint
    assert joined(*reversed(parts)).fingerprint != whole.fingerprint
    assert joined(whole).fingerprint == whole.fingerprint
    assert joined(DatasetRows(Pairs(whole))).fingerprint == whole.fingerprint


@pytest.mark.parametrize("known", [0, 1])
def test_subjects_that_one_part_does_not_know_are_known_of_none(known):
    parts = [rows(2, ids=list("ab")), rows(2, ids=list("cd"))]
    parts[known] = rows(2, ids=parts[known].ids, subjects=["anna", "ben"])
    assert joined(*parts).subjects is None


def test_an_id_in_two_joined_parts_is_refused():
    with pytest.raises(ProblemError, match="row ids: expected unique ids, got 'b' twice"):
        joined(rows(2, ids=["a", "b"]), rows(2, ids=["b", "c"]))


def test_joining_copies():
    part = rows(3)
    both = joined(part, rows(2, ids=["d", "e"]))
    both.x[0] += 1
    assert torch.equal(part.x, rows(3).x)
