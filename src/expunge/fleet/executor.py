"""Executors: who does the jobs. A job is a named function and plain data, so another machine could do it too."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Protocol

import torch

from expunge.errors import NeedsError, check

Job = dict[str, Any]
Work = Callable[[Job], Any]


class Executor(Protocol):
    """Does jobs in any order and yields what each returned, as soon as it is done."""

    processes: int
    """How many jobs it does at a time."""

    def map(self, work: Work, jobs: Iterable[Job]) -> Iterator[Any]:
        """`work(job)` for every job; `work` is an importable function."""


class Here:
    """Does jobs one after another in this process."""

    processes = 1

    def map(self, work: Work, jobs: Iterable[Job]) -> Iterator[Any]:
        """`work(job)` for every job, in order."""
        return (work(job) for job in jobs)


class Local:
    """One single-threaded process per core of this machine.

    Two processes of one thread each beat one process of two threads on small models, and more threads than
    cores are ten times slower; so each process gets exactly one. Processes start at the first job.

    Args:
        processes: By default the number of cores.
    """

    def __init__(self, processes: int | None = None) -> None:
        check("processes", processes, ">= 1", processes is None or processes >= 1)
        self.processes = processes or cores()
        self._pool: ProcessPoolExecutor | None = None

    def map(self, work: Work, jobs: Iterable[Job]) -> Iterator[Any]:
        """`work(job)` for every job, in the order in which they finish; the processes end where one fails."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.processes, context, _begin, (os.getpid(),))
        pool = self._pool
        try:
            for done in as_completed([pool.submit(work, job) for job in jobs]):
                yield done.result()
        except BaseException as error:
            _end(pool)
            self._pool = None if self._pool is pool else self._pool
            if isinstance(error, BrokenProcessPool):
                raise NeedsError(
                    "a worker process ended, perhaps killed for lack of memory",
                    hint="run it again, finished work is kept; a script must guard its work by __name__ == '__main__'",
                ) from None
            raise

    def close(self) -> None:
        """End the processes at once; what they had not finished is done again next time."""
        if self._pool is not None:
            _end(self._pool)
            self._pool = None

    def __enter__(self) -> Local:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _end(pool: ProcessPoolExecutor) -> None:
    """Drop what waits and end the workers.

    Futures are cancelled by the pool alone: one that we cancel and that the pool then finds broken raises there.
    """
    workers = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: fewer than the machine has, in a container
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin(parent: int) -> None:
    """Set a worker up: one thread, deaf to Ctrl-C (the parent ends it), gone when the parent is gone."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
