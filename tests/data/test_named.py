"""Named data sets, read from small real files; the full-size ones where EXPUNGE_DATA says where they lie."""

import gzip
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.data import DATASETS, ForgetSet, load
from expunge.data.named import LOADERS
from expunge.data.splits import drawn, official
from expunge.errors import ConfigError, ExpungeError, NeedsError, ProblemError, StoreError
from tests.data.files import (
    BATCHES,
    IDX,
    encoded,
    jpeg_arrays,
    pixels,
    python2_batch,
    text,
    write_cifar,
    write_folder,
    write_idx,
    write_jpegs,
    write_mnist,
)


def sizes(splits):
    return len(splits.train), len(splits.holdout), len(splits.test)


def all_ids(splits):
    return [*splits.train.ids, *splits.holdout.ids, *splits.test.ids]


# every set


@pytest.fixture
def root(tmp_path):
    """A data folder with every named set in small."""
    write_mnist(tmp_path / "mnist")
    write_mnist(tmp_path / "fashion-mnist")
    write_cifar(tmp_path, "bin")
    write_jpegs(tmp_path, jpeg_arrays())
    write_folder(tmp_path / "pictures", {"cat": 12, "dog": 12})
    lines = [f"{i},{i * 0.5},{'ab'[i % 2]},{i % 3}" for i in range(40)]
    (tmp_path / "table.csv").write_text("\n".join(["number,half,letter,y", *lines]))
    return tmp_path


SMALL = {
    "digits": (1097, 300, 400),
    "mnist": (50, 10, 12),
    "fashion-mnist": (50, 10, 12),
    "cifar10": (40, 10, 10),
    "cifar10-jpeg": (16, 4, 6),
    "folder:pictures": (18, 3, 3),
    "csv:table.csv?label=y": (28, 6, 6),
}


def test_every_set_is_listed_and_tested():
    assert DATASETS.keys() == LOADERS.keys() == {spec.partition(":")[0] for spec in SMALL}


@pytest.mark.parametrize("spec", SMALL)
def test_parts_share_no_id_and_fit_together(root, spec):
    splits = load(spec, root=root)
    ids = all_ids(splits)
    assert splits.name == spec
    assert sizes(splits) == SMALL[spec]
    assert len(set(ids)) == len(ids)
    for part in (splits.train, splits.holdout, splits.test):
        x, y = part.batch(np.arange(len(part)))
        assert x.dtype == torch.float32
        assert x.shape[1:] == splits.train.x.shape[1:]
        assert 0 <= int(y.min()) <= int(y.max()) < len(splits.classes)


@pytest.mark.parametrize("spec", SMALL)
def test_the_first_rows_are_the_first_rows_of_the_whole(root, spec):
    whole, part = load(spec, root=root), load(f"{spec}@5", root=root)
    least = min(5, len(whole.holdout))
    assert sizes(part) == (5, least, len(whole.test))
    assert part.train.ids == whole.train.ids[:5]
    assert part.holdout.ids == whole.holdout.ids[:least]
    assert part.test.ids == whole.test.ids
    if not spec.startswith("folder"):  # whose constants are measured on the rows that are loaded
        assert torch.equal(part.train.x, whole.train.x[:5])


@pytest.mark.parametrize("spec", SMALL)
@pytest.mark.parametrize("count", [0, 1_000_000])
def test_impossible_counts(root, spec, count):
    with pytest.raises(ConfigError, match=f"expected 1 to {SMALL[spec][0]} training rows, got {count}"):
        load(f"{spec}@{count}", root=root)


@given(train=st.integers(2, 60), test=st.integers(1, 9), data=st.data())
def test_official_parts_partition_the_rows(train, test, data):
    holdout = data.draw(st.integers(1, train - 1))
    parts = official(train, test, holdout=holdout)
    assert sorted(np.concatenate([parts.train, parts.holdout]).tolist()) == list(range(train))
    assert sorted(parts.test.tolist()) == list(range(train, train + test))


@given(st.integers(7, 300))
def test_drawn_parts_partition_the_rows(rows):
    parts = drawn(rows)
    assert sorted(np.concatenate([parts.train, parts.holdout, parts.test]).tolist()) == list(range(rows))
    assert len(parts.holdout) == len(parts.test) == rows * 15 // 100


