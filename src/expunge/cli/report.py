"""`expunge report`: the HTML page of a result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from expunge.cli.output import Json, out, show
from expunge.cli.results import from_file, page_of
from expunge.report import write_page
from expunge.store import read


def report(
    result: Path,
    *,
    out_file: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    as_json: Json = False,
) -> int:
    """Draw the page of a result again; a folder is verified first.

    Args:
        result: A folder made by `expunge demo`, `attribute`, `audit` or `bench`, or a file made by
            `python -m benchmarks tuning --out`.
        out_file: The page to write; by default the folder's name with .html behind, or the file's in place of .json.
        as_json: Print the result itself instead of writing the page.
    """
    plain = result.is_file()
    found = from_file(result) if plain else read(result, "result").document("result")
    if as_json:
        show(found)
        return 0
    page = write_page(found, out_file or (result.with_suffix(".html") if plain else page_of(result)))
    out().print(f"report: {page}", markup=False)
    return 0
