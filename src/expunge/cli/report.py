"""`expunge report`: the HTML page of a result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from expunge.cli.output import Json, out, show
from expunge.cli.results import page_of
from expunge.report import write_page
from expunge.store import read


def report(
    result: Path,
    *,
    out_file: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    as_json: Json = False,
) -> int:
    """Draw the page of a result again; the result is verified first.

    Args:
        result: A folder made by `expunge demo`, `expunge audit` or `expunge bench`.
        out_file: The page to write; by default the folder's name with .html behind.
        as_json: Print the result itself instead of writing the page.
    """
    found = read(result, "result").document("result")
    if as_json:
        show(found)
        return 0
    page = write_page(found, out_file or page_of(result))
    out().print(f"report: {page}", markup=False)
    return 0
