"""Folders on disk: whole or absent, and never believed without their hashes."""

import errno
import io
import json
import os
import pickle
import shutil
import threading
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from expunge.errors import StoreError
from expunge.models import build
from expunge.store import Contents, folder, read, read_weights, write
from expunge.store.folder import MANIFEST, SCHEMA


def net(hidden=4):
    return build("mlp", shape=(6,), width=3, hidden=[hidden])


def contents(kind="run", mark=0, model=None):
    return Contents(
        kind,
        {"mark": mark, "text": "ä"},
        {"model": (model or net()).state_dict()},
        {"forget": np.arange(5) + mark, "empty": np.zeros((0, 3), dtype=np.float32)},
        {"table": {"rows": [1, None, "x"]}},
    )


def left(place):
    """Everything in a folder, hidden or not."""
    return sorted(path.name for path in place.iterdir())


def test_what_is_written_is_read_back(tmp_path):
    model = build("allcnn", shape=(1, 8, 8), width=3, channels=2)
    written = write(tmp_path / "a", contents(model=model))
    opened = read(tmp_path / "a", "run")
    assert opened == written
    assert opened.facts == {"mark": 0, "text": "ä"}
    assert opened.array("forget").tolist() == [0, 1, 2, 3, 4]
    assert opened.array("empty").shape == (0, 3)
    assert opened.document("table") == {"rows": [1, None, "x"]}
    other = build("allcnn", shape=(1, 8, 8), width=3, channels=2).train()
    opened.load_into(other, "model")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in other.state_dict().items())
    assert not other.training


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_keep_type_and_shape(tmp_path, dtype):
    value = torch.arange(6).reshape(2, 3).to(dtype)
    write(tmp_path / "a", Contents("run", weights={"w": {"t": value, "scalar": torch.tensor(3), "turned": value.T}}))
    back = read(tmp_path / "a").weights("w")
    assert (back["t"].dtype, back["scalar"].shape) == (dtype, ())
    assert torch.equal(back["turned"], value.T)


def test_tied_weights_are_kept_under_both_names(tmp_path):
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    write(tmp_path / "a", Contents("run", weights={"model": tied.state_dict()}))
    again = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    again[1].weight = again[0].weight
    read(tmp_path / "a").load_into(again, "model")
    assert torch.equal(again[1].weight, tied[0].weight)


def test_parent_folders_are_made(tmp_path):
    write(tmp_path / "x" / "y" / "a", contents())
    assert left(tmp_path / "x" / "y") == ["a"]


def test_the_manifest_says_what_made_it(tmp_path):
    write(tmp_path / "a", contents())
    data = json.loads((tmp_path / "a" / MANIFEST).read_text())
    assert data["schema"] == SCHEMA
    assert data["packages"]["numpy"] == np.__version__
    assert set(data["files"]) == set(left(tmp_path / "a")) - {MANIFEST}


FILES = {
    "model.safetensors": lambda opened: opened.weights("model"),
    "forget.npy": lambda opened: opened.array("forget"),
    "table.json": lambda opened: opened.document("table"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0, 0.5, -1])
def test_one_flipped_byte_is_noticed(tmp_path, name, where):
    write(tmp_path / "a", contents())
    file = tmp_path / "a" / name
    data = bytearray(file.read_bytes())
    data[where if isinstance(where, int) else len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(StoreError, match=f"{name}: its content is not what the manifest recorded"):
        FILES[name](read(tmp_path / "a"))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [0, 10, -1])
def test_a_truncated_file_is_noticed(tmp_path, name, size):
    write(tmp_path / "a", contents())
    file = tmp_path / "a" / name
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(StoreError, match="not what the manifest recorded"):
        FILES[name](read(tmp_path / "a"))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path, name):
    write(tmp_path / "a", contents())
    (tmp_path / "a" / name).unlink()
    with pytest.raises(StoreError, match=f"expected a file {name}, found none"):
        FILES[name](read(tmp_path / "a"))


