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

from expunge.errors import NeedsError

Job = dict[str, Any]
Work = Callable[[Job], Any]


class Executor(Protocol):
    """Does jobs in any order and yields what each returned, as soon as it is done."""

    def map(self, work: Work, jobs: Iterable[Job]) -> Iterator[Any]:
        """`work(job)` for every job; `work` is an importable function."""


class Here:
    """Does jobs one after another in this process."""

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
        self.processes = processes or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def map(self, work: Work, jobs: Iterable[Job]) -> Iterator[Any]:
        """`work(job)` for every job, in the order in which they finish."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.processes, context, _begin, (os.getpid(),))
        waiting = [self._pool.submit(work, job) for job in jobs]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BrokenProcessPool:
            raise NeedsError(
                "a worker process was killed, perhaps for lack of memory",
                hint="run the command again: finished work is kept",
            ) from None
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """End the processes at once; what they had not finished is done again next time."""
        if self._pool is not None:
            workers = list((self._pool._processes or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                worker.terminate()
            self._pool = None

    def __enter__(self) -> Local:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _begin(parent: int) -> None:
    """Set a worker up: one thread, deaf to Ctrl-C (the parent ends it), gone when the parent is gone."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