def test_the_split_is_the_same_on_every_machine():
    assert drawn(1797).train[:5].tolist() == [221, 636, 1560, 422, 288]
    assert official(60000, 10000, holdout=10000).train[:5].tolist() == [5212, 16033, 51169, 22517, 16474]


def test_unknown_names_guess_and_say_where_the_list_is():
    with pytest.raises(ConfigError, match=r"unknown data set 'fashion'\nhint: .*fashion-mnist.*`expunge data`"):
        load("fashion")
    with pytest.raises(ConfigError, match="unknown data set 'digits:8'"):
        load("digits:8")


@pytest.mark.parametrize("spec", ["folder", "folder:", "csv", "csv:"])
def test_a_path_is_asked_for(spec):
    with pytest.raises(ConfigError, match=r"expected (folder:PATH|csv:FILE)"):
        load(spec)


def test_missing_files_name_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPUNGE_DATA", str(tmp_path))
    with pytest.raises(NeedsError) as caught:
        load("mnist")
    absent = [tmp_path / "mnist", *(tmp_path / file for file in IDX)]
    assert f"data set mnist: nothing at {', '.join(map(str, absent))}\n" in str(caught.value)
    assert "hint: put its four idx .gz files into ROOT/mnist; set EXPUNGE_DATA or give --data" in str(caught.value)
    with pytest.raises(NeedsError) as caught:
        load("cifar10")
    for folder in ("cifar-10-batches-bin", "cifar-10-batches-py", "cifar10/cifar-10-batches-py"):
        assert str(tmp_path / folder) in str(caught.value)
    write_cifar(tmp_path, "bin")
    (tmp_path / "cifar-10-batches-bin" / "data_batch_4.bin").unlink()
    with pytest.raises(NeedsError, match=r"nothing at \S+/cifar-10-batches-bin/data_batch_4\.bin, "):
        load("cifar10")


@pytest.mark.parametrize("spec", ["mnist", "cifar10", "cifar10-jpeg"])
def test_without_a_data_folder(spec, monkeypatch):
    monkeypatch.delenv("EXPUNGE_DATA", raising=False)
    with pytest.raises(NeedsError, match=f"data set {spec}: no data folder is set\nhint: .*EXPUNGE_DATA"):
        load(spec)


def test_a_path_may_be_relative_to_the_root(root):
    with pytest.raises(NeedsError, match=f"nothing at nowhere/at/all, {root}/nowhere/at/all"):
        load("folder:nowhere/at/all", root=root)
    assert load(f"folder:{root / 'pictures'}").train.ids == load("folder:pictures", root=root).train.ids


# digits and idx


def test_digits_are_standardised():
    splits = load("digits")
    assert splits.train.x.shape == (1097, 1, 8, 8)
    assert abs(float(splits.train.x.mean())) < 1e-3
    assert float(splits.train.x.std()) == pytest.approx(1, abs=1e-3)


def test_idx_pixels_are_those_of_the_file(tmp_path):
    write_mnist(tmp_path / "mnist")
    splits = load("mnist", root=tmp_path)
    raw = pixels(2, 12, 28, 28)
    at = official(60, 12, holdout=10).test - 60
    back = splits.test.x[:, 0] * 0.3080 + 0.1306
    assert torch.allclose(back * 255, torch.from_numpy(raw[at].astype(np.float32)), atol=1e-3)
    assert splits.test.labels.tolist() == (at % 10).tolist()


def test_idx_files_may_lie_in_the_root_itself(tmp_path):
    write_mnist(tmp_path / "any")
    assert sizes(load("fashion-mnist", root=tmp_path / "any")) == (50, 10, 12)


def test_one_mnist_is_never_taken_for_the_other(root):
    with pytest.raises(NeedsError):
        load("mnist", root=root / "fashion-mnist")


def test_repeated_rows_get_numbered_ids_over_all_parts(tmp_path):
    write_mnist(tmp_path / "mnist")
    write_idx(tmp_path / "mnist" / IDX[0], np.zeros((60, 28, 28), dtype=np.uint8))
    ids = all_ids(load("mnist", root=tmp_path))
    assert len(set(ids)) == 72
    assert sum("#" in row_id for row_id in ids) == 50  # 60 blank pictures of 10 labels


def damage_truncate(folder):
    path = folder / IDX[0]
    path.write_bytes(path.read_bytes()[:-200])