def test_an_edited_array_is_refused(tmp_path):
    write(tmp_path / "a", contents())
    np.save(tmp_path / "a" / "forget.npy", np.arange(1, 6))
    with pytest.raises(StoreError, match="damaged or edited"):
        read(tmp_path / "a").array("forget")


def test_a_file_that_the_manifest_does_not_know_is_not_read(tmp_path):
    write(tmp_path / "a", contents())
    np.save(tmp_path / "a" / "extra.npy", np.arange(3))
    with pytest.raises(StoreError, match=r"expected a file extra\.npy, found none"):
        read(tmp_path / "a").array("extra")


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("form", ["pickle", "torch", "npy"])
def test_a_pickle_under_another_name_is_refused_and_not_run(tmp_path, form):
    trap, file = tmp_path / "sprung", tmp_path / "model.safetensors"
    buffer = io.BytesIO()
    if form == "pickle":
        pickle.dump(Trap(trap), buffer)
    elif form == "torch":
        torch.save({"w": Trap(trap)}, buffer)
    else:
        np.save(buffer, np.array([Trap(trap)]), allow_pickle=True)
    file.write_bytes(buffer.getvalue())
    with pytest.raises(StoreError, match=r"not a safetensors file .*\nhint: pickled weights are never read"):
        read_weights(file)
    assert not trap.exists()


def test_a_pickled_array_is_refused_even_under_its_right_hash(tmp_path):
    write(tmp_path / "a", contents())
    trap = tmp_path / "sprung"
    np.save(tmp_path / "a" / "forget.npy", np.array([Trap(trap)]), allow_pickle=True)
    manifest = tmp_path / "a" / MANIFEST
    data = json.loads(manifest.read_text())
    data["files"]["forget.npy"] = folder.file_hash(tmp_path / "a" / "forget.npy")
    manifest.write_text(json.dumps({**data, "seal": folder.seal(data)}))
    with pytest.raises(StoreError, match="not an array file"):
        read(tmp_path / "a").array("forget")
    assert not trap.exists()


def test_a_flipped_fact_is_noticed(tmp_path):
    write(tmp_path / "a", contents())
    manifest = tmp_path / "a" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"schema"', ' "schema"', 1))
    assert read(tmp_path / "a").facts == contents().facts
    data = json.loads(manifest.read_text())
    data["facts"]["more"] = 1
    manifest.write_text(json.dumps(data))
    with pytest.raises(StoreError, match="its content is not what was written"):
        read(tmp_path / "a")


def test_truncated_weights_alone_are_refused(tmp_path):
    write(tmp_path / "a", contents())
    whole = (tmp_path / "a" / "model.safetensors").read_bytes()
    for size in (0, 4, 40, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(StoreError, match="not a safetensors file"):
            read_weights(tmp_path / "cut")


@pytest.mark.parametrize("other", [net(5), nn.Sequential(nn.Flatten(), nn.Linear(6, 3))], ids=["shapes", "names"])
def test_weights_of_another_architecture_are_refused(tmp_path, other):
    write(tmp_path / "a", contents())
    with pytest.raises(StoreError, match=r"weights of another architecture .*\nhint: use the recipe"):
        read(tmp_path / "a").load_into(other, "model")


def test_a_newer_schema_is_refused_with_the_way_out(tmp_path):
    write(tmp_path / "a", contents())
    manifest = tmp_path / "a" / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema": SCHEMA + 1}))
    with pytest.raises(StoreError, match=f"newer expunge .schema {SCHEMA + 1}.*\nhint: pip install --upgrade expunge"):
        read(tmp_path / "a")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        "{}",
        '{"schema": 1}',
        '{"schema": "one", "kind": "run", "facts": {}, "files": {}}',
        '{"schema": null, "kind": "run", "facts": {}, "files": {}}',
        '{"schema": 1, "kind": "run", "facts": 3, "files": {}}',
        '{"schema": 1, "kind": "run", "facts": {}, "files": ["model.safetensors"]}',
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, text):
    write(tmp_path / "a", contents())
    (tmp_path / "a" / MANIFEST).write_text(text)
    with pytest.raises(StoreError, match="not a manifest"):
        read(tmp_path / "a")


