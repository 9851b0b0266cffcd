"""Every form of a forget set, and what it says of a wrong one."""

import numpy as np
import pytest
import torch

from expunge.data import ForgetSet, MemoryRows, forget
from expunge.errors import ConfigError, NeedsError, ProblemError


def rows(**arguments):
    return MemoryRows(torch.arange(30.0)[:, None], torch.arange(30) % 3, **arguments)


@pytest.mark.parametrize(
    ("text", "kind", "count"),
    [
        ("random:5", "random", 5),
        ("random:30", "random", 30),
        ("class:1", "class", 10),
        ("class:2:4", "class", 4),
    ],
)
def test_drawn_forms(text, kind, count):
    which = forget(text, seed=1)
    found = which.indices(rows())
    assert (which.kind, str(which), len(found)) == (kind, text, count)
    assert found.dtype == np.int64
    assert (np.diff(found) > 0).all()
    if kind == "class":
        assert set((found % 3).tolist()) == {int(text[6])}


def test_the_seed_decides_the_draw():
    draws = [forget("random:5", seed=seed).indices(rows()).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_ids_from_a_file(tmp_path):
    some, file = rows(), tmp_path / "ids.txt"
    file.write_text(f"{some.ids[7]}\n\n  {some.ids[2]}\n")
    which = ForgetSet(f"ids:{file}")
    assert which.indices(some).tolist() == [2, 7]
    assert which.kind == "random"


def test_positions_from_a_file(tmp_path):
    np.save(tmp_path / "at.npy", np.array([9, 0, 4], dtype=np.int32))
    assert forget(f"indices:{tmp_path / 'at.npy'}").indices(rows()).tolist() == [0, 4, 9]


def test_subject():
    some = rows(subjects=[f"person:{i % 7}" for i in range(30)])
    which = forget("subject:person:3")
    assert which.kind == "subject"
    assert which.indices(some).tolist() == [3, 10, 17, 24]
    with pytest.raises(ProblemError, match="subject:person:9: no training row matches"):
        forget("subject:person:9").indices(some)
    with pytest.raises(NeedsError, match="carry no data subjects"):
        which.indices(rows())


WRONG = [
    *("random", "random:", "random:x", "random:-1", "random:1.5", "random:5:5", "rows:5"),
    *("class:", "class:a:b", "class:1:", "class::3", "class:1:2:3", "ids:", "subject:", "indices"),
]


@pytest.mark.parametrize("text", ["", *WRONG])
def test_wrong_forms_list_the_right_ones(text):
    with pytest.raises(ConfigError, match=r"expected one of random:N, class:C, .*, got"):
        forget(text)


@pytest.mark.parametrize("text", ["random:0", "class:1:0"])
def test_no_rows_are_no_forget_set(text):
    with pytest.raises(ConfigError, match="expected at least 1 row"):
        forget(text)


@pytest.mark.parametrize(("text", "there"), [("random:31", 30), ("class:1:11", 10)])
def test_more_rows_than_there_are(text, there):
    with pytest.raises(ProblemError, match=f"{text}: expected at least .* such rows, got {there}"):
        forget(text).indices(rows())


def test_a_class_that_does_not_exist():
    with pytest.raises(ProblemError, match="class:7: no training row matches"):
        forget("class:7").indices(rows())


def named_rows(names, **arguments):
    return rows(classes=names, **arguments)


@pytest.mark.parametrize(
    ("names", "name", "label"),
    [
        (("1", "2", "3"), "1", 0),
        (("1", "2", "3"), "3", 2),
        (("-1", "0", "1"), "-1", 0),
        (("-1", "0", "1"), "1", 2),
        (("cat", "dog", "ankle boot"), "ankle boot", 2),
        (("cat", "dog", "ankle boot"), "1", 1),
        ((), "1", 1),
    ],
)
def test_a_class_is_called_what_the_data_set_calls_it(names, name, label):
    some = named_rows(names)
    assert forget(f"class:{name}").indices(some).tolist() == list(range(label, 30, 3))
    assert len(forget(f"class:{name}:4").indices(some)) == 4
    assert forget(f"class:{name}").indices(some.take(np.arange(6))).tolist() == [label, label + 3]


@pytest.mark.parametrize(
    ("names", "name"), [(("1", "2", "3"), "0"), (("cat", "dog", "cow"), "3"), (("cat", "dog", "cow"), "ca")]
)
def test_an_unknown_class_brings_the_names(names, name):
    with pytest.raises(ProblemError, match=f"no class is called '{name}'\nhint: classes: {', '.join(names)}"):
        forget(f"class:{name}").indices(named_rows(names))
    with pytest.raises(ProblemError, match=r"no class is called 'cat'\nhint: .* give the label's number"):
        forget("class:cat").indices(rows())


def test_targets_have_no_classes():
    targets = MemoryRows(torch.zeros(4, 1), torch.tensor([0.0, 1.0, 2.0, 3.0]))
    with pytest.raises(ProblemError, match="targets, not classes"):
        forget("class:1").indices(targets)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ([], "the file lists no row"),
        ([3, 3], "got row 3 twice"),
        ([0, 30], r"expected positions 0\.\.29, got 30"),
        ([-1, 4], r"expected positions 0\.\.29, got -1"),
        ([[1], [2]], "expected integers"),
        ([0.5], "expected integers"),
    ],
)
def test_positions_that_cannot_be(tmp_path, values, complaint):
    np.save(tmp_path / "at.npy", np.array(values, dtype=None if values else np.int64))
    with pytest.raises(ProblemError, match=complaint):
        forget(f"indices:{tmp_path / 'at.npy'}").indices(rows())


def test_files_that_are_missing_or_something_else(tmp_path):
    for form, command in (("ids", "one row id a line"), ("indices", "numpy.save")):
        with pytest.raises(NeedsError, match=f"no file .*nowhere.*\nhint: .*{command}"):
            forget(f"{form}:{tmp_path / 'nowhere'}").indices(rows())
    (tmp_path / "junk").write_bytes(b"\xff\xfe junk")
    with pytest.raises(ProblemError, match="not a text file"):
        forget(f"ids:{tmp_path / 'junk'}").indices(rows())
    with pytest.raises(ProblemError, match=r"not a \.npy array"):
        forget(f"indices:{tmp_path / 'junk'}").indices(rows())
    np.save(tmp_path / "objects.npy", np.array([1, "a"], dtype=object), allow_pickle=True)
    with pytest.raises(ProblemError, match=r"not a \.npy array"):
        forget(f"indices:{tmp_path / 'objects.npy'}").indices(rows())


def test_ids_listed_twice_or_unknown(tmp_path):
    some, file = rows(), tmp_path / "ids.txt"
    file.write_text(f"{some.ids[0]}\n{some.ids[0]}\n")
    with pytest.raises(ProblemError, match="got row 0 twice"):
        forget(f"ids:{file}").indices(some)
    file.write_text("stranger\n")
    with pytest.raises(ProblemError, match="1 of 1 ids are not among the training rows: stranger"):
        forget(f"ids:{file}").indices(some)
