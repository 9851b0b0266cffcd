"""A finished result: kept in a folder, drawn as a page, printed as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from expunge.cli.output import out, show
from expunge.errors import StoreError
from expunge.report import print_table, write_page
from expunge.store import Contents, holds, write


def free(folder: Path) -> Path:
    """The folder, once it is known that a result may go there: it is new, or holds an older result.

    Raises:
        StoreError: something else lies there; asked before long work, not after it.
    """
    if folder.exists() and not holds(folder, "result"):
        raise StoreError(f"{folder} exists already and holds no result", hint="choose another -o")
    return folder


def present(result: dict[str, Any], folder: Path, as_json: bool) -> Path:
    """Keep the result in `folder`, write its page beside it, print it, and name the page last."""
    write(folder, Contents("result", {"title": result["title"]}, documents={"result": result}), replace=True)
    page = write_page(result, folder.with_name(f"{folder.name}.html"))
    if as_json:
        show(result)
        return page
    console = out()
    print_table(result, console)
    verdict = result["verdict"]
    console.print(f"\nverdict: {verdict['state']}")
    for reason in verdict["reasons"]:
        console.print(f"  {reason}", markup=False)
    for control in verdict["controls"]:
        console.print(f"  {'ok' if control['holds'] else 'NO'}  {control['name']}: {control['detail']}", markup=False)
    for statement in result["statements"]:
        console.print(f"  {'ok' if statement['holds'] else 'NO'}  {statement['text']}", markup=False)
    console.print(f"\nreport: {page}", markup=False)
    return page