def damage_magic(folder):
    (folder / IDX[0]).write_bytes(gzip.compress(b"\x00\x00\x0d\x03" + bytes(12)))


def damage_short(folder):
    write = gzip.decompress((folder / IDX[0]).read_bytes())[:-5]
    (folder / IDX[0]).write_bytes(gzip.compress(write))


def damage_long(folder):
    write = gzip.decompress((folder / IDX[0]).read_bytes()) + b"more"
    (folder / IDX[0]).write_bytes(gzip.compress(write))


def damage_plain(folder):
    (folder / IDX[0]).write_bytes(b"not gzip at all")


def damage_empty(folder):
    (folder / IDX[0]).write_bytes(gzip.compress(b""))


def damage_count(folder):
    write_idx(folder / IDX[1], np.zeros(59, dtype=np.uint8))


def damage_label(folder):
    write_idx(folder / IDX[1], np.full(60, 10, dtype=np.uint8))


def damage_shape(folder):
    write_idx(folder / IDX[2], pixels(0, 12, 27, 28))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (damage_truncate, "train-images-idx3-ubyte.gz: damaged gzip file"),
        (damage_magic, r"\(magic 00000803\), got 00000d03"),
        (damage_short, "expected 47040 values for shape .* got 47035"),
        (damage_long, "expected 47040 values for shape .* got more"),
        (damage_plain, "damaged gzip file"),
        (damage_empty, "got an empty file"),
        (damage_count, "expected 59 images, one per label in train-labels-idx1-ubyte.gz, got 60"),
        (damage_label, r"expected labels 0\.\.9, got 10"),
        (damage_shape, r"expected images of \(28, 28\), as in train, got \(27, 28\)"),
    ],
)
def test_damaged_idx_files(tmp_path, damage, complaint):
    write_mnist(tmp_path / "mnist")
    damage(tmp_path / "mnist")
    with pytest.raises(StoreError, match=complaint):
        load("mnist", root=tmp_path)


# CIFAR-10


def test_python_batches_are_what_python_2_wrote():
    x = pixels(0, 3, 3072)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = pickle.loads(python2_batch(x, [1, 2, 3]), encoding="bytes")
    assert np.array_equal(batch[b"data"], x)
    assert batch[b"labels"] == [1, 2, 3]


def test_binary_and_python_batches_give_the_same_rows(tmp_path):
    write_cifar(tmp_path / "one", "bin")
    write_cifar(tmp_path / "two" / "cifar10", "py")
    binary, python = (load("cifar10", root=tmp_path / name) for name in ("one", "two"))
    assert all_ids(binary) == all_ids(python)
    assert torch.equal(binary.train.x, python.train.x)
    assert torch.equal(binary.test.labels, python.test.labels)


def test_cifar_channels_stand_first(tmp_path):
    write_cifar(tmp_path, "bin")
    splits = load("cifar10", root=tmp_path)
    at = official(50, 10, holdout=10).test[0] - 50
    red = splits.test.x[0, 0] * 0.2470 + 0.4914
    expected = pixels(5, 10, 3072)[at, :1024].reshape(32, 32).astype(np.float32)
    assert torch.allclose(red * 255, torch.from_numpy(expected), atol=1e-3)


class Malicious:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, protocol):
    folder = write_cifar(tmp_path, "py")
    (folder / BATCHES[0]).write_bytes(pickle.dumps(Malicious(tmp_path / "owned"), protocol))
    with pytest.raises(StoreError, match=r"data_batch_1: .* a pickle that asks for (posix|nt)\.mkdir"):
        load("cifar10", root=tmp_path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "code",
    [
        b"\x80\x02cbuiltins\neval\n" + text(b"1") + b"\x85R.",
        b"\x80\x02cnumpy\nload\n" + text(b"x") + b"\x85R.",
        b"\x80\x02cnumpy\ndtype.__class__\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x12ndarray.__init__\x93.".replace(b"\x12", b"\x10"),
        b"Pelsewhere\n.",
    ],
    ids=["eval", "numpy.load", "dotted", "stack_global", "persistent"],
)
def test_any_other_name_is_refused(tmp_path, code):
    folder = write_cifar(tmp_path, "py")
    (folder / BATCHES[5]).write_bytes(code)
    with pytest.raises(StoreError, match="test_batch: expected a CIFAR-10 batch, got a pickle that asks for"):
        load("cifar10", root=tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        python2_batch(pixels(0, 4, 3072), [0, 1, 2, 3])[:-50],
        b"\x80\x02}.",
        python2_batch(pixels(0, 4, 3071), [0, 1, 2, 3]),
        python2_batch(pixels(0, 4, 3072), [0, 1, 2]),
        python2_batch(pixels(0, 4, 3072), [0, 1, 2, 10]),
        python2_batch(pixels(0, 4, 3072), [0, 1, 2, 3]).replace(b"u1", b"i2"),
    ],
    ids=["empty", "junk", "cut", "other", "width", "count", "label", "dtype"],
)
def test_damaged_python_batches(tmp_path, content):
    folder = write_cifar(tmp_path, "py")
    (folder / BATCHES[2]).write_bytes(content)
    with pytest.raises(StoreError, match="data_batch_3: expected"):
        load("cifar10", root=tmp_path)


