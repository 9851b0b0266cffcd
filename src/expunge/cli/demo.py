"""`expunge demo`: the whole story on scikit-learn's digits, in about a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from expunge.bench.bench import run_suite
from expunge.bench.suite import load_suite
from expunge.cli.output import Json, err, progress
from expunge.cli.results import free, present, shelf_at, spelled, workers
from expunge.training.recipes import recipe

DEFAULT = Path("expunge-demo")


def demo(
    *,
    out_folder: Annotated[Path, Parameter(name=["--out", "-o"])] = DEFAULT,
    store: Path | None = None,
    processes: int | None = None,
    as_json: Json = False,
) -> int:
    """Train originals and gold models on digits, forget part of one class by every kind of method, and compare.

    Args:
        out_folder: Where the result is kept; the report lies beside it.
        store: Folder of finished models; by default EXPUNGE_STORE, or .expunge here.
        processes: Worker processes; by default one per core.
        as_json: The result as plain data instead of a table.
    """
    place, shelf = free(out_folder), shelf_at(store)
    command = spelled("demo", store=store, out=None if out_folder == DEFAULT else out_folder)
    suite = load_suite("demo")
    methods = len(suite.entries)
    err().print(
        f"{suite.originals} originals learn the digits; {suite.gold + suite.originals} gold models learn them "
        f"without the forget rows ({suite.forget[0]});\n{methods} methods make every original forget those rows. "
        f"How far from gold are they?"
    )
    with workers("cpu", processes) as executor, progress() as bar:
        for result in run_suite(
            suite, recipe(suite.recipe), store=shelf, command=command, executor=executor, progress=bar
        ):
            present(result, place, as_json)
    return 0
