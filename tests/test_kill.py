"""SIGKILL at random moments, 20 times: no finished model is lost, none is repeated, and the end is the same.

Importing torch takes seconds, so 18 of the 20 victims are forks of one process that has imported it and trains in
itself (`Here`); two are whole `expunge bench` commands with worker processes.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.clock import threads
from expunge.bench.bench import run_suite
from expunge.bench.suite import load_suite
from expunge.store import Contents, Store
from expunge.training.recipes import recipe
from tests.bench.problem import fixed_choice, suite_text, without_times

KILLS = 9
"""Of each kind of work in forks; two more of the command."""
MODELS = 24
METHODS = """
[[methods]]
name = "finetune"
epochs = 1

[[methods]]
name = "random_label"
epochs = 2
"""

HARNESS = '''
"""Forks a child per line of stdin, "WORK STORE OUT SECONDS"; kills it after so long; says how it ended."""
import json, os, select, signal, sys, time
from pathlib import Path

import numpy as np
import torch

torch.set_num_threads(1)
from expunge.bench.bench import run_suite
from expunge.bench.suite import load_suite
from expunge.data import load
from expunge.fleet import role_seeds, same_rows, train_fleet
from expunge.store import Store
from expunge.training.recipes import recipe

suite = load_suite(sys.argv[1])
models = int(sys.argv[2])
chosen = recipe(suite.recipe)
splits = load(chosen.data)  # read once; every child has it


def fleet(store, out):
    masks = same_rows(splits.train, np.arange(100), models)
    seeds = role_seeds(0, "gold", models)
    watch = (splits.train, splits.holdout)
    made = train_fleet(chosen, splits.train, masks, seeds, watch=watch, store=store, keep_weights=True)
    np.save(out, made.logits())


def bench(store, out):
    out.write_text(json.dumps(list(run_suite(suite, chosen, store=store, command="expunge bench"))))


for line in sys.stdin:
    work, store, out, seconds = line.split()
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            {"fleet": fleet, "bench": bench}[work](Store(store), Path(out))
            code = 0
        finally:
            os._exit(code)
    watcher = os.pidfd_open(child)
    if not select.select([watcher], [], [], float(seconds))[0]:
        os.kill(child, signal.SIGKILL)
    os.close(watcher)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(status, time.monotonic() - begin, flush=True)
'''


class Victims:
    """The process that forks."""

    def __init__(self, folder):
        (folder / "harness.py").write_text(HARNESS)
        (folder / "mine.toml").write_text(suite_text(folder, methods=METHODS, gold=12))
        command = [sys.executable, "harness.py", "mine.toml", str(MODELS)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, text=True)
        self.folder = folder

    def run(self, work, store, out, seconds):
        """Exit code and duration of one child."""
        self.process.stdin.write(f"{work} {store} {out} {seconds}\n")
        self.process.stdin.flush()
        code, took = self.process.stdout.readline().split()
        return int(code), float(took)


@pytest.fixture(scope="module")
def victims(tmp_path_factory):
    made = Victims(tmp_path_factory.mktemp("kill"))
    with made.process:
        yield made
    assert made.process.returncode == 0


def finished(store):
    """Every file of every finished folder: inode, time of change and content."""
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for kind in sorted(store.root.iterdir())
        for folder in sorted(kind.glob("[!.]*"))
        for path in sorted(folder.iterdir())
    }


def leftovers(store):
    return list(store.root.glob("*/.*"))


def kept(before, after):
    """Every finished folder of `before` is in `after`, untouched."""
    return before.items() <= after.items()


def arrays(store):
    """Name of every model and cell -> its logits."""
    found = [path for kind in ("model", "cell") for path in (store.root / kind).glob("[!.]*/logits.npy")]
    return {f"{path.parent.parent.name}/{path.parent.name}": np.load(path) for path in found}


def same_arrays(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("work", "stacked"), [("fleet", True), ("fleet", False), ("bench", True)])
def test_killed_work_goes_on_and_ends_as_if_nothing_had_happened(victims, work, stacked):
    here = victims.folder / f"{work}-{stacked}"
    name = f"{victims.folder / 'own.py'}:tiny"
    whole, killed = (fixed_choice(here / part, name, stacked=stacked) for part in ("whole", "killed"))
    code, _ = victims.run(work, whole.root, here / "warm.out", 60)  # imports what is imported late
    assert code == 0
    code, took = victims.run(work, fixed_choice(here / "timed", name, stacked=stacked).root, here / "whole.out", 60)
    assert code == 0

    draw, deaths, seen = random.Random(f"{work} {stacked}"), 0, [finished(killed)]
    wanted = KILLS if work == "bench" else KILLS // 2 + stacked
    while deaths < wanted:
        # each life is long enough to finish something, and most are not long enough to finish all
        code, _ = victims.run(work, killed.root, here / "killed.out", draw.uniform(0.05, 0.5) * took)
        seen.append(finished(killed))
        assert kept(seen[-2], seen[-1]), "nothing finished was lost, changed or made again"
        if code == 0:  # it ended before it was killed: start again in another store
            assert same_arrays(arrays(killed), arrays(whole))
            killed = fixed_choice(here / f"killed-{deaths}", name, stacked=stacked)
            seen = [finished(killed)]
            continue
        assert code == -signal.SIGKILL
        deaths += 1
    assert victims.run(work, killed.root, here / "killed.out", 60)[0] == 0
    assert kept(seen[-1], finished(killed))
    assert same_arrays(arrays(killed), arrays(whole))
    if work == "fleet":
        assert np.array_equal(np.load(here / "killed.out.npy"), np.load(here / "whole.out.npy"))
        assert len(arrays(killed)) == MODELS
    else:
        results = [json.loads((here / out).read_text()) for out in ("killed.out", "whole.out")]
        assert without_times(results[0]) == without_times(results[1])
        assert len(arrays(killed)) == (4 + 4 + 12) + (4 * 2 + 3)


def test_a_killed_command_with_workers_goes_on(tmp_path):
    (tmp_path / "mine.toml").write_text(suite_text(tmp_path, methods=METHODS, gold=12))
    name = f"{tmp_path / 'own.py'}:tiny"
    store = fixed_choice(tmp_path / "store", name, stacked=False)
    command = [sys.executable, "-m", "expunge", "bench", "mine.toml", "--processes", "2", "--store", "store", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = finished(store)
    for least in (3, 12):
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as started:
            end = time.monotonic() + 60
            while len(list((store.root / "model").glob("[!.]*"))) < least:
                assert started.poll() is None
                assert time.monotonic() < end
                time.sleep(0.002)
            started.kill()
        assert started.returncode == -signal.SIGKILL
        _quiet(store)
        assert kept(before, finished(store))
        before = finished(store)
    suite, whole = load_suite(str(tmp_path / "mine.toml")), fixed_choice(tmp_path / "whole", name, stacked=False)
    with threads(1):  # as the workers do: some processors round otherwise on two
        results = [list(run_suite(suite, recipe(name), store=part, command="expunge bench")) for part in (store, whole)]
    assert kept(before, finished(store))
    assert same_arrays(arrays(store), arrays(whole))
    assert without_times(results[0]) == without_times(results[1])


def _quiet(store):
    """Wait until the orphaned workers have left and nothing is written any more."""
    last, end = None, time.monotonic() + 10
    while time.monotonic() < end:
        now = (finished(store), leftovers(store))
        if now == last:
            return
        last = now
        time.sleep(0.5)
    raise AssertionError("workers went on after their parent was killed")


def test_what_a_killed_write_left_does_not_disturb(tmp_path):
    store = Store(tmp_path)
    torn = tmp_path / "model" / ".abc-half"
    torn.mkdir(parents=True)
    (torn / "logits.npy").write_bytes(b"half")
    assert not store.has("model", "abc")
    store.put("abc", Contents("model", arrays={"logits": np.ones(3)}))
    assert np.array_equal(store.get("model", "abc").array("logits"), np.ones(3))
    assert leftovers(store) == [Path(torn)]