@pytest.mark.parametrize("content", [b"", bytes(3072), bytes([11]) + bytes(3072)])
def test_damaged_binary_batches(tmp_path, content):
    folder = write_cifar(tmp_path, "bin")
    (folder / "data_batch_2.bin").write_bytes(content)
    with pytest.raises(StoreError, match=r"data_batch_2\.bin: expected (a multiple of 3073|labels 0\.\.9)"):
        load("cifar10", root=tmp_path)


def test_jpegs_only_decode_what_is_asked_for(tmp_path):
    arrays = jpeg_arrays()
    at = official(20, 6, holdout=4)
    unread = at.train[-1]  # far behind the first five
    start = arrays["train_offsets"][unread]
    arrays["train_jpeg"] = arrays["train_jpeg"].copy()
    arrays["train_jpeg"][start : start + 20] = 0
    path = write_jpegs(tmp_path, arrays)
    assert sizes(load("cifar10-jpeg@5", root=tmp_path)) == (5, 4, 6)
    with pytest.raises(StoreError, match=f"{path.name}, picture {unread}: expected an image"):
        load("cifar10-jpeg", root=tmp_path)


def test_damaged_jpeg_archives(tmp_path):
    arrays = jpeg_arrays()
    path = write_jpegs(tmp_path, arrays)

    def complaint(**changed):
        np.savez_compressed(path, **{**arrays, **changed})
        with pytest.raises(StoreError) as caught:
            load("cifar10-jpeg", root=tmp_path)
        return str(caught.value)

    assert "expected offsets" in complaint(train_offsets=arrays["train_offsets"][:-1])
    assert "expected offsets" in complaint(train_offsets=arrays["train_offsets"][::-1])
    assert "expected labels 0..9" in complaint(test_labels=np.full(6, 12))
    assert "damaged" in complaint(class_names=np.array([None]))
    small = jpeg_arrays(side=16)
    assert "expected 32 x 32 pixels, got (16, 16)" in complaint(**small)
    for content in (path.read_bytes()[:1000], b"", b"\x93NUMPY junk"):
        path.write_bytes(content)
        with pytest.raises(StoreError, match="damaged"):
            load("cifar10-jpeg", root=tmp_path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(StoreError, match="damaged"):
        load("cifar10-jpeg", root=tmp_path)


# image folders


def test_a_folder_with_its_own_split(tmp_path):
    write_folder(tmp_path / "train", {"cat": 10, "dog": 10})
    write_folder(tmp_path / "test", {"cat": 3, "dog": 2}, seed=50)
    splits = load(f"folder:{tmp_path}")
    assert sizes(splits) == (17, 3, 5)
    assert splits.classes == ("cat", "dog")
    assert splits.train.x.shape[1:] == (3, 8, 8)
    assert torch.allclose(splits.train.x.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)


def test_grey_pictures_have_one_channel(tmp_path):
    write_folder(tmp_path, {"a": 8, "b": 8}, grey=True)
    assert load(f"folder:{tmp_path}").train.x.shape[1:] == (1, 8, 8)
    (tmp_path / "b" / "colour.PNG").write_bytes(encoded(pixels(0, 8, 8, 3), "PNG"))
    assert load(f"folder:{tmp_path}").train.x.shape[1:] == (3, 8, 8)


def test_the_same_picture_twice_is_two_rows(tmp_path):
    write_folder(tmp_path, {"a": 8})
    (tmp_path / "a" / "again.jpg").write_bytes((tmp_path / "a" / "000.jpg").read_bytes())
    assert sum(row_id.endswith("#1") for row_id in all_ids(load(f"folder:{tmp_path}"))) == 1


def test_a_picture_of_another_size_is_named(tmp_path):
    write_folder(tmp_path, {"a": 8})
    (tmp_path / "a" / "wide.png").write_bytes(encoded(pixels(0, 8, 9), "PNG"))
    with pytest.raises(ProblemError, match=r"wide\.png: expected 8 x 8 pixels, as 000\.jpg has, got 9 x 8"):
        load(f"folder:{tmp_path}")


def test_what_is_no_picture_is_named(tmp_path):
    write_folder(tmp_path, {"a": 8})
    (tmp_path / "a" / "deep.png").write_bytes(encoded(pixels(0, 8, 8).astype(np.uint16), "PNG"))
    with pytest.raises(ProblemError, match=r"deep\.png: expected 8 bits a channel"):
        load(f"folder:{tmp_path}")
    (tmp_path / "a" / "deep.png").write_bytes(b"text")
    with pytest.raises(StoreError, match=r"deep\.png: expected an image, got 4 bytes"):
        load(f"folder:{tmp_path}")
    (tmp_path / "a" / "deep.png").write_bytes(encoded(pixels(0, 8, 8), "PNG")[:-40])
    with pytest.raises(StoreError, match=r"deep\.png: (damaged image|expected an image)"):
        load(f"folder:{tmp_path}")


def test_folders_that_cannot_be_split(tmp_path):
    with pytest.raises(ProblemError, match="expected pictures CLASS/"):
        load(f"folder:{tmp_path}")
    write_folder(tmp_path, {"a": 6})
    with pytest.raises(ProblemError, match=r"got 6, 0 and 0\nhint: .* at least 7 rows"):
        load(f"folder:{tmp_path}")
    write_folder(tmp_path / "split" / "train", {"a": 8})
    write_folder(tmp_path / "split" / "test", {"z": 2})
    with pytest.raises(ProblemError, match="expected the classes of train in test too, got z"):
        load(f"folder:{tmp_path / 'split'}")


# tables


pandas = pytest.importorskip("pandas")


def people(rows=40):
    return pandas.DataFrame(
        {
            "age": np.arange(rows) + 20,
            "town": [["Bern", "Genf", "Chur"][i % 3] for i in range(rows)],
            "member": np.arange(rows) % 2 == 0,
            "income": [["low", "high"][i % 2] for i in range(rows)],
            "row": [f"{i:03d}" for i in range(rows)],
            "person": [f"p{i // 2}" for i in range(rows)],
        }
    )


def as_csv(table, path):
    table.to_csv(path.with_suffix(".csv"), index=False)
    return path.with_suffix(".csv")


def as_parquet(table, path):
    pytest.importorskip("pyarrow")
    table.to_parquet(path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_tables(tmp_path, write):
    path = write(people(), tmp_path / "people")
    splits = load(f"csv:{path}?label=income&id=row&subject=person")
    assert splits.classes == ("high", "low")
    assert sizes(splits) == (28, 6, 6)
    assert splits.train.x.shape[1:] == (5,)  # age, three towns, member
    assert torch.allclose(splits.train.x[:, 0].mean(), torch.tensor(0.0), atol=1e-6)
    assert torch.allclose(splits.train.x[:, 0].std(correction=0), torch.tensor(1.0))
    assert torch.equal(splits.train.x[:, 1:4].sum(1), torch.ones(28))
    for part in (splits.train, splits.holdout, splits.test):
        for row_id, subject, label in zip(part.ids, part.subjects, part.labels, strict=True):
            assert subject == f"p{int(row_id) // 2}"
            assert int(label) == (int(row_id) % 2 == 0)


def test_number_labels_sort_as_numbers_and_floats_are_targets(tmp_path):
    table = people()[["age", "member"]].assign(grade=[[2, 10, 9][i % 3] for i in range(40)])
    path = as_csv(table, tmp_path / "t")
    assert load(f"csv:{path}?label=grade").classes == ("2", "9", "10")
    path = as_csv(table.assign(grade=table.grade / 4), tmp_path / "t")
    targets = load(f"csv:{path}?label=grade")
    assert targets.classes == ()
    assert targets.train.labels.dtype == torch.float32
    assert set(targets.train.labels.tolist()) == {0.5, 2.25, 2.5}


def test_scaling_does_not_depend_on_how_many_rows_are_loaded(tmp_path):
    path = as_csv(people(), tmp_path / "t")
    spec = f"csv:{path}?label=income&id=row"
    assert torch.equal(load(f"{spec}@4").train.x, load(spec).train.x[:4])


def test_column_names_may_be_quoted(tmp_path):
    path = as_csv(people().rename(columns={"income": "a&b=c d"}), tmp_path / "t")
    assert load(f"csv:{path}?label=a%26b=c d").classes == ("high", "low")


def refused(tmp_path, table, options="label=income"):
    path = as_csv(table, tmp_path / "t")
    with pytest.raises(ExpungeError) as caught:
        load(f"csv:{path}?{options}")
    return caught.value


def test_tables_that_are_refused(tmp_path):
    table = people()
    error = refused(tmp_path, table.assign(town=[None, *table.town[1:]]))
    assert isinstance(error, ProblemError)
    assert "column 'town': expected no missing values, got 1, the first in row 0" in str(error)
    assert "expected finite numbers" in str(refused(tmp_path, table.assign(age=[np.inf, *table.age[1:]])))
    assert "no column 'wage'\nhint: columns: age, town" in str(refused(tmp_path, table, "label=wage"))
    assert "got 'p0' twice" in str(refused(tmp_path, table, "label=income&id=person"))
    assert "expected csv:FILE?label=COLUMN" in str(refused(tmp_path, table, "id=row"))
    assert "expected csv:FILE?label=COLUMN" in str(refused(tmp_path, table, "label=income&weight=age"))
    assert "expected feature columns" in str(refused(tmp_path, table[["income"]]))
    many = pandas.DataFrame({"name": [f"n{i}" for i in range(1001)], "y": 1})
    assert "at most 1000 distinct texts, got 1001" in str(refused(tmp_path, many, "label=y"))


def test_a_date_is_neither_number_nor_text(tmp_path):
    path = as_parquet(people().assign(born=pandas.Timestamp("2000-01-01")), tmp_path / "t")
    with pytest.raises(ConfigError, match="column 'born': expected numbers or text, got datetime64"):
        load(f"csv:{path}?label=income")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00 junk\n\x00,,,\n1,2"])
def test_files_that_are_no_table(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match="expected a table"):
        load(f"csv:{tmp_path / name}?label=y")


def test_without_pandas_the_extra_is_named(tmp_path, monkeypatch):
    path = as_csv(people(), tmp_path / "t")
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(NeedsError, match=r'hint: pip install "expunge\[tables\]"'):
        load(f"csv:{path}?label=income")


# the real files

REAL = {
    "mnist@100": ("mnist", (100, 100, 10000), (1, 28, 28)),
    "fashion-mnist@10000": ("fashion-mnist", (10000, 10000, 10000), (1, 28, 28)),
    "cifar10-jpeg@100": ("cifar10-jpeg", (100, 100, 10000), (3, 32, 32)),
}


@pytest.mark.parametrize("spec", REAL)
def test_real_files(spec):
    folder, expected, shape = REAL[spec]
    if not Path(os.environ.get("EXPUNGE_DATA", "/nowhere"), folder).is_dir():
        pytest.skip(f"EXPUNGE_DATA has no {folder}")
    splits = load(spec)
    assert sizes(splits) == expected
    assert splits.train.x.shape[1:] == shape
    assert len(set(all_ids(splits))) == sum(expected)
    assert abs(float(splits.test.x.mean())) < 0.03
    assert float(splits.test.x.std()) == pytest.approx(1, abs=0.03)


def test_the_rows_know_the_names_of_their_classes(tmp_path):
    lines = "\n".join(f"{i}.5,{1 + i % 3}" for i in range(30))
    (tmp_path / "t.csv").write_text(f"x,y\n{lines}\n")
    splits = load(f"csv:{tmp_path / 't.csv'}?label=y")
    found = ForgetSet("class:1").indices(splits.train)
    assert splits.classes == splits.train.classes == splits.holdout.classes == splits.test.classes == ("1", "2", "3")
    assert set(splits.train.labels[found].tolist()) == {0}
    digits = load("digits@100").train
    assert set(digits.labels[ForgetSet("class:8").indices(digits)].tolist()) == {8}
