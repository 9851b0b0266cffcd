"""A finished result: kept in a folder, drawn as a page, printed as a table; and what is asked before the work."""

from __future__ import annotations

import json
import shlex
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from expunge.cli.output import out, show
from expunge.errors import StoreError
from expunge.fleet import Executor, Here, Local
from expunge.report import print_table, write_page
from expunge.report.tuning_result import KIND as TUNING
from expunge.runs import check_place
from expunge.store import Contents, holds, write
from expunge.store import Store as Shelf
from expunge.training import check_device

EXIT = {"pass": 0, "measured": 0, "fail": 1, "inconclusive": 3}
"""Verdict -> exit code."""


def free(folder: Path) -> Path:
    """The folder, once it is known that a result may go there: it is new, or holds an older result.

    Raises:
        StoreError: something else lies there, or where its page goes; asked before long work, not after it.
    """
    folder = named(folder)
    page = page_of(folder)
    if folder.exists():
        if not holds(folder, "result"):
            raise StoreError(f"{folder} exists already and holds no result", hint="choose another -o")
    elif page.exists():
        raise StoreError(f"{page} exists already, and no result beside it", hint="choose another -o, or move that file")
    check_place(folder, "choose another -o")
    return folder


def named(path: Path) -> Path:
    """The path with a name of its own, which `.` and `x/..` lack."""
    return path.resolve() if path.name in ("", "..") else path


def page_of(folder: Path) -> Path:
    """Where the page of a result lies: beside its folder."""
    folder = named(folder)
    return folder.with_name(f"{folder.name}.html")


def shelf_at(store: Path | None) -> Shelf:
    """The store, once it is known that it can be written."""
    shelf = Shelf(store)
    check_place(shelf.root, "choose another folder with --store or EXPUNGE_STORE")
    return shelf


def workers(device: str, processes: int | None) -> AbstractContextManager[Executor]:
    """One process per core on the processor; on an accelerator this process alone.

    Raises:
        NeedsError: torch cannot use the device.
    """
    check_device(device)
    return Local(processes) if device == "cpu" else nullcontext(Here())


def from_file(path: Path) -> dict[str, Any]:
    """A result in a file of plain JSON, as `python -m benchmarks tuning --out` writes it.

    Nothing seals such a file, so audits, whose verdict somebody may rely on, are read from folders alone.

    Raises:
        StoreError: it is no such file.
    """
    hint = "python -m benchmarks tuning --out FILE writes one; an audit's result is a folder"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: expected a result in JSON, got {type(error).__name__}: {error}", hint) from None
    kind = found.get("kind") if isinstance(found, dict) else type(found).__name__
    if kind != TUNING:
        raise StoreError(f"{path}: expected a result of kind {TUNING!r}, got {kind!r}", hint)
    return dict(found)


def spelled(*words: str, **options: object) -> str:
    """What a person types to get the same again; options that were not given are None and left out, True is a flag.

    Example:
        >>> spelled("bench", "demo", data=None, out="my result")
        "expunge bench demo --out 'my result'"
    """
    flags = []
    for name, value in options.items():
        flags += [] if value is None else [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return shlex.join(["expunge", *words, *flags])


def present(result: dict[str, Any], folder: Path, as_json: bool) -> Path:
    """Keep the result in `folder`, write its page beside it, print it, and name the page last."""
    write(folder, Contents("result", {"title": result["title"]}, documents={"result": result}), replace=True)
    page = write_page(result, page_of(folder))
    if as_json:
        show(result)
        return page
    console = out()
    print_table(result, console)
    verdict = result["verdict"]
    console.print(f"\nverdict: {verdict['state']}" + (f" under {verdict['policy']}" if "policy" in verdict else ""))
    for reason in verdict["reasons"]:
        console.print(f"  {reason}", markup=False)
    for control in verdict["controls"]:
        console.print(f"  {'ok' if control['holds'] else 'NO'}  {control['name']}: {control['detail']}", markup=False)
    for statement in result["statements"]:
        console.print(f"  {'ok' if statement['holds'] else 'NO'}  {statement['text']}", markup=False)
    console.print(f"\nreport: {page}", markup=False)
    return page