def test_a_manifest_of_random_bytes_is_refused(tmp_path):
    write(tmp_path / "a", contents())
    (tmp_path / "a" / MANIFEST).write_bytes(bytes(range(256)))
    with pytest.raises(StoreError, match="not a manifest"):
        read(tmp_path / "a")


def test_a_folder_without_manifest_gets_the_command_that_makes_one(tmp_path):
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(StoreError, match=f"expected a folder with {MANIFEST}, found none\nhint: `expunge train"):
            read(place, "run")


def test_another_kind_is_refused(tmp_path):
    write(tmp_path / "a", contents("unlearned"))
    with pytest.raises(StoreError, match="expected a folder of kind 'run', got 'unlearned'"):
        read(tmp_path / "a", "run")


def test_names_are_not_overwritten(tmp_path):
    write(tmp_path / "a", contents(mark=1))
    with pytest.raises(StoreError, match="a exists already"):
        write(tmp_path / "a", contents(mark=2))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="file exists already"):
        write(tmp_path / "file", contents())
    assert read(tmp_path / "a").facts["mark"] == 1
    assert (tmp_path / "file").read_text() == "mine"
    assert left(tmp_path) == ["a", "file"]


def test_replace_puts_the_new_folder_in_place(tmp_path):
    write(tmp_path / "a", contents(mark=1))
    (tmp_path / "a" / "left-over").write_text("x")
    write(tmp_path / "a", contents(mark=2), replace=True)
    assert read(tmp_path / "a").array("forget")[0] == 2
    assert left(tmp_path) == ["a"]
    assert "left-over" not in left(tmp_path / "a")


@pytest.mark.parametrize("make", ["plain folder", "file", "another kind"])
def test_replace_deletes_nothing_but_its_own_kind(tmp_path, make):
    place = tmp_path / "a"
    if make == "plain folder":
        place.mkdir()
        (place / "thesis.txt").write_text("mine")
    elif make == "file":
        place.write_text("mine")
    else:
        write(place, contents("unlearned"))
    before = left(place) if place.is_dir() else place.read_text()
    with pytest.raises(StoreError, match="exists already"):
        write(place, contents(), replace=True)
    assert (left(place) if place.is_dir() else place.read_text()) == before


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def after(calls, real):
    """`real` until it has been called so often, then a full disk."""
    count = iter(range(10**9))
    return lambda *words, **named: real(*words, **named) if next(count) < calls else full_disk()


@pytest.mark.parametrize(
    ("owner", "name", "calls"),
    [(np, "save", 0), (np, "save", 1), (os, "fsync", 0), (os, "fsync", 2), (os, "fsync", 4), (os, "fsync", 5)],
)
@pytest.mark.parametrize("replace", [False, True])
def test_a_full_disk_leaves_nothing_behind_and_keeps_what_was_there(tmp_path, monkeypatch, owner, name, calls, replace):
    if replace:
        write(tmp_path / "a", contents(mark=1))
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, after(calls, getattr(owner, name)))
        with pytest.raises(StoreError, match=r"could not write .*No space left.*\nhint: free some space"):
            write(tmp_path / "a", contents(mark=2), replace=replace)
    assert left(tmp_path) == (["a"] if replace else [])
    if replace:
        assert read(tmp_path / "a").array("forget")[0] == 1
    write(tmp_path / "a", contents(mark=3), replace=replace)
    assert read(tmp_path / "a").facts["mark"] == 3


def test_a_truly_full_disk_is_said(tmp_path):
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write beyond the limit fails with an OSError
    big = Contents("run", arrays={"big": np.zeros(1_000_000)})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(StoreError, match="could not write"):
            write(tmp_path / "a", big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert left(tmp_path) == []


def test_facts_that_are_no_plain_data_leave_nothing_behind(tmp_path):
    with pytest.raises(TypeError):
        write(tmp_path / "a", Contents("run", {"count": np.int64(3)}))
    with pytest.raises(ValueError, match="pickle"):
        write(tmp_path / "a", Contents("run", arrays={"objects": np.array([object()])}))
    assert left(tmp_path) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a", contents())
    assert left(tmp_path) == []


def test_a_place_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="could not write"):
        write(tmp_path / "file" / "a", contents())


