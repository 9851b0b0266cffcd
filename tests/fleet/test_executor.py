"""Executors: the same answers from this process and from others, and no process left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from expunge.errors import ConfigError, NeedsError
from expunge.fleet import Here, Local

LINGER = 3.0
"""Seconds that a worker may outlive its parent: it looks five times a second."""


def squared(job):
    return job["value"] ** 2


def said_pid(job):
    return os.getpid()


def threads(job):
    import torch

    return torch.get_num_threads()


def noted(job):
    """Do a job once and leave a file; die in the middle the first time, if asked to."""
    place = Path(job["folder"]) / str(job["value"])
    if job["value"] == job["fatal"] and not place.with_suffix(".died").exists():
        place.with_suffix(".died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if not place.exists():
        place.touch()
    return job["value"]


def told_and_slow(job):
    """Say who works, then take long over all but the quick job."""
    (Path(job["folder"]) / str(os.getpid())).touch()
    if job["value"] != job["quick"]:
        time.sleep(60)
    return job["value"]


def failing(job):
    raise ConfigError(f"value: expected even, got {job['value']}")


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids, *, within=LINGER):
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def jobs(count, **more):
    return [{"value": value, **more} for value in range(count)]


@pytest.fixture(scope="module")
def pool():
    with Local(2) as executor:
        yield executor


def test_here_and_local_give_the_same(pool):
    assert sorted(pool.map(squared, jobs(7))) == list(Here().map(squared, jobs(7))) == [v * v for v in range(7)]


def test_no_jobs_give_nothing(pool):
    assert list(pool.map(squared, [])) == list(Here().map(squared, [])) == []


def test_jobs_run_elsewhere_on_one_thread_each(pool):
    assert os.getpid() not in set(pool.map(said_pid, jobs(4)))
    assert set(pool.map(threads, jobs(4))) == {1}


def test_an_error_comes_back_as_it_was_raised(pool):
    with pytest.raises(ConfigError, match="value: expected even, got 0"):
        list(pool.map(failing, jobs(1)))
    assert list(pool.map(squared, jobs(1))) == [0], "the processes go on"


def test_here_does_a_job_only_when_it_is_asked_for(tmp_path):
    answers = Here().map(noted, jobs(3, folder=str(tmp_path), fatal=-1))
    assert next(answers) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


@pytest.mark.parametrize("processes", [0, -1])
def test_no_processes_are_refused(processes):
    with pytest.raises(ConfigError, match=f"processes: expected >= 1, got {processes}"):
        Local(processes)


def test_a_worker_that_dies_is_told_and_a_rerun_finishes(tmp_path):
    work = jobs(5, folder=str(tmp_path), fatal=2)
    with Local(1) as executor:
        with pytest.raises(NeedsError, match="a worker process ended") as error:
            list(executor.map(noted, work))
        assert error.value.hint.startswith("run it again, finished work is kept")
        assert sorted(executor.map(noted, work)) == [0, 1, 2, 3, 4]


def test_closing_ends_workers_in_the_middle_of_a_job(tmp_path):
    executor = Local(1)
    answers = executor.map(told_and_slow, jobs(2, folder=str(tmp_path), quick=0))
    assert next(answers) == 0
    workers = waited(tmp_path, 1)
    executor.close()
    assert gone(workers)


def waited(folder, count):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{count} workers did not start in 30 s")


PARENT = """
import sys
from expunge.fleet import Local
from tests.fleet.test_executor import jobs, told_and_slow
if __name__ == "__main__":
    with Local(2) as executor:
        list(executor.map(told_and_slow, jobs(2, folder=sys.argv[1], quick=-1)))
"""


def parent_of_workers(folder):
    script = folder / "parent.py"
    script.write_text(PARENT)
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        env=environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_no_worker_outlives_a_killed_parent(tmp_path):
    with parent_of_workers(tmp_path) as parent:
        workers = waited(tmp_path, 2)
        assert all(alive(worker) for worker in workers)
        parent.kill()
        parent.wait()
        assert gone(workers)


def test_ctrl_c_ends_parent_and_workers(tmp_path):
    with parent_of_workers(tmp_path) as parent:
        workers = waited(tmp_path, 2)
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: to everybody
        _, words = parent.communicate(timeout=10)
        assert parent.returncode == -signal.SIGINT
        assert words.decode().count("Traceback") == 1, "the parent's own; workers say nothing"
        assert words.decode().rstrip().endswith("KeyboardInterrupt")
        assert gone(workers)
