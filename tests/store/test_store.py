"""Store: finished work by content, with several processes and with processes that are killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import StoreError
from expunge.store import Contents, Store, key_of

KEY = "0123abcd"
PRELUDE = """
import sys, time
from pathlib import Path
import numpy as np
from expunge.store import Contents, Store, folder
root, mark = Path(sys.argv[1]), int(sys.argv[2])
store = Store(root / "store")
def met(name, others=1):
    (root / f"{name}-{mark}").touch()
    while len(list(root.glob(f"{name}-*"))) < others:
        time.sleep(0.005)
"""


def contents(mark=0):
    return Contents("model", {"mark": mark}, arrays={"logits": np.full(5, mark)})


def process(code, root, mark):
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code, str(root), str(mark)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(path, seconds=60):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} never came"
        time.sleep(0.01)


def test_work_is_put_and_got(tmp_path):
    store = Store(tmp_path)
    assert not store.has("model", KEY)
    store.put(KEY, contents(3))
    assert store.has("model", KEY)
    assert store.get("model", KEY).facts == {"mark": 3}
    assert store.path("model", KEY) == tmp_path / "model" / KEY


def test_what_is_there_stays(tmp_path):
    store = Store(tmp_path)
    store.put(KEY, contents(1))
    assert store.put(KEY, contents(2)).facts == {"mark": 1}
    assert store.get("model", KEY).array("logits")[0] == 1


def test_absent_work_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="found none"):
        Store(tmp_path).get("model", KEY)


def test_work_of_another_kind_under_the_same_key_is_apart(tmp_path):
    store = Store(tmp_path)
    store.put(KEY, contents(1))
    assert not store.has("rows", KEY)
    store.put(KEY, Contents("rows"))
    assert store.get("model", KEY).facts == {"mark": 1}


def test_the_root_comes_from_the_argument_then_the_environment_then_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPUNGE_STORE", str(tmp_path / "env"))
    assert Store().root == tmp_path / "env"
    assert Store(tmp_path / "own").root == tmp_path / "own"
    monkeypatch.delenv("EXPUNGE_STORE")
    assert Store().root == Path(".expunge")


plain = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4) | st.booleans(), max_size=4)


@given(plain, plain)
def test_keys_are_equal_exactly_where_requests_are(one, other):
    same = one == other and [type(v) for _, v in sorted(one.items())] == [type(v) for _, v in sorted(other.items())]
    assert (key_of(one) == key_of(other)) == same
    assert key_of(dict(reversed(one.items()))) == key_of(one)


def test_damaged_work_is_an_error_and_not_made_up(tmp_path):
    store = Store(tmp_path)
    store.put(KEY, contents(1))
    (store.path("model", KEY) / "manifest.json").unlink()
    with pytest.raises(StoreError):
        store.put(KEY, contents(2))


def test_two_processes_that_write_the_same_key_both_succeed(tmp_path):
    code = """
fill = folder._fill
def meeting(*words):
    fill(*words)
    met("filled", others=2)      # both have seen that the key is absent, and both have written
folder._fill = meeting
print(store.put("0123abcd", Contents("model", {"mark": mark}, arrays={"logits": np.full(5, mark)})).facts["mark"])
"""
    both = [process(code, tmp_path, mark) for mark in (1, 2)]
    said = [one.communicate(timeout=60) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    marks = {int(out) for out, _ in said}
    assert len(marks) == 1, "both got the same result"
    store = Store(tmp_path / "store")
    assert store.get("model", KEY).array("logits")[0] in marks
    assert [path.name for path in (tmp_path / "store" / "model").iterdir()] == [KEY]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_writer_leaves_nothing_that_looks_finished(tmp_path):
    code = """
flush = folder._flush
def slow(path):
    flush(path)
    met("writing")
    time.sleep(600)
folder._flush = slow
store.put("0123abcd", Contents("model", {"mark": mark}, arrays={"logits": np.full(5, mark)}))
"""
    writer = process(code, tmp_path, 1)
    try:
        wait_for(tmp_path / "writing-1")
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    store = Store(tmp_path / "store")
    leftovers = list((tmp_path / "store" / "model").iterdir())
    assert [path.name.startswith(f".{KEY}-") for path in leftovers] == [True]
    assert not store.has("model", KEY)
    with pytest.raises(StoreError):
        store.get("model", KEY)
    assert store.put(KEY, contents(2)).facts == {"mark": 2}
    assert store.get("model", KEY).array("logits").tolist() == [2] * 5
    assert leftovers[0].exists(), "another writer might still be at work there"