def test_the_old_folder_is_put_back_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    write(tmp_path / "a", contents(mark=1))
    real = type(tmp_path).rename

    def refuse_the_new(path, target):
        if target == tmp_path / "a" and not path.name.endswith("-old"):
            full_disk()
        return real(path, target)

    monkeypatch.setattr(type(tmp_path), "rename", refuse_the_new)
    with pytest.raises(StoreError, match="could not write"):
        write(tmp_path / "a", contents(mark=2), replace=True)
    assert left(tmp_path) == ["a"]
    assert read(tmp_path / "a").array("forget")[0] == 1


def test_at_no_moment_of_a_replacement_is_there_no_whole_folder(tmp_path, monkeypatch):
    write(tmp_path / "a", contents(mark=1))
    seen = []

    def watched(real):
        def call(*words, **named):
            value = real(*words, **named)
            whole = []
            for place in tmp_path.iterdir():
                try:
                    whole.append(int(read(place).array("forget")[0]))
                except StoreError:
                    continue
            seen.append(sorted(whole))
            return value

        return call

    monkeypatch.setattr(type(tmp_path), "rename", watched(type(tmp_path).rename))
    monkeypatch.setattr(shutil, "rmtree", watched(shutil.rmtree))
    monkeypatch.setattr(os, "fsync", watched(os.fsync))
    write(tmp_path / "a", contents(mark=2), replace=True)
    assert len(seen) > 6
    assert all(1 in whole or 2 in whole for whole in seen)
    assert read(tmp_path / "a").facts["mark"] == 2


def test_everything_is_flushed_before_the_folder_gets_its_name(tmp_path, monkeypatch):
    flushed, named = [], []
    real_open, real_rename = os.open, type(tmp_path).rename

    def opened(path, *words, **more):
        flushed.append(os.fspath(path))
        return real_open(path, *words, **more)

    def rename(path, target):
        named.extend(os.path.basename(name) for name in flushed if os.path.dirname(name) == str(path))
        named.append(os.path.basename(flushed[-1]) == path.name)
        return real_rename(path, target)

    monkeypatch.setattr(folder.os, "open", opened)
    monkeypatch.setattr(type(tmp_path), "rename", rename)
    write(tmp_path / "a", contents())
    assert {"model.safetensors", "forget.npy", "empty.npy", "table.json", MANIFEST} <= set(named[:-1])
    assert named[-1], "the folder itself, with the names of its files"


def test_threads_that_write_the_same_folder_all_get_the_one_that_came_first(tmp_path):
    start, got = threading.Barrier(4), []

    def put(mark):
        start.wait()
        try:
            got.append(write(tmp_path / "a", contents(mark=mark)).facts["mark"])
        except StoreError:  # it was there before this thread began
            got.append(read(tmp_path / "a").facts["mark"])

    threads = [threading.Thread(target=put, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    assert len(set(got)) == 1
    assert left(tmp_path) == ["a"]


def test_arrays_made_while_writing_are_held_one_at_a_time_and_read_back(tmp_path):
    alive = []

    def arrays():
        for at in range(4):
            values = np.full(3, at)
            alive.append(weakref.ref(values))
            yield f"part-{at}", values
            del values
            assert sum(one() is not None for one in alive) <= 1

    made = write(tmp_path / "x", Contents("scores", arrays={"first": np.arange(2)}, streamed=arrays()))
    assert [made.array(f"part-{at}").tolist() for at in range(4)] == [[at] * 3 for at in range(4)]
    assert made.array("first").tolist() == [0, 1]
    assert set(made.hashes) == {"first.npy", *(f"part-{at}.npy" for at in range(4))}


def test_a_maker_that_fails_leaves_nothing(tmp_path):
    def arrays():
        yield "part-0", np.zeros(3)
        raise ValueError("out of ideas")

    with pytest.raises(ValueError, match="out of ideas"):
        write(tmp_path / "x", Contents("scores", streamed=arrays()))
    assert list(tmp_path.iterdir()) == []
